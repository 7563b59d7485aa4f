# Countersign. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TAGS    := grpcnotrace
FUZZTIME ?= 20s
FIRMWARE ?=
BUF  := bin/tools/buf
LINT := bin/tools/golangci-lint

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## the programs, into bin/
	VERSION=$(VERSION) bash tools/build.sh bin

.PHONY: demo
demo: ## the main job on real firmware, then attacks that are refused; FIRMWARE=a,b takes other files
	@FIRMWARE='$(FIRMWARE)' bash integration/demo/demo.sh

.PHONY: test
test: ## everything that one change must pass, on a fresh machine
	@bash integration/setup.sh
	go vet ./...
	go test -tags $(TAGS) -timeout 15m ./...
	go test -tags '$(TAGS) faults' -timeout 15m $$(bash integration/faulty.sh)

.PHONY: race
race: ## the tests again under the race detector
	go test -race -timeout 30m ./...

$(BUF): tools/buf.mod tools/buf.sum
	go build -modfile=tools/buf.mod -o $@ github.com/bufbuild/buf/cmd/buf

$(LINT): tools/lint.mod tools/lint.sum
	go build -modfile=tools/lint.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: lint
lint: $(BUF) $(LINT) ## style, import arrows, protos, generated files
	$(BUF) lint
	$(LINT) run ./...
	@bash tools/check-generated.sh

.PHONY: generate
generate: $(BUF) ## Go from .proto, docs/errors.md from proto/reason
	$(BUF) format -w
	$(BUF) generate
	go generate ./proto/reason

.PHONY: bench
bench: ## the bars: medians of ratios within one run
	@bash integration/bench/bench.sh

.PHONY: footprint
footprint: ## peak memory and stripped sizes of the agent (DESIGN 5.5)
	@bash integration/footprint/footprint.sh

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@FUZZTIME=$(FUZZTIME) bash tools/fuzz.sh
