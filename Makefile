# The only front door to every task; `make` prints the list.
SHELL := bash
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3
SEED ?= 42
BIN := $(VENV)/bin
TETRAD := $(BIN)/tetrad
STAMP := $(VENV)/.tetrad-installed
BENCH_VENV ?= .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
SGLANG_VENV ?= .venv-sglang
SGLANG_STAMP := $(SGLANG_VENV)/.installed
SGLANG_CPU := services/rollout/sglang_cpu
PROJECTS := $(sort $(wildcard libs/*/pyproject.toml services/*/pyproject.toml))
SGLANG_PROJECTS := $(filter libs/% services/rollout/,$(filter-out libs/cli/ libs/algorithms/,$(dir $(PROJECTS))))
# The tutorial's own names. Nothing of Tetrad depends on them, so they are no part of the workspace.
TUTORIAL_NAMES := skyrl-train
EDITABLE := $(foreach project,$(PROJECTS),-e $(dir $(project))) -e $(TUTORIAL_NAMES)
# uv does not read pip's configuration: where pip knows a folder of wheels, such as a small CPU build of torch, so shall uv.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
ifeq ($(strip $(UV_FIND_LINKS)),)
unexport UV_FIND_LINKS
endif
# Without such a folder uv takes PyTorch's own CPU build; TORCH_BACKEND=auto picks by the driver of the machine.
TORCH_BACKEND ?= cpu
TORCH_ARGUMENTS ?= $(if $(UV_FIND_LINKS),,--torch-backend=$(TORCH_BACKEND))

.PHONY: help setup demo test test-long test-docs test-tutorial test-multinode test-node-reward test-sglang test-security check-dashboards check-containers lint typecheck check up down status watch why logs scale plan doctor bench docs docs-site clean dashboards

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(STAMP)  ## Make the virtual environment (.venv) with everything in it

$(STAMP): $(PROJECTS) $(TUTORIAL_NAMES)/pyproject.toml constraints.txt dev-requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; assert sys.version_info >= (3, 11), "Tetrad needs Python 3.11 or newer; set PYTHON=python3.11"'
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH_ARGUMENTS) --constraint constraints.txt \
		-r dev-requirements.txt $(EDITABLE)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt reasoning-gym 2>/dev/null \
		|| echo "reasoning-gym is not installed (it needs a C compiler); its tests will be skipped"
	@touch $@

demo: $(STAMP)  ## Four services on this machine; a tiny model learns to add (SEED=n)
	$(TETRAD) train +experiment=demo trainer.seed=$(SEED) --live

test: $(STAMP)  ## Lint, types, import rules and every test of the CPU set-up
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -q -n 2 -m "not live and not long and not pages" $(PYTEST_ARGUMENTS)
	$(BIN)/python -m pytest -q -n 2 -m "live and not long" --durations=20 tests/chaos tests/docs tests/e2e tests/integration tests/monitoring $(PYTEST_ARGUMENTS)

test-long: $(STAMP)  ## Tests that take minutes each: compiled models, whole runs that evaluate, filter, or meet a poisoned step
	$(BIN)/python -m pytest -q -n 2 -m long $(PYTEST_ARGUMENTS)

test-docs: $(STAMP)  ## Every command and Python block of the pages, as a reader would type them (a quarter of an hour)
	$(BIN)/python -m pytest -q tests/docs $(PYTEST_ARGUMENTS)

test-node-reward: $(STAMP)  ## The reward service in Node.js: every rule of the protocol, and graded by it in a real run
	REQUIRE_NODE=1 $(BIN)/python -m pytest -q tests/e2e/test_node_reward.py tests/integration/test_reward_conformance.py $(PYTEST_ARGUMENTS)

test-tutorial: $(STAMP)  ## Every block of the tutorials, in order, and a table of what they promise (minutes)
	$(BIN)/python -m pytest -q tests/tutorial $(ARGS) $(PYTEST_ARGUMENTS)

test-multinode: $(STAMP)  ## Two network namespaces as two hosts: ranks, engines and weights across them (needs root; minutes)
	$(BIN)/python -m pytest -q tests/multinode $(PYTEST_ARGUMENTS)

test-sglang: $(SGLANG_STAMP)  ## The engine's conformance suite against the real SGLang on a CPU (environment of its own, 3 GB)
	SGLANG_USE_CPU_ENGINE=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONPATH=$(SGLANG_CPU) \
		$(SGLANG_VENV)/bin/python -m pytest -q -m sglang --confcutdir=tests/real_sglang tests/real_sglang $(PYTEST_ARGUMENTS)

test-security: $(STAMP)  ## Strangers, thieves and liars at running services, and a whole run under keys
	$(BIN)/python -m pytest -q tests/security tests/unit/transport/test_keys.py tests/unit/transport/test_gate.py \
		tests/unit/runtime/test_audit.py tests/unit/runtime/test_wiring.py tests/unit/cli/test_keys_command.py \
		tests/unit/reward/test_code.py tests/unit/reward/test_reasoning_gym.py $(PYTEST_ARGUMENTS)

check-containers: $(STAMP)  ## Lint images and compose files, build the images and run a few steps in them (root, buildah)
	$(BIN)/python -m pytest -q tests/packaging/test_containers.py
	$(BIN)/python tools/check_containers.py $(ARGS)

check: $(STAMP) lint typecheck  ## Lint, types, import rules, sizes and declared dependencies only

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py
	$(BIN)/python tools/check_dependencies.py
	$(BIN)/python tools/lint_dashboards.py

typecheck: $(STAMP)
	$(BIN)/mypy $(foreach project,$(PROJECTS),-p tetrad_$(notdir $(patsubst %/,%,$(dir $(project))))) -p tetrad -p skyrl_train

up: $(STAMP)  ## Start all services in the background (ARGS="--config-path … key=value …")
	$(TETRAD) up $(ARGS)

down: $(STAMP)  ## Drain and stop them
	$(TETRAD) down $(ARGS)

status: $(STAMP)  ## What runs, and how it does
	$(TETRAD) status $(ARGS)

watch: $(STAMP)  ## The same, live
	$(TETRAD) watch $(ARGS)

why: $(STAMP)  ## What the learner waits for, in one sentence
	$(TETRAD) why $(ARGS)

logs: $(STAMP)  ## Their logs, merged (ARGS="-f --level warning rollout")
	$(TETRAD) logs $(ARGS)

scale: $(STAMP)  ## Change the number of replicas in a run: make scale ROLLOUT=3 REWARD=2
	$(TETRAD) scale $(if $(ROLLOUT),rollout=$(ROLLOUT)) $(if $(REWARD),reward=$(REWARD)) $(ARGS)

plan: $(STAMP)  ## The arithmetic of a run before anything loads
	$(TETRAD) plan $(ARGS)

doctor: $(STAMP)  ## Check this machine (ARGS="--model FOLDER")
	$(TETRAD) doctor $(ARGS)

bench: $(STAMP) $(BENCH_STAMP)  ## All benchmarks; results under benchmarks/results (ARGS="--only wire coordinator")
	$(BIN)/python benchmarks/run_all.py $(ARGS)

# The systems that we compare with have an environment of their own.
$(BENCH_STAMP): benchmarks/requirements.txt constraints.txt | $(STAMP)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(BENCH_VENV)
	$(BIN)/uv pip install --quiet --python $(BENCH_VENV)/bin/python $(TORCH_ARGUMENTS) --constraint constraints.txt \
		-r benchmarks/requirements.txt
	@touch $@

# SGLang pins what the rest leaves open, and on a CPU its metadata has to be passed over.
$(SGLANG_STAMP): $(SGLANG_CPU)/requirements.txt $(SGLANG_CPU)/requirements-no-deps.txt $(PROJECTS) | $(STAMP)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(SGLANG_VENV)
	$(BIN)/uv pip install --quiet --python $(SGLANG_VENV)/bin/python $(TORCH_ARGUMENTS) -r $(SGLANG_CPU)/requirements.txt \
		$(foreach name,$(SGLANG_PROJECTS),-e $(name))
	$(BIN)/uv pip install --quiet --python $(SGLANG_VENV)/bin/python --no-deps -r $(SGLANG_CPU)/requirements-no-deps.txt
	@touch $@

dashboards: $(STAMP)  ## Where Prometheus and Grafana of a run are; starts them where they are not
	$(TETRAD) dashboards $(ARGS)

check-dashboards: $(STAMP)  ## Every query of the boards against a real Prometheus in a demo run; pictures (needs apt-get install prometheus)
	$(BIN)/python tools/check_dashboards.py $(ARGS)

docs: $(STAMP)  ## Make the pages under docs/reference, and the boards, again from the code
	set -e; for maker in tools/make_*_reference.py tools/make_dashboards.py; do $(BIN)/python $$maker; done

docs-site: $(STAMP)  ## The documentation as a site, strictly: a dead link or anchor is an error (build/docs/site)
	$(BIN)/python tools/make_docs_site.py $(ARGS)

clean:  ## Remove the virtual environments and caches, not the runs
	rm -rf $(VENV) $(BENCH_VENV) $(SGLANG_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
