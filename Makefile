# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Extras of pyproject.toml whose packages are heavy, or bear none of another extra beside them. Each has a lock and an
# environment of its own, so that `make demo` and `make test` install none of them. To add one: the extra in
# pyproject.toml, a marker of its name for its tests beside `ui`, its name here; then `make lock` and `make test-<extra>`.
HEAVY := ui
# The other extras, which .venv has.
LIGHT := dev s3
SPACE := $(subst ,, )

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-all test-newest lint bench lock setup clean $(foreach on,setup test test-newest,$(HEAVY:%=$(on)-%))

help: ## list the targets
	@grep -hE '^(#: )?[a-z<>-]+:.*## ' $(MAKEFILE_LIST) | sed 's/^#: //; s/:.*## /\t/' | expand -t 22

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

$(HEAVY:%=.venv-%/.ready): .venv-%/.ready: requirements-%.lock $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$*
	$(BIN)/uv pip sync --quiet --compile-bytecode --python .venv-$*/bin/python $<
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

#: setup-<extra>: ## create .venv-<extra> with the exact lock of a heavy extra, such as setup-ui
$(HEAVY:%=setup-%): setup-%: .venv-%/.ready

demo: $(READY) ## generate sample files of the last two full weeks, load them, build every table, print what is where
	@$(BIN)/pipeline-assets demo

dev: $(READY) ## the Dagster UI on http://localhost:3000 with sensors running; PORT=n for another port
	@# Without a port it takes another one where 3000 is taken, and says so.
	$(BIN)/dg dev $(if $(PORT),--port $(PORT))

test: $(READY) ## run the tests
	$(BIN)/python -m pytest

test-all: $(READY) $(HEAVY:%=test-%) ## all tests, those of extras and long ones too; CRASH_SEED=n repeats a random one
	$(BIN)/python -m pytest -m "not ($(subst $(SPACE), or ,$(HEAVY)))" $(if $(CRASH_SEED),--crash-seed $(CRASH_SEED))

NEWEST_TESTS := sources staging formats io_managers tables/test_identities.py tables/test_sessions.py \
	end_to_end/test_definitions.py end_to_end/test_access_logs.py

test-newest: $(READY) ## a short test with the newest versions that pyproject.toml allows, in .venv-newest
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-newest
	$(BIN)/uv pip install --quiet --python .venv-newest/bin/python --upgrade --editable ".[dev]"
	$(BIN)/uv pip freeze --python .venv-newest/bin/python | grep -E '^(dagster|duckdb|polars|pyarrow|sqlalchemy|adbc)'
	.venv-newest/bin/python -m pytest $(addprefix pipeline_assets_tests/,$(NEWEST_TESTS))

#: test-<extra>: ## the tests that need a heavy extra: test-ui looks at the UI with Debian's Chromium (apt-get install chromium)
$(HEAVY:%=test-%): test-%: .venv-%/.ready
	.venv-$*/bin/python -m pytest -m $*

#: test-newest-<extra>: ## the same with the newest versions that pyproject.toml allows
$(HEAVY:%=test-newest-%): test-newest-%: $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-newest-$*
	$(BIN)/uv pip install --quiet --python .venv-newest-$*/bin/python --upgrade --editable ".[dev,s3,$*]"
	.venv-newest-$*/bin/python -m pytest -m $*

lint: $(READY) ## ruff, ty, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports --no-cache --no-logo

bench: $(READY) ## compare with plain DuckDB, Polars and COPY on 2 million events
	$(BIN)/python -m benchmarks

LOCK := $(BIN)/uv pip compile pyproject.toml $(LIGHT:%=--extra %) --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --quiet

lock: $(READY) ## renew requirements.lock, and requirements-<extra>.lock of every heavy extra, from pyproject.toml
	$(LOCK) --upgrade --output-file requirements.lock
	@# What both have gets the same versions where the extra allows that: uv prefers those that a file has already.
	$(foreach extra,$(HEAVY),cp requirements.lock requirements-$(extra).lock && \
		$(LOCK) --extra $(extra) --output-file requirements-$(extra).lock &&) true

clean: ## remove .venv and all data
	-@test ! -x $(BIN)/pipeline-assets -o ! -d data/postgres || $(BIN)/pipeline-assets stop
	rm -rf .venv .venv-* data
