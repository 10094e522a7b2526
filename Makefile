SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-builtin-rules

CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH)

WASM := wasm32-unknown-unknown
# Tests wait for brokers, children and states more than they compute.
export RUST_TEST_THREADS ?= 4
MINUTES ?= 30
RATE ?= 400
ROUNDS ?= 3
DURATION_S ?= 10
RUNS ?= 1
SECONDS ?= 60
FIGURES := target/figures
# GUIDED=1: of the build that `make release` makes. For `make bench` that is so unless GUIDED= says otherwise.
MEASURED = $(if $(GUIDED),scripts/guided,cargo)

.PHONY: help setup run release test beside test-long check fmt clippy doc deny plugins sdks kafka kinesis collector senders deploy bench bench-count bench-load bench-compatibility plots soak fuzz clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: ## Install what building and running takes, where it is missing.
	@scripts/setup run

run: setup ## Build, start the gateway with the examples, print commands to try. Ctrl-C stops it.
	@cargo build --profile quick --locked --bin headworks
	exec scripts/run

release: ## Build the gateway as a release has it: guided by a profile of its own load, which is made first where there is none.
	@scripts/guided build --locked --release --bin headworks

test: ## Run everything that must pass, a real Kafka included; does its own set-up.
	@scripts/setup test
	trap 'kill $$(jobs -p) 2>/dev/null || true' EXIT
	$(MAKE) --no-print-directory beside &
	beside=$$!
	$(MAKE) --no-print-directory fmt plugins clippy doc
	cargo test --locked --workspace --no-run
	wait "$$beside" || { echo "test: make beside failed, see above" >&2; exit 1; }
	cargo test --locked --workspace --no-fail-fast

# Of the tests, what waits for the network or leaves a core free: it is done while cargo builds.
beside: kafka kinesis collector senders sdks
	if [ -f plugins/Cargo.toml ]; then (cd plugins && cargo test --locked --workspace); fi

test-long: ## Run the tests that take long, with a real MinIO; does its own set-up.
	@scripts/setup long
	HEADWORKS_TEST_LONG=1 cargo test --locked --lib -- spool::tests::seeds --nocapture
	HEADWORKS_TEST_LONG=1 cargo test --locked --test it -- front::hostile plugins::compilation neighbours:: crash:: faults:: clock:: restart:: delivery:: kafka:: kinesis:: stores:: quarantine:: tables:: --nocapture
	$(MAKE) --no-print-directory fuzz

check: setup fmt clippy doc deny deploy ## Check format, lints, documentation, dependencies and deploy/, without running a test.

fmt:
	cargo fmt --all --check
	rustfmt --edition 2024 --check fuzz/src/lib.rs fuzz/fuzz_targets/*.rs
	if [ -f plugins/Cargo.toml ]; then (cd plugins && cargo fmt --check); fi

clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings
	if [ -f plugins/Cargo.toml ]; then (cd plugins && cargo clippy --locked --workspace --all-targets -- -D warnings); fi

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

deny: ## Check the dependencies' licences and sources; their advisories where the database can be reached.
	@scripts/setup deny
	cargo deny --locked check licenses bans sources
	if timeout 60 cargo deny fetch db 2>/dev/null; then
	    cargo deny --locked --offline check advisories
	else
	    echo "deny: the advisory database (github.com/RustSec/advisory-db) cannot be reached: advisories were NOT checked" >&2
	fi

plugins: ## Build the plugins for WASM.
	@if [ -f plugins/Cargo.toml ]; then cd plugins && cargo build --locked --release --target $(WASM); fi

sdks: ## Check the plugin SDKs' types and format; the tests run their cases.
	@unformatted="$$(gofmt -l sdk/go sdk/conformance/go sdk/examples/go)"; [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted" >&2; exit 1; }
	(cd sdk/go && go vet ./... && GOOS=wasip1 GOARCH=wasm go vet ./...)
	sdk/js/node_modules/.bin/tsc --project sdk/conformance/js
	sdk/js/node_modules/.bin/tsc --project sdk/examples/js
	.cache/python/bin/mypy --strict --no-error-summary --cache-dir .cache/mypy --config-file sdk/python/pyproject.toml sdk/python/headworks_plugin

kafka: ## Fetch the Apache Kafka that tests and benchmarks deliver to.
	@if [ -x tests/kafka/fetch.sh ]; then tests/kafka/fetch.sh; fi

senders: ## Fetch the SDKs of other services that tests point at the gateway.
	@tests/senders/fetch.sh

kinesis: ## Fetch the Kinesis emulator that tests deliver to.
	@if [ -x tests/kinesis/fetch.sh ]; then tests/kinesis/fetch.sh; fi

deploy: ## Check deploy/ with promtool, hadolint, helm, Kubernetes' schemas and systemd's tools.
	@scripts/check-deploy

collector: ## Build the OpenTelemetry collector that a test sends to.
	@tests/collector/fetch.sh

bench: GUIDED ?= 1
bench: ## Run the benchmarks and print their ratios; stages and load of the build that a release has, without a profile by GUIDED=.
	@scripts/setup test
	$(MAKE) --no-print-directory plugins kafka
	$(MEASURED) bench --locked --bench stages
	cargo bench --locked --profile measure --bench schemas
	cargo bench --locked --profile measure --bench compatibility
	cargo bench --locked --profile measure --bench quarantine
	cargo bench --locked --profile measure --bench spool
	cargo bench --locked --profile measure --bench plugins
	cargo bench --locked --profile measure --bench front
	$(MEASURED) bench --locked --bench load

bench-count: ## Count instructions an event, stage by stage; fails 5 % above the baseline. BLESS=1 writes a new one; RUNS.
	@scripts/setup count
	cargo bench --locked --profile measure --bench count -- --runs $(RUNS) $(if $(BLESS),--bless) $(ARGS)

bench-load: ## Load the gateway beside its ceiling, a real Kafka behind: ROUNDS, DURATION_S, GUIDED=1, BASELINE=FILE, ARGS='--many'.
	@scripts/setup test
	$(MAKE) --no-print-directory plugins kafka
	$(MEASURED) bench --locked --bench load -- --rounds $(ROUNDS) --seconds $(DURATION_S) --json $(FIGURES)/load$(filter --many --nodes,$(ARGS)).json $(if $(BASELINE),--baseline $(BASELINE)) $(ARGS)

bench-compatibility: ## Compare neighbouring schemas of this repository, and of folders: ARGS='FOLDER ...'; EXPLAIN=1 names what is undecided.
	cargo bench --locked --profile measure --bench compatibility -- $(ARGS)

plots: ## Draw what bench-load and soak have written, into docs/images.
	@scripts/setup run
	cargo bench --locked --profile dev --bench plots -- --figures $(FIGURES)

soak: ## Load, changes, faults and a long outage, for MINUTES (30); RATE events a second (400).
	@scripts/setup test
	$(MAKE) --no-print-directory kafka
	cargo bench --locked --bench soak -- --minutes $(MINUTES) --rate $(RATE) --json $(FIGURES)/soak.json

fuzz: ## Fuzz the parsers, SECONDS (60) each.
	@scripts/fuzz --seconds $(SECONDS)

clean: ## Remove what was built. Downloads stay in .cache, data in data.
	@cargo clean
	rm -rf plugins/target
