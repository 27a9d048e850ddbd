# Two commands for a fresh machine, each doing all its own set-up:
#
#   make demo    runs the main job once, on sample photographs
#   make test    runs the linter, the type checker and the tests
#
# Both are thin wrappers over `python -m venv` and pip; README.md shows the plain commands.
#
#   make test PYTHON=python3.12   takes another Python (3.11 or newer)
#   make test TORCH=cpu           takes the small CPU-only build of torch (about 200 MB instead of several GB)

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
JOBS   ?= 2
# The extras whose packages the tests use.
EXTRAS ?= data,train,eval,demo,examples,dev

BIN := $(VENV)/bin
# More threads per process than cores make small networks slower, not quicker.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test clean

demo: $(VENV)/.installed-for-demo
	$(BIN)/python examples/quickstart.py
	@echo 'There is a web page as well: $(BIN)/python -m pip install -e ".[demo]", then $(BIN)/xpose demo'

test: $(VENV)/.installed-for-tests
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(JOBS)

# The stamps keep a second call from installing again until pyproject.toml changes.
$(VENV)/.installed-for-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[examples]"
	touch $@

$(VENV)/.installed-for-tests: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[$(EXTRAS)]"
	touch $@ $(VENV)/.installed-for-demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Error: "$(PYTHON)" is missing or older than Python 3.11. Name another one: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH),)
	$(BIN)/python -m pip install "torch>=2.6,<2.14" --index-url https://download.pytorch.org/whl/$(TORCH)
endif

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
