# Two commands for a fresh machine: `make quickstart` and `make test`. Needs Python 3.11+ with venv, and PyPI.
PYTHON ?= python3
VENV ?= .venv
# A pinned release, of which pip takes the CPU build (2.13.0+cpu) where an index or folder that it knows has one. PyPI has
# the CUDA build alone, gigabytes that a CPU machine does not need: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help quickstart test check setup setup-dev clean

help:
	@echo "make quickstart   set up, then the whole chain on the embedded model: runs/quickstart/9-report/index.html"
	@echo "make test         set up, then lint, types and tests"
	@echo "make setup        the environment alone, in $(VENV)"
	@echo "make clean        remove the environment and caches (runs stay)"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(BIN)/python
	$(PIP) install "$(TORCH)"
	$(PIP) install -e ".[local,train]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.train
	$(PIP) install -e ".[local,train,dev]"
	@touch $@

setup: $(VENV)/.train
setup-dev: $(VENV)/.dev

quickstart: setup
	$(BIN)/codedpo run configs/quickstart.yaml

test: setup-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

check: test

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
