# Two commands on a fresh machine (Python 3.11, gcc, g++, make): `make demo` and `make test`.
# Both prepare the environment first; a second call skips what is there.

PYTHON ?= python3.11
VENV ?= .venv
# PyTorch's own index of CPU builds, asked only if pip's configured sources have no such build.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
SEEDS ?= 0 1 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
READY := $(VENV)/.ready-$(shell cksum < requirements/cpu.lock | cut -d' ' -f1)

.PHONY: demo pipeline test test-unit test-e2e lint env env-gpu seeds data docs clean

demo: env  ## SFT, RL and evaluation of a tiny policy on synthetic speech
	$(BIN)/python -m demo

pipeline: env  ## the paper's whole pipeline in miniature, with its tables; 25 minutes on 2 cores
	$(BIN)/python -m demo.pipeline

test: env lint test-unit test-e2e  ## everything CI runs

test-unit: env
	$(BIN)/python -m pytest tests/unit

test-e2e: env
	$(BIN)/python -m pytest tests/e2e

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell

seeds: env  ## the demo's RL stage with several seeds; writes docs/demo_seeds.md
	$(BIN)/python -m demo.seeds $(SEEDS)

data: env  ## the whole data pipeline on the demo's corpus; writes runs/demo/data
	$(BIN)/python -m demo.material runs/demo/material
	$(BIN)/python launch/annotate.py --config configs/data/demo.yaml

docs: env  ## generated pages
	$(BIN)/python -m configs.reference

env: $(READY)

$(READY): requirements/cpu.lock demo/torchvision_hook.py
	$(PYTHON) -m venv $(VENV)
	grep '^torch==' requirements/cpu.lock > $(VENV)/torch.lock
	@echo "installing torch"
	$(PIP) -r $(VENV)/torch.lock || $(PIP) --extra-index-url $(TORCH_CPU_INDEX) -r $(VENV)/torch.lock
	@echo "installing the other packages (4 GB, some minutes)"
	$(PIP) -r requirements/cpu.lock
	$(BIN)/python -m demo.torchvision_hook
	touch $@

env-gpu:  ## the same with CUDA builds; see README.md
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements/gpu.lock

clean:
	rm -rf runs build
