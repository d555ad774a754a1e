PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help demo test soak check bench lock format
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(VENV)/lib src || true
	touch $(STAMP)

demo: $(STAMP) ## set up and run a federation of three zones on this machine (CHECK=1: exit after the checks)
	$(BIN)/python -m demo $(if $(CHECK),--check,)

test: $(STAMP) check ## set up and pass all tests
	$(BIN)/python -m pytest -n 2 -m "not soak"

soak: $(STAMP) ## the long fault runs: kills, cuts, random loads
	$(BIN)/python -m pytest -m soak

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## measure this machine and print the tables of docs/performance.md
	$(BIN)/python -m bench

format: $(STAMP) ## let ruff arrange the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## choose new versions of what we depend on (needs uv)
	uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.txt
	uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt
