# Needs Python >= 3.11 with venv, and make. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PHOTO := sample_images/parrots.png
CORPORA ?= ../shared/corpora
IMAGES ?= sample_images
.DEFAULT_GOAL := help
.PHONY: help demo install test test-lowest lint type check docs fuzz fuzz-guided corpus bench-speed bench-rd \
  bench-archives bench-scale bench-stacks js site clean

help:  ## List the targets
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  ##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

# `numpy>=2.0` as `numpy==2.0`, and so on.
define FLOORS
import tomllib
for floor in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    print(floor.split(",")[0].replace(">=", "=="))
endef
export FLOORS

# Dependency groups need pip >= 25.1, so pip itself comes first.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(if $(LOWEST),$(BIN)/python -c "$$FLOORS" > $(VENV)/lowest.txt)
	$(BIN)/python -m pip install --quiet --editable . $(LOWEST)
	$(BIN)/python -m compileall -q lowrank
	@touch $@

$(VENV)/developing: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group dev $(LOWEST)
	@touch $@

install: $(VENV)/installed  ## Install lowrank into .venv

demo: install  ## Compress, decompress and report on a sample photograph
	@mkdir -p demo
	$(BIN)/lowrank compress $(PHOTO) -k 20 -o demo/photo.lrk --force
	$(BIN)/lowrank decompress demo/photo.lrk -o demo/photo.png --force
	$(BIN)/lowrank report $(PHOTO) demo/photo.lrk
	@echo "Look at demo/photo.png beside $(PHOTO)."

# Processes that tests start would compile anew what changed since the installation. Plugins are
# named, as pytest compiles every module of a package that brings one it loads by itself. Assertions
# run as they are written, which saves pytest writing each anew; those that failed run once more as
# it writes them, and say the values.
PYTEST := PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -p hypothesispytest
test: $(VENV)/developing  ## Run the tests, on every core
	$(BIN)/python -m compileall -q lowrank tests
	$(PYTEST) -p xdist --numprocesses auto --dist worksteal --assert=plain || \
	  { $(PYTEST) --last-failed --last-failed-no-failures none; false; }

test-lowest:  ## Run the tests on the lowest versions that pyproject.toml allows
	$(MAKE) test VENV=.venv-lowest LOWEST="--constraint .venv-lowest/lowest.txt"

fuzz: $(VENV)/developing  ## Read a million damaged files, kill 300 runs; an hour at most
	$(BIN)/python fuzz/mutate.py --reads 1000000 --decodes 100000 --seconds 3600
	$(BIN)/python fuzz/kill.py --kills 200 --interruptions 60 --batches 100

fuzz-guided: $(VENV)/developing  ## Fuzz by coverage with Atheris for five minutes
	-$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python fuzz/guided.py --seconds 300

corpus: $(VENV)/developing  ## Compress corpora of broken images (CORPORA=FOLDER)
	$(BIN)/python fuzz/corpus.py $(CORPORA)

# Apart from what tests run in: zfpy has a version number that numcodecs cannot read.
BENCH := .venv-bench
$(BENCH)/benchmarking: pyproject.toml
	$(MAKE) $(BENCH)/developing VENV=$(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --group bench
	@touch $@

bench-speed: $(BENCH)/benchmarking  ## Measure speed against peers in ten minutes (QUICK=1: one)
	$(BENCH)/bin/python benchmarks/speed.py $(if $(QUICK),--quick)

bench-rd: $(BENCH)/benchmarking  ## Measure bytes against PSNR beside other codecs (IMAGES=FOLDER)
	$(BENCH)/bin/python benchmarks/rate_distortion.py $(IMAGES)

bench-stacks: $(BENCH)/benchmarking  ## Measure stacks of images beside other codecs (STACKS=FOLDER)
	$(BENCH)/bin/python benchmarks/stacks.py $(STACKS)

bench-scale: $(BENCH)/benchmarking  ## Measure a stack of 1.3 GB beside dask and scikit-learn
	$(BENCH)/bin/python benchmarks/scale.py

bench-archives: $(VENV)/developing  ## Measure a thousand small images, one process and two
	$(BIN)/python benchmarks/archives.py

lint: $(VENV)/developing  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/developing  ## Check types
	$(BIN)/mypy

check: lint type test  ## All of these

$(VENV)/documenting: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

docs: $(VENV)/documenting  ## Build the pages, with a reference from the docstrings, into build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html."

MINIFIERS := --package=esbuild@0.25.5 --package=terser@5.42.0

js:  ## Build js/img-lrk.js, the decoder for pages, from its sources (needs npm)
	cd js && npm exec --yes $(MINIFIERS) -- node build.mjs

site: $(VENV)/installed  ## Build the site into build/site, for any static host
	$(BIN)/python site/build.py build/site

clean:  ## Remove what the targets made
	rm -rf $(VENV) .venv-lowest $(BENCH) demo dist build fuzz-failures .pytest_cache .mypy_cache .ruff_cache .hypothesis
