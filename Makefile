# What README, CI and people type. Everything runs in .venv, which is made when it is missing or stale; an environment
# whose Python already has the real lsst.ts.salobj is used as it is.

PYTHON ?= python3

ifeq ($(shell $(PYTHON) -c "import lsst.ts.salobj" 2>/dev/null && echo yes),yes)
RUN := PYTHONPATH=$(CURDIR)/python $(PYTHON)
LINT_IMPORTS := lint-imports
HADOLINT := hadolint
READY :=
else
RUN := .venv/bin/python
LINT_IMPORTS := .venv/bin/lint-imports
HADOLINT := .venv/bin/hadolint
READY := .venv/.ready
endif

BIN := $(RUN) -m
CLI := $(BIN) lsst.ts.comcamcalib.cli
PACKAGE := python/lsst/ts/comcamcalib
STANDIN_FILES := $(shell find standins -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -not -path '*/tests/*')
INTERFACE_FILES := $(shell find $(PACKAGE)/sal_interfaces -name '*.xml')

.PHONY: help demo observatory test test-all test-observatory test-parts test-fast test-oldest scenarios crashtest image image-test nights lint format interface bench bench-sal bench-statistics bench-judging bench-schedule bench-journal bench-csc bench-scale bench-page bench-report clean

help: ## Say what can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: interface ## Make calibrations with a simulated observatory; what it made stays in demo-data/.
	$(CLI) demo

observatory: interface ## Run the simulated observatory alone, until Ctrl-C.
	$(CLI) observatory

test: ## Run all tests, in two halves side by side; the output of the observatory's half comes at the end.
test-all: ## The same, and those of the image, which need root.
test: HERE := test-parts
test-all: HERE := test-parts image-test
test test-all: interface
	@log=$$(mktemp); \
	$(MAKE) --no-print-directory test-observatory >$$log 2>&1 & observatory=$$!; \
	$(MAKE) --no-print-directory $(HERE); here=$$?; \
	wait $$observatory; runs=$$?; \
	cat $$log; rm -f $$log; exit $$((here || runs))

# Runs on the simulated observatory, which mostly wait.
test-observatory: interface
	$(BIN) pytest -p no:cacheprovider --durations=25 tests/e2e

# Everything else, and the demonstration, so that both halves take about as long.
test-parts: interface
	$(BIN) pytest -p no:cacheprovider --durations=25 --ignore=tests/e2e --ignore=tests/image

test-fast: interface ## Run all tests but those that need the whole observatory or real pipelines.
	$(BIN) pytest -m "not observatory and not pipelines"

test-oldest: .venv-oldest/.ready ## The same with the lowest versions of the dependencies that pyproject.toml allows.
	.venv-oldest/bin/python -m lsst.ts.comcamcalib.cli interface install
	OLDEST=1 .venv-oldest/bin/python -m pytest -p no:cacheprovider -m "not observatory and not pipelines"

scenarios: interface ## Show whole runs with real pipelines each scenario that must get a certain verdict; ONLY="..." chooses some.
	$(RUN) tests/scenarios/run.py $(ONLY)

crashtest: interface ## Kill the CSC's process KILLS times (40) in runs on the simulated observatory, and compare how they end.
	KILLS=$(or $(KILLS),40) $(BIN) pytest -s tests/crash

image: ## Build the container image with docker, podman or buildah; TARGET=observatory BASE=<image> for the observatory's own.
	TARGET=$(TARGET) BASE=$(BASE) deploy/image/build.sh

image-test: interface ## Build the image without an engine, as root on Debian, and make calibrations in it.
	IMAGE_TEST=1 $(BIN) pytest -p no:cacheprovider tests/image

nights: $(READY) ## Have N nights (10000) in virtual time, with faults, kills and restarts; FIRST is the first seed.
	$(RUN) tests/nights/run.py $(or $(N),10000) --first $(or $(FIRST),0)

lint: $(READY) ## Check style, types and layers.
	$(BIN) ruff check .
	$(BIN) ruff format --check .
	$(BIN) mypy $(PACKAGE)
	$(LINT_IMPORTS)
	$(HADOLINT) Dockerfile upstream/ts_cycle_build/build/comcamcalib/Dockerfile

format: $(READY) ## Bring the code into the common style.
	$(BIN) ruff check --fix .
	$(BIN) ruff format .

# salobj knows a component only when its interface lies in lsst.ts.xml's data directory.
interface: $(READY)
	@$(CLI) interface install

.venv/.ready: pyproject.toml Makefile $(STANDIN_FILES) $(INTERFACE_FILES)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; set PYTHON=')"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[sim,test,lint,postgres]"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps ./standins
	.venv/bin/python -m pip install --quiet --disable-pip-version-check ./standins
	touch $@

# Made anew, so that nothing newer stays; of what the dependencies need themselves it has the newest.
.venv-oldest/.ready: pyproject.toml Makefile $(STANDIN_FILES)
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-oldest/bin/python -m uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable ".[sim,test,postgres]" ./standins
	touch $@

bench: ## Measure; ratios within one run. A part that fails does not hold up the others.
	@$(MAKE) --no-print-directory --keep-going bench-sal bench-statistics bench-judging bench-schedule bench-journal bench-scale bench-page bench-report bench-csc

bench-sal: interface ## Measure salobj; with REAL_PYTHON=<a Python with the real salobj> side by side.
	$(RUN) bench/sal/run.py

bench-statistics: interface ## Measure how fast the statistics of a verification are read; DETECTORS=189 for a whole LSSTCam.
	$(RUN) bench/statistics/run.py

bench-judging: $(READY) ## Measure how fast a whole LSSTCam's statistics are judged; DETECTORS=... and EXPOSURES=... change that.
	$(RUN) bench/judging/run.py

bench-schedule: $(READY) ## Measure in virtual time how close a run with everything comes to its critical path.
	$(RUN) bench/schedule/run.py

bench-journal: $(READY) ## Measure what a fact costs in the journal after 100 and after 10,000.
	$(RUN) bench/journal/run.py

bench-scale: $(READY) ## Measure plan, fold, published events and file ledger with 9 and 205 detectors, 20 and 500 exposures.
	$(RUN) bench/scale/run.py

bench-page: $(READY) ## Measure time, size and memory of the status page with 9 and 205 detectors.
	$(RUN) bench/page/run.py

bench-report: interface ## Measure what a run's report costs; DATA=<folder of a demonstration> saves making one.
	$(RUN) bench/report/run.py

bench-csc: interface ## Measure the CSC's process: delays between steps, kill and resume, a burst of files, memory and processor; PART=runs, kills or burst.
	$(RUN) bench/csc/run.py $(PART)

clean: ## Remove what was made.
	rm -rf .venv .venv-oldest demo-data .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build
