#!/bin/sh
# Makes gen/ from proto/ again, with the tools that tools/go.mod pins.
# `tools/generate.sh --check` fails when gen/ is not what proto/ says.
set -eu
cd "$(dirname "$0")/.."

(cd tools && go build -o bin/ \
	github.com/bufbuild/buf/cmd/buf \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	connectrpc.com/connect/cmd/protoc-gen-connect-go)
PATH="$PWD/tools/bin:$PATH"
export PATH

buf lint
buf generate
gofmt -l gen | { ! grep .; }
if [ "${1:-}" = --check ]; then
	git diff --exit-code -- gen
	test -z "$(git status --porcelain -- gen)"
fi
