# The graph of the stages. `make pipeline` makes what is missing or older than what it is made from, and nothing else.
#
#   make pipeline [MODEL=expression] [HARDWARE=cpu] [JOBS=2]     every stage, then the results table and the page
#   make fetch|corpus|tokenizer|pretrain|gumbel|continue|sft|lora|dpo|grpo MODEL=...   that stage and what it needs
#   make sft ARGS='--learning_rate 1e-4'                 with keys that override the recipe's
#   make speedrun [SEEDS=3] [ARGS='--note "what changed"']     core-seconds to 90, 99 and 99.9 %, and a row for the board
#   make ablations [SEEDS=3] [ARGS='--seconds 120']     what each part of the recipe is worth, at equal core-seconds
#   make verify-resume MODEL=smoke [ARGS='--kills 20']   kill each stage at random moments; is the result the same?
#   make sweep STAGE=pretrain ARGS='--learning_rate 1e-4,3e-4'     a grid of runs of one stage, and a table
#   make controls MODEL=expression-rl [SEEDS=3] [JOBS=2]   what reinforcement is worth, beside other uses of the same time
#   make evaluate|report|clean MODEL=...
#   make solve MODEL=... [ARGS='--temperature 0.8']      a conversation with the last stage; text it goes on with, or answers
#   make test | lint | check (lint and the fast tests) | fuzz | setup
#   make bench                                           our ways beside others, as ratios (benchmarks/README.md)

MODEL ?= expression
HARDWARE ?= cpu
PYTHON ?= python3
BIN := .venv/bin
R := recipes/$(MODEL)
D := data/$(MODEL)
C := checkpoints/$(MODEL)
STAGES := pretrain gumbel continue sft lora dpo grpo
# Ctrl+C is for the stage, which saves its step: the launcher waits for it instead of dying with a traceback.
ACCELERATE := $(BIN)/accelerate launch --quiet --config_file recipes/accelerate/$(HARDWARE).yaml -m
LAUNCH := trap '' INT; $(ACCELERATE) arith_hf
SETUP := .venv/.installed

# No network and no account at run time.
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1
# glibc gives large buffers back to the system at every step; keeping them makes a step 1.3 to 1.6 times faster.
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 17179869184
export MALLOC_TOP_PAD_ := 268435456
# Of a small model one thread makes 26 steps a second, whatever else runs; two make 43 on two idle cores, but 2 as soon as
# another program takes one of them. `make pipeline OMP_NUM_THREADS=2` where nothing else runs, or for a larger model.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help setup pipeline fetch corpus tokenizer $(STAGES) evaluate report speedrun ablations controls sweep verify-resume solve clean test fuzz bench check lint format

help:
	@sed -n 's|^#   |  |p' Makefile

setup: $(SETUP)

# The environment is built aside from its mark: an interrupted installation is not taken for a finished one.
$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "need Python 3.10 or newer: make PYTHON=python3.12 ..."; exit 2; }
	@echo "setting up .venv (once, a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# Reached where there is none.
recipes/%.yaml:
	@echo "no recipe at $@: $(MODEL) has $(notdir $(basename $(wildcard $(R)/*.yaml)))"; exit 2

# Each stage is finished when its last file stands; that is dated at its start, as what is edited meanwhile is newer.
# Texts of others, where a recipe says which: they are fetched once, and stay when the rest is cleaned.
FETCHED := $(if $(wildcard $(R)/fetch.yaml),data/raw/$(MODEL)/manifest.json)

data/raw/$(MODEL)/manifest.json: $(R)/fetch.yaml | $(SETUP)
	$(BIN)/arith-hf fetch --config $<

$(D)/manifest.json: $(R)/corpus.yaml $(FETCHED) | $(SETUP)
	$(BIN)/arith-hf corpus --config $<

$(C)/tokenizer/metrics.json: $(R)/tokenizer.yaml $(D)/manifest.json | $(SETUP)
	$(BIN)/arith-hf tokenizer --config $<

$(C)/pretrain/metrics.json: $(R)/pretrain.yaml $(C)/tokenizer/metrics.json
	$(LAUNCH) pretrain --config $< $(ARGS)

# What tuning starts from: the second phase of pretraining where there is one.
PRETRAINED := $(C)/$(if $(wildcard $(R)/continue.yaml),continue,pretrain)/metrics.json

$(C)/gumbel/metrics.json: $(R)/gumbel.yaml $(PRETRAINED)
	$(LAUNCH) gumbel --config $< $(ARGS)

# More pretraining, of what the first phase made, with another mixture.
$(C)/continue/metrics.json: $(R)/continue.yaml $(C)/pretrain/metrics.json
	$(LAUNCH) pretrain --config $< $(ARGS)

$(C)/sft/metrics.json: $(R)/sft.yaml $(PRETRAINED)
	$(LAUNCH) sft --config $< $(ARGS)

$(C)/lora/metrics.json: $(R)/lora.yaml $(PRETRAINED)
	$(LAUNCH) sft --config $< $(ARGS)

$(C)/dpo/metrics.json: $(R)/dpo.yaml $(C)/sft/metrics.json
	$(LAUNCH) dpo --config $< $(ARGS)

$(C)/grpo/metrics.json: $(R)/grpo.yaml $(C)/sft/metrics.json
	$(LAUNCH) grpo --config $< $(ARGS)

$(C)/%/evaluate.json: $(R)/evaluate.yaml $(C)/%/metrics.json
	$(LAUNCH) evaluate --config $< --checkpoint $(@D)

# The stages that this model has a recipe for.
HAS := $(strip $(foreach stage,$(STAGES),$(if $(wildcard $(R)/$(stage).yaml),$(stage))))
MEASURED := $(HAS:%=$(C)/%/evaluate.json)

$(C)/report.txt: $(MEASURED)
	@$(BIN)/arith-hf report --model $(MODEL) --output $@ >/dev/null

# Drawn from the logs and the samples too, which stages write before the files that they are made after.
$(C)/report.html: $(MEASURED)
	@$(BIN)/arith-hf report --model $(MODEL) --format html --output $@ >/dev/null

REPORTS := $(C)/report.txt $(C)/report.html

fetch: data/raw/$(MODEL)/manifest.json
corpus: $(D)/manifest.json
tokenizer: $(C)/tokenizer/metrics.json
$(STAGES): %: $(C)/%/metrics.json
evaluate: $(MEASURED)
report: $(REPORTS)
	@cat $<
	@echo "the page: $(C)/report.html"

# First the long stage, to be watched; then the short ones, two at a time on a CPU, each heard when it ends.
JOBS ?= $(if $(filter cpu,$(HARDWARE)),2,1)
SIDE_BY_SIDE := -j$(JOBS) $(if $(filter 1,$(JOBS)),,$(if $(filter output-sync,$(.FEATURES)),--output-sync=target))

pipeline:
	@test -d $(R) || { echo "no recipes for MODEL=$(MODEL): have $(filter-out accelerate,$(notdir $(wildcard recipes/*)))"; exit 2; }
	@if $(MAKE) --no-print-directory --question $(REPORTS); then echo "$(MODEL): all is done"; else \
	$(MAKE) --no-print-directory $(firstword $(HAS)) && \
	echo "$(MODEL): $(wordlist 2,9,$(HAS)) and the evaluations, $(JOBS) at a time" && \
	$(MAKE) --no-print-directory $(SIDE_BY_SIDE) $(REPORTS); fi
	@cat $(C)/report.txt
	@echo "the page: $(C)/report.html"

# Measured beside the pipeline, in folders of their own: checkpoints/M/speedrun, checkpoints/{ablations,controls}/M.
speedrun: $(C)/tokenizer/metrics.json
	@$(ACCELERATE) benchmarks.speedrun --config $(R)/pretrain.yaml --seeds $(or $(SEEDS),1) $(ARGS)

ablations: | $(SETUP)
	@$(ACCELERATE) benchmarks.ablations --config $(R)/pretrain.yaml --seeds $(or $(SEEDS),3) $(ARGS)

controls: | $(SETUP)
	@$(BIN)/python -m benchmarks.controls --config $(R)/grpo.yaml --launch_config recipes/accelerate/$(HARDWARE).yaml \
	--seeds $(or $(SEEDS),3) --jobs $(JOBS) $(ARGS)

sweep: | $(SETUP)
	@trap '' INT; $(BIN)/arith-hf sweep --config $(R)/$(or $(STAGE),pretrain).yaml --launch_config recipes/accelerate/$(HARDWARE).yaml $(ARGS)

# The stages before are made first, once; the runs that are killed have folders of their own: checkpoints/resume/M.
verify-resume: $(foreach stage,$(filter sft gumbel pretrain,$(HAS)),$(C)/$(stage)/metrics.json)
	@$(BIN)/python -m benchmarks.resume --recipes $(R) $(ARGS)

solve: | $(SETUP)
	@$(BIN)/arith-hf solve --checkpoint $(C)/$(lastword $(HAS)) $(ARGS)

# Only what was made for this model, by name; the data of another model cannot be meant.
clean:
	@test -n "$(MODEL)" -a -d $(R) || { echo "no recipes for MODEL=$(MODEL): nothing is removed"; exit 2; }
	rm -rf $(D) $(C) data/.$(MODEL).analyzed

# A worker for each core, of one thread each; every worker makes the small models that its tests share, so 8 at most.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

test: $(SETUP)
	$(PYTEST) $(ARGS)

fuzz: $(SETUP)
	$(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz --durations=0 $(ARGS)

bench: | $(SETUP)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(PYTEST) -m "not slow" $(ARGS)

format: $(SETUP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
