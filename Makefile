# Everything runs in the environment $(VENV), created with $(PYTHON) and filled on demand:
#     make demo        PYTHON=python3.12 VENV=.venv312 make test
PYTHON ?= python3
VENV ?= .venv
CUDA_VENV ?= .venv-cu112
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
install = $(1)/bin/python -m pip --quiet --disable-pip-version-check install

# One process per core; a file's tests share one, since they share what is trained or exported.
SPREAD := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
TORCH_TESTS := $(shell grep -rl --include=test_*.py importorskip..torch tests)

SUITES ?= bookworm trixie sid
SEED ?= 0
COVERED_TESTS ?= tests
TUTORIALS := $(patsubst docs/%.md,build/%.ipynb,$(wildcard docs/tutorials/*.md))
MINUTES ?= 12
ISA_TESTS := $(shell grep -rl --include=test_*.py mark.kernels tests)

.PHONY: demo test test-fresh test-isa test-torch test-release test-gpu test-cuda-wheel test-slow test-faults bench gpu-evidence lint \
  types docs coverage dist smoke

demo: $(VENV)/.with-cpu,demo
	$(BIN)/python -m openatac demo

test: $(VENV)/.with-cpu,demo,test
	$(BIN)/python -m pytest -m 'not slow and not release' $(SPREAD)

# The README's two commands on a simulated fresh machine with only Python and make.
test-fresh:
	for suite in $(SUITES); do .ci/fresh $$suite 'make demo' 'make test' || exit; done

# INT8, fused and exported networks and the oracle, restricted to the kernels of older processors.
test-isa: $(VENV)/.with-cpu,demo,test
	for isa in SSE41 AVX2; do echo "DNNL_MAX_CPU_ISA=$$isa"; DNNL_MAX_CPU_ISA=$$isa \
	  $(BIN)/python -m pytest -q -m 'kernels and not slow' $(SPREAD) $(ISA_TESTS) || exit; done

test-torch: $(VENV)/.with-cpu,demo,test,torch-test
	$(BIN)/python -m pytest -m 'not slow and not release' $(SPREAD) $(TORCH_TESTS)

# The code of the documents, the examples, and the wheel in its own environment.
test-release: $(VENV)/.with-cpu,demo,test,torch-test
	$(BIN)/python -m pytest -m release $(SPREAD) tests/project

test-gpu: $(VENV)/.with-cpu,demo,test,torch
	$(BIN)/python -m pytest -m gpu $(TORCH_TESTS)

test-slow: $(VENV)/.with-cpu,demo,test
	$(BIN)/python -m pytest -m slow

# Damaged files of all kinds for ten minutes; SEED=N for others.
test-faults: $(VENV)/.with-cpu,demo,test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.fuzz --seed $(SEED)

bench: $(VENV)/.with-cpu,demo
	$(BIN)/python benchmarks/cifar_training.py

# Measure a GPU for MINUTES. Needs a Python with PyTorch; installs nothing.
gpu-evidence:
	$(PYTHON) benchmarks/gpu_evidence.py --minutes $(MINUTES)

# MXNet's CUDA build gets its own environment, since it and the CPU build overwrite each other.
# No GPU and no driver are needed, but a C compiler, which makes a stand-in for the driver.
test-cuda-wheel: $(CUDA_VENV)/.filled
	$(CUDA_VENV)/bin/python -m pytest tests/system/test_cuda_wheel.py

$(CUDA_VENV)/.filled: setup.py pyproject.toml
	@echo 'Installing openatac[cu112] into $(CUDA_VENV): 2 GB to download, 4.3 GB on the disk, some minutes.'
	$(PYTHON) -m venv $(CUDA_VENV)
	$(call install,$(CUDA_VENV)) --editable '.[cu112,demo]' 'pytest>=7.3'
	$(call install,$(CUDA_VENV)) --no-deps mxnet-cu112==1.9.1
	@touch $@

# The style, the spelling and the prose; from Python 3.10 on.
lint: $(VENV)/.with-cpu,demo,test,lint
	$(BIN)/python -m ruff check
	$(BIN)/python -m codespell_lib
	$(BIN)/python -m proselint check --config docs/site/proselint.json README.md CONTRIBUTING.md docs

types: $(VENV)/.with-cpu,demo,test,types
	$(BIN)/python -m mypy

# The site, in build/site; its links are checked, and its tutorials run, each once.
docs: $(VENV)/.with-cpu,demo,docs $(TUTORIALS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet -f docs/site/mkdocs.yml
	@echo 'To read it: $(BIN)/python -m http.server -d build/site'

build/tutorials/%.ipynb: docs/tutorials/%.md docs/run_tutorial.py | $(VENV)/.with-cpu,demo,docs
	$(BIN)/python docs/run_tutorial.py $< $@

# Line coverage of all tests but the slow ones, with the processes that they start, and the public functions that they
# never call.
coverage: $(VENV)/.with-cpu,demo,test,coverage
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m 'not slow' $(SPREAD) $(COVERED_TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage json --quiet -o coverage.json
	$(BIN)/python .ci/uncalled.py coverage.json

# The source archive and the wheel, in dist/.
dist: $(VENV)/.with-dist
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

smoke: $(VENV)/.with-cpu
	$(BIN)/python .ci/smoke.py

# The installation is editable: edits take effect without reinstalling. MXNet goes in by itself because of
# Python 3.13 (see pyproject.toml); elsewhere it is there already, and nothing happens.
$(VENV)/.with-%: setup.py pyproject.toml | $(VENV)/lib/$(VERSION)/site-packages/pip
	@echo 'Installing openatac[$*] into $(VENV): up to 300 MB to download, some minutes.'
	$(call install,$(VENV)) --editable '.[$*]'
	$(call install,$(VENV)) --no-deps mxnet==1.9.1
	@touch $@

$(VENV)/lib/$(VERSION)/site-packages/pip:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make an environment:' \
	  'install its venv module (Debian, Ubuntu: apt install python3-venv) or set PYTHON= to another.'; exit 1; }
	@test ! -e $(VENV) || { echo '$(VENV) is not a complete environment for $(VERSION):' \
	  'remove it, or set VENV= to another.'; exit 1; }
	$(PYTHON) -m venv $(VENV)
