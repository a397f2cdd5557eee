"""Tables that get their rows once a night: waiting is usual then, and a delivery that does not come is reported."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import pipeline
from alerting.metrics import metrics_of_table
from alerting.model.run import Arrival
from alerting.model.verdict import EventKind
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.pipeline.read import is_usual_wait
from alerting.sources.table import TableSource
from alerting.store.state import StateStore

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday; runs begin at noon
NO_DATA = (EventKind.NO_DATA, EventKind.DATA_BACK)


@pytest.fixture
def nightly(tmp_path):
    """A function: the times (UTC) of deliveries -> the events of hourly runs until `until`, and the last run's context."""
    path, store = tmp_path / "kpi.csv", StateStore(tmp_path / "alerts.sqlite")
    index = pd.date_range(FIRST - 40 * DAY, FIRST + 30 * DAY, freq="h")
    values = pd.Series(
        1000 + 300 * np.sin(index.hour / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 10, len(index)), index
    )

    def deliver(until):
        rows = values.loc[: until - HOUR]
        pd.DataFrame({"series": "orders", "ts": rows.index, "value": rows.to_numpy()}).to_csv(path, index=False)

    late, edits = [], []  # what was said of missed runs; the entries as they became

    def runs(deliveries, until):
        events, notes, now = [], [], FIRST + 12 * HOUR
        tables = {None: TableSource(path)}  # one for all runs from a delivery to the next
        for at in pd.date_range(now, until, freq="h").to_pydatetime():
            newest = max((when for when in deliveries if when <= at), default=None)
            if newest not in tables:
                deliver(newest.replace(hour=0))
                tables[newest] = TableSource(path)
            table = tables[newest]
            ctx = RunContext(metrics_of_table(table.steps(), table.phases()), {}, table, store, Console(), started=at)
            pipeline.begin_run(ctx, at)
            due = pipeline.due(ctx, at)
            reading = pipeline.read(ctx, due, 0, at)
            judged = pipeline.judge(ctx, due, reading, at)
            changes = pipeline.advance(ctx, judged, at)
            messages = pipeline.compose(ctx, changes, judged, at)
            pipeline.commit(ctx, judged, changes, messages)
            pipeline.finish(ctx, reading, pipeline.deliver(ctx, at), at, changes)
            late.extend(message.text for message in messages if message.kind is EventKind.CAUGHT_UP)
            edits.extend((at, message.text) for message in messages if message.edits)
            events += [(event.kind, at) for event in changes.events]
            notes += [(at, note) for note in reading.notes]
        return events, notes, store

    deliver(FIRST)
    runs.late, runs.edits = late, edits
    return runs


def test_a_nightly_delivery_is_waited_for_once_it_was_seen_twice(nightly):
    nights = [FIRST + n * DAY + timedelta(hours=3, minutes=(10, 40, 0, 55, 20)[n % 5]) for n in range(1, 9)]
    events, notes, store = nightly(nights, FIRST + 8 * DAY)
    told = [at for kind, at in events if kind in NO_DATA]
    assert told, "on the first days nobody knows that rows come at night"
    assert [kind for kind, at in events if at > FIRST + 3 * DAY + 4 * HOUR] == []
    judged = [verdict for verdict in store.judged("orders", FIRST + 3 * DAY) if verdict.bucket < FIRST + 7 * DAY]
    assert [verdict.bucket for verdict in judged] == [FIRST + 3 * DAY + n * HOUR for n in range(4 * 24)]
    assert {verdict.status.value for verdict in judged} == {"normal"}
    assert notes[-1][1].endswith("as usual at this time; later buckets are judged when their rows are delivered")
    assert nightly.late == [], "no run was missed: only rows were"


@pytest.mark.parametrize("hour", [6, 9])
def test_an_open_gap_is_not_called_normal_once_it_is_waited_for(nightly, hour):
    """Its buckets are judged as missing; then the wait is usual, and the newest bucket with rows was shown as the present."""
    nightly([FIRST + n * DAY + hour * HOUR for n in range(1, 4)], FIRST + 3 * DAY)
    assert nightly.edits
    assert [(at, text) for at, text in nightly.edits if "normal now" in text] == []


def test_a_delivery_that_does_not_come_is_told(nightly):
    events, _, _ = nightly([FIRST + n * DAY + 3 * HOUR for n in range(1, 6)], FIRST + 7 * DAY)
    told = [at for kind, at in events if kind is EventKind.NO_DATA and at > FIRST + 3 * DAY]
    assert len(told) == 1
    assert FIRST + 6 * DAY + 3 * HOUR < told[0] <= FIRST + 6 * DAY + 6 * HOUR


def readings(hours_waited, first=FIRST, step=HOUR):
    """Readings every hour; `hours_waited`: moment -> how long rows had been awaited then."""
    moments = pd.date_range(first, FIRST, freq="h").to_pydatetime()[:-1]
    return [Arrival("t", at, at - hours_waited(at) * HOUR - step, 1.0) for at in moments]


@pytest.mark.parametrize(
    ("waited", "hours", "usual"),
    [
        (lambda at: 0, 5, False),
        (lambda at: 5, 5, True),
        (lambda at: 5, 7, False),
        (lambda at: 6 if at.weekday() == FIRST.weekday() else 0, 6, True),  # on this weekday only
        (lambda at: 6 if at.day == (FIRST - 3 * DAY).day else 0, 6, False),  # an outage three days ago
        (lambda at: 6 if FIRST - at <= DAY + HOUR else 0, 6, False),  # an outage yesterday
        (lambda at: 9 if at.hour == 12 else 0, 9, False),  # at another time of day
        (lambda at: 1, 1, False),  # too short to be a schedule: those are buckets that fill
    ],
)
def test_a_wait_is_usual_when_it_was_at_this_time_on_most_days(waited, hours, usual):
    past = readings(waited, FIRST - 14 * DAY)
    assert is_usual_wait("t", FIRST - hours * HOUR, HOUR, past, FIRST) == usual
    assert not is_usual_wait("other", FIRST - hours * HOUR, HOUR, past, FIRST)


@pytest.mark.parametrize(("days", "usual"), [((1,), False), ((1, 2), True), ((7,), False), ((7, 14), True)])
def test_one_outage_is_no_schedule_even_where_nothing_else_is_known(days, usual):
    past = [Arrival("t", FIRST - day * DAY, FIRST - day * DAY - 6 * HOUR, 1.0) for day in days]
    assert is_usual_wait("t", FIRST - 5 * HOUR, HOUR, past, FIRST) == usual
