# Every target sets itself up in .venv: what it needs is Python 3.11 or newer. uv is used when it is
# there (`make UV= ...` does without), `make PYTHON=... ...` names another Python.

VENV := .venv
BIN := $(VENV)/bin
PRODUCT := $(VENV)/.product
DEV := $(VENV)/.dev
OTHERS := $(VENV)/.others
RECORDS ?= 100000
PROCESSES ?= 2

UV ?= $(shell command -v uv 2>/dev/null)
RECENT := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python $(RECENT) >/dev/null 2>&1; then command -v $$python; break; fi; done)

.PHONY: help demo test lint types imports model format docs bench clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(PRODUCT) ## load the sample log into an embedded PostgreSQL and look around
	@$(BIN)/backstory demo --fetch-model

test: $(OTHERS) lint types imports model ## everything that must hold: lint, types, import rules, tests
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal

lint: $(DEV) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## mypy, strict
	$(BIN)/mypy --num-workers $(PROCESSES)

imports: $(DEV) ## import-linter: the layers
	$(BIN)/lint-imports

model: $(DEV) ## bring the model of recall by meaning, which some tests need; they pass without
	-@$(BIN)/backstory model install

format: $(DEV) ## put the code into shape, and repair what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(DEV) ## write the generated parts of the docs anew
	$(BIN)/python docs/generate.py

bench: $(DEV) ## the benchmarks, with RECORDS=100000 records unless told otherwise
	$(BIN)/python bench/load.py --records $(RECORDS) --keep
	@set -e; url="$${DATABASE_URL:-$$($(BIN)/backstory --home bench/data/home db url)}"; \
	loaded="--schema bench_$(RECORDS) --words bench/data/$(RECORDS)/words.json --url $$url"; \
	$(BIN)/python bench/search.py $$loaded; \
	$(BIN)/python bench/tools.py $$loaded; \
	$(BIN)/python bench/events.py --url "$$url"; \
	$(BIN)/python bench/kills.py --kills 20 --records 5000

clean: ## remove .venv and every cache; data and databases stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: a stamp each for what the product, its developers and some of the tests need --------

$(PRODUCT): pyproject.toml
	@$(BIN)/python $(RECENT) 2>/dev/null || { $(virtual_environment); }
	@$(installer)
	@echo "Installing Backstory into $(VENV); the first time takes a minute or two."
	@$(install) --editable ".[semantic]" || { echo "$(NO_SEMANTIC)"; $(install) --editable .; }
	@touch $@

$(DEV): $(PRODUCT)
	@echo "Installing the tools of its developers."
	@$(install_group) dev --editable ".[check,parquet,semantic]"
	@touch $@

$(OTHERS): $(DEV) tests/faces/other_environment.py
	@echo "Installing what some tests need apart from it."
	@$(BIN)/python tests/faces/other_environment.py
	@touch $@

ifneq ($(UV),)
virtual_environment = rm -rf $(VENV) && "$(UV)" venv --quiet --python "$(or $(PYTHON),3.13)" $(VENV)
installer = true
install = "$(UV)" pip install --quiet --python $(BIN)/python
install_group = $(install) --group
else
# The system's ensurepip or pip brings pip into .venv. Debian ships Python without either.
virtual_environment = test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }; \
	rm -rf $(VENV) && "$(PYTHON)" -m venv --without-pip $(VENV)
installer = $(BIN)/python -m pip --version >/dev/null 2>&1 \
	|| $(BIN)/python -m ensurepip >/dev/null 2>&1 \
	|| "$(PYTHON)" -m pip --python $(BIN)/python install --quiet pip 2>/dev/null \
	|| { echo "$(NO_PIP)" >&2; exit 1; }
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check
install_group = $(install) "pip>=25.1" && $(install) --group
endif

NO_PYTHON = Backstory needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python3.
NO_SEMANTIC = What meaning needs cannot be had for this Python: going on without.
NO_PIP = $(PYTHON) has neither ensurepip nor pip: install one (Debian, Ubuntu: apt install python3-venv), or uv.
