"""A slow table delays no other: the same run judges and reports its metrics after the others."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import pipeline
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.errors import RunFailed, SourceError
from alerting.model.metric import Metric, Query
from alerting.notifiers.telegram import Telegram
from alerting.pipeline import display
from alerting.pipeline.context import RunContext
from alerting.sources.base import BaseSource
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.store.state import StateStore
from tests.ledger import Ledger, rows
from tests.waiting import PATIENCE

STEP = timedelta(minutes=15)
END = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = END + STEP + timedelta(minutes=6)
RULE = IQR(3, SameSlot(days=14))
METRICS = [
    Metric("posts", {"en": "Posts"}, "quick", lambda c: c.views, RULE),
    Metric("mails", {"en": "Mails"}, "lazy", lambda c: c.views, RULE),
    Metric("shares", {"en": "Shares"}, "quick", lambda c: c.views / 2, RULE, parents=("posts",)),
]


def table(last=1):
    """A calm rhythm that drops in its `last` buckets."""
    index = pd.date_range(END - 20 * timedelta(days=1), END, freq=STEP)
    views = np.random.default_rng(3).normal(1000, 10, len(index)).round()
    views[len(index) - last :] = 200.0
    return rows(pd.DataFrame({"views": views}, index), within="14min30s")


@pytest.fixture
def world(tmp_path, bot):
    def connect(source=None, **more):
        source = source or Ledger(table())
        if hasattr(source, "gates"):
            source.gates["lazy"] = threading.Event()
        return RunContext(
            metrics=METRICS,
            queries=more.pop("queries", {}),
            source=source,
            store=StateStore(tmp_path / "alerts.sqlite"),
            notifier=Telegram(bot.token, bot.chat, bot.url, timeout=2),
            timer=time.perf_counter,
            **more,
        )

    return connect


def quickly(ctx, now, patience=0.3):
    """The notebook up to what was slow: what is due, what was read, and what was told."""
    pipeline.begin_run(ctx, now)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now, patience)
    pipeline.read_feedback(ctx, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes, explained = pipeline.explain(ctx, pipeline.advance(ctx, judged, now), judged)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    return judged.due, judged, reading, pipeline.deliver(ctx, now, explained)


def told(bot):
    """Return the metric of each message in the chat, from its first line."""
    titles = [message.text.splitlines()[0].lower() for message in bot.messages]
    return [next(name for name in ("Posts", "Mails") if name.lower() in title) for title in titles]


def test_the_others_are_judged_remembered_and_told_before_it_answers(world, bot):
    ctx = world()
    due, judged, reading, receipts = quickly(ctx, NOW)
    assert set(judged) == {"posts", "shares"}
    assert set(reading.pending) == {"lazy"}
    assert set(ctx.store.last_judged()) == {"posts", "shares"}
    assert told(bot) == ["Posts"]
    shown = display.show_verdicts(ctx, judged, reading)
    assert "slow" in shown.loc["mails", "why"]
    ctx.source.gates["lazy"].set()
    late = pipeline.process_slow_tables(ctx, due, reading, 0, NOW)
    reading, more = late.reading, late.receipts
    assert told(bot) == ["Posts", "Mails"]
    assert ctx.store.last_judged() == dict.fromkeys(["posts", "shares", "mails"], END)
    assert (set(reading.series), set(reading.counts)) == ({"posts", "shares", "mails"}, {"quick", "lazy"})
    assert reading.pending == {}
    assert {r.state for r in [*receipts, *more]} == {"sent"}
    assert pipeline.finish(ctx, reading, [*receipts, *more], NOW).startswith("all seen; ")


def test_a_slow_table_gives_the_same_verdicts_as_a_quick_one(world, tmp_path):
    """Run by run: the verdicts, and what opens and closes."""
    answers = {}
    for name, patience in (("late", 0.3), ("quick", None)):
        ctx = replace(world(Ledger(table(last=9))), store=StateStore(tmp_path / name))
        for back in (12, 8, 7, 3, 0):
            now = NOW - back * STEP
            ctx.source.now = now
            gate = ctx.source.gates["lazy"]
            gate.clear() if name == "late" else gate.set()
            due, _, reading, _ = quickly(ctx, now, patience)
            assert bool(reading.pending) == (name == "late")
            gate.set()
            pipeline.process_slow_tables(ctx, due, reading, 0, now)
        verdicts = sorted(ctx.store.judged(), key=lambda v: (v.metric, v.bucket))
        members = sorted((m.metric, m.since) for i in ctx.store.all_incidents(END - 99 * STEP) for m in i.members)
        answers[name] = repr((verdicts, members, ctx.store.last_judged()))
    assert answers["late"] == answers["quick"]


def test_what_fails_in_the_end_is_missing_with_its_reason_and_the_run_is_red(world, bot):
    ctx = world()
    ctx.source.fault = lambda query, start, end: SourceError("Timeout exceeded: 60 s") if query.name == "lazy" else None
    due, _, reading, receipts = quickly(ctx, NOW)
    assert told(bot) == ["Posts"]
    ctx.source.gates["lazy"].set()
    late = pipeline.process_slow_tables(ctx, due, reading, 0, NOW)
    reading, more = late.reading, late.receipts
    assert reading.errors == {"mails": "Timeout exceeded: 60 s"}
    assert more == []
    assert told(bot) == ["Posts"]
    assert set(ctx.store.last_judged()) == {"posts", "shares"}  # it stays due
    with pytest.raises(RunFailed, match="mails was not judged: Timeout exceeded: 60 s"):
        pipeline.finish(ctx, reading, [*receipts, *more], NOW)
    ctx.source.fault = lambda query, start, end: None
    due, judged, reading, _ = quickly(ctx, NOW, None)
    assert judged.statuses(END)["mails"] == "anomalous"
    assert told(bot) == ["Posts", "Mails"]


def test_when_all_are_slow_all_are_told_in_the_end(world, bot):
    ctx = world()
    ctx.source.gates["quick"] = threading.Event()
    due, judged, reading, receipts = quickly(ctx, NOW)
    assert (len(judged), receipts, len(reading.pending)) == (0, [], 2)
    for gate in ctx.source.gates.values():
        gate.set()
    late = pipeline.process_slow_tables(ctx, due, reading, 0, NOW)
    reading, more = late.reading, late.receipts
    assert len(reading.series) == 3
    assert sum("/opened/" in receipt.key for receipt in more) >= 1
    assert "all seen" in pipeline.finish(ctx, reading, more, NOW)


def test_where_nothing_is_slow_nothing_is_done(world):
    ctx = world()
    ctx.source.gates["lazy"].set()
    due, _, reading, _ = quickly(ctx, NOW, 20.0)
    late = pipeline.process_slow_tables(ctx, due, reading, 0, NOW)
    assert (late.reading, late.receipts, len(late.judged)) == (reading, [], 0)


def test_the_table_of_a_run_says_how_long_each_took(world):
    ctx = world()
    ctx.source.gates["lazy"].set()
    _, judged, reading, _ = quickly(ctx, NOW, None)
    shown = display.show_verdicts(ctx, judged, reading)
    assert list(shown.index) == ["posts", "mails", "shares"]
    assert (shown["read s"].astype(float) >= 0).all()
    assert (shown["judged s"].astype(float) > 0).all()
    assert shown.loc["posts", "read s"] == shown.loc["shares", "read s"]  # one scan


class Gated(BaseSource):
    """A source whose tables answer once their gates are open."""

    runs_sql = True

    def __init__(self, source):
        self.source, self.gates = source, {}

    def fetch(self, query, start, end):
        assert query.name not in self.gates or self.gates[query.name].wait(PATIENCE)
        return self.source.fetch(query, start, end)

    def rows(self, query, start, end):
        return self.source.rows(query, start, end)


def test_a_slow_real_table_with_its_past_held(world, clickhouse, bot, tmp_path):
    """The answer of one of the two is kept back; both are read through what is held."""
    frame = table().assign(
        time=lambda f: f["at"].astype("datetime64[s, UTC]").astype("int64"), n=lambda f: f["views"].astype(int)
    )
    lines = frame[["time", "n"]].to_csv(sep="\t", header=False, index=False)
    queries = {}
    for name in ("quick", "lazy"):
        clickhouse.execute(f"DROP TABLE IF EXISTS default.{name}")
        clickhouse.execute(f"CREATE TABLE default.{name} (time DateTime, n UInt32) ENGINE = MergeTree ORDER BY time")
        clickhouse.execute(f"INSERT INTO default.{name} FORMAT TSV", lines)
        queries[name] = Query(
            name,
            f"""WITH 0 AS since, 0 AS until, 900 AS step
            SELECT intDiv(toUInt32(time), step) * step AS bucket, sum(n) AS views, toUInt32(max(time)) AS newest FROM {name}
            WHERE time >= toDateTime(since) AND time < toDateTime(until)
            GROUP BY bucket ORDER BY bucket""",
        )
    source = Gated(ClickHouseSource(clickhouse.url, clickhouse.reader, clickhouse.password, "default", timeout=60))
    source.gates["lazy"] = threading.Event()
    ctx = world(CachedSource(source, StateStore(tmp_path / "alerts.sqlite"), str, clock=lambda: NOW), queries=queries)
    due, judged, reading, receipts = quickly(ctx, NOW, 1.0)
    assert (set(judged), told(bot)) == ({"posts", "shares"}, ["Posts"])
    source.gates["lazy"].set()
    late = pipeline.process_slow_tables(ctx, due, reading, 0, NOW)
    reading, more = late.reading, late.receipts
    assert told(bot) == ["Posts", "Mails"]
    assert reading.seconds["lazy"] > 0.9 > reading.seconds["quick"]
    assert "all seen" in pipeline.finish(ctx, reading, [*receipts, *more], NOW)
