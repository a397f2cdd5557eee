"""C. ClickHouse is down for six hours, slow, or its answers are cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from tests.faults.audit import account, ended, in_budget, notices, openings
from tests.faults.gate import Gate, cut, shortened, whole
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import HISTORY, START, STEP, Planted, bucket
from tests.faults.world import World
from tests.servers import ClickHouseServer, clickhouse_binary, running_clickhouse

READY, OUTAGE, COUNT = 40, range(41, 65), 90  # buckets: the last before, those of the outage, all
LIKES, MESSAGES = Planted("likes", bucket(44), 10, "drop"), Planted("messages", bucket(60), 10, "drop")
ALL = 180  # rows tried per bucket, of which a rhythm keeps some
ATTRIBUTES = "gender UInt8, age UInt8, country String, city String, os String, source String, exp_group UInt8"
SOMEBODY = "1, 30, 'Russia', 'Kazan', 'iOS', 'ads', 1"
TABLES = (
    f"CREATE TABLE feed_actions (user_id UInt32, post_id UInt32, action String, time DateTime, {ATTRIBUTES})",
    f"CREATE TABLE message_actions (user_id UInt32, reciever_id UInt32, time DateTime, {ATTRIBUTES})",
)
ROWS = """SELECT toUInt32(number % {all}) AS i, toUInt32({first} + intDiv(number, {all}) * 900) AS bucket,
    round(100 + 40 * sin(2 * pi() * (bucket % 86400) / 86400)) AS views, if(bucket >= {begin} AND bucket < {end}, 0.4, 1) AS share
    FROM system.numbers LIMIT {count}"""
FEED = f"""INSERT INTO feed_actions SELECT i % 50, i, if(i < views, 'view', 'like'), toDateTime(bucket + i * 37 % 900), {SOMEBODY}
    FROM ({ROWS}) WHERE i < views + round(views * 0.25 * share)"""
MESSENGER = f"""INSERT INTO message_actions SELECT i % 20, i, toDateTime(bucket + i * 37 % 900), {SOMEBODY}
    FROM ({ROWS}) WHERE i < round(60 * share)"""


def fill(server: ClickHouseServer) -> None:
    """Both raw tables: a rhythm without noise, and two incidents of which the first begins and ends within the outage."""
    for sql in TABLES:
        server.execute(f"{sql} ENGINE = MergeTree ORDER BY time")
    first, count = START - HISTORY, int((HISTORY + COUNT * STEP) / STEP) * ALL
    for sql, planted in ((FEED, LIKES), (MESSENGER, MESSAGES)):
        begin, end = _seconds(planted.start), _seconds(planted.end)
        server.execute(sql.format(all=ALL, first=_seconds(first), count=count, begin=begin, end=end))


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


@contextmanager
def _world(folder: Path, url: str) -> Iterator[World]:
    user = {"CLICKHOUSE_USER": "reader", "CLICKHOUSE_TIMEOUT": "3"}
    with World(folder / "world", url, more=user) as world:
        yield world


def down(every: int) -> Scenario:
    """Six hours without a server, a run each `every` buckets."""

    def play(row: Row, task: Task) -> None:
        store = task.folder / "clickhouse"
        store.mkdir()
        with _world(task.folder, "") as world:
            with running_clickhouse(store) as server:
                fill(server)
                world.source = server.url
                row.wrong += ended(world.run(READY), 0)
            for number in OUTAGE[::every]:
                row.wrong += ended(world.run(number), 1, "not judged")
            told = len(world.chat())
            with running_clickhouse(store) as server:
                world.source = server.url
                row.wrong += ended(world.run(OUTAGE[-1] + 1), 0) + ended(world.run(COUNT - 4), 0)
            account(row, world, [LIKES, MESSAGES], COUNT - 4, 0, since=READY)
            row.wrong += _hourly(world, told, every) + _in_one(world) + in_budget(world, 30)

    return Scenario("ClickHouse: down for six hours", play)


def _hourly(world: World, told: int, every: int) -> list[str]:
    """During the outage the chat hears of it at most once an hour, as often as that allows, and of nothing else."""
    heard = notices(world.chat())
    clocks = [re.search(r"(\d\d):(\d\d)", notice.first) for notice in heard]
    minutes = [int(clock[1]) * 60 + int(clock[2]) for clock in clocks if clock]
    near = [later - earlier for earlier, later in pairwise(minutes) if later - earlier < 60]
    due = len(OUTAGE) // max(4, every)
    wrong = [f"the outage was told {len(heard)} times, not {due}"] if not due - 1 <= len(heard) <= due + 1 else []
    wrong += [f"it was told again after {min(near)} minutes"] if near else []
    return wrong + ([f"{told} messages during the outage, {len(heard)} of them about it"] if told != len(heard) else [])


def _in_one(world: World) -> list[str]:
    """One message that opens each incident, with the time at which it truly began."""
    wrong = []
    for incident in (LIKES, MESSAGES):
        told = openings(world.chat(), incident)
        if len(told) != 1 or f"{incident.start:%H:%M}" not in told[0].text:
            wrong.append(f"{incident.id}: {[message.text for message in told]}")
    return wrong


def _late(gate: Gate) -> None:
    gate.delay = 5.0


def _cutting(gate: Gate) -> None:
    gate.answer = cut


def _shortening(gate: Gate) -> None:
    gate.answer = shortened


def behind(name: str, *faults: Callable[[Gate], None]) -> Scenario:
    """Each fault costs a red run that says so; nothing else is told, and what was left out is judged afterwards."""

    def play(row: Row, task: Task) -> None:
        store = task.folder / "clickhouse"
        store.mkdir()
        with running_clickhouse(store) as server, _world(task.folder, "") as world:
            fill(server)
            gate = Gate(server.url)
            world.source = gate.url
            row.wrong += ended(world.run(READY), 0)
            row.wrong += _broken(world, gate, faults)
            for number in (45, 70, COUNT - 4):
                row.wrong += ended(world.run(number), 0)
            gate.close()
            account(row, world, [LIKES, MESSAGES], COUNT - 4, 0, since=READY)
            row.wrong += in_budget(world, 30)

    return Scenario(name, play)


def _broken(world: World, gate: Gate, faults: Sequence[Callable[[Gate], None]]) -> list[str]:
    wrong = []
    for number, break_it in enumerate(faults, READY + 1):
        break_it(gate)
        wrong += ended(world.run(number), 1, "not judged")
        gate.answer, gate.delay = whole, 0.0
    return wrong + [f"told meanwhile: {told.first!r}" for told in world.chat().values() if "check failed" not in told.first]


def scenarios(quick: bool) -> list[Scenario]:
    """Nothing where ClickHouse is not installed: whoever calls says so."""
    if not clickhouse_binary():
        return []
    short = behind("ClickHouse: answers are cut", _cutting, _shortening)
    late = behind("ClickHouse: answers after the time is up", _late)
    return [down(every=8), short] if quick else [down(every=1), late, short]
