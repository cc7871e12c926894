# Sealkeeper 掌印. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := test
export CGO_ENABLED := 1

BUILD   := build
MODULE  := $(BUILD)/libsealkeeper-sm2.so
GOBUILD := go build -trimpath
DEBS    := softhsm2 opensc openssl curl poppler-utils qpdf libssl-dev libp11-kit-dev pkg-config gcc libc6-dev
FUZZTIME ?= 60s
SOAK    ?= 60s
TOOL    := go tool -modfile=tools.mod

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

deps: ## install what is missing from Debian's packages (SoftHSM2, headers, opensc), once
	@missing=(); for p in $(DEBS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing+=($$p); done; \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "These Debian packages are missing. Run this line, then make again:"; \
	  echo "  sudo apt-get update && sudo apt-get install -y $${missing[*]}"; exit 1; fi; \
	echo "installing from Debian: $${missing[*]}"; \
	apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $${missing[*]} >/dev/null

module: deps ## build the SM2 test module
	@$(MAKE) --no-print-directory -C softhsm-test/module OUT=$(CURDIR)/$(BUILD) all

build: module ## build seald, sealctl, sealsim and the SM2 test module into build/
	@$(GOBUILD) -o $(BUILD)/ ./cmd/seald ./cmd/sealctl ./cmd/sealsim

test: module ## run every test (SoftHSM2 required)
	@$(MAKE) --no-print-directory -C softhsm-test/module OUT=$(CURDIR)/$(BUILD) asan
	@$(MAKE) --no-print-directory -C softhsm-test/fault OUT=$(CURDIR)/$(BUILD) asan
	@$(MAKE) --no-print-directory -C softhsm-test/simulator/c OUT=$(CURDIR)/$(BUILD) asan
	REQUIRE_SOFTHSM=1 go test -timeout 20m ./...

race: module ## run every test under the race detector
	REQUIRE_SOFTHSM=1 go test -race -timeout 40m ./...

fuzz: module ## fuzz every target for FUZZTIME (default 60s) each
	@go list ./... | while read -r p; do go test -list '^Fuzz' $$p 2>/dev/null | grep '^Fuzz' | while read -r f; do \
	  echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; done || exit 1; done

lint: ## gofmt, vet, staticcheck, govulncheck (pinned in tools.mod)
	@out=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck -checks all,-ST1000,-ST1022 ./... # packages and sentinels have comment forms of their own

vuln: ## look known vulnerabilities up (needs the vulnerability database)
	$(TOOL) govulncheck ./...

soak: module ## one token fault after another at random, under load, for SOAK (default 60s) in this process and in a worker
	SEALKEEPER_SOAK=$(SOAK) REQUIRE_SOFTHSM=1 go test -timeout 2h -count 1 -run '^TestSoak$$' -v ./hsm/worker

bench: module ## micro benchmarks of store, custody, signing, containers and issuance, with ratios
	REQUIRE_SOFTHSM=1 go test -run '^$$' -bench . -skip '^BenchmarkWrapped$$' -benchtime 2s ./keystore/... ./signer ./signer/ofd ./signer/pdf ./signer/verify ./issuance

bench-wrapped: module ## a million wrapped keys against a hundred: ten minutes, 5 GB of disk (SEALKEEPER_WRAPPED_KEYS: another number)
	REQUIRE_SOFTHSM=1 go test -run '^$$' -bench '^BenchmarkWrapped$$' -benchtime 7x -timeout 30m ./keystore

bench-json: ## the design's measures on a fresh demo appliance, as JSON
	@$(MAKE) --no-print-directory build >&2 # standard output is the array alone
	@go run ./softhsm-test/demo -bench -build $(BUILD) -dir $(BUILD)/bench

interop: ## ofdrw and Bouncy Castle judge our documents, we judge theirs (needs a JDK and Maven; says so when it skips)
	@go run ./softhsm-test/interop

acceptance: module ## the mission, sentence by sentence, and what shows it
	@REQUIRE_SOFTHSM=1 go run ./softhsm-test/acceptance

demo: build ## run the main job end to end into ./demo and exit
	@go run ./softhsm-test/demo -build $(BUILD) -dir demo

run: build ## start a development appliance on a throw-away token and say what to try
	@go run ./softhsm-test/demo -run -build $(BUILD) -dir run

clean: ## remove what was built and the demo's files
	rm -rf $(BUILD) demo run

.PHONY: help deps module build test race fuzz lint vuln soak bench bench-wrapped bench-json interop acceptance demo run clean
