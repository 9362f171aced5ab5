# make run    installs what is missing, builds, starts the sidecar on 127.0.0.1:8080
# make test   installs what is missing and runs every test
# make bench  measures Ringside beside other gateways (see docs/benchmarks.md)

VENV := .venv
RUNTIME := models/runtime/libonnxruntime.so
ARGS ?=

.PHONY: run test bench tools clean

run: $(RUNTIME)
	cargo build --release --workspace --bins
	exec ./target/release/ringside serve $(ARGS)

test: $(RUNTIME) $(VENV)/installed
	cargo build --workspace --bins
	tests/fuzz/run 5
	cargo test --workspace
	benches/instructions
	python3 -m unittest discover -q -s loadtest/tests/rig
	$(VENV)/bin/python -m pytest -q tests/sdk

bench: $(RUNTIME) tools
	cargo build --release --workspace --bins
	python3 loadtest/rig $(ARGS)

# ONNX Runtime, from the PyPI wheel, pinned and verified.
$(RUNTIME): models/fetch-runtime | tools
	models/fetch-runtime

# SDKs and the LiteLLM proxy for the tests, pinned.
$(VENV)/installed: tests/sdk/requirements.txt | tools
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt
	touch $@

tools:
	@tools/ensure

clean:
	rm -rf $(VENV) .bench models/runtime target
