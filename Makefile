# Everything is installed into .venv from this folder, at the versions of constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXPERIMENT ?= experiments/default.yaml
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-more ui check lint kernels docs reference sample wheel paper prove audit lock clean

help: ## List these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

run: .venv/installed ## Run the default experiment (EXPERIMENT=… for another) and print its table
	$(BIN)/ebr run $(EXPERIMENT)

check: .venv/installed ## Check EXPERIMENT and its logs without training
	$(BIN)/ebr check $(EXPERIMENT)

ui: .venv/installed ## Serve the Prefect and MLflow pages with a worker, on loopback; Ctrl-C ends all of them
	@$(BIN)/ebr ui

test: .venv/installed-dev ## Lint, check types and layers, run the tests
	@$(MAKE) --no-print-directory -j2 lint kernels
	$(BIN)/python -m pytest -m "not more" --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-more: .venv/installed-more ## Run the tests that take long or need a browser, an encoder or a search engine
	$(BIN)/python -m pytest -m more --numprocesses 2 --dist loadfile --no-loadscope-reorder

kernels: .venv/installed # compiles, beside the lint, the kernels that most tests need: a small run of every stage
	@home=$$(mktemp -d) && EBR_HOME=$$home $(BIN)/ebr run experiments/smoke.yaml > $$home/output 2>&1 || (cat $$home/output; exit 1); rm -rf $$home

lint: .venv/installed-dev ## Lint, check types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: .venv/installed-docs ## Build the site of the documentation into site/, without a network; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

reference: .venv/installed-dev ## Write the generated pages of docs/reference/ again, and experiments/schema.json
	$(BIN)/python -m tools.reference
	$(BIN)/ebr schema > experiments/schema.json

sample: .venv/installed ## Run the default experiment and write docs/sample and the blocks of README.md; needs chromium
	$(BIN)/python -m tools.sample

wheel: .venv/installed ## Build a wheel into dist/
	rm -rf build
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --wheel-dir dist .

paper: .venv/installed ## Run the paper's comparisons and write docs/paper-results.md; a killed run can be resumed
	$(BIN)/ebr paper

prove: .venv/installed ## Run the checks that take an hour or more: intervals cover what they promise, 50 kills of runs and 10 of nights change nothing, 2,000 broken inputs are read or refused
	$(BIN)/python -m proofs.coverage
	$(BIN)/python -m proofs.kills
	$(BIN)/python -m proofs.night_kills
	$(BIN)/python -m proofs.fuzz

audit: ## Look up known vulnerabilities of everything in constraints.txt; asks a service on the network about each package
	@test -x .venv-audit/bin/pip-audit || ($(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install -q --disable-pip-version-check pip-audit==2.10.1)
	.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

lock: ## Rewrite constraints.txt with the newest versions that constraints-known.txt allows, and the bounds in pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install -q packaging torch==2.13.0
	.venv-lock/bin/pip install -q -c constraints-known.txt $$(.venv-lock/bin/python -m tools.bounds --names)
	.venv-lock/bin/pip freeze --all | grep -v '^pip==' | sed -e 's/+cpu//' > constraints.txt && .venv-lock/bin/python -m tools.bounds && rm -rf .venv-lock

clean: ## Remove the environment and all state (trained models included)
	rm -rf .venv .venv-audit .ebr build dist site

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else f"Python 3.11 is needed, {sys.version.split()[0]} found: make PYTHON=/path/to/python3.11 …")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

.venv/installed-more: .venv/installed-dev .venv/installed-docs
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[encoders,minilm,engines]'
	@touch $@
