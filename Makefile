# Everything a developer does here, one target each; "make" alone lists them.

GO      ?= go
BIN     ?= bin/sealpost
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# How long one fuzz target runs, and the time limit of one test package.
FUZZTIME ?= 1m
TIMEOUT  ?= 15m

.DEFAULT_GOAL := help
.PHONY: help build dev test cover check fmt vet staticcheck house reveals docs race fuzz \
	bench bench-check model sim chaos chaos-long soak lanes crashpoints failover failover-short install-test-deps clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the program, stripped, in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sealpost

dev: build ## the main job on this machine, in memory: mail, SQS, tokens; stays up
	@exec $(BIN) dev

test: install-test-deps ## all tests with the race detector; the last line counts them
	$(GO) vet ./...
	@eval "$$(sh integration/deps.sh env)"; sh integration/deps.sh report; \
	$(GO) test -race -count=1 -timeout $(TIMEOUT) -json ./... | $(GO) run ./integration/cmd/count

race: ## the tests of PKG only, with the race detector: make race PKG=./queue/...
	$(GO) test -race -count=1 -timeout $(TIMEOUT) $(or $(PKG),./...)

cover: ## coverage of the tests, as cover.html
	$(GO) test -count=1 -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -html=cover.out -o cover.html
	$(GO) tool cover -func=cover.out | tail -n 1

check: fmt vet staticcheck house ## format, vet, staticcheck, imports, sizes, comments, reveals

fmt: ## fails if gofmt would change a file
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet: ## go vet
	$(GO) vet ./...

staticcheck: ## staticcheck, at the version of go.mod
	$(GO) tool staticcheck ./...

house: ## who imports whom, sizes, comments, where values are revealed
	$(GO) test -count=1 ./integration/house

reveals: ## rewrites docs/reveals.txt, the list of places that reveal a value
	$(GO) test -count=1 -run TestReveals ./integration/house -update
	@git diff --stat -- docs/reveals.txt

docs: ## rewrites docs/actions.md, what each type of action takes and promises
	$(GO) run ./integration/cmd/actionsdoc

fuzz: ## each fuzz target for FUZZTIME (1m)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

BENCH ?=
bench: ## Sealpost beside its peers, one table; rewrites docs/bench/; BENCH="-only drain -rounds 5"
	@sh integration/deps.sh bench
	cd integration/bench && $(GO) run -mod=mod . -out ../../docs/bench $(BENCH)
	$(GO) run ./integration/cmd/benchstart -out docs/bench

bench-check: ## the benchmarks still build and run, with little work
	cd integration/bench && $(GO) test -mod=mod . && $(GO) run -mod=mod . -short
	$(GO) run ./integration/cmd/benchstart -rounds 1 -idle 100ms -for 500ms

model: ## all states of the queue's protocol, in eight instances, then random moves: minutes, some GB
	$(GO) test -count=1 -timeout 2h -v -run TestLargeInstances ./queue/model -model.long
	$(GO) test -count=1 -timeout 2h -run TestEveryAcceptedJob ./queue -rapid.checks 3000 -rapid.steps 200

SIMSEED  ?= 1
SIMHOURS ?= 87600
sim: ## years of fake time: pools, faults, restarts, rotations: SIMSEED, SIMHOURS
	$(GO) test -count=1 -timeout 8h -v -run TestSimulatedWorlds ./queue -sim.seed $(SIMSEED) -sim.hours $(SIMHOURS)

chaos: ## 10,000 jobs, 30 % faults, kills of workers and redis-server: nothing lost, each duplicate has a cause
	$(GO) run ./integration/cmd/chaos

chaos-long: ## 100,000 jobs with everything, 300,000 with kills only, rolling restarts, outages of Redis: hours
	$(GO) run ./integration/cmd/chaos -jobs 100000
	$(GO) run ./integration/cmd/chaos -jobs 300000 -workers 4 -quiet-server
	$(GO) run ./integration/cmd/chaos -jobs 300000 -workers 4 -quiet-server -rate 1000
	$(GO) run ./integration/cmd/chaos -rolling 10s -for 10m
	$(GO) run ./integration/cmd/chaos -outages -for 10m

soak: ## an hour with hostile mail servers: memory, descriptors and goroutines of the workers stay flat
	$(GO) run ./integration/cmd/chaos -soak 1h -rate 60

crashpoints: ## kill -9 at each named place of the program, at other passes and in other seeds: ROUNDS=10
	SEALPOST_TEST_CRASH_ROUNDS=$(or $(ROUNDS),10) $(GO) test -count=1 -timeout 2h -run TestKilledAtEachPlace ./integration

lanes: ## a healthy lane beside a dead and a one-byte-a-second server, on an idle machine
	SEALPOST_TEST_LANES=yes $(GO) test -count=1 -timeout 30m -v -run TestAHealthyLane ./integration

failover-short: ## 2 kills of the primary under load, by sentinels and in a cluster, on an idle machine
	SEALPOST_TEST_ALONE=yes $(GO) test -count=1 -run Failovers -v ./integration/failover

failover: ## 20 kills of the primary under load, by sentinels and in a cluster, at two levels
	$(GO) run ./integration/cmd/failover

install-test-deps: ## redis-server, Postfix and SASL tools, by apt as root
	@sh integration/deps.sh install

clean: ## what make has made, but for the cache of npm packages
	rm -rf bin cover.out cover.html
