"""One computation: live runs, a catch-up and a replay give the same verdicts, events, incidents and texts of the same rows."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import metric_values, pipeline
from alerting.backtest import BacktestData
from alerting.backtest.runs import replayed_runs
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Metric, Query
from alerting.model.verdict import EventKind, Status
from alerting.notifiers.base import Console
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.read import early_ends
from alerting.store.state import StateStore
from tests.ledger import EVER, Ledger, rows

STEP, DELAY = timedelta(minutes=15), timedelta(minutes=5)
START = datetime(2026, 11, 20, 11, tzinfo=UTC)  # of the first bucket that is watched
WATCHED = 72
RULE = IQR(k=3, over=SameSlot(days=7, near=1))


def metric(name, column, query="feed", product="feed", parents=()):
    return Metric(
        name, {"en": name.title(), "ru": name}, query, metric_values.count(column), RULE, product=product, parents=parents
    )


METRICS = [
    metric("users", "users"),
    metric("chatters", "chatters", "chat", "chat"),
    metric("views", "views", parents=("users",)),
    Metric("ctr", {"en": "CTR"}, "feed", metric_values.ratio("likes", "views"), RULE, form="ratio", parents=("views",)),
]
# number of the bucket -> minutes of it in which rows come: of both tables, or of one
TOTAL_OUTAGE = {5: (0, 9), 6: None, 7: None, 8: (10, 15)}
CHAT_OUTAGE = {45: (0, 4), 46: None, 47: None, 48: (14, 15), 62: None, 63: None}
SHORT_STOP = {68: (0, 8)}
DROP = range(25, 28)


class Tables(Ledger):
    """Two tables of minutes: the columns of `feed`, and that of `chat`."""

    def fetch(self, query, start, end):
        counts = super().fetch(query, start, end)
        own = ["chatters"] if query.name == "chat" else ["users", "views", "likes"]
        return counts[counts[own].notna().any(axis=1)][[*own, "newest"]]


def minutes(lag="20s"):
    """Rows of ten days before START and of the watched buckets, one a minute and table, which arrive within `lag`."""
    index = pd.date_range(START - timedelta(days=10), START + WATCHED * STEP, freq="1min", inclusive="left")
    rng = np.random.default_rng(3)
    level = 20 * (1 + 0.3 * np.sin(2 * np.pi * (index.hour + index.minute / 60).to_numpy() / 24))
    counts = {name: rng.poisson(level * scale).astype(float) for name, scale in (("users", 3), ("views", 8), ("likes", 2))}
    feed, chat = pd.DataFrame(counts, index), pd.DataFrame({"chatters": rng.poisson(level * 3).astype(float)}, index)
    number = (index - START) // STEP
    minute = (index - START) // timedelta(minutes=1) % 15
    feed.loc[np.isin(number, list(DROP)), ["users", "views", "likes"]] *= 0.4

    def there(*plans):
        kept = np.ones(len(index), bool)
        for number_, span in (item for plan in plans for item in plan.items()):
            first, last = span or (0, 0)
            kept &= (number != number_) | ((minute >= first) & (minute < last))
        return kept

    feed, chat = feed[there(TOTAL_OUTAGE, SHORT_STOP)], chat[there(TOTAL_OUTAGE, CHAT_OUTAGE)]
    return pd.concat([rows(feed, lag, "30s"), rows(chat, lag, "31s")])


def after(bucket):
    return bucket + STEP + DELAY


def connect(source):
    queries = {name: Query(name, "") for name in ("feed", "chat")}
    return RunContext(
        metrics=METRICS, queries=queries, source=source, store=StateStore(":memory:"), notifier=Console(), delay=DELAY
    )


def texts(messages):
    """Return key -> text; how old rows usually are is known from runs alone."""
    return {m.key: re.sub(r", usually [^.\n]*", "", m.text) for m in messages if not m.edits}


def live(source, moments):
    """Return the connections, the events and the first texts of runs at these moments, after a first run before START."""
    ctx, events, said = connect(source), [], {}
    for now in (after(START - STEP), *moments):
        source.now = now
        due = pipeline.due(ctx, now)
        judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
        changes = pipeline.advance(ctx, judged, now)
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        events += changes.events
        said |= texts(messages)
    return ctx, events, said


def replayed(source):
    """Return the replay of the watched buckets, with the events and texts of its runs."""
    source.now = EVER
    ctx, end = connect(source), START + WATCHED * STEP
    reading = pipeline.read(ctx, [DueBuckets(each, START, end - STEP) for each in METRICS])
    replay = BacktestData(METRICS, reading.series, START, end, ctx.zone, volumes=reading.volumes).replay_all()
    early = {scan: set(counts.index[early_ends(counts)].to_pydatetime()) for scan, counts in reading.counts.items()}
    events, said, incidents = [], {}, {}
    for run in replayed_runs(replay, DELAY, early):
        events += run.changes.events
        incidents |= {incident.id: incident for incident in run.changes.incidents}
        judged = run.judged(ctx, replay, reading)
        said |= texts(pipeline.compose(ctx, run.changes, judged, run.now)) if run.changes.events else {}
    return replay, events, said, list(incidents.values())


def course(incidents):
    ordered = sorted(incidents, key=lambda incident: incident.id)
    return [repr((i.id, i.opened, i.closed, i.reopened, list(i.members))) for i in ordered]


def named(events):
    return [(e.kind, e.metric, e.bucket, e.incident.id, e.again, sorted(o.metric for o in e.also)) for e in events]


@pytest.fixture(scope="module")
def ways():
    """The same rows live, one run a bucket; in one catch-up; and in a replay."""
    frame, every = minutes(), [after(START + n * STEP) for n in range(WATCHED)]
    return live(Tables(frame), every), live(Tables(frame), every[-1:]), replayed(Tables(frame))


def test_verdicts_and_incidents_are_the_same_live_in_a_catch_up_and_in_a_replay(ways):
    (one, *_), (many, *_), (replay, _, _, incidents) = ways
    judged = [{(v.metric, v.bucket): repr(v) for v in ctx.store.judged(since=START)} for ctx in (one, many)]
    assert judged[0] == judged[1] == {(v.metric, v.bucket): repr(v) for v in replay.verdicts}
    assert course(one.store.all_incidents(START)) == course(many.store.all_incidents(START)) == course(incidents)
    assert len(incidents) >= 4


def test_events_and_texts_are_the_same_live_and_in_a_replay(ways):
    (_, events, said), _, (_, replayed_events, replayed_texts, _) = ways
    assert named(events) == named(replayed_events)
    assert said == replayed_texts
    assert {event.kind for event in events} >= {
        EventKind.OPENED,
        EventKind.WORSENED,
        EventKind.NO_DATA,
        EventKind.RESOLVED,
        EventKind.DATA_BACK,
    }


def test_a_catch_up_tells_each_incident_once(ways):
    (_, events, _), (_, caught, _), _ = ways
    ids = [event.incident.id for event in caught]
    assert sorted(set(ids)) == sorted(ids)
    assert set(ids) == {event.incident.id for event in events}


def test_where_rows_stop_within_a_bucket_it_is_judged_and_the_gap_begins_after_it(ways):
    (ctx, events, said), _, _ = ways
    stopped = START + 5 * STEP
    verdicts = {v.bucket: v.status for v in ctx.store.judged("users", stopped)}
    assert [verdicts[stopped + n * STEP] for n in range(3)] == [Status.ANOMALOUS, Status.MISSING, Status.MISSING]
    opened, gap = (e for e in events if stopped <= e.bucket <= stopped + 2 * STEP)
    assert (opened.kind, opened.bucket, gap.episode.gap_since) == (EventKind.OPENED, stopped, stopped + STEP)
    assert "no data</b> since 12:30" in said[f"{gap.key}/text"]
    assert "the database, the pipelines or the whole app" in said[f"{gap.key}/text"]
    assert "Fri 12:15–12:30" in said[f"{opened.key}/text"].splitlines()[0]  # the last bucket with a value
    assert "Now (12:30–12:45): no value" in said[f"{opened.key}/text"]


def test_rows_that_are_late_by_some_minutes_change_nothing(ways):
    """A table whose rows come four minutes late: its newest bucket waits where it must, and nothing is told of it."""
    (_, events, _), _, _ = ways
    _, late, _ = live(Tables(minutes("7min")), [after(START + n * STEP) for n in range(WATCHED)])
    assert {(e.kind, e.incident.id) for e in late} == {(e.kind, e.incident.id) for e in events}
