# Every target sets up what it needs. `make` alone prints this list.
PYTHON   ?= python3
BIN      := .venv/bin
DATA_DIR ?= data
ARGS     ?=
# Number of seeds, from 0; without it the release's seed.
SEEDS    ?=
LOGS      = $(or $(MSDN_LOG_DIR),logs)
SWEEPS    = $(LOGS)/sweeps
DEMO      = $(LOGS)/demo
# ResNet-101 at 448 px if the data folder has its weights, else the backbone that pip brings.
FEATURES ?= $(if $(wildcard $(DATA_DIR)/weights/resnet101*),resnet101_448,efficientnet_lite2_260)
# On CUB: the release's settings with the paper's backbone, else those of cub_best, a third of the time.
EXPERIMENT = $*_$(if $(filter resnet101%,$(FEATURES)),gzsl,$(if $(filter cub,$*),best,gzsl))
# Of pip's lines, those that tell what takes time: files of 1 MB and more, and the installation.
PIP_LINES = while read -r word rest; do case "$$word $$rest" in \
  Downloading*[MG]B\)|Using\ cached*[MG]B\)) echo "  $$word $$rest" ;; \
  Installing\ collected*) echo "  Installing the packages" ;; esac; done

.PHONY: help setup demo app test test-full faults lint type docs bench bench-growth bench-sweeps bench-serving kills reproduce reproduce-cub reproduce-sun reproduce-awa2 results clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/.installed ## .venv with everything, exact versions

.venv/.installed: pyproject.toml constraints.txt
	@rm -f $@
	$(PYTHON) -m venv .venv
	@echo "Installing msdn-lit and what it needs into .venv (several minutes)"
	@{ $(BIN)/pip install --progress-bar off --constraint constraints.txt --editable '.[dev,docs,tensorboard,sweeps,ray,wandb,app,figures,export,backbone]' && touch $@; } | { $(PIP_LINES); }
	@test -f $@

demo: setup ## the embedded benchmark: draw, extract, train, evaluate, figures (80 s after the installation)
	$(BIN)/msdn extract experiment=demo $(ARGS)
	$(BIN)/msdn train experiment=demo paths.run_dir=$(DEMO) overwrite=true $(ARGS)

picture: ## docs/images/attention.png, the picture of the README, of the demo's model
	@test -f $(DEMO)/result.json || $(MAKE) demo ARGS=
	$(BIN)/python docs/images/draw.py $(DEMO)

app: setup ## a local page to try a model: RUN=..., by default the demo's (make app ARGS="--port 8001")
	@test -n "$(RUN)" || test -f $(DEMO)/result.json || $(MAKE) demo ARGS=
	$(BIN)/msdn app $(or $(RUN),$(DEMO) --samples $(or $(MSDN_DATA_DIR),data)/SYNTHETIC/images) $(ARGS)

test: setup ## the tests (about 15 minutes on 2 cores; no data, no GPU, no network)
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-full: setup ## all tests, with the slow ones and the notebooks
	$(BIN)/pytest -n auto --dist worksteal $(ARGS)

faults: setup ## bad inputs and faults: how many were tried, survived and failed, by area (6 minutes)
	$(BIN)/pytest -n auto --dist worksteal -q -m fault $(ARGS)

lint: setup ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup ## mypy --strict
	$(BIN)/mypy

docs: setup ## the documentation site, strict, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: setup ## speed and memory, compared with the release's order of computation and the machine's limits (20 minutes)
	$(BIN)/python -m tests.benchmarks.speed $(ARGS)

bench-growth: setup ## time and memory as images, regions, attributes and classes grow; draws a figure (2 minutes)
	$(BIN)/python -m tests.benchmarks.speed --growth $(ARGS)

bench-sweeps: setup ## launcher overhead per job, and the cost of a finished sweep (10 minutes)
	$(BIN)/python -m tests.benchmarks.sweeps

bench-serving: setup ## latency of a prediction; ONNX against engine and evaluation: RUN=..., by default the demo's (3 minutes)
	@test -n "$(RUN)" || test -f $(DEMO)/result.json || $(MAKE) demo ARGS=
	$(BIN)/python -m tests.benchmarks.serving $(or $(RUN),$(DEMO)) $(ARGS)

kills: setup ## kill downloads and extractions at 200 random moments each, compare every byte (4 minutes)
	$(BIN)/python -m tests.benchmarks.kill_fetch --kills 200
	$(BIN)/python -m tests.benchmarks.kill_extract --kills 200

reproduce: reproduce-cub reproduce-sun reproduce-awa2 ## all three benchmarks

reproduce-cub reproduce-sun reproduce-awa2: reproduce-%: setup ## full training run: make reproduce-cub DATA_DIR=... SEEDS=5
	$(BIN)/msdn extract experiment=$(EXPERIMENT) features=$(FEATURES) paths.data_dir=$(DATA_DIR) $(ARGS)
	$(BIN)/msdn train -m experiment=$(EXPERIMENT) features=$(FEATURES) paths.data_dir=$(DATA_DIR) callbacks=figures \
	  $(if $(SEEDS),'seed=range($(SEEDS))') sweep_name=reproduce_$*_$(FEATURES) $(ARGS)
	$(BIN)/msdn report $(SWEEPS)/reproduce_$*_$(FEATURES)

results: setup ## the studies of docs/results.md: list what is missing and how long it takes, and run it (ARGS=--list only lists)
	$(BIN)/python experiments/studies.py --data-dir $(DATA_DIR) --log-dir $(LOGS) $(ARGS)

clean: ## remove .venv, caches and build outputs; data/ and logs/ are kept
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
