# Every target is one line: `python -m alerting` does the work. Paths are relative to this folder, so `make -C "/path with spaces"` works.
#   EXTRAS= leaves the packages of the sample app out of the environment, EXTRAS=app takes them in (`make env`).
#   ARGS="..." is passed on to the command. PYTHON=python3.13 selects another Python, which gets its own environments.
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
EXTRAS_ARGUMENT := $(if $(filter undefined,$(origin EXTRAS)),,"$(EXTRAS)")

.PHONY: help run-alerts rehearse backtest budget demo status listen drill faults doctor index prune cron env lab notebooks test lint check bench bench-detection bench-rootcause lock again

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 18

run-alerts: $(VENV)/.ready ## check every metric now, send alerts, save the run (the main command)
	@$(RUN) run-alerts $(ARGS)

rehearse: $(VENV)/.ready ## show what a run would have judged and sent: AT=2026-11-20T12:15Z; nothing is saved or sent
	@$(RUN) rehearse "$(AT)" $(ARGS)

backtest: $(VENV)/.ready ## replay the last weeks, print incidents and number of messages: ARGS="--days 28"
	@$(RUN) backtest $(ARGS)

budget: $(VENV)/.ready ## check that false alerts keep to a budget, propose band widths if not: ARGS='"2 a week" --write'
	@$(RUN) budget $(ARGS)

demo: $(VENV)/.ready ## replay planted incidents: found, missed and false alerts, and the smallest drop that is found
	@$(RUN) demo $(ARGS)

status: $(VENV)/.ready ## show last runs, open incidents, outbox, silences, disk use, next run
	@$(RUN) status $(ARGS)

listen: $(VENV)/.ready ## process button presses at once, instead of at the next run
	@$(RUN) listen $(ARGS)

drill: $(VENV)/.ready ## send a fake incident, marked as a drill, and check that it arrives
	@$(RUN) drill $(ARGS)

doctor: $(VENV)/.ready ## check database, chat, disk, clock and folders, and say how to fix what is wrong
	@$(RUN) doctor $(ARGS)

index: $(VENV)/.ready ## rebuild reports/index.html and the pages it links to
	@$(RUN) index $(ARGS)

prune: $(VENV)/.ready ## delete or compress old runs, keep failed ones and those that sent a message: ARGS="--keep-days 90 --dry-run"
	@$(RUN) prune $(ARGS)

cron: $(VENV)/.ready ## print the crontab line that runs the check every 15 minutes
	@$(RUN) cron $(ARGS)

env: ## create the environment of a run (every target creates the one it needs); EXTRAS= without the sample app
	@"$(PYTHON)" -m alerting.environment run "$(VENV)" $(EXTRAS_ARGUMENT)

lab: $(VENV)-lab/.ready ## open Jupyter Lab on the notebooks, with the research packages
	@$(LAB) alerting lab $(ARGS)

notebooks: $(VENV)-lab/.ready ## execute the study notebooks into reports/studies
	@$(LAB) alerting notebooks $(ARGS)

test: $(VENV)-test/.ready ## run the tests: ARGS="-k episodes", "-m fast", "-n 0"; with REQUIRE_SERVICES=1 a test fails instead of being skipped
	@$(TEST) pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

faults: $(VENV)-test/.ready ## kill runs at every step, break chat, database and disk; count lost and repeated alerts: ARGS="--runs 300"
	@$(TEST) tests.faults $(ARGS)

lint: $(VENV)-test/.ready ## check style and types
	@$(TEST) ruff check .
	@$(TEST) ruff format --check .
	@$(TEST) mypy

check: lint test ## run every check that a change must pass: style, types, tests

bench: $(VENV)-test/.ready $(VENV)-lab/.ready ## measure speed and memory, as ratios within one session: ARGS="--only floor,course --runs 9"
	@$(TEST) benchmarks $(ARGS)

bench-detection: $(VENV)/.ready ## score the detectors on labelled series: DATA=folder OUT=folder
	@$(RUN) bench-detection --data "$(DATA)" --out "$(OUT)" $(ARGS)

bench-rootcause: $(VENV)/.ready ## score the root-cause search on labelled cases: DATA=folder OUT=folder
	@$(RUN) bench-rootcause --data "$(DATA)" --out "$(OUT)" $(ARGS)

lock: ## renew requirements*.txt from requirements*.in: ARGS=--upgrade takes the newest
	@"$(PYTHON)" -m alerting.environment lock $(ARGS)

# Each environment has a stamp file. It is created again only when requirements*.txt change or its Python was removed from the system.
gone = $(if $(realpath $(1)/bin/python),,again)

$(VENV)/.ready: requirements.txt requirements-app.txt $(call gone,$(VENV))
	@"$(PYTHON)" -m alerting.environment run "$(VENV)" $(EXTRAS_ARGUMENT)

$(VENV)-test/.ready: requirements-test.txt $(VENV)/.ready $(call gone,$(VENV)-test)
	@"$(PYTHON)" -m alerting.environment test "$(VENV)"

$(VENV)-lab/.ready: requirements-lab.txt $(VENV)/.ready $(call gone,$(VENV)-lab)
	@"$(PYTHON)" -m alerting.environment lab "$(VENV)"

again:
