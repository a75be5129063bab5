# Every target but clean first makes a virtual environment in .venv, once, and installs hdtrans into it.

PYTHON ?= python3
VENV ?= .venv

DEMO ?= demo
DEMO_TRAIN ?= 240
DEMO_TEST ?= 12
DEMO_SIZE ?= 256x128
DEMO_RECIPE ?= options/pix2pixhd_toycity.yaml
DEMO_OVERRIDES ?=

SCENES ?= 00002 00006

WORKERS ?= 2
REPEATS ?= 10
ARGS ?=

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Runs and checkpoints wait for the disk ten thousand times: where there is room, what tests write lies in memory.
IN_MEMORY := $(shell test "$$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 4000000 2>/dev/null && \
	echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
PYTEST := $(IN_MEMORY) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# Tests are many small modules, whose compiled form pytest keeps: without it each run takes ten seconds longer.
unexport PYTHONDONTWRITEBYTECODE

# A little of every room: the laws, what is computed, recipes, data, one recorded training, one trained and translated.
QUICK := tests/test_architecture.py tests/test_recipes.py tests/common tests/config tests/data tests/losses \
	tests/networks tests/methods/test_golden_traces.py tests/methods/test_own_trace.py tests/engine/test_checkpoint.py \
	tests/engine/test_resume.py tests/inference/test_same_pictures.py tests/prepare/formats/test_cityscapes.py

.DELETE_ON_ERROR:
.PHONY: help demo quick test check lint slow test-faults docs strip wheel lock environment environment-dev clean distclean

help:
	@echo "make demo         train and try a small model on toy street scenes; ends with a page of pictures ($(DEMO)/)"
	@echo "make quick        the tests that find most mistakes, in less than a minute"
	@echo "make check        lint and types, then make quick"
	@echo "make test         all tests but the slow ones"
	@echo "make slow         the slow tests"
	@echo "make test-faults  the long tests that break things on purpose; ends with a table of bars"
	@echo "make docs         renew docs/recipes.md, the page of all keys of a recipe"
	@echo "make strip        renew docs/strip.jpg, the README's pictures, from the demo (SCENES=$(SCENES))"
	@echo "make wheel        build dist/*.whl"
	@echo "make lock         renew the lock files of the image and of CI (ARGS=--upgrade: newest versions); Python 3.11 on Linux"
	@echo "make clean        remove what was built and cached; make distclean: $(VENV) and $(DEMO) too"
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) WORKERS=$(WORKERS) (test processes) ARGS=... (for pytest)"
	@echo "           REPEATS=$(REPEATS) (of what make test-faults does at random times; 100 before a release)"

# One pip command for torch and torchvision, so that they match: torchvision pins the torch it was built with.
$(VENV)/installed: setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON); install Python 3.11 or newer (Debian and \
	Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) tools/check_system.py python
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --editable '.[edit]'
	$(BIN)/python tools/check_system.py libraries
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --editable '.[dev,edit,tensorboard,export,video]'
	touch $@

environment: $(VENV)/installed
environment-dev: $(VENV)/installed-dev

demo: environment
	$(BIN)/python tools/demo.py --out $(DEMO) --train $(DEMO_TRAIN) --test $(DEMO_TEST) --size $(DEMO_SIZE) \
		--recipe $(DEMO_RECIPE) $(DEMO_OVERRIDES)

quick: environment-dev
	$(PYTEST) -m "not slow and not faults and not unhurried" $(QUICK) $(ARGS)

test: environment-dev
	$(PYTEST) -m "not slow and not faults" $(ARGS)

check: lint quick

lint: environment-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile

slow: environment-dev
	$(PYTEST) -m "slow and not faults" $(ARGS)

test-faults: environment-dev
	HDTRANS_REPEATS=$(REPEATS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "faults or bar" $(ARGS)

docs: environment
	$(BIN)/python -m hdtrans.config.reference docs/recipes.md

strip: demo
	$(BIN)/python docs/make_strip.py $(DEMO) docs/strip.jpg $(SCENES)

wheel: environment-dev
	rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation

# CI tests the versions that the image holds. Minutes: what PyPI does not say about a wheel is read from the wheel.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --build-deps-for wheel --extra tensorboard --extra export --extra video --extra edit
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip pip-tools
	$(COMPILE) --output-file docker/requirements.lock $(ARGS) setup.cfg
	$(COMPILE) --extra dev --constraint docker/requirements.lock --output-file .ci/requirements.lock $(ARGS) setup.cfg

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find benchmarks hdtrans tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(DEMO)
