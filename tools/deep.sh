#!/bin/sh
# Every test in its long form: all tests, then more and longer random ones than
# `make test` has time for. Each run draws other ones; INTERREX_SEED repeats one.
set -eu
cd "$(dirname "$0")/.."

: "${INTERREX_SEED:=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
export INTERREX_SEED
tools/test.sh -count=1 -timeout 1h

long() { go test -count=1 -timeout 2h "$@"; }
INTERREX_SEEDS=2000 long ./leaseapplier -run '^(TestEveryCallIsAnsweredOnceAndTruly|TestHistoriesKeepTheRules|TestTheApplierDoesWhatTheModelDoes)$'
long ./internal/lease -run '^TestTableDoesWhatTheRulesSay$' -rapid.checks 20000
long ./internal/machine -run '^TestEntrySurvivesItsEncoding$' -rapid.checks 20000
long ./featuretests -run '^TestRegistersAreLinearizable$' -race-for 10m
long ./featuretests -run '^(TestRot|TestALogThatNobody)' -rot-all
long ./featuretests -run '^TestARotationOutlivesItsLeader$' -rotate-all
long ./featuretests -run '^TestMembershipChangesUnderLoad$' -member-changes 100 -leader-within 5s
long ./featuretests -run '^TestAJoinerThatIsKilledIsInAfterItsLastStart$' -join-kills 40
make mutate
