"""A series that has only just begun: its step is that of the others, and before its first value there is no gap."""

from datetime import timedelta

import pandas as pd
import pytest

from alerting import connections, pipeline
from alerting.backtest.replay import BacktestData
from alerting.charts.alert import verdict_at
from alerting.model.verdict import EventKind, Status
from alerting.settings import load_settings
from alerting.sources.table import TableSource
from tests.pasts import END

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Table:
    """A file of hourly series, and runs over it, each with connections of its own as cron has them."""

    def __init__(self, folder):
        self.path = folder / "kpi.csv"
        given = {"ALERTING_SOURCE": str(self.path), "ALERTING_DATA": str(folder / "data"), "ALERTING_ZONE": "UTC"}
        self.settings = load_settings(given, folder / "none.env")

    def write(self, **spans):
        """`spans`: series -> the hours after END of its first row and of its end; without rows only its name is there."""
        lines = ["series,ts,value"]
        for name, (first, end) in spans.items():
            index = pd.date_range(END + first * HOUR, END + end * HOUR, freq="1h", inclusive="left")
            lines += [f"{name},{at:%Y-%m-%dT%H:%MZ},{100 + at.hour}" for at in index]
            lines += [] if len(index) else [f"{name},{END:%Y-%m-%dT%H:%MZ},"]
        self.path.write_text("\n".join([*lines, ""]))

    def run(self, hours):
        """Return the kinds and metrics of the events of the run that judges the hour before END + `hours`, and the context."""
        now = END + hours * HOUR + timedelta(minutes=6)
        ctx = connections.connect(settings=self.settings, now=now)
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        pipeline.deliver(ctx, now)
        ctx.store.close()
        assert not any(ctx.faults.values())
        return [(event.kind, event.metric) for event in changes.events], [message.text for message in messages]


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def test_a_series_of_one_row_or_none_has_the_step_of_the_others(table):
    table.write(orders=(-480, 0), clicks=(-480, 0), gifts=(-1, 0), blank=(0, 0))
    assert set(TableSource(table.path).steps().values()) == {HOUR}
    table.write(gifts=(-1, 0))  # nothing tells
    assert TableSource(table.path).steps() == {"gifts": timedelta(minutes=15)}


def test_a_series_that_begins_is_not_without_data_before(table):
    """It was "no data since yesterday", by buckets of 15 minutes; then the run failed, as a bucket of an hour was not judged."""
    table.write(orders=(-480, 0))
    assert table.run(0) == ([], [])
    for hours in range(1, 4):
        table.write(orders=(-480, hours), gifts=(0, hours))
        assert table.run(hours) == ([], []), hours
    store = connections.open_store(table.settings)
    statuses = {verdict.status for verdict in store.judged("gifts", END - 2 * DAY)}
    store.close()
    assert statuses == {Status.UNKNOWN}, "no bucket before its first is stored as missing"
    table.write(orders=(-480, 6))
    assert table.run(6)[0] == [(EventKind.NO_DATA, "gifts")], "that it goes is told"


def test_a_replay_begins_with_the_first_value_too(table):
    table.write(orders=(-480, 24), gifts=(12, 24))
    ctx = connections.connect(dry_run=True, settings=table.settings, now=END + DAY)
    reading = pipeline.read(ctx, pipeline.due(ctx, END + DAY + HOUR), 0)
    ctx.store.close()
    replay = BacktestData(ctx.metrics, reading.series, END, END + DAY).replay_all()
    assert replay.events == []
    assert min(verdict.bucket for verdict in replay.verdicts if verdict.metric == "gifts") == END + 12 * HOUR


def test_data_that_are_back_and_cannot_be_judged_are_not_called_normal(table):
    table.write(orders=(-480, 0), gifts=(-24, 0))
    assert table.run(0) == ([], [])
    lines = table.path.read_text().rstrip().split("\n")
    table.write(orders=(-480, 0))
    assert table.run(2)[0] == [(EventKind.NO_DATA, "orders")]  # one message for both
    told = []
    for hours in range(3, 7):
        lines.append(f"gifts,{END + (hours - 1) * HOUR:%Y-%m-%dT%H:%MZ},99")
        table.path.write_text("\n".join([*lines, ""]))
        told += table.run(hours)[1]
    assert told
    assert not any("ormal again" in text for text in told), told


def test_a_chart_of_a_bucket_that_was_not_judged_is_drawn(table):
    """Where the step of a metric has changed, the store has none of its new buckets."""
    frame = pd.DataFrame({"value": 5.0, "low": 0.0, "expected": 0.0, "high": 0.0, "status": ""}, pd.DatetimeIndex([END]))
    table.write(orders=(-480, 0))
    (metric,) = connections.open_source(table.settings)[1]
    assert verdict_at(metric, frame, END).status is Status.UNKNOWN


@pytest.mark.parametrize("age", [6, 120])
def test_a_young_series_that_stops_is_told(table, age):
    """The time before its first row was taken for gaps that are usual: nothing was said for its first two weeks."""
    table.write(orders=(-480, 0))
    table.run(0)
    table.write(orders=(-480, age), gifts=(0, age))
    table.run(age)
    table.write(orders=(-480, age + 3), gifts=(0, age))
    assert table.run(age + 3)[0] == [(EventKind.NO_DATA, "gifts")]
