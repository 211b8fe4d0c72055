# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# As the stages do by themselves: this copy's code, whatever is installed.
export PYTHONPATH := $(CURDIR)/src
export NO_ALBUMENTATIONS_UPDATE := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
PORT ?= 5000
# With 1 the environment has the CUDA wheels. It stays as it is; a new one has them where the machine shows a GPU: by a
# device file, the one of WSL2 too, or, before the driver has made them, by nvidia-smi.
DEVICES := /dev/nvidia[0-9]* /dev/dxg
GPU ?= $(or $(patsubst .venv/.synced-%,%,$(firstword $(wildcard .venv/.synced-?))),$\
  $(if $(or $(wildcard $(DEVICES)),$(shell nvidia-smi -L 2>/dev/null | grep ^GPU)),1,0))
LOCK := $(or $(if $(filter 0,$(GPU)),requirements.lock),$(if $(filter 1,$(GPU)),requirements-gpu.lock),\
  $(error GPU is '$(GPU)'; set it to 0 or 1))
SYNCED := .venv/.synced-$(GPU)
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
  --python-version 3.11 pyproject.toml
ALL := --extra serve --extra sign --extra train --extra app --extra server --extra dev

.PHONY: help setup repro new study tune test verify lint ui app gc clean lock

help:  ## this list
	@awk -F ':.*##' '/^[a-z]+:.*##/ {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SYNCED): $(LOCK) pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' $(LOCK))"
	rm -f .venv/.synced*
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode $(LOCK)
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

setup: $(SYNCED)  ## make the environment in .venv from requirements.lock; GPU=1: from requirements-gpu.lock

repro: setup  ## the whole pipeline: run what changed, JOBS (2, or GPUs + 1) stages at a time (on phantoms, unless data.yaml names archives)
	python stages/repro.py $(JOBS:%=--jobs %)

new: USAGE = $(error make new TASK=<name> DATA=<folder or zip>)
new: setup  ## look at the archive DATA and add a TASK for it to the files of values; KIND, LABEL, IMAGE, MASK, GROUP, SPLIT: what is known of it
	python stages/new.py "$(or $(TASK),$(USAGE))" "$(or $(DATA),$(USAGE))" $(foreach key,KIND LABEL IMAGE MASK GROUP SPLIT,$(if $(findstring command,$(origin $(key))),"$(key)=$($(key))"))

study: JOBS = 1
study: setup  ## run the study NAME of studies.yaml, JOBS (1) experiments at a time, and print its table; again: go on
	python stages/study.py $(NAME) --jobs $(JOBS)

tune: setup  ## search the hyperparameters of MODEL, as tuning.yaml says, and make an experiment of the best
	python stages/tune.py $(MODEL)

test: setup  ## the whole test suite, in two processes
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

verify: setup  ## compute every figure of the last run again, from its predictions and hashes
	python stages/verify.py

lint: setup  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

ui: setup  ## the MLflow UI on PORT (5000), with every model that models/ holds
	python stages/restore.py
	@echo 'http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning'
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  mlflow server --backend-store-uri sqlite:///mlflow.db --artifacts-destination mlartifacts --host 127.0.0.1 --port $(PORT) --workers 1

app: PORT = 8501
app: setup  ## the app on PORT (8501): what the registry's models say of images
	python -m medpipe.app --server.port $(PORT)

gc: setup  ## on request remove what experiments left that DVC no longer knows: runs, artifacts, checkpoints, cache
	python stages/gc.py

clean:  ## delete what the stages wrote, which DVC's cache keeps, and on request runs and searches too
	rm -rf data/phantom data/manifest data/clean data/split data/prepared models/*/ generators predictions plots reports/*/*.html reports/*/generators
	@read -r -p 'Delete all runs, models and searches as well (mlflow.db, mlartifacts, optuna.db, .tmp)? [y/N] ' answer; \
	  if [ "$$answer" = y ]; then rm -rf mlflow.db* mlartifacts optuna.db* .tmp; fi

lock: setup  ## compile the lock files anew from pyproject.toml: requirements.lock, -gpu, -serve (runs a registered model), -ui
	$(COMPILE) $(ALL) --output-file requirements.lock
	$(COMPILE) $(ALL) --extra gpu --constraint requirements.lock --output-file requirements-gpu.lock
	$(COMPILE) --extra serve --constraint requirements.lock --output-file requirements-serve.lock
	$(COMPILE) --extra app --extra serve --extra server --constraint requirements.lock --output-file requirements-ui.lock
