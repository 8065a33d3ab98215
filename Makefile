# `make demo` sets up and runs the main job; `make test` sets up and runs every check.
# PYTHON=… picks the interpreter (3.11 or 3.12); REAL_DATA=… the folder of real data for tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow object-store kustomize images newcomer docs coverage faults test-team faults-team fuzz lint types bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready  ## make .venv, install the pinned versions; with Java, resolve Delta's JARs (once)

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	  || { echo "mrl4rec needs Python 3.11 or 3.12: install it, or name it: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "Setting up .venv with $(PYTHON): about 2 minutes and 7 GB, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sh infra/install.sh $(BIN)
	@$(BIN)/mrl4rec setup || echo "Spark is left out for now; for it, later: $(BIN)/mrl4rec setup"
	@touch $@

demo: setup  ## the main job on MovieLens 100K: tables, models, leaderboard, report
	@$(BIN)/mrl4rec run --dataset ml-100k

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache | tail -n 6

types: setup
	@$(BIN)/mypy

test: lint types  ## lint, types, import directions and the test suite (minutes)
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup

coverage: setup  ## the tests again, and which lines of src/ they run (half as long again)
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadgroup --cov --cov-report=term:skip-covered

faults: setup  ## every fault injected for real, and what came of it (docs/faults.md)
	@$(BIN)/python -m tests.faults

fuzz: setup  ## the parsers under coverage-guided fuzzers (SECONDS=600; docs/hostile-input.md)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || sh infra/install.sh $(BIN) dev,fuzz
	@$(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),600)

object-store:  ## an S3 server for the tests (versitygw), built with Go once; without it they are skipped
	@test -x $(HOME)/.cache/mrl4rec/bin/versitygw || GOBIN=$(HOME)/.cache/mrl4rec/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

kustomize:  ## what renders the Kubernetes manifests, built with Go once; without it that test is skipped
	@test -x $(HOME)/.cache/mrl4rec/bin/kustomize || GOBIN=$(HOME)/.cache/mrl4rec/bin go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1

images:  ## build the two container images and run each once (docs/infra.md)
	@sh infra/images/build.sh

test-slow: setup  ## real processes, servers and kills
	@$(BIN)/python -m pytest -m slow -n 2 --dist loadgroup

test-team: setup object-store  ## the team's stack for real: pools, machines, databases and executors killed
	@$(BIN)/python -m pytest -m slow tests/faults/test_c*.py tests/faults/test_nodes.py tests/faults/test_f08_executors.py

faults-team: setup object-store  ## the faults of a team's stack (C1 to C13) injected for real (docs/faults-team.md)
	@$(BIN)/python -m tests.faults --team

newcomer: setup docs  ## the base install alone, the notebooks and the tutorial, as somebody new runs them
	@$(BIN)/python -m pytest -q -m slow tests/newcomer

docs: setup  ## the documentation as a site in site/; broken links are errors
	@$(BIN)/python -c 'import material, mkdocstrings' 2>/dev/null || sh infra/install.sh $(BIN) dev,docs
	@PATH="$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/: $(BIN)/python -m http.server -d site -b 127.0.0.1 shows it, with search"

bench: setup  ## seconds and memory beside other tools (needs ../shared/data or MRL4REC_REAL_DATA)
	@$(BIN)/python -c 'import implicit, polars, duckdb' 2>/dev/null || sh infra/install.sh $(BIN) dev,bench
	@$(BIN)/python -m tests.benchmarks

clean:  ## remove what was set up (not the warehouse)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
