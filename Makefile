# `make up` and `make test` do all the set-up on a machine with Python 3.11+; everything goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
unexport PYTHONDONTWRITEBYTECODE      # a part that died is back in half the time from bytecode

.PHONY: up down status kafka test lint unit services browser notebooks faults bench bench-decode bench-flow chromium java lock clean

up: $(VENV)/compiled                  ## the embedded stack: make up ARGS="--detach --machines 5"
	@$(BIN)/duco up $(ARGS)

down status: $(VENV)/workbench
	@$(BIN)/duco $@ $(ARGS)

kafka: $(VENV)/workbench $(VENV)/kafka             ## an Apache Kafka on loopback, in the foreground: ARGS="--port 9092"
	@$(BIN)/python -m duco_workbench.local.kafka $(ARGS)

test: $(VENV)/compiled $(VENV)/test $(VENV)/dbcs $(VENV)/kafka chromium lint      ## exactly what CI runs
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS) --durations=15

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit services browser: $(VENV)/test $(VENV)/dbcs $(VENV)/kafka   ## one part of the tests
	$(BIN)/python -m pytest tests/$@ $(ARGS)

notebooks: $(VENV)/test
	$(BIN)/python -m pytest tests/notebooks $(ARGS)

faults: $(VENV)/compiled $(VENV)/test $(VENV)/kafka   ## outages, and kills by seed: make faults SEEDS="1 2 3" FAULTS="--minutes 30 --kills 100"
	$(BIN)/python tests/faults/run.py --seed $(SEEDS) $(FAULTS)
SEEDS := 1

bench: bench-decode bench-flow        ## ratios against peers, in one run
	$(BIN)/python tests/bench/bench_logs.py
	$(BIN)/python tests/bench/bench_decode_command.py
	$(BIN)/python tests/bench/bench_agent.py

bench-decode: $(VENV)/test $(VENV)/dbcs         ## the decoder alone; ARGS="LOG DBC ... --json FILE" for logs of your own
	$(BIN)/python tests/bench/bench_decode.py $(ARGS)

bench-flow: $(VENV)/test $(VENV)/kafka          ## raw log to store on both logs, hop by hop and whole; ARGS="--machines 200"
	@for log in redis kafka; do for part in flow stack; do \
	  $(BIN)/python tests/bench/bench_$$part.py --log $$log $(ARGS) || exit 1; done; done

chromium:                             ## the browser of the browser tests
	@command -v chromium >/dev/null || command -v "$$CHROMIUM" >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "make: the browser tests need chromium; install it, or set CHROMIUM to its path" >&2; exit 1; }

java:                                 ## what Kafka needs
	@command -v java >/dev/null && command -v mvn >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq default-jre-headless maven; } || \
	  { echo "make: Kafka needs Java 17 or newer and maven; install them" >&2; exit 1; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "make: Python's venv module is missing; apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/workbench: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing (once, about 2 GB) …"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# What is as it was is not compiled again. Two processes that start and compile at once take a minute or two.
$(VENV)/compiled: $(VENV)/workbench $(shell find duco_workbench -name '*.py')
	@echo "compiling what has changed …"
	@$(BIN)/python -c "from duco_workbench.parsing import logs, warm_up; warm_up(); logs.warm_up()"
	@touch $@

$(VENV)/test: requirements-test.lock $(VENV)/workbench
	@$(PIP) install --require-hashes -r requirements-test.lock
	@touch $@

$(VENV)/dbcs: requirements-dbcs.lock | $(VENV)/bin/python  # databases of two packages, which tests read
	@$(PIP) download --require-hashes --no-deps --no-binary cantools -r $< -d $@
	@touch $@

$(VENV)/kafka: kafka/pom.xml kafka/SHA256SUMS | java $(VENV)/bin/python  # a broker's classes, 45 MB
	@rm -rf $@
	@mvn --quiet --batch-mode -f $< $(COPY) -DincludeScope=runtime -DoutputDirectory=$(abspath $@)
	@cd $@ && sha256sum --quiet --strict --check $(abspath kafka/SHA256SUMS) || { rm -rf $(abspath $@); exit 1; }
	@touch $@
COPY := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies

lock: | $(VENV)/bin/python            ## new versions within the bounds of pyproject.toml: names, versions, hashes
	$(PIP) install uv
	$(BIN)/uv pip compile $(LOCK) --extra workbench --upgrade -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --extra workbench --extra azure --extra test -c requirements.lock -o requirements-test.lock
LOCK := pyproject.toml --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --no-annotate

clean:
	rm -rf $(VENV) var
