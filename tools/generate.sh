#!/bin/sh
# Makes gen/ from proto/ again, those of examples/counters too, with the tools
# that tools/go.mod pins. `tools/generate.sh --check` fails when a gen/ is not
# what its proto/ says.
set -eu
cd "$(dirname "$0")/.."

(cd tools && go build -o bin/ \
	github.com/bufbuild/buf/cmd/buf \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	connectrpc.com/connect/cmd/protoc-gen-connect-go)
PATH="$PWD/tools/bin:$PATH"
export PATH

generated="gen examples/counters/gen"
buf lint
rm -rf $generated
buf generate
gofmt -l $generated | { ! grep .; }
if [ "${1:-}" = --check ]; then
	git diff --exit-code -- $generated
	test -z "$(git status --porcelain -- $generated)"
fi
