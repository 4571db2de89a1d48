# Every target makes .venv itself. PYTHON is the interpreter it is made with (3.11 to 3.13).
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
else
  BIN := .venv/bin
endif
READY := .venv/.ready

.PHONY: demo test check slow autosklearn clean

demo: $(READY)
	$(BIN)/python -m nas.search +space=cells budget=100 run=runs/digits

test: $(READY)
	$(BIN)/python -m pytest -q

slow: $(READY)
	$(BIN)/python -m pytest -q -m slow
	$(BIN)/python -m pytest -q --hypothesis-profile=default -m "hypothesis and not slow"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# auto-sklearn 0.15 in an environment of its own, with the interpreter PYTHON39.
PYTHON39 ?= python3.9
autosklearn: $(READY)
	$(BIN)/python -m automl.autosklearn.install python=$(PYTHON39)

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	$(BIN)/python -c "open('$(READY)', 'w').close()"

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
