"""The daily message counts what ended in its day, and comes once, whatever the clock does."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from alerting import connections, pipeline
from alerting.model.verdict import EventKind
from alerting.settings import load_settings

QUARTER = timedelta(minutes=15)


@pytest.fixture
def told(tmp_path):
    """Return a function: write a table, run at a moment, and get the texts of daily messages."""
    path = tmp_path / "kpi.csv"

    def run(now, lines, **given):
        path.write_text("\n".join(["series,ts,value", *lines, ""]))
        values = {"SOURCE": str(path), "DATA": str(tmp_path / "data"), **given}
        settings = load_settings({f"ALERTING_{name}": text for name, text in values.items()}, tmp_path / "none.env")
        ctx = connections.connect(settings=settings, now=now)
        pipeline.begin_run(ctx, now)
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        pipeline.deliver(ctx, now)
        ctx.store.close()
        return [message.text for message in messages if message.kind is EventKind.DAILY]

    return run


def test_a_day_without_a_row_is_counted(told):
    """Its bucket began before the 24 hours of the message, and was in none."""
    days = pd.date_range("2026-09-01", "2026-11-19")
    lines = [f"orders,{day:%Y-%m-%d},{100 + day.day_of_week}" for day in days]
    given = {"ZONE": "Europe/Moscow", "DAILY": "09:30"}
    told(datetime(2026, 11, 19, 21, 6, tzinfo=UTC), lines, **given)  # the 19th is over, and its row is the newest
    (before,) = told(datetime(2026, 11, 20, 6, 36, tzinfo=UTC), lines, **given)
    told(datetime(2026, 11, 20, 21, 6, tzinfo=UTC), lines, **given)
    (after,) = told(datetime(2026, 11, 21, 6, 36, tzinfo=UTC), lines, **given)
    assert ["1\xa0bucket without data" in text for text in (before, after)] == [False, True]


def test_the_night_in_which_its_time_comes_twice_has_one(told):
    times = pd.date_range("2026-10-01", "2026-10-26", freq="15min", tz="UTC")
    given, said = {"ZONE": "Europe/Berlin", "DAILY": "02:30"}, []
    first = datetime(2026, 10, 24, 0, 36, tzinfo=UTC)
    for now in (first, *(datetime(2026, 10, 25, 0, 21, tzinfo=UTC) + number * QUARTER for number in range(10))):
        lines = [f"orders,{at:%Y-%m-%dT%H:%MZ},{500 + at.hour}" for at in times if at < now - QUARTER]
        said.append(len(told(now, lines, **given)))
    assert sum(said[1:]) == 1


def test_an_hour_that_the_night_is_longer_is_in_one_of_two_messages(told):
    """Clocks go back on 25 October. The incident begins when the message of the 24th is due, and is over within the hour."""
    times = pd.date_range("2026-09-20", "2026-10-25T12:00", freq="15min", tz="UTC")
    begin, given, said = datetime(2026, 10, 24, 7, 30, tzinfo=UTC), {"ZONE": "Europe/Berlin", "DAILY": "09:30"}, []
    values = {at: 100 if begin <= at < begin + 2 * QUARTER else 1000 + 9 * at.hour + at.day % 5 for at in times}
    runs = [begin + number * QUARTER + timedelta(minutes=6) for number in range(-1, 5)]
    for now in (*runs, begin + timedelta(hours=25, minutes=6)):
        lines = [f"orders,{at:%Y-%m-%dT%H:%MZ},{value}" for at, value in values.items() if at < now - QUARTER]
        said += told(now, lines, **given)
    assert ["1\xa0incident" in text for text in said] == [False, True]
    assert "of 100 checks" in said[1]
