# The words of the repository. Each does all the set-up that it needs; tests/README.md tells which tests to run when.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# Modules are compiled once, whatever the environment says: the tests start some thousand processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install serve test test-long test-fast test-one programs check bench format cluster

install: $(VENV)/installed

serve: install
	$(BIN)/kohakuhub serve

# The tests wait more than they work: more workers than cores fill the waits.
WORKERS ?= 4
PYTEST = PYTHON=$(PYTHON) $(BIN)/python -m pytest
SPREAD = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --set-up

test: $(VENV)/installed-test programs
	$(PYTEST) $(SPREAD)

# A new seed each time, which docs/long-tests.md keeps and a failure names.
SEED ?= $(shell date +%s)
test-long: $(VENV)/installed-test programs
	@echo "seed $(SEED)"
	HUB_BIG_MB=300 KOHAKU_CRASH_ROUNDS=10 KOHAKU_STEPS=1000 KOHAKU_SEED=$(SEED) FUZZ_SEEDS=$(SEED)-$$(($(SEED) + 9)) FUZZ_STEPS=25 \
		FUZZ_PACKS=$(SEED)-$$(($(SEED) + 999)) $(PYTEST) $(SPREAD) --tier long

test-fast: $(VENV)/installed-test
	$(PYTEST) -n 2 --tier fast

# make test-one T=tests/lfs/test_views.py::test_name
test-one: $(VENV)/installed-test programs
	$(PYTEST) --tier long $(T)

# What is had in a moment; pytest gets all else in the background.
programs: $(VENV)/installed-test
	sh tests/clients/git-lfs.sh
	sh tests/servers/postgres.sh
	sh tests/servers/openssh.sh

cluster: $(VENV)/installed-test
	sh tests/servers/postgres.sh
	sh tests/servers/lakefs.sh
	sh tests/servers/nginx.sh
	@$(BIN)/python -m tests.servers.cluster

check: $(VENV)/installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-test
	@cat bench/README.md

format: $(VENV)/installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	PYTHON=$(PYTHON) sh .ci/venv $(VENV)

$(VENV)/installed: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install -q -e '.[test]'
	touch $@

$(VENV)/installed-check: $(VENV)/installed-test
	$(BIN)/pip install -q -e '.[test,check]'
	touch $@
