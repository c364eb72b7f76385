# Every target does the set-up it needs. `make demo` and `make test` are the two to know.
VENV ?= .venv
PYTHON ?=
OUT ?= demo
BIN := $(VENV)/bin
# Where Python may keep no bytecode, every one of the many processes compiles its imports anew: 20 s for those of stage 1 instead of 7.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-slow test-faults check format setup clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.installed  ## simulate, curate, train, evaluate and report: the whole of HARP, small
	$(BIN)/harp demo --out $(OUT)

test: $(VENV)/.installed  ## all tests but the slow ones
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed  ## the slow tests
	$(BIN)/python -m pytest -q -m slow

test-faults: $(VENV)/.installed  ## kill workers, drivers, flows and servers at random moments, 52 times
	HARP_FAULT_RUNS=$${HARP_FAULT_RUNS:-52} $(BIN)/python -m pytest -q tests/faults

check: $(VENV)/.installed  ## formatter, linter, type checker, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.installed  ## write what the formatter and the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/.installed  ## virtual environment, pinned packages, off-screen GL library

$(VENV)/.installed: pyproject.toml constraints.txt scripts/setup.sh
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV)

clean:  ## remove the demo's output (not the virtual environment, not the weights)
	rm -rf $(OUT)
