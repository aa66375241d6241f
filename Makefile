# `make help` lists the targets. Needs GNU make, a POSIX shell and Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
SITE ?=
EXIT ?=
PYTEST_ARGUMENTS ?=
# Most of the long tests wait for something, so there are more processes than processors; a file's
# tests share its servers, so they stay together.
PYTEST_PROCESSES ?= 4

BIN := $(VENV)/bin
LOCKS := base mysql postgresql demo test
COMPILE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate

.PHONY: help demo test check bench screenshots requirements clean system-packages
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo 'make demo          run a whole cluster here, back up a sample site, restore and compare it'
	@echo '                   SITE=/path/to/a/site takes yours, EXIT=1 ends by itself with 0 or 1'
	@echo 'make test          install what the tests need, then all checks and all tests'
	@echo '                   PYTEST_ARGUMENTS="-k bundle" runs some of the tests'
	@echo 'make check         format, lint, types, layers, migrations'
	@echo 'make bench         measure the bundle writer against its peers, encryption, how promptly a cluster obeys,'
	@echo '                   what 10,000 sites with 200,000 jobs cost the database, and 1,000 viewers the panel'
	@echo 'make screenshots   take the pictures in docs/images anew, of a panel with 300 sites'
	@echo 'make requirements  lock requirements/*.in anew; UPGRADE=1 takes newer versions'
	@echo 'make clean         remove the demo with its data, and what the tools left'

demo: $(VENV)/.demo-installed
	@$(BIN)/python manage.py demo $(if $(SITE),--site "$$SITE") $(if $(EXIT),--exit)

test: system-packages $(VENV)/.test-installed
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n $(PYTEST_PROCESSES) --dist loadfile --no-loadscope-reorder \
		$(PYTEST_ARGUMENTS)

check: $(VENV)/.test-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy panel backups workers
	$(BIN)/lint-imports
	HOLDFAST_DATABASE_URL=sqlite://:memory: $(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/.test-installed
	$(BIN)/python -m tests.bench.bundle
	$(BIN)/python -m tests.bench.encryption
	$(BIN)/python -m tests.bench.restore_database
	$(BIN)/python -m tests.bench.restore
	$(BIN)/python -m tests.bench.one_file
	$(BIN)/python -m tests.bench.restore_job
	$(BIN)/python -m tests.bench.due_sites
	$(BIN)/python -m tests.bench.control
	$(BIN)/python -m tests.bench.broker_traffic
	$(BIN)/python -m tests.bench.scale
	$(BIN)/python -m tests.bench.streams

screenshots: system-packages $(VENV)/.test-installed
	$(BIN)/python -m tests.browser.screenshots

requirements: $(VENV)/.test-installed
	@for name in $(LOCKS); do \
		$(BIN)/uv pip compile --quiet $(COMPILE) $(if $(UPGRADE),--upgrade) \
			requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean:
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
	@.ci/system-packages "$(PYTHON)"

# A path may hold what the shell takes for its own: it goes through the environment.
export SITE

# The stamps make a second run quick, and a changed lock install again.
$(BIN)/python:
	@.ci/virtualenv "$(PYTHON)" "$(VENV)"

$(VENV)/.demo-installed: requirements/base.txt requirements/demo.txt | $(BIN)/python
	@.ci/install "$(VENV)" base demo
	@touch $@

$(VENV)/.test-installed: $(LOCKS:%=requirements/%.txt) | $(BIN)/python
	@.ci/install "$(VENV)" $(LOCKS)
	@touch $@
