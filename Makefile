# Development commands. Each one creates the virtual environment and installs what it needs:
#
#   make demo        runs the detector once on sample photographs
#   make test        runs the linter, the type checker and all tests
#   make test-fast   runs the quick tests of the detector and of what it is built on
#   make lint        runs ruff and codespell without changing any file
#   make fix         formats the code and applies the automatic fixes
#   make types       runs mypy
#   make docs        builds the documentation into site/; open site/index.html
#
# They are thin wrappers around `python -m venv`, pip and the tools; README.md shows the plain commands.
#
#   make test PYTHON=python3.12   uses another Python (3.11 or newer)
#   make test TORCH=cpu           installs the small CPU-only build of torch (about 200 MB instead of several GB)

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
JOBS   ?= 2
# The extras whose packages the tests use.
EXTRAS ?= data,train,eval,demo,export,serve,openvino,video,ray,examples,docs,dev

FAST_TESTS := tests/test_imports.py tests/test_names.py tests/test_package.py tests/test_errors.py \
	tests/test_geometry.py tests/test_records.py tests/drawing tests/inference tests/pictures tests/prompts \
	tests/results tests/vocabulary

BIN := $(VENV)/bin
# With more threads per process than cores, small networks become slower.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-fast lint fix types docs clean

demo: $(VENV)/.installed-for-demo
	$(BIN)/python examples/quickstart.py
	@echo 'To try the web demo, run $(BIN)/python -m pip install -e ".[demo]" and then $(BIN)/xpose demo'

test: lint types
	$(BIN)/python -m pytest -n $(JOBS)

# Not included: the tests of the network, data, training, evaluation, the command line, the web demo and the documentation,
# and all tests that are marked as slow. Run `make test` before you merge.
test-fast: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(FAST_TESTS)

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check src tests examples benchmarks docs
	$(BIN)/ruff format --check src tests examples benchmarks docs
	$(BIN)/codespell

fix: $(VENV)/.installed-for-tests
	$(BIN)/ruff check --fix src tests examples benchmarks docs
	$(BIN)/ruff format src tests examples benchmarks docs

types: $(VENV)/.installed-for-tests
	$(BIN)/mypy

# Not with --quiet, which hides the warnings from --strict, too.
docs: $(VENV)/.installed-for-tests
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The stamps prevent a second installation until pyproject.toml or the list of extras changes.
$(VENV)/.installed-for-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[examples]"
	touch $@

$(VENV)/.installed-for-tests: pyproject.toml Makefile | $(BIN)/python
	$(BIN)/python -m pip install -e ".[$(EXTRAS)]"
	touch $@ $(VENV)/.installed-for-demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Error: "$(PYTHON)" is missing or older than Python 3.11. Choose another one: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH),)
	$(BIN)/python -m pip install "torch>=2.6,<2.14" --index-url https://download.pytorch.org/whl/$(TORCH)
endif

clean:
	rm -rf $(VENV) out site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
