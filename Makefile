# Two commands do everything on a machine with Python >= 3.11, git and make: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check lint types layers bench soak siege model fuzz crash stress openapi lock clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

install: $(STAMP)  ## .venv with both packages and everything the tests need

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python has no venv module: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: install  ## a notebook on real data, over a gateway and three nodes (PLATFORM=docker: in a container; KEEP=1 leaves it running)
	@$(BIN)/python -m gateway.cli.demo $(if $(KEEP),--keep) --platform $(or $(PLATFORM),local) $(if $(SOCKET),--socket $(SOCKET))

stress: install  ## 100 sessions of 5 s through a gateway to three nodes: none lost, none twice, nothing left
	$(BIN)/python -m tests.stress.run --sessions 100

# Many tests wait for processes, containers and clocks: more of them at once than there are cores.
WORKERS ?= 3

test: install  ## every test, with branch coverage (WORKERS=…: so many at once)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term:skip-covered --cov-fail-under=85

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

check: lint types layers test  ## what CI runs

model: install  ## 100,000 schedules of the accept protocol: faults, crashes, two gateways
	$(BIN)/python -m tests.model --schedules 100000 --walks 500 --jobs 2

crash: install  ## kill the gateway, on each database, and the node with -9 at every step, also at later passages of each
	CRASH_POINTS=all $(BIN)/pytest -q tests/faults/test_crash_points.py tests/faults/test_node_crash_steps.py

soak: install  ## 30 minutes of mixed traffic with faults (MINUTES=…, SEED=…)
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

siege: install  ## two gateways on PostgreSQL: 20 kills with -9, then no database for 30 s; nothing lost, nothing twice
	$(BIN)/python -m tests.siege

FUZZ_S ?= 600

fuzz: install  ## every parser and every endpoint, for FUZZ_S seconds and more examples; inputs stay in .cache/fuzz
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_S) --keep .cache/fuzz
	SCHEMATHESIS_EXAMPLES=100 $(BIN)/pytest -q tests/contract/test_schemathesis.py

bench: install  ## the figures of performance.md's goals, as ratios to baselines measured in the same run (MARKDOWN=1: for a document)
	$(BIN)/python -m tests.bench.run $(if $(MARKDOWN),--markdown)

openapi: install  ## the OpenAPI document of the gateway on standard output
	@$(BIN)/execbroker-gateway openapi

LOCKED := --quiet --universal --python-version 3.11 --no-strip-extras --no-emit-index-url --no-annotate --generate-hashes --custom-compile-command "make lock"

lock:  ## write requirements.lock anew from the ranges in pyproject.toml, and of that the part for the image
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile $(LOCKED) --all-extras --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile $(LOCKED) --extra postgres --extra uvloop --constraints requirements.lock pyproject.toml -o k8s/requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
