# make train: install, train a PixelVAE on the digits in the package, score it, draw from it.
# make test:  install, check the format, run the tests.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/digits
BIN := $(VENV)/bin

.PHONY: train test

train: $(VENV)/installed
	$(BIN)/python -m pixelvae_tf.train --flagfile=flags/digits.cfg --workdir=$(RUN)
	$(BIN)/python -m pixelvae_tf.evaluate --workdir=$(RUN) --split=test --importance_samples=50
	$(BIN)/python -m pixelvae_tf.sample --workdir=$(RUN) --num_samples=64 --output=$(RUN)/samples.png

test: $(VENV)/installed
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(VENV)/installed: $(wildcard requirements/*.txt) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# The pip that Python 3.10 brings takes over ten minutes to resolve what a recent one does in seconds.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,notebook]"
	touch $@
