# Two commands on a fresh machine: `make demo`, `make test`. Each sets .venv up first; a second call finds it ready.
PYTHON ?= python3
WORKERS ?= 2
OUT ?= demo-out
BENCH ?= --quick
UV_VERSION = 0.13.8

BIN = .venv/bin
READY = .venv/ready
LOCK = requirements.lock
# pyright nags about newer versions; the lock decides. uv shall trust what pip and curl trust on this machine.
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
export UV_SYSTEM_CERTS ?= 1
# Workers and the commands that tests start import JAX again and again: bytecode is kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-slow test-all lint format coverage bench docs lock build clean

help:
	@echo "make demo | test | test-slow | test-all | lint | format | coverage | bench | docs | lock | build | clean"

setup: $(READY)

# pip, when uv cannot reach the registry: pip follows the user's own index settings. Both check every hash.
$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else \
	    f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}: name another with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK) \
	    || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY)
	$(BIN)/volume demo --out $(OUT)

# Two tiers; `test-all` is both. A file goes to one worker whole, which compiles its programs once.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations 25

test: $(READY)
	$(PYTEST) -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m slow

test-all: $(READY)
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(READY)
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

# `make bench` is a quarter of an hour; `make bench BENCH=throughput` the full figures of one (docs/benchmarks.md).
bench: $(READY)
	$(BIN)/python -m benchmarks $(BENCH)

# Minutes; `make docs DOCS=--quick` remakes the outputs that take seconds (docs/outputs.py).
docs: $(READY)
	$(BIN)/python docs/outputs.py $(DOCS)

# Names no index, and serves every Python and platform at once. `make lock UPGRADE=--upgrade` takes the newest of all.
lock: $(BIN)/uv
	$(BIN)/uv pip compile pyproject.toml --extra digits --group dev $(UPGRADE) --quiet -o $(LOCK) \
	    --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

build: $(READY)
	rm -rf build dist
	$(BIN)/uv build --quiet --python $(BIN)/python --offline --no-build-isolation

clean:
	rm -rf .venv build dist demo-out *.egg-info .pytest_cache .ruff_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
