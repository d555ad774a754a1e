PYTHON  ?= python3
WORKERS ?= 2
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
PIP     := $(BIN)/python -m pip --disable-pip-version-check
# Start times triple without bytecode, and some environments keep Python from writing it by itself.
COMPILE := $(BIN)/python -m compileall -qq

.PHONY: help demo test soak check bench guides lock format compile
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Koinon needs Python 3.11 or newer as $(PYTHON); name another one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) can't make virtual environments. On Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(COMPILE) $(VENV)/lib || true # some packages carry files for other Pythons, which need not compile
	@touch $(STAMP)

compile: $(STAMP)
	@$(COMPILE) src harness demo bench tests

demo: compile ## set up and run a federation of three zones on this machine (CHECK=1: exit after the checks)
	$(BIN)/python -m demo $(if $(CHECK),--check,)

test: compile check ## set up and pass all tests (WORKERS=N: so many at once; ENGINE=postgresql or mariadb: all on that engine)
	$(if $(ENGINE),ENGINE=$(ENGINE) )$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not soak"

soak: compile ## the long fault runs: kills, cuts, random loads
	$(BIN)/python -m pytest -m soak

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: compile ## measure this machine and print the tables of docs/performance.md
	$(BIN)/python -m bench

guides: compile ## put what the commands in README.md and docs/guide show now into these pages
	KOINON_REWRITE_GUIDE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -k the_page_shows tests/acceptance tests/api/test_json_guide.py

format: $(STAMP) ## let ruff arrange the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## choose new versions of what we depend on (needs uv)
	uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.txt
	uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt
