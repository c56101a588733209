# `make demo` and `make test` are all a newcomer needs: Python >= 3.11, make and git (uv is used when it is on PATH).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow lint types contracts docs install lock clean

demo: $(INSTALLED)
	$(BIN)/kernelregime diagnose --network mlp --depth 5 --width 512 --activation relu --sigma-w2 2 --data digits --out runs/demo --overwrite

test: lint types contracts docs
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The tests of tests/slow.txt, which `make test` leaves out.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

contracts: $(INSTALLED)
	$(BIN)/lint-imports --no-cache

docs: $(INSTALLED)
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html
	$(BIN)/sphinx-build -q -W -b doctest docs docs/_build/doctest

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml scripts/install.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/install.sh
	@touch $@

# Resolves again; needs uv.
lock:
	uv lock --upgrade
	uv export -q --no-emit-project --extra flax --extra equinox --extra store --extra dask --extra docs --extra dev -o requirements.lock

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache
