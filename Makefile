# Every target sets up its own virtual environment first; nothing needs to be installed by hand.
PYTHON ?= python3
VENV ?= .venv
PINS ?= -c constraints.txt
BIN := $(VENV)/bin
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test nightly newest lint types check docs bench clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## make .venv with everything in it

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make setup PYTHON=python3.11")'
	@echo "Setting up $(VENV): two to five minutes; torch is large …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e '.[train,dev]'
	@touch $@

demo: setup ## generate golden videos, curate them on Ray, train a small model on the shards, generate with it
	$(BIN)/stiv golden $(DEMO)/videos
	$(BIN)/stiv curate $(DEMO)/videos --out $(DEMO)/corpus
	$(BIN)/stiv golden $(DEMO)/shapes --set shapes --shapes 288
	$(BIN)/stiv curate $(DEMO)/shapes --out $(DEMO)/shapes_corpus --recipe configs/curate/shapes.yaml
	$(BIN)/stiv train $(DEMO)/shapes_corpus --out $(DEMO)/run $$(test -f $(DEMO)/run/run.json && echo --resume || echo --recipe configs/train/shapes_demo.yaml)
	$(BIN)/stiv generate $(DEMO)/run --prompt "A red circle moves to the right across a plain black background." --out $(DEMO)/circle.gif
	$(BIN)/python -m stiv_train.evaluation.shapes $(DEMO)/run --prompts 96 --out $(DEMO)/shapes.png --require-colour 0.95 --require-direction 0.45
	@echo
	@echo "Open $(DEMO)/corpus/report.html in a browser, and look at $(DEMO)/circle.gif and $(DEMO)/shapes.png. \`stiv\` is $(BIN)/stiv here."

test: setup ## the tests that a change must pass
	$(BIN)/python -m pytest -m "not slow"

nightly: setup ## all tests, long ones too
	$(BIN)/python -m pytest

newest: ## the tests in an environment of their own with the newest versions that pyproject.toml allows, as `pip install` brings them
	rm -rf .venv-newest
	$(MAKE) test VENV=.venv-newest PINS=

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy on the public modules
	$(BIN)/mypy

check: lint types test ## all that CI runs

docs: setup ## the generated part of the documentation
	$(BIN)/python -m pipelines.apps.table_docs > docs/tables.md

bench: setup ## measured tables, printed
	$(BIN)/python benchmarks/shots.py

clean: ## remove the demo and the environment
	rm -rf $(DEMO) $(VENV) .venv-newest
