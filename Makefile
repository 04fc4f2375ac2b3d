# Set-up and the everyday commands. Each creates .venv if need be; `make install` does only that.

PYTHON ?= python3
CORES ?= all
RUN := .venv/bin/python -m
SOURCES := cross_thought workflow_scripts tests benchmarks docs
RULES := Snakefile $(wildcard rules/*.smk)

# Snakemake keeps a cache at home; where that cannot be written, it goes here
ifeq ($(shell test -w "$$HOME" && echo yes),)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

# some machines tell Python to keep no bytecode: then each of our many processes would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install docs demo verify test quick test-image image coverage lint format clean

install: .venv/installed

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@command -v $(CXX) > /dev/null || { echo "A C++ compiler is needed (fairseq builds its data loader): apt install g++"; exit 1; }
	$(PYTHON) -m venv .venv
	$(RUN) pip install --requirement requirements.txt
	touch $@

EXTRAS := $(filter-out requirements-checks.txt,$(wildcard requirements-*.txt))

.venv/installed-dev: .venv/installed $(EXTRAS)
	$(RUN) pip install $(EXTRAS:%=--requirement %)
	touch $@

# what cannot stand beside our packages gets a place of its own
.venv/installed-checks: .venv/installed requirements-checks.txt
	$(RUN) venv .venv/checks
	.venv/checks/bin/python -m pip install --requirement requirements-checks.txt
	touch $@

demo: .venv/installed
	if [ -t 1 ]; then logger='--logger rich'; fi; $(RUN) snakemake --cores $(CORES) $$logger
	@cat results/tables/cross_path.md results/tables/tasks.md

verify: .venv/installed
	$(RUN) cross_thought.tables.verify

# three tests at a time, each with one thread: many wait, for SLURM or for what was killed
test: .venv/installed-dev .venv/installed-checks
	OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses 3 --no-loadscope-reorder

QUICK := tests/unit tests/parity

quick: .venv/installed-dev .venv/installed-checks
	OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses 2 --no-loadscope-reorder -m 'not slow' $(QUICK)
	@echo 'Left out: $(filter-out $(QUICK),$(patsubst %/,%,$(wildcard tests/[a-z]*/))), tests marked slow (make test has all); make lint.'

# the stages of Containerfile on a base of Debian's packages, and the chain in it; as root
test-image: export CROSS_THOUGHT_IMAGE = $(IMAGE_OPTIONS)
test-image: .venv/installed-dev
	OMP_NUM_THREADS=1 $(RUN) pytest tests/workflow/test_image.py

# the workflow tests run the rest of the package in processes of their own, which are not counted
coverage: .venv/installed-dev .venv/installed-checks
	$(RUN) pytest --cov --cov-report=term tests/unit tests/parity

lint: .venv/installed-dev
	$(RUN) ruff check $(SOURCES)
	$(RUN) ruff format --check $(SOURCES)
	$(RUN) mypy
	$(RUN) snakefmt --check --no-format-shell $(RULES)
	$(RUN) snakemake --lint

# docs/ as a site, in site/; without what the workflow needs, for nothing of it is imported
.venv/installed-docs: requirements-docs.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(RUN) pip install --requirement $<
	touch $@

docs: .venv/installed-docs
	$(RUN) mkdocs build

# the workflow and what it runs with; IMAGE_OPTIONS: further ones of podman's or buildah's build
IMAGE ?= cross-thought
image:
	$(or $(shell command -v podman || command -v buildah),$(error podman or buildah is needed: apt install podman)) \
	    build $(IMAGE_OPTIONS) --tag $(IMAGE) .

format: .venv/installed-dev
	$(RUN) ruff check --fix $(SOURCES)
	$(RUN) ruff format $(SOURCES)
	$(RUN) snakefmt --no-format-shell $(RULES)

clean:
	rm -rf .venv .snakemake site
