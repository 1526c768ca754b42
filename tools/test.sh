#!/bin/sh
# All tests, with what they need: arguments are those of `go test`, such as -race.
#
# What is missing is installed with apt where the caller is root; what cannot be
# had is said, and the tests that need it are skipped. With CI set in the
# environment nothing is left out: what cannot be had is an error.
set -eu
cd "$(dirname "$0")/.."

say() { echo "test.sh: $*" >&2; }

if ! command -v go >/dev/null; then
	say "no Go here: get it from https://go.dev/dl/, at least the version in go.mod"
	exit 1
fi

# need COMMAND PACKAGE installs PACKAGE where COMMAND is missing.
need() {
	command -v "$1" >/dev/null && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$2"; } >&2; then
		return
	fi
	lack "no $1 here, and it cannot be installed"
}

# lack says what is missing; in CI it ends the run.
lack() {
	say "$1: the tests that need it are skipped"
	[ -z "${CI:-}" ] || exit 1
}
need openssl openssl
need mkfs.ext4 e2fsprogs
[ "$(id -u)" = 0 ] || lack "not root, who alone may mount a small disk"

# What is drawn at random is drawn anew by each run: go takes what has not changed
# from its cache, but for the tests that look at this variable.
: "${INTERREX_SEED:=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
export INTERREX_SEED
say "INTERREX_SEED=$INTERREX_SEED repeats what this run draws"

tools/postgres.sh run go test -timeout 20m "$@" ./...

# Some of the faults that tests must notice; make mutate tries all of them.
exec go -C tools run ./mutate -sample 40s
