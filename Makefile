PYTHON ?= python3
UV ?= uv
LOWEST_PYTHON ?= 3.10
VENV ?= .venv
# In as many processes as there are cores, up to eight, each of a gigabyte; the tests of a file share what they make.
# pytest-xdist may wait for ever for what a process that crashed was to do: the run ends instead.
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder --max-worker-restart=0
BIN := $(VENV)/bin
RUN := results/PatchGan/BrainPhantom/latest

.DELETE_ON_ERROR:
.PHONY: demo test test-lowest lint clean help

help:
	@echo "make demo         train and test PatchGan on synthetic brains and compare with trivial rules"
	@echo "make test         run all tests"
	@echo "make test-lowest  run them on Python 3.10 with the lowest versions that pyproject.toml allows; needs uv"
	@echo "make lint         check style and types"
	@echo "make clean        remove the environments and everything built or trained here"

demo: $(VENV)/.installed
	$(BIN)/anomalib-patchgan train --config configs/quickstart.yaml
	@test -d $(RUN)/images || { echo "error: no images were written to $(RUN)/images" >&2; exit 1; }
	@echo "Heat-map images: $(CURDIR)/$(RUN)/images"
	$(BIN)/anomalib-patchgan compare $(RUN)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# What the dependencies need themselves is as new as it fits to them.
test-lowest: $(VENV)-lowest/.installed
	$(VENV)-lowest/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist results runs .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One file per set of dependencies says that it is installed; a change of pyproject.toml installs it again.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable ".[$*]"
	@touch $@

$(VENV)-lowest/.installed: pyproject.toml
	@command -v $(UV) > /dev/null || { echo "error: uv is missing: pip install uv" >&2; exit 1; }
	$(UV) venv --clear --seed --python $(LOWEST_PYTHON) $(VENV)-lowest
	$(UV) pip install --python $(VENV)-lowest --resolution lowest-direct --editable ".[test]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.10; name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
