# The commands of Tollgate. `make` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test check openapi fuzz faults matrix bench lock format clean

# Python 3.11 or newer makes the environment; what it runs on is pinned with hashes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := portal tenants keys sandbox
# Tests run side by side in so many processes.
JOBS ?= 2
# Fuzzing goes on until so many requests were sent.
CASES ?= 20000
# The soak in faults: so many purchases over these seeds; results are appended to a file.
SEEDS ?= 1-20
PURCHASES ?= 200000
OUT ?= faults.jsonl
# How long an outage of the fault matrix lasts.
FAULT_SECONDS ?= 30
DESCRIBE := DEMO=1 LOG_LEVEL=ERROR $(BIN)/python manage.py spectacular --validate --fail-on-warn

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.run-is-installed ## Start everything on this machine (PORT, SANDBOX_PORT, DATA_DIR can be set)
	@exec $(BIN)/python -m portal.laptop

test: $(VENV)/.dev-is-installed ## Run every test that can run here: on SQLite, then what concerns the database on PostgreSQL
	$(BIN)/pytest -n $(JOBS) -m "not postgres"
	@if url=$$($(BIN)/python -m tests.support.services postgres); then \
	  echo "$(BIN)/pytest -m 'postgres or flow or faults'  (PostgreSQL)"; \
	  TEST_DATABASE_URL=$$url $(BIN)/pytest -n $(JOBS) -m "postgres or flow or faults"; \
	elif [ "$$TOLLGATE_REQUIRE_SERVICES" = 1 ]; then echo "No PostgreSQL server answers." >&2; exit 1; \
	else echo "Left out: the tests on PostgreSQL, for no server answers (POSTGRES_URL names another)."; fi

check: $(VENV)/.dev-is-installed ## Lint, types, import rules, migrations, production settings, templates, docs/openapi.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	DEMO=1 DATABASE_URL=sqlite://:memory: $(BIN)/python manage.py makemigrations --check --dry-run
	set -a && . deploy/production.env.example && set +a && $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/djlint templates --lint --quiet
	$(DESCRIBE) | diff -u docs/openapi.yaml - || { echo "docs/openapi.yaml has fallen behind the code: run make openapi." >&2; exit 1; }

openapi: $(VENV)/.dev-is-installed ## Write the description of the REST API, docs/openapi.yaml
	$(DESCRIBE) > docs/openapi.yaml.new && mv docs/openapi.yaml.new docs/openapi.yaml

fuzz: $(VENV)/.dev-is-installed ## Send the REST API all that its description allows and forbids (CASES, SEED can be set)
	@url=$$($(BIN)/python -m tests.support.services postgres) && export TEST_DATABASE_URL=$$url; \
	$(BIN)/python -m tests.api_clients.fuzzing --cases $(CASES) $(if $(SEED),--seed $(SEED))

faults: $(VENV)/.dev-is-installed ## Break everything for half an hour and look for what is lost (SEEDS, PURCHASES, OUT can be set)
	@url=$$($(BIN)/python -m tests.support.services postgres) && export TEST_DATABASE_URL=$$url; \
	$(BIN)/python -m tests.faults.soak --seeds $(SEEDS) --purchases $(PURCHASES) --out $(OUT)

matrix: $(VENV)/.dev-is-installed ## Kill at every crash point, and break parts one by one for FAULT_SECONDS each
	@url=$$($(BIN)/python -m tests.support.services postgres) && export TEST_DATABASE_URL=$$url; \
	FAULTS=each FAULT_SECONDS=$(FAULT_SECONDS) FAULT_RESULTS=$(CURDIR)/matrix.jsonl \
	  $(BIN)/pytest -o faulthandler_timeout=$$((600 + 2 * $(FAULT_SECONDS))) tests/faults

bench: $(VENV)/.dev-is-installed ## Measure, each figure beside its limit and its plain version
	@for file in $$(grep -l '^if __name__' bench/*.py); do $(BIN)/python -m bench.$$(basename $$file .py) || exit 1; done

lock: $(VENV)/.dev-is-installed ## Pin the requirements anew, with hashes, from the .in files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade requirements-dev.in -c requirements.txt -o requirements-dev.txt

format: $(VENV)/.dev-is-installed ## Put the code into its form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove the environment, caches and the demo's data
	rm -rf $(VENV) var staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing. uv is quick (8 s where pip takes 30 s); where it cannot be had, pip does the same.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; name a newer one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.has-uv: $(BIN)/python requirements-dev.txt
	@awk '/^uv==/ {found = 1} found {print} found && !/\\$$/ {exit}' requirements-dev.txt > $(VENV)/uv.txt
	@$(BIN)/uv --version >/dev/null 2>&1 \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt \
	  || echo "uv cannot be had here; pip takes its place."
	@touch $@

define install
	@echo "Installing $(1) ..."
	@if $(BIN)/uv --version >/dev/null 2>&1; \
	then VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); fi
endef

$(VENV)/.run-is-installed: requirements.txt $(VENV)/.has-uv
	$(call install,requirements.txt)
	@touch $@

# The development list holds the other one.
$(VENV)/.dev-is-installed: requirements-dev.txt $(VENV)/.has-uv
	$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/.run-is-installed
