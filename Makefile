# `make repro` and `make test` need python3.11 (or later), git and make. They install the rest into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

.DEFAULT_GOAL := help
.PHONY: help setup fetch repro experiments test check bench lint format preset clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /\1|/p' Makefile | while IFS='|' read -r name what; do printf 'make %-12s %s\n' "$$name" "$$what"; done

repro: $(READY)  ## run every stage whose inputs changed, then print the scores
	dvc repro
	@echo
	@python -m commands.summary

# `dvc exp show` has a column for every setting, score and file. This shows only the differences and CIDEr.
experiments: $(READY)  ## the settings that each experiment changed, and its CIDEr, in 80 columns
	@python -m commands.summary --baseline
	@shown=$$(dvc exp show --no-pager --hide-workspace --only-changed --drop 'Created|State|Executor|.*/|data$$|.*\.(yaml|json)|.*margin|humans|.*(bleu_|meteor|rouge_l)') && \
		echo "$${shown:-no experiments of HEAD: \`dvc exp run -n NAME -S ...\` makes one}"

fetch: $(READY)  ## download the weights and data that params.yaml names, and list them
	python -m commands.fetch

# Where the environment forbids to keep compiled code, each process would compile pytest and all tests again.
test check: export PYTHONDONTWRITEBYTECODE :=

# A worker runs whole files, as their tests share costly set-up. tests/pipeline, the longest, starts first. There is one
# worker more than cores, as many tests wait for processes that they start.
PYTEST = python -m pytest -n $$(python -c 'import os; print(min(8, os.cpu_count() + 1))') --dist loadfile --no-loadscope-reorder

test: $(READY)  ## all tests
	$(PYTEST)

check: lint  ## style, and the tests of single modules
	$(PYTEST) tests/unit

bench: $(READY)  ## compare speed and memory with the published loops: make bench [ROUNDS=3] [ONLY=step-tuned]
	python -m benchmarks --rounds $(or $(ROUNDS),3) $(if $(ONLY),--only $(ONLY))

lint: $(READY)  ## style and common mistakes
	ruff check .
	ruff format --check .

format: $(READY)  ## rewrite the code in the project's style
	ruff check --fix .
	ruff format .

preset: $(READY)  ## rewrite params.yaml for another data set: make preset NAME=flickr8k
	python -m commands.preset $(NAME)

clean:  ## remove what the pipeline wrote and what it resumes from (DVC's cache and .venv stay)
	rm -rf code inputs data features checkpoints captions results live .work

setup: $(READY)

# uv installs the 160 packages in seconds; pip takes minutes. A changed requirements.txt renews the stamp.
$(READY): requirements.txt
	@test -n "$(PYTHON)" || { echo "error: python3.11 or later is not on PATH"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; try make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(VENV)/bin/python -m uv pip install --quiet --python $(VENV)/bin/python -r requirements.txt
	touch $@
