# Floodgate from a bare clone: `make demo`, `make test`, `make test-fast`, `make check`, `make docs`, `make races`, `make flaps`,
# `make soak`, `make mutations`, `make destinations`, `make bench`, `make bench-peers`, `make bench-lookup`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := pyproject.toml constraints.txt

.DELETE_ON_ERROR:
.PHONY: demo test test-fast check races flaps soak mutations destinations docs bench bench-peers bench-lookup clean

demo: $(VENV)/runtime.stamp
	$(BIN)/floodgate demo $(ARGS)

# Tests wait more than they work, so some of them run side by side; those of one file stay together.
JOBS ?= 2
test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/architecture tests/unit $(wildcard tests/dialogs tests/integration tests/scenarios tests/races tests/soak) $(ARGS)

test-fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/architecture tests/unit tests/dialogs $(ARGS)

check: $(VENV)/check.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy mta control_api bench
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

# Pages that are written from the code; a test compares them.
docs: $(VENV)/check.stamp
	$(BIN)/floodgate config show --defaults > config/floodgate.toml
	$(BIN)/python -m mta.settings_file.page > docs/settings.md
	$(BIN)/python -m control_api.description.page docs/api.md

SEEDS ?= 20
races: $(VENV)/test.stamp
	$(BIN)/python -m tests.races --seeds $(SEEDS) $(ARGS)

SEED ?= 1
flaps: MINUTES ?= 5
flaps: $(VENV)/test.stamp
	$(BIN)/python -m tests.flaps --minutes $(MINUTES) --seed $(SEED) $(ARGS)

soak: MINUTES ?= 20
soak: $(VENV)/test.stamp
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

mutations: $(VENV)/test.stamp
	$(BIN)/python -m tests.mutations $(ARGS)

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

$(VENV)/bench.stamp: $(VENV)/runtime.stamp
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@
