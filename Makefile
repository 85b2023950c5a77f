# snitch: `sudo make run` runs it, `sudo make test` proves it. Both install what
# they need on a bare Debian 12 with Go, and can be run again at any time.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
export CGO_ENABLED = 0
GO      ?= go
BUILD   := build
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Kernels of test-kernel; see docs/kernels.md.
KERNELS ?= 5.10 6.1 6.12 7
FUZZTIME ?= 5s

.DEFAULT_GOAL := help
.PHONY: build generate web screenshots generate-check fmt lint run test test-short test-race test-kernel differential first-connections fuzz e2e bench bench-policy bench-enforce package test-package clean help

build: ## build the static binary build/snitch
	@mkdir -p $(BUILD)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/snitch ./cmd/snitch

generate: web ## compile the BPF programs and their Go bindings (pinned clang-19), bundle the web interface
	@tools/setup.sh generate
	$(GO) generate ./bpf/...

web: ## bundle the web interface (no node needed)
	$(GO) generate ./cmd/internal/web/ui

screenshots: build ## take the pictures of the documentation from a seeded record (Chromium, tmux)
	@tools/setup.sh test
	@mkdir -p docs/pictures
	$(GO) test -count=1 -tags pictures -run '^TestWebPictures$$' ./cmd/snitch -pictures $(CURDIR)/docs/pictures
	$(GO) run ./tools/captures -snitch $(BUILD)/snitch -o docs/pictures

generate-check: generate ## prove that the committed BPF objects and bundle are those of the sources
	@git diff --exit-code -- bpf cmd/internal/web/ui/dist || { echo "generate-check: commit what 'make generate' made" >&2; exit 1; }

fmt: ## format Go and BPF C
	gofmt -l -w $$(git ls-files '*.go')
	@tools/setup.sh generate
	clang-format-19 -i $$(git ls-files 'bpf/*.c' 'bpf/headers/*.h')

lint: ## static checks: gofmt, go vet, golangci-lint
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt would change: $$files" >&2; exit 1; }
	$(GO) vet ./...
	cd tools/lint && $(GO) build -o ../../$(BUILD)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BUILD)/golangci-lint run ./...

run: build ## build, then show live which program talks to whom (root; Ctrl-C stops)
	$(BUILD)/snitch run

test: build ## all tests on this kernel (root), with what they need installed
	@tools/setup.sh test
	$(GO) vet ./...
	$(GO) build -o $(BUILD)/skips ./tools/skips
	$(GO) test -json -timeout 30m ./... | $(BUILD)/skips -expect .ci/skips

test-short: ## the quick tests, before each commit
	$(GO) vet ./...
	$(GO) test -short ./...

test-race: ## the quick tests under the race detector
	@tools/setup.sh test
	CGO_ENABLED=1 $(GO) test -race -short -timeout 30m $$($(GO) list ./... | grep -v /bpftest/)

test-kernel: build ## the scenario suite on 5.10, 6.1, 6.12 and the newest kernel (QEMU)
	@tools/setup.sh test vm
	bpf/bpftest/vm/test-kernels $(KERNELS)

differential: ## OPA, the native table and the kernel's tables on 10,000,000 random connections
	$(GO) test -count=1 -v -timeout 60m -run '^TestDifferential$$' ./policy/table -tuples 10000000
	$(GO) test -count=1 -v -timeout 60m -run '^TestKernelLooksUp$$' ./enforce/verdict -tuples 10000000

first-connections: build ## a thousand new programs, half allowed by path, half by hash: not one first connection fails (root)
	@tools/setup.sh test
	$(GO) test -count=1 -v -timeout 30m -run '^TestFirstConnections$$' ./bpf/bpftest/scenario -new-programs 1000

fuzz: ## a short run of every fuzz target (FUZZTIME each)
	tools/fuzz.sh $(FUZZTIME)

e2e: build ## the daemon as a user meets it: scenarios on real traffic (root)
	@tools/setup.sh test
	$(GO) test -count=1 -timeout 30m ./bpf/bpftest/scenario/ ./cmd/snitch/

bench: build ## paired benchmarks, attached against bare; writes docs/benchmarks.md
	@tools/setup.sh bench
	$(GO) run ./bpf/bpftest/bench -o docs/benchmarks.md

bench-policy: ## only its part about rules: decisions, reloads, lists, history
	$(GO) run ./bpf/bpftest/bench -policy -o docs/benchmarks.md

bench-enforce: build ## only its part about denying: hooks, look-ups, holds, rates, reloads
	@tools/setup.sh bench
	$(GO) run ./bpf/bpftest/bench -enforce -o docs/benchmarks.md

package: build ## deb, rpm, apk and Arch packages, a static tarball, the bill of materials: build/packages
	tools/package.sh $(VERSION)

test-package: ## packages built twice and compared; installed, upgraded, removed in a Debian guest (QEMU; root)
	@tools/setup.sh package
	$(GO) test -count=1 -v -timeout 90m -tags package ./packaging

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' Makefile
