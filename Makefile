# Two commands on a machine that has Python 3.11+ and make: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OUT ?= runs/quickstart

.PHONY: quickstart test test-slow lint install

quickstart: $(INSTALLED)  ## run the main job and say where its report is
	$(BIN)/exfm run sims/quickstart.yaml --out $(OUT)

test: lint  ## what CI runs
	$(BIN)/pytest

test-slow: $(INSTALLED)  ## the tests that take minutes each
	$(BIN)/pytest -m slow --timeout 3600

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
