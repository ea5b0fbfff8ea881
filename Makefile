# The commands of a working day. Every target does the set-up that it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow lint wheel-test clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv with the pinned versions (a few minutes and 7 GB, once)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mmcore needs Python 3.11 or newer; '$(PYTHON)' is" `$(PYTHON) -V 2>&1`; \
	    echo "name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: install  ## train the tiny BLIP-3 on pictures made here, and print what it learned
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mmcore run recipes/blip3_tiny.toml

test: install lint  ## linters, types, import rules, and all fast tests
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "not slow"

test-slow: install  ## the proofs that take minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m slow

lint: install  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel-test: install  ## build the wheel, install it elsewhere, and use it there
	$(BIN)/python -m pytest -m slow tests/house/test_wheel.py

clean:  ## remove what was built; leaves runs/, data/ and .venv
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
