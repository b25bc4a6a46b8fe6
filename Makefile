# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-all test-newest test-ui lint bench lock setup clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	@# uv installs the whole lock in seconds; its own version is in the lock too.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' requirements.lock)"
	@# Compiled here once: where Python may not write what it has compiled (PYTHONDONTWRITEBYTECODE, as in many
	@# containers; a folder of another user) every start of a program would compile two thousand modules again.
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY) ## create .venv with the exact lock

demo: $(READY) ## generate sample files of the last two full weeks, load them, build every table, print what is where
	@$(BIN)/pipeline-assets demo

dev: $(READY) ## the Dagster UI on http://localhost:3000 with sensors running
	$(BIN)/dg dev --port 3000

test: $(READY) ## run the tests
	$(BIN)/python -m pytest

test-all: $(READY) ## all tests: those too that take or search for long or need Chromium; CRASH_SEED=n repeats a random one
	$(BIN)/python -m pytest -m "" $(if $(CRASH_SEED),--crash-seed $(CRASH_SEED))

NEWEST_TESTS := sources staging formats io_managers tables/test_identities.py tables/test_sessions.py \
	end_to_end/test_definitions.py end_to_end/test_access_logs.py

test-newest: $(READY) ## a short test with the newest versions that pyproject.toml allows, in .venv-newest
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-newest
	$(BIN)/uv pip install --quiet --python .venv-newest/bin/python --upgrade --editable ".[dev]"
	$(BIN)/uv pip freeze --python .venv-newest/bin/python | grep -E '^(dagster|duckdb|polars|pyarrow|sqlalchemy|adbc)'
	.venv-newest/bin/python -m pytest $(addprefix pipeline_assets_tests/,$(NEWEST_TESTS))

test-ui: $(READY) ## look at the UI with Debian's Chromium (apt-get install chromium)
	$(BIN)/python -m pytest -m ui

lint: $(READY) ## ruff, ty, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports --no-cache --no-logo

bench: $(READY) ## compare with plain DuckDB, Polars and COPY on 2 million events
	$(BIN)/python -m benchmarks

lock: $(READY) ## renew requirements.lock from the ranges in pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url \
		--no-emit-find-links --upgrade --quiet --output-file requirements.lock

clean: ## remove .venv and all data
	-@test ! -x $(BIN)/pipeline-assets -o ! -d data/postgres || $(BIN)/pipeline-assets stop
	rm -rf .venv .venv-newest data
