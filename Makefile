# One door: what CI runs is what a developer runs.
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SYNCED := $(VENV)/.synced
WEB := $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)
OPENSTEF := .venv-openstef
SERIES := $(or $(GRIDFLOCK_SHARED),../shared)/data/series/openstef_nl_substations
# Two at a time, a file's tests in order in one process: a story's chapters follow each other.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
FOR ?=
DEMO_FLAGS ?=

.PHONY: demo test test-all check format fuzz bench bench-openstef clean

demo: $(SYNCED)  ## a live day on the simulated IEEE 123-bus feeder; FOR=20 stops after 20 s
	$(BIN)/gridflock demo $(if $(FOR),--for $(FOR)) $(DEMO_FLAGS)

test: $(SYNCED)  ## the whole suite but what is marked slow
	$(BIN)/python -m pytest -m "not slow" $(TWO)

test-all: $(SYNCED)
	$(BIN)/python -m pytest $(TWO)

check: $(SYNCED)  ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(SYNCED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-openstef: $(UV)  ## OpenSTEF 3 on the Dutch substations, in an environment of its own; records its scores
	$(UV) venv --quiet --python 3.11 --allow-existing $(OPENSTEF)
	VIRTUAL_ENV=$(OPENSTEF) $(UV) pip sync --quiet --no-config tests/rivals/openstef/requirements.txt
	mkdir -p out
	OMP_NUM_THREADS=1 PYTHONHASHSEED=0 $(OPENSTEF)/bin/python tests/rivals/openstef/backtest.py \
		--data $(SERIES) --out src/gridflock/bench/openstef.json > out/openstef.log

fuzz: $(SYNCED)  ## foreign bytes and requests for IEEE 2030.5, ten minutes; FOR=30 for half a minute
	$(BIN)/python tests/fuzz/ieee2030_5_wire.py -max_total_time=$(or $(FOR),600) -verbosity=0
	$(BIN)/python tests/fuzz/ieee2030_5_requests.py $(if $(FOR),20000,100000)

bench: $(SYNCED) fuzz  ## ours against rivals, the same work in the same run
	$(BIN)/gridflock bench powerflow --json

clean:
	rm -rf $(VENV) $(OPENSTEF) out gridflock-data web/node_modules src/gridflock/console/static

# The machine's Python makes the environment, pip brings uv into it, uv brings the locked rest.
$(UV):
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(SYNCED): $(UV) pyproject.toml uv.lock build_console.py $(WEB)
	@echo "installing the locked dependencies and building the console …"
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --frozen --quiet --reinstall-package gridflock
	touch $@
