# Everything here works on a fresh machine: each target makes what it needs, once.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := python -m pip --disable-pip-version-check install --quiet
PIP := $(VENV)/bin/$(INSTALL)
OLDEST := .venv-minimum
MINIMAL_TOOLS := pytest pytest-xdist hypothesis beartype scikit-learn pytorch-metric-learning
MINIMAL_TESTS := tests/test_pipeline.py tests/test_losses.py tests/training/test_loggers.py tests/training/test_wandb.py \
	tests/training/test_train.py tests/config/test_compose.py tests/models/test_published.py tests/models/layers \
	tests/ops/test_edges.py tests/ops/test_groups.py tests/ops/test_neighbors.py tests/ops/test_sampling.py \
	tests/data/test_module.py tests/data/test_store.py tests/retrieval/test_metric.py
JOBS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help setup demo test thorough minimum audit lint cluster pose docs bench soak clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## make .venv with ogreid in it (the other targets do this by themselves)

demo: $(VENV)/.ready ## train a narrow OG-Net on synthetic data and evaluate it (about 5 minutes on 2 cores)
	@$(PY) -m ogreid.fit --experiment demo

test: $(VENV)/.test $(VENV)/.cluster lint ## ruff, types and the test suite
	@$(PY) -m pytest -n $(JOBS) -m "not thorough and not slow and not gpu"

thorough: $(VENV)/.test $(VENV)/.cluster ## what CI runs beside the test suite (10 minutes)
	@$(PY) -m pytest -n $(JOBS) -m "thorough and not slow and not gpu"

minimum: $(OLDEST)/.ready ## the built wheel in a separate environment, with the oldest versions it allows
	@$(OLDEST)/bin/python -m pytest -n $(JOBS) -m "not slow and not gpu" $(MINIMAL_TESTS)

audit: $(VENV)/.test ## licenses and known vulnerabilities of what is installed, as far as the package index knows
	@$(PY) scripts/audit.py

lint: $(VENV)/.test
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

cluster: $(VENV)/.cluster ## build torch-cluster, the optional third backend (5 minutes, once)

pose: $(VENV)/.pose ## fetch the landmark network of --bodies estimate; says its license and its model card
	@$(PY) scripts/pose_model.py

docs: $(VENV)/.docs ## the documentation with an API reference as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict --site-dir site && echo "site/index.html"

bench: $(VENV)/.bench $(VENV)/.cluster ## repeat every speed claim; results in benchmarks/results (13 minutes)
	@$(PY) -m benchmarks

soak: $(VENV)/.test $(VENV)/.cluster ## the slow tests
	@$(PY) -m pytest -n $(JOBS) -m "slow and not gpu"

clean: ## remove the environment (data and runs stay)
	rm -rf $(VENV) $(OLDEST)

# torch first and alone: anything that depends on it would otherwise bring the newest CUDA build.
$(VENV)/.torch: constraints.txt
	@echo "set-up 1/2: torch into $(VENV) (once)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt torch==2.13.0
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml
	@echo "set-up 2/2: ogreid and what it needs (once)"
	@$(PIP) -c constraints.txt --editable .
	@touch $@

# References of the tests, without their dependencies: open-metric-learning (torchvision, numpy < 2) evaluates retrieval,
# sweeps (numpy < 2) is W&B's own sweep engine.
$(VENV)/.test: $(VENV)/.ready
	@echo "set-up: test tools (once)"
	@$(PIP) -c constraints.txt --editable ".[dev]"
	@$(PIP) --no-deps open-metric-learning==4.0.0 sweeps==0.3.0
	@touch $@

# What is tested here is the wheel as it would be published, not the source beside it.
$(OLDEST)/.ready: $(VENV)/.test constraints-minimum.txt pyproject.toml
	@echo "set-up: the oldest versions, with the built wheel (once)"
	@rm -rf $(OLDEST) && $(PYTHON) -m venv $(OLDEST)
	@$(PY) -m build --no-isolation --outdir $(OLDEST)/dist . >$(OLDEST)/build.log 2>&1 || { cat $(OLDEST)/build.log; exit 1; }
	@$(OLDEST)/bin/$(INSTALL) -c constraints-minimum.txt torch
	@$(OLDEST)/bin/$(INSTALL) -c constraints-minimum.txt $(OLDEST)/dist/*.whl $(MINIMAL_TOOLS)
	@touch $@

# What our operations are measured against, beside torch-cluster.
$(VENV)/.bench: $(VENV)/.ready
	@$(PIP) -c constraints.txt --editable ".[bench]"
	@touch $@

# The runtime of the landmark network.
$(VENV)/.pose: $(VENV)/.ready
	@$(PIP) -c constraints.txt --editable ".[pose]"
	@touch $@

# The site of `make docs`.
$(VENV)/.docs: $(VENV)/.ready
	@$(PIP) -c constraints.txt --editable ".[docs]"
	@touch $@

# Parallel compilation without debug symbols: 5 minutes instead of 12 on two cores; pip keeps the wheel.
$(VENV)/.cluster: $(VENV)/.torch
	@if command -v c++ >/dev/null 2>&1; then \
	  echo "set-up: torch-cluster from source (5 to 15 minutes, once)"; \
	  printf '[build_ext]\nparallel = $(JOBS)\n' > $(VENV)/cluster.cfg; \
	  $(PIP) setuptools wheel && \
	  DIST_EXTRA_CONFIG=$(CURDIR)/$(VENV)/cluster.cfg CFLAGS=-g0 \
	    $(PIP) -c constraints.txt --no-build-isolation torch-cluster==1.6.3; \
	else echo "no C++ compiler: torch-cluster is left out, its cross-checks will be skipped"; fi
	@touch $@
