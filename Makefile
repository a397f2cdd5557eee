# Every target is one line: the logic is in `python -m alerting`. Paths are relative to this folder, so `make -C "/path with spaces"` works.
#   ARGS="..." goes to the command as it is; PYTHON=python3.13 takes another Python, with environments of its own.
PYTHON ?= python3
AT ?=
DATA ?= data
OUT ?= reports/bench
ARGS ?=

nothing :=
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(subst $(nothing) $(nothing),_,$(subst /,_,$(PYTHON))))
RUN := $(VENV)/bin/python -m alerting
TEST := $(VENV)-test/bin/python -m
LAB := $(VENV)-lab/bin/python -m

.PHONY: help run-alerts rehearse backtest budget demo status listen drill faults doctor index prune cron env lab notebooks test lint check bench bench-detection bench-rootcause lock again

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

run-alerts: $(VENV)/.ready ## the main job: check every metric now, tell the chat, save the run
	@$(RUN) run-alerts $(ARGS)

rehearse: $(VENV)/.ready ## what a run would have said: AT=2026-11-20T12:15Z; nothing is remembered or sent
	@$(RUN) rehearse "$(AT)" $(ARGS)

backtest: $(VENV)/.ready ## what the rules would have said over the last weeks: ARGS="--days 28"
	@$(RUN) backtest $(ARGS)

budget: $(VENV)/.ready ## the widths a budget of false alerts buys: ARGS='"2 a week" --weeks 6'
	@$(RUN) budget $(ARGS)

demo: $(VENV)/.ready ## the planted incidents of the embedded app, told as the chat would hear of them
	@$(RUN) demo $(ARGS)

status: $(VENV)/.ready ## last runs, open incidents, outbox, silences, disk use, what is due next
	@$(RUN) status $(ARGS)

listen: $(VENV)/.ready ## take answers in the chat as they come, instead of with the next run
	@$(RUN) listen $(ARGS)

drill: $(VENV)/.ready ## send a fake incident, marked as a drill, the whole way, and check that it arrived
	@$(RUN) drill $(ARGS)

doctor: $(VENV)/.ready ## check database, chat, disk, clock and folders, and say what to do about each
	@$(RUN) doctor $(ARGS)

index: $(VENV)/.ready ## rebuild reports/index.html and the pages that it links to
	@$(RUN) index $(ARGS)

prune: $(VENV)/.ready ## thin out and pack old runs, keep those that told something: ARGS="--keep-days 90 --dry-run"
	@$(RUN) prune $(ARGS)

cron: $(VENV)/.ready ## print the crontab line that runs the check every 15 minutes
	@$(RUN) cron $(ARGS)

env: $(VENV)/.ready ## make the environment of a run (every target makes what it needs by itself)

lab: $(VENV)-lab/.ready ## Jupyter Lab on the notebooks, with the research packages
	@$(LAB) jupyterlab --notebook-dir=notebooks $(ARGS)

notebooks: $(VENV)-lab/.ready ## execute the study notebooks into reports/studies
	@$(LAB) alerting notebooks $(ARGS)

test: $(VENV)-test/.ready ## the tests: ARGS="-k episodes", "-m fast", "-n 0"; REQUIRE_SERVICES=1 fails where it would skip
	@$(TEST) pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

faults: $(VENV)-test/.ready ## kill runs at every step, break the chat, the database and the disk, and count what is lost: ARGS="--runs 300"
	@$(TEST) tests.faults $(ARGS)

lint: $(VENV)-test/.ready ## style and types
	@$(TEST) ruff check .
	@$(TEST) ruff format --check .
	@$(TEST) mypy

check: lint test ## the whole gate: style, types, tests

bench: $(VENV)-test/.ready $(VENV)-lab/.ready ## speed and memory, as ratios within one run: ARGS="--only floor,course --runs 9"
	@$(TEST) benchmarks $(ARGS)

bench-detection: $(VENV)/.ready ## the detectors on labelled series: DATA=folder OUT=folder
	@$(RUN) bench-detection --data "$(DATA)" --out "$(OUT)" $(ARGS)

bench-rootcause: $(VENV)/.ready ## which slice explains a change, on labelled cases: DATA=folder OUT=folder
	@$(RUN) bench-rootcause --data "$(DATA)" --out "$(OUT)" $(ARGS)

lock: ## renew requirements*.txt from requirements*.in: ARGS=--upgrade takes the newest
	@"$(PYTHON)" -m alerting.environment lock $(ARGS)

# A stamp in each environment: an unchanged requirement costs nothing. A Python that is gone (the system moved on) is seen here, too.
gone = $(if $(realpath $(1)/bin/python),,again)

$(VENV)/.ready: requirements.txt $(call gone,$(VENV))
	@"$(PYTHON)" -m alerting.environment run "$(VENV)"

$(VENV)-test/.ready: requirements-test.txt $(VENV)/.ready $(call gone,$(VENV)-test)
	@"$(PYTHON)" -m alerting.environment test "$(VENV)"

$(VENV)-lab/.ready: requirements-lab.txt $(VENV)/.ready $(call gone,$(VENV)-lab)
	@"$(PYTHON)" -m alerting.environment lab "$(VENV)"

again:
