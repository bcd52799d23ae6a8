# Seven words. Each does all the set-up that it needs.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# Modules are compiled once, whatever the environment says: the tests start some thousand processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install serve test check bench format cluster

install: $(VENV)/installed

serve: install
	$(BIN)/kohakuhub serve

test: $(VENV)/installed-test
	PYTHON=$(PYTHON) sh tests/clients/install.sh
	sh tests/servers/postgres.sh
	-sh tests/servers/lakefs.sh
	-sh tests/servers/versitygw.sh
	sh tests/servers/openssh.sh
	-sh tests/servers/nginx.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 30

cluster: $(VENV)/installed-test
	sh tests/servers/postgres.sh
	sh tests/servers/lakefs.sh
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
