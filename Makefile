# `make demo` and `make test` set up everything they need, given Python 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test lint types docs docs-links benchmark clean help

help:
	@echo "make demo       a study of the simple maze, from training to figures and page (6 minutes)"
	@echo "make test       lint, types, documentation and tests (under 10 minutes)"
	@echo "make benchmark  the tables of docs/speed.md"
	@echo "make docs       the documentation, in build/docs/html"
	@echo "make docs-links whether the links to other sites still lead somewhere"
	@echo "make clean      remove what the others made"

# A virtual environment with the pinned dependencies and this package, made anew when they change.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--editable ".[dev,docs,tensorboard,cluster]"
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/crar-diag reproduce simple-maze --preset quick --out demo --resume

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

# Every warning is an error, a link or anchor that leads nowhere among them. A page that is not read
# again warns no more, hence the fresh environment.
SPHINX = $(BIN)/python -m sphinx --quiet --jobs $(WORKERS) --fail-on-warning --keep-going \
	--fresh-env --doctree-dir build/docs/doctrees docs

docs: $(VENV)/.ready
	$(SPHINX) build/docs/html --builder html
	@echo "the documentation is at build/docs/html/index.html"

docs-links: $(VENV)/.ready
	$(SPHINX) build/docs/links --builder linkcheck

test: $(VENV)/.ready
	$(MAKE) --no-print-directory --jobs $(WORKERS) lint types docs
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

benchmark: $(VENV)/.ready
	$(BIN)/python benchmarks/train.py

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache *.egg-info
