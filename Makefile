.DEFAULT_GOAL := help

# Without C the binary needs no library, and its tests are those of what is delivered.
export CGO_ENABLED ?= 0

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

build: ## the binary, in bin/interrex
	go build -trimpath -o bin/interrex ./cmd/interrex

test: ## all tests, with what they need installed first
	tools/test.sh

quick: ## without what is long, in less than a minute
	tools/quick.sh

deep: ## the long forms of the long tests, and all faults: some hours
	tools/deep.sh

race: export CGO_ENABLED = 1
race: ## all tests with the race detector
	tools/test.sh -race

mutate: ## faults that tests must notice, all of tools/mutate/faults.txt
	go -C tools run ./mutate

bench: ## all benchmarks
	go test -run '^$$' -bench . -benchmem -timeout 1h ./...

abuse: ## what good callers notice of a bad one: about 20 minutes
	go test -run '^$$' -bench BenchmarkAbuse -benchtime 1x -timeout 1h ./benchmarks

lint: ## gofmt, vet, staticcheck, and deadcode: what nothing uses
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	cd tools && go vet ./mutate ./unused && go build -o bin/ honnef.co/go/tools/cmd/staticcheck golang.org/x/tools/cmd/deadcode ./unused
	tools/bin/staticcheck ./...
	tools/bin/unused tools/bin/deadcode

generate: ## the code of gen/ from proto/
	tools/generate.sh

.PHONY: help build test quick deep race mutate bench abuse lint generate
