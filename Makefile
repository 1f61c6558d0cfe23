# The two commands most people need: `make study` and `make test`. `make help` lists all.
# The stack follows the interpreter and the platform; STACK=keras3 and PYTHON=python3.13 override. Without them, what was
# installed last is used.

ifeq (undefined undefined,$(origin STACK) $(origin PYTHON))
LAST := $(shell cat .venv/last 2>/dev/null)
ifneq (,$(and $(LAST),$(wildcard $(LAST)/bin/python)))
STACK := $(firstword $(subst -, ,$(notdir $(LAST))))
# The interpreter behind the environment, which can make it anew.
PYTHON := $(shell $(LAST)/bin/python -c 'import sys; print("%s/bin/python%d.%d" % (sys.base_prefix, *sys.version_info[:2]))')
endif
endif
ifeq (,$(PYTHON))
PYTHON := python3
endif
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PLATFORM := $(shell $(PYTHON) -c 'import platform; print(platform.system() + "-" + platform.machine())')
ADDONS_PYTHONS := 3.10 3.11
ADDONS_PLATFORMS := Linux-x86_64 Darwin-x86_64 Darwin-arm64
ifeq (,$(filter $(PYTHON_VERSION),3.10 3.11 3.12 3.13))
$(error normlib needs Python 3.10 to 3.13, and $(PYTHON) is "$(PYTHON_VERSION)": pass PYTHON=python3.11, for example)
endif
ifeq (,$(STACK))
STACK := $(if $(and $(filter $(PYTHON_VERSION),$(ADDONS_PYTHONS)),$(filter $(PLATFORM),$(ADDONS_PLATFORMS))),addons,keras3)
endif
ifeq (,$(filter $(STACK),addons keras3))
$(error STACK is "$(STACK)", but must be addons or keras3)
endif
ifeq (addons,$(STACK))
ifeq (,$(filter $(PYTHON_VERSION),$(ADDONS_PYTHONS)))
$(error STACK=addons needs Python 3.10 or 3.11, and $(PYTHON) is $(PYTHON_VERSION): pass PYTHON=python3.11)
endif
endif

VENV := .venv/$(STACK)-$(PYTHON_VERSION)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

STUDY := source

.PHONY: help install study test test-all soak applications lint lab calibrate keep notebooks colab wheel findings verify replicate benchmark audit lock clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "stack here: $(STACK), Python $(PYTHON_VERSION), in $(VENV)$(if $(wildcard $(INSTALLED)),, (make install makes it))"

install: $(INSTALLED)  ## make the virtual environment from the lock file, if it is missing or the lock changed
	@echo $(VENV) >.venv/last
	@echo "source $(VENV)/bin/activate"

# The mark of a finished install is set last, so that an interrupted one starts anew. pip installs but uv, by its hash,
# which then takes a tenth of the time that pip would for the rest.
$(INSTALLED): requirements/$(STACK).txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	awk '/^uv==/, !/\\$$/' requirements/$(STACK).txt >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements/$(STACK).txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	echo $(VENV) >.venv/last
	touch $@

study: $(INSTALLED)  ## run the source study, ten seeds an ordering, into outputs/source; or STUDY=grid
	$(BIN)/normlib study $(STUDY)

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

test: $(INSTALLED)  ## run the tests, the notebooks among them
	$(PYTEST) -m "not long"

test-all: $(INSTALLED)  ## run also those in a browser and in Colab's environment, of kills and of recipes
	$(PYTEST)

soak: $(INSTALLED)  ## kill a hundred studies at random moments, execute a thousand times in one process, draw 200 models
	$(BIN)/python -m pytest tests/execution/test_soak.py tests/models/test_drawn_models.py -v -rA --trials 100 --executions 1000 \
	  --drawn-models 200

applications: $(INSTALLED)  ## swap normalization in all models of keras.applications, and of the extra zoo if installed
	$(BIN)/python -m pytest tests/models/test_swap.py tests/models/test_applications.py -v -rA --applications all

lint: $(INSTALLED)  ## check style and formatting, types, and that notebooks are as they are committed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/check_notebooks.py notebooks/*.ipynb

lab: $(INSTALLED)  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --ip 127.0.0.1 --notebook-dir notebooks

calibrate: $(INSTALLED)  ## count wrong verdicts in 10,000 simulated studies of each kind, an hour
	$(BIN)/python docs/calibration.py docs/calibration

keep: $(INSTALLED)  ## keep the records of outputs/source, or of STUDY=grid, in the package
	$(BIN)/python docs/keep.py outputs/$(STUDY)

notebooks: $(INSTALLED)  ## execute the committed notebooks in place
	$(BIN)/jupyter nbconvert --to notebook --inplace --execute --ExecutePreprocessor.record_timing=False \
	  --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask="{'kernelspec', ('language_info', 'name')}" \
	  notebooks/*.ipynb

colab: $(INSTALLED)  ## set from where the notebooks install normlib in Colab: SOURCE=git+https://...
	$(BIN)/python docs/colab.py "$(SOURCE)"

wheel: $(INSTALLED)  ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

findings: $(INSTALLED)  ## remake tables, sentences and pictures of the README and docs/ from what is kept
	$(BIN)/python docs/findings.py

verify: $(INSTALLED)  ## train some kept runs of the source study, or of STUDY=grid, again and compare
	$(BIN)/normlib verify $(STUDY)

replicate: $(INSTALLED)  ## run eight further seeds of all kept studies, or of STUDIES="groups lag": do differences keep their sign?
	$(BIN)/python docs/replicate.py $(STUDIES)

benchmark: $(INSTALLED)  ## measure normlib beside plain Keras and PyTorch, an hour and a half on two cores
	$(BIN)/python -m benchmarks

audit: $(INSTALLED)  ## look all versions of both locks up in the advisory database
	$(BIN)/python requirements/audit.py

lock: $(INSTALLED)  ## resolve both lock files anew
	$(foreach stack,addons keras3,$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.10 \
	  --extra $(stack) --extra lab --extra dask --extra dev --generate-hashes --upgrade \
	  --no-emit-index-url --no-annotate --no-header --output-file requirements/$(stack).txt &&) true

clean:  ## remove the virtual environments, not the outputs
	rm -rf .venv
