# Two commands on a fresh machine (Python 3.11 or 3.12, gcc, g++, make): `make demo`, `make test`.
# Both prepare the environment first; a second call skips what is there.

# The first that can make an environment: a name on PATH may be a shim or lack the venv module.
PYTHON ?= $(or $(shell for python in python3.11 python3.12; do \
	$$python -c 'import ensurepip' 2> /dev/null && echo $$python && break; done), \
	$(error neither python3.11 nor python3.12 runs and has the venv module: \
	install one (Ubuntu 24.04: python3.12-venv python3.12-dev) or give its path, PYTHON=...))
VENV ?= .venv
# PyTorch's own index of CPU builds, asked only if pip's configured sources have no such build.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# torch and the libraries that it loads, in requirements/gpu.lock.
CUDA_TORCH := ^(torch|nvidia-(cuda-(cupti|nvrtc|runtime)|[a-z]+|[a-z]+-cu13))==
SEEDS ?= 0 1 2

# Test processes side by side: each of the real stack's takes a core and 4 GB.
JOBS ?= 2

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
TRACKERS := $(VENV)-trackers
READY := $(VENV)/.ready-$(shell cksum < requirements/cpu.lock | cut -d' ' -f1)

.PHONY: demo pipeline test test-unit test-e2e test-fast test-trackers lint wheel docs-site env env-gpu seeds data docs clean

demo: env  ## SFT, RL and evaluation of a tiny policy on synthetic speech
	$(BIN)/python -m demo

pipeline: env  ## the paper's whole pipeline in miniature, with its tables; about 50 minutes on 2 cores
	$(BIN)/python -m demo.pipeline

test: env lint wheel docs-site test-unit test-trackers test-e2e  ## everything CI runs

test-unit: env
	$(PYTEST) -m "not e2e" tests/unit tests/faults

test-e2e: env  ## the real stack; the tests of a file stay in one process, one after another
	$(PYTEST) --dist loadfile -m e2e tests/e2e tests/faults

test-fast: env  ## a developer's loop: what starts nothing and takes no second
	$(PYTEST) -m "not slow and not e2e" tests/unit tests/faults

# Beside the environment and not in it: what trackers need never changes what runs are tested with.
test-trackers: $(TRACKERS)/.ready  ## the experiment trackers, offline; requirements/trackers.lock
	PYTHONPATH=$(TRACKERS) $(BIN)/python -m pytest tests/trackers

$(TRACKERS)/.ready: requirements/trackers.lock | env
	rm -rf $(TRACKERS)
	@echo "installing the experiment trackers (200 MB)"
	$(PIP) --target $(TRACKERS) -r requirements/trackers.lock
	touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell

wheel: env  ## build/dist/cadence_rl-VERSION-py3-none-any.whl; tests/unit/cadence_rl looks into one
	rm -rf build/lib build/bdist.* build/dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--no-index --wheel-dir build/dist .

docs-site: env  ## build/site: the documentation as a site; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

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
	grep -v '^torch==' requirements/cpu.lock > $(VENV)/others.lock
	awk '/^[^ ]/ { ours = /$(CUDA_TORCH)/ } ours' requirements/gpu.lock > $(VENV)/torch-cuda.lock
	@echo "installing torch"
	$(PIP) -r $(VENV)/torch.lock || $(PIP) --extra-index-url $(TORCH_CPU_INDEX) -r $(VENV)/torch.lock \
		|| { echo "no CPU build of torch: taking the CUDA build, which runs on a CPU too (5 GB)"; \
		$(PIP) -r $(VENV)/torch-cuda.lock; }
	@echo "installing the other packages (4 GB, some minutes)"
	$(PIP) -r $(VENV)/others.lock
	$(BIN)/python -m demo.torchvision_hook
	touch $@

env-gpu:  ## the same with CUDA builds; see README.md
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements/gpu.lock

clean:
	rm -rf runs build
