#!/bin/sh
# The tests without clusters and processes, in less than a minute; arguments are
# those of `go test`. What is left runs in its short form (-short), and without
# PostgreSQL.
set -eu
cd "$(dirname "$0")/.."

long='/(agent|apiserver|benchmarks|client|cmd/interrex|examples/.*|featuretests|interrextest|projection|raftworker|reads|storage|tools)$'
exec go test -short "$@" $(go list ./... | grep -vE "$long")
