# Each target sets up what it needs by itself. `make PYTHON=python3.12 ...` chooses the Python that .venv is made with.

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench clean

help:
	@echo "make demo      a whole cluster on this machine, with the lines to try it"
	@echo "make test      lint, types, unit tests and tests against real programs (minutes)"
	@echo "make test-all  the same with the long tests"
	@echo "make bench     the table of docs/performance.rst"
	@echo "make clean     removes .venv, the demo's state and what the tools keep"

# Made again when the dependencies have changed.
.venv/ready-run .venv/ready-dev: .venv/ready-%: pyproject.toml .ci/setup
	@.ci/setup $*

demo: .venv/ready-run
	@exec .venv/bin/teleport demo --dir .demo

test: .venv/ready-dev
	@.venv/bin/python -m tests

test-all: .venv/ready-dev
	@TELEPORT_CONCH_LONG=1 .venv/bin/python -m tests

bench: .venv/ready-dev
	@.venv/bin/python -m bench

clean:
	rm -rf .venv .demo .tox .mypy_cache .ruff_cache .hypothesis _trial_temp* docs/_build
