"""`python -m tests.faults --runs 300`: run each scenario in its own folder, two at a time; exit code 1 if a row is not ok."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import chat, clocks, database, duty, kills, machine, peers
from tests.faults.leaks import CommandLines, in_files, spellings
from tests.faults.scenario import Row, Scenario, Task, drawn

AT_ONCE = 2  # a run keeps one core busy
RUNS, QUICK_KILLS = 300, 16


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"number of runs to kill (default {RUNS})")
    parser.add_argument("--quick", action="store_true", help=f"the form for CI: {QUICK_KILLS} kills, and one or two of each kind")
    parser.add_argument("--seed", type=int, default=1, help="random seed of incidents, noise and kills (default 1)")
    parser.add_argument("--minutes", type=float, default=40, help="start no scenario after this time (default 40)")
    parser.add_argument("--only", default="", help="run only scenarios whose name contains this text")
    args = parser.parse_args(argv)
    chosen = [scenario for scenario in all_scenarios(args.quick, args.runs) if args.only in scenario.name]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    rows = _played(chosen, folder, args.seed, time.monotonic() + 60 * args.minutes)
    print(drawn(rows))
    well = all(row.ok for row in rows)
    if well:
        shutil.rmtree(folder)
    else:
        print(f"what was left behind: {folder}")
    return 0 if well else 1


def all_scenarios(quick: bool, runs: int = RUNS) -> list[Scenario]:
    """The longest first, so that two at a time end together."""
    rooms = (database, peers, chat, machine, clocks, duty)
    return [*kills.scenarios(QUICK_KILLS if quick else runs, quick), *(one for room in rooms for one in room.scenarios(quick))]


def _played(scenarios: Sequence[Scenario], folder: Path, seed: int, until: float) -> list[Row]:
    tasks = [Task(folder / f"{number:02}", seed, until) for number in range(len(scenarios))]
    with CommandLines() as lines, ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(_one, scenarios, tasks))
    return [*rows, *_missing(), _secrets(rows, lines, folder)]


def _one(scenario: Scenario, task: Task) -> Row:
    task.folder.mkdir()
    began = time.monotonic()
    row, world = scenario.row(task), task.folder / "world"
    leaking = in_files(world) if world.exists() else []
    row.secrets += len(leaking)
    row.wrong += [f"a secret in {path}" for path in leaking]
    print(f"{time.monotonic() - began:5.0f} s  {row.scenario}: {'ok' if row.ok else 'NOT OK'}", flush=True)
    return row


def _missing() -> list[Row]:
    """A row for what this machine cannot try; it counts where REQUIRE_SERVICES=1 says so."""
    if database.scenarios(quick=True):
        return []
    required = os.environ.get("REQUIRE_SERVICES") == "1"
    return [Row("ClickHouse: not tried, it is not installed", wrong=["apt-get install clickhouse-server"] if required else [])]


def _secrets(rows: Sequence[Row], lines: CommandLines, folder: Path) -> Row:
    """E. What all of them left behind, and that the search finds what is there."""
    row = Row("secrets in files and on command lines", sum(row.runs for row in rows))
    row.secrets = sum(row.secrets for row in rows) + len(lines.found)
    row.wrong += [f"a secret on the command line of {line}" for line in lines.found]
    row.wrong += [] if lines.looks else ["nobody looked at command lines"]
    canaries = folder / "canaries"
    canaries.mkdir()
    for number, spelling in enumerate(spellings()):
        (canaries / f"{number}.txt").write_bytes(b"..." + spelling + b"...")
    row.wrong += [] if len(in_files(canaries)) == len(spellings()) else ["the search misses a spelling"]
    return row


if __name__ == "__main__":
    sys.exit(main())
