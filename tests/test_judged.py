"""Runs one after the other give the same verdicts as judging the whole past at once, in any division of the buckets."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting import detectors, pipeline
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import CHART_SPAN, Metric, Policy, Query
from alerting.model.protocols import Commit
from alerting.model.verdict import Status
from alerting.notifiers.base import Console
from alerting.pipeline import display
from alerting.pipeline.context import BAND_SPAN, FIRST_LOOK, RunContext, band_span, last_closed_bucket
from alerting.pipeline.judged import band
from alerting.store.state import StateStore
from tests.ledger import Ledger, rows
from tests.test_batches import ODD

STEP, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
END = datetime(2026, 3, 31, 6, tzinfo=UTC)  # the clocks of Berlin have changed two days before
ZONE = "Europe/Berlin"
RULE = ODD[3]
DAYS = RULE.history // DAY + 14


def metric(name, value, rule=RULE, **more):
    return Metric(name, {"en": name}, more.pop("query", "t"), value, rule, more.pop("policy", Policy()), **more)


METRICS = [
    metric("views", lambda c: c.views),
    metric("likes", lambda c: c.likes, form="number"),
    metric("ctr", lambda c: c.likes / c.views, form="ratio", policy=Policy(min_volume=150), volume=lambda c: c.views),
    metric("balance", lambda c: c.views - 2 * c.likes, form="number"),
    metric("fence", lambda c: c.views, IQR(3, SameSlot(days=9))),
    metric("hourly", lambda c: c.views, query="h", step=HOUR, form="number"),
    metric("daily", lambda c: c.views, query="d", step=DAY, form="number"),
]
LATE = [
    (5, 60, 40),
    (9, 100, 100),
    (14, 200, 8),
    (15, 65, 60),
    (30, 300, 300),
    (41, 200, 50),
    (60, 350, 30),
]  # back, minutes, rows


def table(seed=4):
    """Views and likes up to END, with a drop, a leak, an outage and bursts in the last days, and rows that come late."""
    rng, index = np.random.default_rng(seed), pd.date_range(END - DAYS * DAY, END, freq=STEP)
    hour = (index.hour + index.minute / 60).to_numpy()
    views = 300 * (1.2 + np.sin((hour - 9) * np.pi / 12)) * rng.lognormal(0, 0.03, len(index))
    counts = pd.DataFrame({"views": views.round(), "likes": rng.binomial(views.astype(int), 0.2).astype(float)}, index)
    for first, last, factor in ((-320, -310, 0.3), (-260, -150, 0.7), (-50, -47, 0.2), (-20, -18, 3.0), (-7, -4, 0.4)):
        counts.iloc[first:last] = (counts.iloc[first:last] * factor).round()
    counts = counts.drop(counts.index[-100:-95])
    late = pd.DataFrame([{"views": n, "likes": n // 4} for *_, n in LATE], [END - back * STEP for back, *_ in LATE])
    waits = pd.to_timedelta([minutes for _, minutes, _ in LATE], unit="min")
    end = rows(counts * 0, within="14min50s")  # the newest row of a bucket comes just before its end
    return pd.concat([rows(counts), end, rows(late.astype(float)).assign(arrived=late.index + STEP + waits)])


def connect(path, metrics=METRICS, frame=None):
    queries = {name: Query(name, "") for name in "thd"}
    return RunContext(
        metrics=metrics, queries=queries, source=Ledger(table() if frame is None else frame), store=StateStore(path),
        notifier=Console(), zone=ZONE,
    )  # fmt: skip


def run(ctx, now):
    """A run that stores the verdicts of the due buckets alone; returns these, what was judged, and the verdicts."""
    ctx.source.now = now
    due = pipeline.due(ctx, now)
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
    changes = pipeline.advance(ctx, judged, now)
    ctx.store.commit(
        Commit(
            judged.verdicts,
            list(changes.episodes.values()),
            incidents=changes.incidents,
            episode_trail=changes.trail,
            arrivals=judged.reading.arrivals,
        ),
        now,
    )
    return judged.due, judged, judged.verdicts


def after(bucket):
    return bucket + STEP + timedelta(minutes=6)


def alike(some, whole):
    """Every column of `some`, to the last bit, is what `whole` has in these buckets."""
    some = some.set_axis(some.index.as_unit("ns"), axis=0)
    assert_frame_equal(
        some, whole.loc[some.index][some.columns], check_exact=True, check_dtype=False, check_freq=False, check_names=False
    )


WAYS = {
    "one by one": [1] * 48,
    "three by three": [3] * 16,
    "with a dead cron": [5, 1, 1, 16, 1, 1, 1, 7, 1, 14],
    "at once": [48],
}


def moments(way, beginning=END - 48 * STEP):
    """First all that lies before, in three runs; then the last 48 buckets in that way."""
    at = beginning - 3 * DAY
    yield from (after(at), after(at + 2 * DAY), after(beginning))
    for buckets in WAYS[way]:
        beginning += buckets * STEP
        yield after(beginning)


@pytest.fixture(scope="module")
def truth():
    """Each metric's whole past, judged at once of what there is in the end."""
    source, out = Ledger(table()), {}
    for item in METRICS:
        counts = source.fetch(Query(item.query, "", item.step), END - DAYS * DAY, END + STEP)
        last = last_closed_bucket(after(END), timedelta(minutes=5), item.step)
        grid = pd.date_range(counts.index[0].ceil(item.step), last, freq=item.step)
        counts = counts.reindex(grid).astype(float)
        series = item.value(counts)
        volume = item.volume(counts) if item.volume else None
        out[item.name] = detectors.judge(series, band(item, series, ZONE, volume), item, volume)
    return out


@pytest.mark.parametrize("way", WAYS)
def test_however_the_buckets_come_the_verdicts_are_those_of_the_whole(way, truth, tmp_path):
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        ctx = replace(connect(tmp_path / "alerts.sqlite"), store=store)
        again = []
        for now in moments(way):
            due, judged, _ = run(ctx, now)
            again += [item for item in due if item.changed_from]
        assert len({item.changed_from for item in again}) >= (4 if way == "one by one" else 0), "late rows were to be met"
        for item in METRICS:
            known = pd.DataFrame(
                [[v.bucket, v.status.value, v.value, v.low, v.expected, v.high, v.score, v.reason, v.is_new, v.usual]
                 for v in store.judged(item.name)],
                columns=["bucket", "status", "value", "low", "expected", "high", "score", "rule", "news", "usual"],
            ).set_index("bucket")  # fmt: skip
            alike(known, truth[item.name])
            assert known.index[-1] == judged[item.name].index[-1]
            assert len(known) >= 3 * DAY // item.step
            alike(judged.whole(item.name).loc[known.index[0] :], truth[item.name])
            alike(judged[item.name].loc[END - 3 * DAY :], truth[item.name])


def test_the_past_that_is_judged_here_is_worth_judging(truth):
    """Every answer is among the last days, each rule fires, and something is news and something is not."""
    recent = pd.concat([frame.iloc[-400:] for frame in truth.values()])
    assert set(recent.status) == {"normal", "anomalous", "missing", "unknown"}
    assert {"sudden", "sustained", "level", "too few", ""} <= set(recent.rule)
    assert set(recent.news[recent.status == "anomalous"]) == {True, False}


def test_of_what_was_judged_every_view_says_the_same(tmp_path):
    ctx = connect(tmp_path / "alerts.sqlite")
    run(ctx, after(END - 8 * STEP))
    due, judged, answers = run(ctx, after(END))
    assert list(judged) == [item.name for item in METRICS]
    assert len(judged) == 7
    assert "views" in judged
    assert "no such" not in judged
    for item in due:
        name, frame = item.metric.name, judged[item.metric.name]
        columns = judged.columns(item)
        assert list(columns["bucket"]) == list(frame.loc[item.begin : item.last].index.to_pydatetime())
        for bucket, status, value in zip(columns["bucket"], columns["status"], columns["value"], strict=True):
            assert judged.statuses(bucket)[name] == status == frame.status[bucket]
            assert value == frame.value[bucket] or np.isnan(value)
        newest = judged.newest(name)
        assert newest.bucket == frame.index[-1]
        assert newest.status == frame.status.iloc[-1]
        assert name not in judged.statuses(END + 9 * DAY)  # beyond the grid
        assert name not in judged.statuses(frame.index[0])  # long before anything was judged
    mine = {(v.metric, v.bucket): v for v in answers}
    assert len(mine) == sum(len(judged.columns(item)["bucket"]) for item in due)


def test_a_fresh_metric_shows_three_days_and_is_due_for_one(tmp_path, truth):
    ctx = connect(tmp_path / "alerts.sqlite")
    due, judged, answers = run(ctx, after(END))
    assert all(item.first_look for item in due)
    assert len([v for v in answers if v.metric == "views"]) == 97
    for name, frame in judged.items():
        step = ctx.metric(name).step
        count = max(3 * DAY // step, 60)
        alike(frame.iloc[-count if step < DAY else -3 :], truth[name])
        assert set(frame.status.iloc[: -count - DAY // step - 1]) <= {""}


def test_a_metric_that_joins_later_changes_nothing_for_the_others(tmp_path, truth):
    ctx = connect(tmp_path / "alerts.sqlite", METRICS[:2])
    run(ctx, after(END - 3 * STEP))
    due, judged, _ = run(replace(ctx, metrics=METRICS), after(END))
    assert [item.first_look for item in due] == [False] * 2 + [True] * 5
    for name in ("views", "likes", "ctr", "fence"):
        alike(judged[name].iloc[-3:], truth[name])


def test_without_due_buckets_there_are_no_verdicts_and_the_stored_ones_are_shown(tmp_path):
    ctx = connect(tmp_path / "alerts.sqlite")
    run(ctx, after(END))
    due, judged, answers = run(ctx, after(END))
    assert answers == []
    assert [len(item) for item in due] == [0] * 7
    for item in due:
        assert list(judged.columns(item)["bucket"]) == []
        assert judged.newest(item.metric.name).status == ctx.store.judged(item.metric.name)[-1].status.value
        assert len(judged[item.metric.name]) == len(judged.whole(item.metric.name))
    assert display.show_verdicts(ctx, judged, pipeline.read(ctx, due)).status.ne("").all()


def test_without_anything_to_judge_there_is_nothing_judged(tmp_path):
    ctx = connect(tmp_path / "alerts.sqlite", frame=table().iloc[:0])
    due, judged, answers = run(ctx, after(END))
    assert len(due) == 7
    assert (len(judged), answers) == (0, [])


def test_an_incomplete_bucket_is_judged_when_its_rows_are_there(tmp_path, truth):
    frame = table()
    half = (frame["at"] >= END) & (frame["at"] < END + STEP)
    rest = frame[half].assign(at=END + timedelta(minutes=14), arrived=after(END) + timedelta(minutes=3))
    first = frame[half].head(1).assign(views=40.0, likes=9.0)
    rest = rest.head(1).assign(views=rest.views.sum() - 40, likes=rest.likes.sum() - 9)
    ctx = connect(tmp_path / "alerts.sqlite", frame=pd.concat([frame[~half], first, rest]))
    run(ctx, after(END - 2 * DAY))
    run(ctx, after(END - STEP))
    due, judged, answers = run(ctx, after(END))
    assert "views" not in {v.metric for v in answers}
    assert {item.metric.name: len(item) for item in due}["views"] == 0
    assert judged["views"].index[-1] == judged.whole("views").index[-1] == END - STEP
    nxt = pd.DataFrame({"views": [400.0], "likes": [80.0]}, [END + STEP])
    ctx.source.add(rows(nxt, within="14min"))
    due, _, answers = run(ctx, after(END + STEP))
    (once,) = (v for v in answers if (v.metric, v.bucket) == ("views", END))
    assert (once.status.value, once.score) == (truth["views"].status.iloc[-1], truth["views"].score.iloc[-1])
    assert {item.metric.name: item.changed for item in due}["views"] == ()


def test_where_rows_stop_within_a_bucket_it_is_judged_once_the_next_is_closed(tmp_path):
    """Rows end at 5:20: the quarter of 5:15 and the hour of 5:00 wait for the rest, the quarter of 5:00 is whole."""
    frame = table()
    hourly = replace(METRICS[5], query="t")
    ctx = connect(tmp_path / "alerts.sqlite", [hourly, METRICS[0]], frame[frame["at"] < END - timedelta(minutes=40)])

    def judged():
        return {(v.metric, f"{v.bucket:%H:%M}"): v.status for v in ctx.store.judged(since=END - HOUR)}

    for back in (8, 4, 3):
        run(ctx, after(END - back * STEP))
    assert ("views", "05:00") in judged()
    assert ("views", "05:15") not in judged()
    run(ctx, after(END - 2 * STEP))
    assert judged()["views", "05:15"] is Status.ANOMALOUS
    assert judged()["views", "05:30"] is Status.MISSING
    run(ctx, after(END))
    assert ("hourly", "05:00") not in judged()
    run(ctx, after(END + 4 * STEP))
    assert judged()["hourly", "05:00"] is not Status.MISSING


@pytest.mark.parametrize("minutes", [1, 7, 15, 60, 24 * 60])
def test_a_chart_of_a_day_old_event_has_bands_from_end_to_end(minutes):
    metric = replace(METRICS[0], step=timedelta(minutes=minutes))
    assert metric.chart_span == max(timedelta(days=1), 30 * metric.step)
    assert band_span(metric) + metric.step > metric.chart_span + FIRST_LOOK
    assert BAND_SPAN >= CHART_SPAN + FIRST_LOOK
    assert (band_span(METRICS[0]), band_span(METRICS[-1])) == (3 * DAY, 60 * DAY)
