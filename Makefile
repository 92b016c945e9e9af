# Central Hub. `make` alone lists what there is.
#
# A newcomer has Python 3.11+ and make. Everything else is installed into .venv from hash-locked requirements.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements
PACKAGES := models routing signals inference messaging storage deployments serve_app
CHECKED := $(wildcard $(PACKAGES) training benchmarks ops tests examples)

.PHONY: help env env-dev demo test check format chaos bench lock clean

help:  ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.demo-ready  ## Make .venv with what the demo needs
	@:

env-dev: $(VENV)/.dev-ready  ## Make .venv with everything: tests, training, benchmarks
	@:

# Bytecode is kept even where the environment says not to: hundreds of processes would each compile everything anew.
demo: env  ## Run the whole hub on bundled servers with real ticks (ARGS="--seconds 30 --users 10")
	@PYTHONDONTWRITEBYTECODE= $(BIN)/hub demo $(ARGS)

test: env-dev  ## Run the suite, all tiers but chaos (ARGS="tests/unit -k name")
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(ARGS)

check: env-dev  ## Format, lint, types and import contracts; changes nothing
	@echo "==> ruff format"; $(BIN)/ruff format --check .
	@echo "==> ruff check"; $(BIN)/ruff check .
	@echo "==> mypy --strict"; $(BIN)/mypy $(CHECKED)
	@echo "==> import contracts"; $(BIN)/lint-imports

format: env-dev  ## Rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only .

chaos: env-dev  ## Run the full fault matrix on real processes (under 60 minutes)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests/chaos $(ARGS)

bench: env-dev  ## Run a benchmark (ARGS="decision --json out.json"); no ARGS lists them
	@$(BIN)/python -m benchmarks $(or $(ARGS),--help)

lock: env-dev  ## Resolve the dependencies again and write the locks
	@$(LOCKS)/lock $(BIN)/uv

clean:  ## Remove what the commands above made
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp file says what is installed, so that a second call returns at once.

$(BIN)/uv: $(LOCKS)/bootstrap.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $$($(PYTHON) --version) is too old: Central Hub needs 3.11 or newer." >&2; \
	  echo "       Name another one, for example: make env PYTHON=python3.12" >&2; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# uv is several times faster but does not read pip's configuration: behind a mirror known only to pip, pip does it.
$(VENV)/.demo-ready $(VENV)/.dev-ready: $(VENV)/.%-ready: $(LOCKS)/%.txt $(BIN)/uv pyproject.toml
	@echo "==> installing $$(grep -c '==' $<) locked packages ($*); a minute or two the first time"
	@$(BIN)/uv pip install --system-certs --python $(BIN)/python --require-hashes --requirement $< || { \
	  echo "==> uv could not; pip tries, more slowly"; \
	  $(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement $<; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "==> $(VENV) is ready"
