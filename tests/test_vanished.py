"""What was judged before and has gone from the source is "no data", once, until it is back or retired; an empty source is a
failed run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from click.testing import CliRunner

from alerting import connections, pipeline
from alerting.cli.on_call import retire, silence
from alerting.metric_values import count
from alerting.metrics import RULE
from alerting.model.errors import RunFailed, SettingsError, SourceError
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind, Status
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.settings import load_settings
from alerting.sources.base import BaseSource
from alerting.store.state import StateStore
from tests.pasts import END

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Table:
    """A file of hourly series in a folder, and runs over it, each with connections of its own as cron has them."""

    def __init__(self, folder, monkeypatch):
        self.path = folder / "kpi.csv"
        given = {"ALERTING_SOURCE": str(self.path), "ALERTING_ZONE": "UTC"}
        given |= {"ALERTING_DATA": str(folder / "data"), "ALERTING_REPORTS": str(folder / "reports")}
        for name, text in given.items():
            monkeypatch.setenv(name, text)
        self.settings = load_settings(given, folder / "none.env")

    def write(self, until, *names, rows=None):
        index = pd.date_range(END - 20 * DAY, until, freq="1h", inclusive="left")
        lines = [f"{name},{at:%Y-%m-%dT%H:%MZ},{100 + at.hour}" for name in names for at in index]
        self.path.write_text("\n".join(["series,ts,value", *lines[:rows], ""]))

    def run(self, now):
        """Return the events of a run at `now`, and its texts. Raises RunFailed as `finish` does."""
        ctx = connections.connect(settings=self.settings, now=now)
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        receipts = pipeline.deliver(ctx, now)
        ctx.store.close()
        pipeline.finish(ctx, reading, receipts, now, changes)
        events = [(event.kind, event.metric, event.bucket) for event in changes.events]
        return events, {message.key: message.text for message in messages}


@pytest.fixture
def table(tmp_path, monkeypatch):
    return Table(tmp_path, monkeypatch)


def at(hours):
    """The moment at which the bucket before END + `hours` is judged."""
    return END + hours * HOUR + timedelta(minutes=6)


def test_a_series_that_leaves_the_file_is_no_data_once_and_asked_about_until_it_is_retired(table):
    table.write(END, "orders", "searches")
    assert table.run(at(0))[0] == []
    table.write(END + 12 * HOUR, "searches")
    assert table.run(at(1))[0] == []  # one bucket may be late, or the file half written
    events, texts = table.run(at(2))
    assert events == [(EventKind.NO_DATA, "orders", END + HOUR)]
    (text,) = texts.values()
    assert "orders: no data</b> since" in text
    assert "python -m alerting retire orders" in text
    assert table.run(at(3))[0] == []
    events, texts = table.run(at(8))
    assert [kind for kind, *_ in events] == [EventKind.REMINDER]
    assert "retire orders" in "".join(texts.values())

    assert CliRunner().invoke(retire, ["orders"]).output.startswith("orders is retired")
    assert table.run(at(10))[0] == []
    assert [m.name for m in connections.load_catalogue(table.settings)] == ["searches"]


def test_a_series_that_comes_back_is_judged_on(table):
    table.write(END, "orders", "searches")
    table.run(at(0))
    table.write(END + 3 * HOUR, "searches")
    table.run(at(3))
    table.write(END + 6 * HOUR, "orders", "searches")
    events, _ = table.run(at(6))
    assert {kind for kind, *_ in events} <= {EventKind.DATA_BACK, EventKind.CORRECTED}
    assert events
    with StateOf(table) as store:
        last = store.judged("orders", END + 5 * HOUR)[-1]
    assert (last.status, last.value) == (Status.NORMAL, 105.0)


class StateOf:
    def __init__(self, table):
        self.store = connections.open_store(table.settings)

    def __enter__(self):
        return self.store

    def __exit__(self, *error):
        self.store.close()


def test_a_half_written_file_loses_nothing(table):
    table.write(END, "orders", "searches")
    table.run(at(0))
    table.write(END + HOUR, "orders", "searches", rows=300)  # the other series, and newest rows, are not there yet
    assert table.run(at(1))[0] == []
    table.write(END + 2 * HOUR, "orders", "searches")
    assert table.run(at(2))[0] == []
    with StateOf(table) as store:
        assert [v.status for v in store.judged("searches", END)] == [Status.NORMAL] * 2


def test_a_file_without_any_series_is_a_failed_run(table):
    table.write(END)
    with pytest.raises(SourceError, match="has no rows below its header"):
        table.run(at(0))
    table.write(END, "orders", "searches")
    table.run(at(0))
    table.write(END)
    with pytest.raises(RunFailed, match="no metric has a value"):
        table.run(at(2))
    with StateOf(table) as store:
        assert {m.metric for incident in store.incidents() for m in incident.affected} == {"orders", "searches"}


def test_what_is_still_in_the_file_cannot_be_retired_and_what_is_gone_can_be_silenced(table):
    table.write(END, "orders", "searches")
    table.run(at(0))
    table.write(END, "searches")
    assert CliRunner().invoke(silence, ["orders", "--for", "1h"]).exit_code == 0
    with pytest.raises(SettingsError, match="still in"):
        CliRunner().invoke(retire, ["searches"], catch_exceptions=False)
    with pytest.raises(SettingsError, match="no metric 'nothing'"):
        CliRunner().invoke(retire, ["nothing"], catch_exceptions=False)


def test_another_file_has_series_of_its_own(table, tmp_path):
    table.write(END, "orders")
    table.run(at(0))
    other = load_settings({"ALERTING_SOURCE": str(tmp_path / "other.csv"), "ALERTING_DATA": str(tmp_path / "data")})
    table.path = tmp_path / "other.csv"
    table.write(END, "searches")
    ctx = connections.connect(settings=other, now=at(1))
    assert [m.name for m in ctx.metrics] == ["searches"]
    ctx.store.close()


class Labelled(BaseSource):
    """A query whose rows have the label os until `gone`; nothing of its past has it afterwards."""

    def __init__(self, name="os=iOS"):
        self.name = name

    def fetch(self, query, start, end):
        index = pd.date_range(start, end - query.step, freq=query.step, name="bucket")
        return pd.DataFrame({"views[os=web]": 100.0, f"views[{self.name}]": 50.0, "groups": 2.0}, index)


@pytest.mark.parametrize(("name", "told"), [("os=iOS", False), ("os=ios", True)])
def test_labels_that_leave_a_query_are_no_data(tmp_path, name, told):
    store = StateStore(tmp_path / "alerts.sqlite")
    metrics = [
        Metric("ios", {"en": "iOS"}, "feed", count("views", os="iOS"), RULE),
        Metric("rare", {"en": "rare"}, "feed", count("views", os="Plan 9"), RULE),  # never seen: a true zero
        Metric("web", {"en": "web"}, "feed", count("views", os="web"), RULE),
    ]
    found = []
    for source, now in ((Labelled(), at(0)), (Labelled(name), at(1))):
        ctx = RunContext(metrics, {}, source, store, Console())
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 7, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        pipeline.commit(ctx, judged, changes, [])
        found.append([(event.kind, event.metric) for event in changes.events])
    assert found == [[], [(EventKind.NO_DATA, "ios")] if told else []]


def test_a_daily_series_that_leaves_the_file_is_missed_by_local_days(table):
    """Its days begin where they did: none is judged twice, and its values stay."""
    zone = "Europe/Moscow"
    table.settings = replace(table.settings, zone=zone)

    def write(days, *names):
        dates = pd.date_range("2026-09-01", periods=days, freq="D")
        lines = [f"{name},{day:%Y-%m-%d},{100 + day.day_of_week}" for name in names for day in dates]
        table.path.write_text("\n".join(["series,ts,value", *lines, ""]))

    def after(days):
        return datetime(2026, 9, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) + days * DAY + timedelta(minutes=6)

    write(80, "orders", "searches")
    assert table.run(after(80))[0] == []
    with StateOf(table) as store:
        before = store.judged("orders", after(70))
    told = []
    for days in (81, 82):
        write(days, "searches")
        told += table.run(after(days))[0]
    assert told == [(EventKind.NO_DATA, "orders", after(81) - timedelta(minutes=6))]
    with StateOf(table) as store:
        now = store.judged("orders", after(70))
    assert [v for v in now if v.status is not Status.MISSING] == before
    assert len(now) == len(before) + 2
