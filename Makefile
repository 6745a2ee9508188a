# Aliases of the command `motors`. Every target sets itself up: the environment in $(VENV) is made first if it is not
# there or lib/pyproject.toml is newer.
PYTHON ?= python3.11
VENV ?= .venv
PROFILE ?= demo
SEED ?= 0
FOLD ?= 0
FOLDS ?= 4
WORKERS ?= 2
# Containers often have no other user; Jupyter refuses root unless told.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# Threads that wait leave the core to others.
export OMP_WAIT_POLICY ?= PASSIVE
TORCH := torch==2.14.1 torchvision==0.29.1

BIN := $(VENV)/bin
RUFF := $(BIN)/ruff --quiet --config lib/pyproject.toml
# Compiled once, with what pytest adds to assertions, rather than in every process.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests -n $(WORKERS) --dist loadscope --no-loadscope-reorder
HOW := $(if $(DRY),--dry-run) $(if $(CORES),--cores $(CORES)) $(if $(EXECUTOR),--executor $(EXECUTOR)) $(if $(SHARDS),--shards $(SHARDS))
REPRODUCE := $(BIN)/motors reproduce $(HOW)

.PHONY: help demo smoke rehearsal review reproduce cv sweep data check test style lab bench format readme

help:
	@echo "make demo         simulate a competition, train on it, find the motors of its hidden test set; SEED=1 for another"
	@echo "make test         style, tests and every notebook on its smallest setting"
	@echo "make check        style, and the quick tests: no kernel, no other program, no network; before every commit"
	@echo "make lab          open the notebooks in JupyterLab"
	@echo "make reproduce    the notebooks of PROFILE=demo, smoke or full, or EXPERIMENT=EXP09 FOLD=1 SET=\"steps=200\" alone;"
	@echo "                  DRY=1 says what would run and what it takes, CORES=1 uses fewer, EXECUTOR=slurm a cluster, SHARDS=30"
	@echo "make cv           train FOLDS=4 folds of all networks, or of NETWORKS=\"resnext50 EXP09\", and judge them together"
	@echo "make sweep        a grid of settings, NAME=sigma; the grids are in notebooks/experiments.yaml"
	@echo "make smoke        every notebook on its smallest setting, kept in outputs"
	@echo "make rehearsal    notebook 90 on TOMOGRAMS=900 made-up ones, 5 % of them damaged, against the clock: 15 minutes"
	@echo "make review       spoil labels, review them with networks, and see what came back: 10 minutes after notebook 11"
	@echo "make data         the competition's data, 70 GB and as much again until they are unpacked; needs a Kaggle account"
	@echo "make bench        how fast things are on this machine"
	@echo "make readme       the README's figures, from make demo with any SEED, and its drawing of the library"
	@echo "make format       format the code the way make check wants it"

demo: $(VENV)/installed
	@$(REPRODUCE) --profile demo --seed $(SEED)

smoke: $(VENV)/installed
	@$(REPRODUCE) --profile smoke --seed $(SEED)

# What it reads is made first, unless it has succeeded before, by whatever command; the experiment itself runs whenever
# it is asked for. PROFILE=smoke for a look.
review: $(VENV)/installed
	@for notebook in 00_start_here 10_prepare_labels 11_prepare_volumes 32_review_experiment; do \
	  record=outputs/$$notebook/$(PROFILE)$(if $(filter-out 0,$(SEED)),-seed$(SEED))/record.json; \
	  test $$notebook != 32_review_experiment && grep -qs '"status": "succeeded"' $$record || \
	  $(BIN)/motors run notebooks/$$notebook.ipynb -p PROFILE $(PROFILE) -p SEED $(SEED) || exit 1; \
	done

# At full size, networks begin with published weights.
reproduce: $(VENV)/installed
	@$(if $(filter full,$(PROFILE)),$(if $(DRY),,$(BIN)/motors download pretrained))
	@$(REPRODUCE) --profile $(PROFILE) --seed $(SEED) $(if $(EXPERIMENT),--experiment "$(EXPERIMENT)" --fold $(FOLD) --set "$(SET)")

cv: $(VENV)/installed
	@$(REPRODUCE) --profile $(PROFILE) --seed $(SEED) --folds $(FOLDS) --networks "$(NETWORKS)"

sweep: $(VENV)/installed
	@$(REPRODUCE) --profile $(PROFILE) --seed $(SEED) --sweep "$(or $(NAME),?)"

data: $(VENV)/installed
	@$(BIN)/motors download competition

style: $(VENV)/installed
	@$(RUFF) check lib tests notebooks
	@$(RUFF) format --check lib tests notebooks

check: style
	@$(PYTEST) -m "not slow and not kernel and not browser" --hypothesis-profile=check $(ARGS)

test: style
	@$(PYTEST) -m "not slow" $(ARGS)

# At the root, so that outputs can be browsed; without JupyterLab's news; saved notebooks leave no difference but results.
lab: $(VENV)/installed
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
	  > $(VENV)/share/jupyter/lab/settings/overrides.json
	@git rev-parse --git-dir >/dev/null 2>&1 && $(BIN)/motors keep --filter || true
	@$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ROOT) $(ARGS)

rehearsal: $(VENV)/installed
	@$(BIN)/python tests/rehearsal.py --tomograms $(or $(TOMOGRAMS),900)

bench: $(VENV)/installed
	@for file in $(filter-out %/measured.py,$(wildcard tests/benchmarks/*.py)) tests/benchmarks/measured.py; do \
	  echo "$$file" && $(BIN)/python "$$file" || exit 1; done

readme: $(VENV)/installed
	@$(BIN)/python tests/house.py --write
	@$(BIN)/python tests/pages.py --write
	@$(BIN)/python tests/figures.py --write

format: $(VENV)/installed
	@$(RUFF) check --fix-only lib tests notebooks
	@$(RUFF) format lib tests notebooks

# The mark is made last: an installation that was interrupted is done again.
$(VENV)/installed: lib/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is missing: install Python 3.11 or name yours, as in make PYTHON=/path/to/python3.11"; exit 1; }
	@rm -f $@
	@echo "1/2 installing PyTorch into $(VENV): several gigabytes, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check $(TORCH)
	@echo "2/2 installing everything else: some minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -e "./lib[dev]"
	@touch $@
