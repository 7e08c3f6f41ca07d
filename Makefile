# Everything a newcomer needs.  `make` alone lists the targets.

PYTHON ?= python3
PY := .venv/bin/python
INSTALLED := .venv/.installed
# One process more than processors: many tests wait for servers they have started.
TESTERS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install demo serve test coverage lint types imports knowledge check conformance vignettes mutate bench \
	bench-check fuzz sbom audit requirements cards screenshots clean

help: ## List the targets
	@echo "Post-laminectomy evaluation. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with the pinned tools and the service

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is missing or older." >&2; \
	  echo "Install it, or name it: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "The module venv of '$(PYTHON)' is not complete." >&2; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned packages into .venv, once. This takes a minute or two ..."
	@$(PYTHON) -m venv --clear .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## Start the service and a test EHR with made-up patients on this machine
	@$(PY) -m cds_service demo

serve: install ## Serve on this machine without client authentication
	@$(PY) -m cds_service serve --dev

test: install ## Run every test
	$(PY) -m pytest -q -n $(TESTERS) --dist loadfile

coverage: install ## Run every test and show the lines none of them runs; takes longer
	$(PY) -m pytest -q -n $(TESTERS) --dist loadfile --cov=cds_service --cov-branch --cov-report=term-missing:skip-covered

lint: install ## Check style, formatting, YAML and security patterns
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m yamllint --strict cards fhir_fixtures tests
	$(PY) -m bandit --quiet --recursive --severity-level medium cds_service

types: install ## Check types with mypy --strict
	$(PY) -m mypy

imports: install ## Check the direction of imports
	.venv/bin/lint-imports

knowledge: install ## Check cards/ and the table in cards/README.md
	$(PY) -m cds_service check-knowledge
	$(PY) -m cds_service.knowledge.checking

check: lint types imports knowledge test ## All of the above

conformance: install ## Show which test proves which statement of CDS Hooks; fail on a gap
	@$(PY) -m tests.contract

vignettes: install ## Print the clinical cases as a list
	@$(PY) -m tests.vignettes

mutate: install ## Change each number, boundary and code, and see that a test notices
	$(PY) tools/mutate.py

bench: install ## Measure the service against its goals
	$(PY) benchmarks/run.py

bench-check: install ## Compare the core with the stored ratios (benchmarks/stored.json)
	$(PY) benchmarks/check.py

fuzz: install ## Try odd input for FUZZ_SECONDS (60) on everything that reads a stranger's bytes
	$(PY) -m tests.fuzz $(or $(FUZZ_SECONDS),60)

sbom: install ## Write dist/sbom.cdx.json, the packages the service runs with (CycloneDX)
	@mkdir -p dist
	$(PY) tools/sbom.py > dist/sbom.cdx.json

audit: install ## Compare every pinned package with the known faults (scheduled job; needs the network)
	$(PY) tools/audit.py requirements-dev.txt requirements-build.txt

requirements: ## Pin and hash the requirements again, for Python 3.11 to 3.13 (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --quiet requirements.in -o requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --quiet requirements-dev.in -o requirements-dev.txt

cards: install ## Rewrite the table in cards/README.md
	$(PY) -m cds_service.knowledge.checking --write

screenshots: install ## Take the pictures in docs/img anew (needs Chromium)
	$(PY) -m tests.browser.take_screenshots

clean: ## Remove the environment and everything generated
	rm -rf .venv build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache var
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
