# `make help` lists the targets; each line behind `##` is its description.

VENV := .venv
TOOLS := .tools
RUNTIME := models/runtime/libonnxruntime.so
ARGS ?=

# Private items are documented too, so links to them lead somewhere.
DOC_FLAGS := -D warnings -A rustdoc::private_intra_doc_links

# The shape of the source has a package of its own.
TIDY := $(if $(wildcard tests/tidy/Cargo.toml),-p ringside-tidy,-p ringside --test tidy)

.PHONY: help setup run check lint fmt audit test bench clean tools

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name says; do printf '  make %-7s %s\n' "$$name" "$$says"; done

setup: $(RUNTIME) $(VENV)/installed $(TOOLS)/installed ## install all that the other targets need, once

run: $(RUNTIME) ## build, and serve on 127.0.0.1:8080 (admin 127.0.0.1:9090); ARGS="--config FILE"
	cargo build --release --workspace --bins
	exec ./target/release/ringside serve $(ARGS)

check: $(RUNTIME) ## format, lints and unit tests: while you work
	cargo fmt --all -- --check
	cargo clippy --quiet --workspace --lib --bins -- -D warnings
	cargo test --quiet --workspace --lib
	cargo test --quiet $(TIDY)

lint: $(TOOLS)/installed ## format, lints of everything, documentation, dependencies, spelling
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="$(DOC_FLAGS)" cargo doc --quiet --workspace --no-deps --document-private-items
	$(TOOLS)/bin/cargo-deny --workspace check -D unmatched-skip -D unnecessary-skip licenses bans sources
	tools/advisories $(TOOLS)/bin/cargo-deny
	$(TOOLS)/bin/typos

fmt: ## format the Rust sources
	cargo fmt --all

audit: $(TOOLS)/installed ## known vulnerabilities of dependencies; needs the network
	tools/advisories $(TOOLS)/bin/cargo-deny --required

test: $(RUNTIME) $(VENV)/installed ## every test
	cargo build --workspace --bins
	tests/fuzz/run
	cargo test --workspace
	benches/instructions
	python3 -m unittest discover -q -s loadtest/tests/rig
	python3 -m unittest discover -q -s loadtest/tests/soak
	$(VENV)/bin/python -m pytest -q tests/sdk

bench: $(RUNTIME) ## measure Ringside beside other gateways (docs/benchmarks.md); ARGS="--help"
	cargo build --release --workspace --bins
	python3 loadtest/rig $(ARGS)

clean: ## remove what was built and installed here
	rm -rf $(VENV) $(TOOLS) .bench models/runtime target

# ONNX Runtime, from the PyPI wheel, pinned and verified.
$(RUNTIME): models/fetch-runtime | tools
	models/fetch-runtime

# SDKs and the LiteLLM proxy for the tests, pinned.
$(VENV)/installed: tests/sdk/requirements.txt | tools
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt
	touch $@

# cargo-deny and typos, pinned and verified.
$(TOOLS)/installed: tools/requirements.txt | tools
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: -r tools/requirements.txt
	touch $@

# Compiler, Python and valgrind, by the system's package manager.
tools:
	@tools/ensure
