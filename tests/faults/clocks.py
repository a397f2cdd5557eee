"""D. Clocks: an hour back, a day ahead; the nights in autumn and spring when the local clock changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from tests.faults.audit import account, ended, per_crash, repeats
from tests.faults.machine import LAST, incident
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import FIRST, bucket, one, table
from tests.faults.world import World

DAY = 96  # buckets
ZONES = CHANGE, PLAIN = "Europe/Berlin", "UTC"
NIGHTS = {"spring": datetime(2026, 3, 29, 1, tzinfo=UTC), "autumn": datetime(2026, 10, 25, 1, tzinfo=UTC)}
BEFORE, COUNT = timedelta(hours=9), 160  # buckets: the day after it is the one that is compared with another clock


def there_and_back(row: Row, task: Task) -> None:
    """Back by an hour, forward by a day, right again, a day later; the table has all of that time."""
    with incident(task, count=DAY + 40) as world:
        for number in (FIRST, FIRST + 1, FIRST - 3, FIRST + 2, FIRST + DAY, FIRST + 4, FIRST + DAY + 1):
            seen = _remembered(world)
            row.wrong += ended(world.run(number), 0)
            row.wrong += [f"the run at {number} forgot something"] if not seen <= _remembered(world) else []
        account(row, world, one(), FIRST + DAY + 1, 0)
        row.wrong += per_crash(world, repeats(world)) + _twice(world)


def ahead(row: Row, task: Task) -> None:
    """The machine's clock is a day ahead for one run, and the table has no rows of that day yet, as it really is: what begins
    when the clock is right again is told all the same."""
    with incident(task) as world:
        whole = pd.read_parquet(world.source)
        for number in (FIRST - 1 + DAY, FIRST, FIRST + 1, FIRST + 4, FIRST + 12, LAST):
            there = number % DAY
            whole[whole.ts < pd.Timestamp(bucket(there + 1))].to_parquet(world.source)
            world.run(number)
        row.runs = len(world.runs)
        ends, metric = [ran.code for ran in world.runs[2:]], one()[0].metric
        firsts = [told.first for told in world.chat().values()]  # in whose thread does not matter
        silent = [what for what in (f"{metric} −", f"{metric} back to normal") if not any(what in first for first in firsts)]
        row.lost = len(silent)
        row.wrong += [f"{what!r} was not told by the runs after it, which ended with {ends}" for what in silent]


def _twice(world: World) -> list[str]:
    texts = [told.text for told in world.chat().values()]
    return [f"told twice: {text.splitlines()[0]!r}" for text in sorted(set(texts)) if texts.count(text) > 1]


def _remembered(world: World) -> set[tuple[str, str]]:
    """Judged buckets and messages."""
    with closing(sqlite3.connect(world.memory, timeout=20)) as db:
        return {
            *db.execute("SELECT metric, bucket FROM verdicts"),
            *db.execute("SELECT key, kind FROM messages WHERE edits = ''"),
        }


def night(season: str, every: int) -> Scenario:
    """A healthy rhythm of local time across it, with a run each `every` buckets: it may cost no alarm that a zone without such
    nights does not cost."""

    def play(row: Row, task: Task) -> None:
        told = {
            zone: _told(row, task.folder / "world" / zone.replace("/", "-"), zone, season, every, task.seed) for zone in ZONES
        }
        more = told[CHANGE] - told[PLAIN]
        row.wrong += [f"{more} false incidents more than in {PLAIN}"] if more > 0 else []

    return Scenario(f"clock: the night of {season} in {CHANGE}", play)


def _told(row: Row, folder: Path, zone: str, season: str, every: int, seed: int) -> int:
    """Return the number of incidents in the chat, from data without an incident."""
    folder.mkdir(parents=True)
    begin = NIGHTS[season] - BEFORE
    source = table(folder / "table.parquet", [], COUNT + 4, seed, zone, begin)
    with World(folder / "world", str(source), zone=zone, begin=begin) as world:
        for number in range(0, COUNT + 1, every):
            row.wrong += ended(world.run(number), 0)
        found = Row("")
        account(found, world, [], COUNT // every * every, 0)
        row.runs += found.runs
        row.repeated += found.repeated
        row.wrong += [text for text in found.wrong if not text.startswith("nobody planted")]
        return sum(bool(told.refs) for told in world.chat().values())


def scenarios(quick: bool) -> list[Scenario]:
    if quick:
        return [night("autumn", every=COUNT)]
    clocks = [
        Scenario("clock: back by an hour, forward by a day", there_and_back),
        Scenario("clock: a day ahead for one run", ahead),
    ]
    return [*clocks, *(night(season, every=16) for season in NIGHTS)]
