# make train: install, train a PixelVAE on the digits in the package, score it, draw from it.
# make test:  install, check the format, run the tests.
# make check: what of it takes under a minute, for every day.
# make exhaustive: the tests that repeat one of `make test` with the network of every flag file, and the like.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/digits
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# The rules, the distributions, the layers, the likelihood against enumeration, and the samplers against each other.
CHECKED := tests/test_architecture.py tests/test_docs.py tests/config tests/commandline tests/probability \
	tests/layers tests/model/test_importance.py tests/sampling/test_naive_sampling.py tests/networks/test_pixelcnn.py

.PHONY: train test check exhaustive format

train: $(VENV)/installed
	$(BIN)/python -m pixelvae_tf.train --flagfile=flags/digits.cfg --workdir=$(RUN)
	$(BIN)/python -m pixelvae_tf.evaluate --workdir=$(RUN) --split=test --importance_samples=50
	$(BIN)/python -m pixelvae_tf.sample --workdir=$(RUN) --num_samples=64 --output=$(RUN)/samples.png

test: format
	$(PYTEST) --durations=10

check: format
	$(PYTEST) --durations=3 --ignore=tests/layers/test_dropout.py $(CHECKED)

exhaustive: format
	$(PYTEST) --durations=10 -m exhaustive

format: $(VENV)/installed
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .

$(VENV)/installed: $(wildcard requirements/*.txt) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# The pip that Python 3.10 brings takes over ten minutes to resolve what a recent one does in seconds.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,notebook,compression]"
	touch $@
