#!/bin/sh
# The tests of what is not long, in less than a minute: arguments are those of
# `go test`. Left out are clusters and processes, the longest of what is left takes
# less (-short), and what PostgreSQL is needed for.
set -eu
cd "$(dirname "$0")/.."

long='/(agent|api|benchmarks|client|cmd/interrex|examples/.*|featuretests|interrextest|projection|raftworker|reads|storage|tools)$'
exec go test -short "$@" $(go list ./... | grep -vE "$long")
