# Two commands matter: `make demo` shows sealdrop at work, `make test` runs its tests. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test bench check format format-check lint types walls lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready  ## Seal sample PDFs on this machine, live (ARGS="--once --dir DIR" is handed on)
	@$(BIN)/sealdrop demo $(ARGS)

test: $(VENV)/ready  ## Run the tests (ARGS is handed on to pytest)
	@$(BIN)/pytest --numprocesses auto $(ARGS)

bench: $(VENV)/ready  ## Measure speed and memory (ARGS="--quick --json FILE")
	@$(BIN)/python tests/benchmarks $(ARGS)

check: format-check lint types walls test  ## All that CI asks for

format: $(VENV)/ready  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: $(VENV)/ready
	$(BIN)/ruff format --check .

lint: $(VENV)/ready
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/mypy

walls: $(VENV)/ready  ## Check that imports keep to the layers of the design
	$(BIN)/lint-imports --no-cache

$(VENV)/ready: .ci/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .ci/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(VENV)/ready  ## Renew .ci/requirements.lock (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --upgrade --quiet --output-file .ci/requirements.lock

clean:  ## Remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage
