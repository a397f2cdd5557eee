"""Parts of `make bench` that time whole runs: against papermill alone, the course script, and over more history and series."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figures import Figure, in_turn, ratio, timed
from benchmarks.memory import peaks
from benchmarks.world import SPARE, STEP, World, copy_of_the_house

SERIES = 2_000
A_MONTH = 30
AFTER = timedelta(minutes=6)  # a bucket is judged this long after its end
PER_COHORT = 4  # users, views, likes, messages

FEED = """WITH 0 AS since, 0 AS until, 900 AS step
SELECT toUInt32(intDiv(toUInt32(time), step) * step) AS bucket, toString(user_id % {cohorts}) AS cohort,
    uniqExact(user_id) AS users, countIf(action = 'view') AS views, countIf(action = 'like') AS likes,
    toUInt32(max(time)) AS newest
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
GROUP BY bucket, cohort
"""
MESSAGES = """WITH 0 AS since, 0 AS until, 900 AS step
SELECT toUInt32(intDiv(toUInt32(time), step) * step) AS bucket, toString(user_id % {cohorts}) AS cohort,
    count() AS messages, toUInt32(max(time)) AS newest
FROM message_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
GROUP BY bucket, cohort
"""
CATALOGUE = """
METRICS += [
    Metric(
        f"{column}.{cohort}", {"en": f"{column}, cohort {cohort}", "ru": f"{column}, {cohort}"}, query,
        count(column, cohort=str(cohort)), RULE, adds=False,
    )
    for cohort in range(%d)
    for column, query in [
        ("users", "feed_actions.cohorts"), ("views", "feed_actions.cohorts"), ("likes", "feed_actions.cohorts"),
        ("messages", "message_actions.cohorts"),
    ]
]
"""


def floor(runs: int) -> Iterator[Figure]:
    """Measure a quiet run against papermill on an empty notebook, and the memory of a run."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.quiet()  # fonts, caches and the first fill, before timing
        world.empty()
        yield ratio("a quiet `make run-alerts` / papermill on an empty notebook", world.quiet, world.empty, runs, 1.8)
        largest, own = peaks(world.quiet)
        yield Figure("peak resident memory of the largest process of a run", largest, 400, "MB")
        yield Figure("own (anonymous) memory of all its processes at once, peak", own, None, "MB")


def course(runs: int) -> Iterator[Figure]:
    """Measure a run against the course script: quiet, and when all six metrics fall."""
    from tests.servers import BotApi

    with tempfile.TemporaryDirectory() as folder, BotApi() as bot:
        world = World(Path(folder))
        chat = {"ALERTING_TELEGRAM_URL": bot.url, "ALERTING_TELEGRAM_TOKEN": bot.token, "ALERTING_TELEGRAM_CHAT": bot.chat}
        world.more = {**chat, **{name.removeprefix("ALERTING_"): text for name, text in chat.items()}}
        world.quiet()
        world.course()
        yield ratio("a quiet run / the course script", world.quiet, world.course, runs, 1.1)
        six, course_six = _six(world)
        before = len(bot.messages)
        six()
        told = len(bot.messages) - before
        if not told:
            raise SystemExit("the run told of nothing: there is nothing to compare")
        yield ratio("a run that tells of six metrics / the course script that sends six", six, course_six, runs, 0.7)


def _six(world: World) -> tuple[Callable[[], None], Callable[[], None]]:
    """Time both commands on a bucket in which all six metrics have fallen. Each run starts from the state before it."""
    bucket = datetime.fromtimestamp(world.now.timestamp() // 900 * 900, UTC) - SPARE // 2 * STEP
    world.forget()
    world.at = bucket + AFTER
    world.again()
    kept = {path: path.read_bytes() for path in world.memory()}
    world.halved(bucket)
    world.at = bucket + STEP + AFTER

    def six() -> None:
        world.forget()
        for path, content in kept.items():
            path.write_bytes(content)
        world.again()

    return six, lambda: world.course(every=True)


def history(runs: int) -> Iterator[Figure]:
    """Measure a run over a year of history against a month, and over ten times the events."""
    with tempfile.TemporaryDirectory() as folder:
        month, year = (World(Path(folder) / str(days), days=days) for days in (30, 365))
        for world in (month, year):
            world.quiet()
        yield ratio("a quiet run over 365 days of history / over 30 days", year.quiet, month.quiet, runs, 1.05)
    with tempfile.TemporaryDirectory() as folder:
        shapes = {10_000_000: 1, 100_000_000: 10}
        small, large = (World(Path(folder) / str(n), days=A_MONTH, events_per_day=n // A_MONTH) for n in shapes)
        for world in (small, large):
            world.quiet()
        yield ratio("a quiet run over 100 million events a month / over 10 million", large.quiet, small.quiet, runs, 1.1)


def many(runs: int) -> Iterator[Figure]:
    """Measure a run with 2,000 more series against a run with six."""
    with tempfile.TemporaryDirectory() as folder:
        house = copy_of_the_house(Path(folder) / "house")
        cohorts = SERIES // PER_COHORT
        for name, sql in (("feed_actions", FEED), ("message_actions", MESSAGES)):
            (house / "alerting" / "sql" / f"{name}.cohorts.sql").write_text(sql.format(cohorts=cohorts), encoding="utf-8")
        with (house / "alerting" / "metrics.py").open("a", encoding="utf-8") as catalogue:
            catalogue.write(CATALOGUE % cohorts)
        six = World(Path(folder) / "six")
        thousands = World(Path(folder) / "thousands", root=house)
        for world in (six, thousands):
            world.quiet()
        first = timed(thousands.quiet)
        value, one, other = in_turn(thousands.quiet, six.quiet, runs)
        name = f"a run that judges and remembers {SERIES:,} series more / the run with six"
        yield Figure(name, value, 3.0, told=f"({one:.2f} s / {other:.2f} s; {first:.1f} s before)")
