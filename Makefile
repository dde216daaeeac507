# make demo       a virtual environment, the package, and one question about an example clip
# make test       what the tests need, and all tests
# make check      lint, types, tests
# make docs       the documents as a site in site/, strictly; it needs no network
# make coverage   branch coverage of the files that decide a number, held to 100 %
# make bench      the benchmarks of docs/performance.md, at a size for a laptop
#
# PYTHON=…        the interpreter that makes .venv (3.11 or newer)
# TORCH_INDEX=…   another package index, for torch alone: a build for your GPU, or a CPU build where the default is CUDA
# PYTEST_ARGS=…   passed on to pytest; `make test PYTEST_PROCESSES=` runs in one process

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# Two pip processes must not write to one environment.
.NOTPARALLEL:
.PHONY: demo test check lint links typecheck docs coverage bench clean

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
TORCH_INDEX ?=
PYTEST_ARGS ?=
# One process a core, each with one thread.
PYTEST_PROCESSES ?= -n auto --dist worksteal

# What reaches every branch of those files; the rest of the tests would take minutes more in one process.
COVERAGE_TESTS := $(addprefix agent/test_,answers.py reasoning.py reasons.py replies.py) \
  $(addprefix eval/,confidence/test_measures.py metrics scorers scoring test_grade.py test_guessing.py)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
INSTALL_FILES := pyproject.toml constraints.txt

demo: .venv/.installed
	$(BIN)/lalm-agent ask examples/clip.wav "Which animal is heard?" --choice dog --choice cat --choice cow --choice frog

# The script and not `python -m pytest`, which would put the repository's root on the import path.
test: .venv/.installed-test
	$(BIN)/pytest $(PYTEST_PROCESSES) $(PYTEST_ARGS)

check: lint typecheck test

lint: .venv/.installed-lint
	$(BIN)/ruff check .

# The package in the shape of the wheel, for what reads it without importing it.
links:
	rm -rf .typecheck
	mkdir -p .typecheck/lalm_agent
	ln -s $(addprefix ../../,$(wildcard agent/*)) ../../tools ../../training ../../eval .typecheck/lalm_agent/

typecheck: .venv/.installed-lint links
	$(BIN)/mypy

docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/.installed-docs links
	$(BIN)/python -m mkdocs build --strict

coverage: .venv/.installed-test
	$(BIN)/coverage run $(BIN)/pytest $(addprefix tests/,$(COVERAGE_TESTS)) $(PYTEST_ARGS)
	$(BIN)/coverage report

# One thread, so that a ratio is not one of threads that wait for each other.
bench: export OMP_NUM_THREADS = 1
bench: .venv/.installed-test
	$(BIN)/python benchmarks/eval_loop.py --questions 100 --pairs 3
	$(BIN)/python benchmarks/eval_loop.py --questions 48 --pairs 3 --agent
	$(BIN)/python benchmarks/passes.py --limit 40 --pairs 2
	$(BIN)/python benchmarks/growth.py --most 1000
	$(BIN)/python benchmarks/startup.py --pairs 3
	$(BIN)/python benchmarks/train.py --model mini --pairs 3 --clips 6
	$(BIN)/python benchmarks/gpu.py --rehearse --blocks 2

clean:
	rm -rf .venv .typecheck site .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

# Each stamp is written last, so its existence means that the step is complete.

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "lalm-agent needs Python 3.11 or newer; here '$(PYTHON)' is" \
	            "$$($(PYTHON) --version 2>/dev/null || echo not found)." \
	            "Try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu it is a package of its own:" \
	            "apt-get install python3-venv" >&2; exit 1; }

.venv/.installed-torch: constraints.txt | $(BIN)/pip
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

.venv/.installed: .venv/.installed-torch $(INSTALL_FILES)
	$(PIP) -c constraints.txt -e .
	@touch $@

.venv/.installed-test: .venv/.installed-torch $(INSTALL_FILES)
	$(PIP) -c constraints.txt -e '.[test]'
	@touch .venv/.installed $@

.venv/.installed-docs: .venv/.installed-torch $(INSTALL_FILES)
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch .venv/.installed $@

.venv/.installed-lint: .venv/.installed-torch $(INSTALL_FILES)
	$(PIP) -c constraints.txt -e '.[lint]'
	@touch .venv/.installed $@
