# bewaard: make prints what there is to make.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Opus needs cgo and libopus; without them recordings are WAV only.
packages := gcc libopus-dev libopusfile-dev pkg-config
testing := sip-tester
interop := sip-tester baresip-core
FUZZTIME ?= 20s
KILLS ?= 500

.PHONY: help demo build test race torture fuzz golden align bench bench-peers lint prompts interop interop-table clean opus sipp

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: opus ## show the whole life of recordings on this machine, in half a minute
	@$(go) run ./cmd/bewaard demo $(ARGS)

build: opus ## build bin/bewaard and bin/callsim
	@mkdir -p bin
	$(go) build -trimpath -o bin ./cmd/...

test: opus sipp ## run the tests
	$(go) test $(TESTFLAGS) ./...

race: opus sipp ## run the tests as CI does, with the race detector and in any order
	$(go) test -race -shuffle=on $(TESTFLAGS) ./...

torture: ## kill a store 500 times in the middle of everything, and see that nothing is lost (KILLS=500)
	$(go) test ./store -count=1 -timeout 2h -run TestKilledAnywhere -v -torture $(KILLS)

fuzz: opus ## run every fuzz target for FUZZTIME (20s)
	@set -e; grep -rl --include=*_test.go '^func Fuzz' . | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$target in $$(dirname $$file)"; \
			$(go) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
		done; \
	done

golden: opus ## write the golden files anew; the difference is reviewed like code
	$(go) test ./media/finalize -update
	$(go) test ./policy/register -update

interop: opus ## run the SIP flows with sipp and baresip against the daemon
	@./.ci/need $(interop)
	$(go) test ./interop -count=1 -timeout 20m -run TestFlows -flows $(ARGS)

interop-table:
	$(go) test ./interop -run TestPage -update

align: ## score four hours of two clocks that drift apart: how far channels and wall clock are
	$(go) test ./media/finalize -count=1 -run TestAlignment -v -long

bench: opus ## run the benchmarks
	$(go) test -run '^$$' -bench . ./...

bench-peers: opus ## measure beside Asterisk and rtpengine: PEERS=DIR of the load rig (ARGS="media whole knee setup")
	@./.ci/need jq curl
	testdata/peers/bench.sh $(ARGS)

lint: opus ## gofmt, vet, staticcheck, and go.mod as it should be
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(go) vet ./...
	$(go) tool staticcheck ./...
	go mod tidy -diff

prompts: ## make the placeholder announcements anew (espeak-ng, flite, sox)
	prompts/make.sh

clean: ## remove what was built
	rm -rf bin

# The Go command, with Opus where it can be had.
go = $(if $(shell pkg-config --exists opus opusfile 2>/dev/null && command -v gcc),,CGO_ENABLED=0 )go

opus:
	@./.ci/need $(packages) || echo "Opus is left out: recordings are WAV only."

sipp:
	@./.ci/need $(testing) || echo "sipp is missing: the tests that need it are skipped."
