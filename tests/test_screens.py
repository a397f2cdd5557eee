"""Every command writes local time, and names the zone once."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import connections, pipeline
from alerting.__main__ import main
from alerting.cli.demo import planted_line
from alerting.model.verdict import EventKind
from alerting.pipeline import display
from alerting.sample.incidents import PlantedIncident
from alerting.settings import load_settings

ZONE = "Asia/Kolkata"  # 5:30 before UTC: a time of the wrong zone ends in another minute
END = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = re.compile(r"\b\d\d:\d\d(?::\d\d)?\b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table of hourly and daily values, and the state of runs that saw an outage."""
    folder = tmp_path_factory.mktemp("screens")
    hours = pd.date_range(END - timedelta(days=60), END, freq="h", inclusive="left")
    orders = 1000 + 300 * np.sin(hours.hour / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 10, len(hours))
    orders = np.where((hours >= END - 5 * HOUR) | ((hours >= END - 99 * HOUR) & (hours < END - 96 * HOUR)), 100, orders)
    days = pd.date_range("2026-09-01", "2026-11-19")
    parts = [("orders", hours, orders), ("daily", days.tz_localize(ZONE), np.full(len(days), 50))]
    rows = [(name, at.isoformat(), value) for name, index, values in parts for at, value in zip(index, values, strict=True)]
    pd.DataFrame(rows, columns=["series", "ts", "value"]).to_csv(folder / "kpi.csv", index=False)
    return folder


@pytest.fixture
def settings(folder, monkeypatch):
    given = {
        "ALERTING_SOURCE": str(folder / "kpi.csv"),
        "ALERTING_DATA": str(folder / "data"),
        "ALERTING_REPORTS": str(folder / "reports"),
        "ALERTING_ZONE": ZONE,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def run(settings, now):
    ctx = connections.connect(settings=settings, now=now)
    pipeline.begin_run(ctx, now)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    pipeline.deliver(ctx, now)
    shown = [
        display.show_due(ctx, due),
        display.show_readings(ctx, reading),
        display.show_verdicts(ctx, judged, reading),
        display.show_changes(ctx, changes),
    ]
    return changes.events, [frame.to_string() for frame in shown]


@pytest.fixture
def state(settings):
    """The settings, with a state in which an incident is open, a silence runs and an incident has a label."""
    if not settings.state_file.exists():
        events, shown = run(settings, END - 3 * HOUR)
        assert EventKind.OPENED in [event.kind for event in events]
        run(settings, END + timedelta(minutes=6))
        assert main(["silence", "orders", "--for", "2h", "--why", "deploy"]) == 0
        assert all(text_is_local(text) for text in shown)
        assert any(f"{(END - 5 * HOUR + timedelta(hours=5, minutes=30)):%Y-%m-%d %H:%M}" in text for text in shown)
    return settings


def text_is_local(text):
    """Return whether no instant in it is in UTC: hours of this table end in :30 there, and nothing says Z or UTC."""
    on_the_hour = [found for found in TIME.findall(text) if found.endswith(":00")]
    return not on_the_hour and "UTC" not in text and not re.search(r":\d\dZ|\+00:00", text)


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (["backtest", "--days", "10"], True),
        (["budget", "5 a week", "--weeks", "1"], True),
        (["compare", "--days", "7"], True),
        (["status"], True),
        (["doctor"], True),
        (["silences"], True),
        (["labels"], False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_writes_local_time_and_names_the_zone_once(state, capsys, words, times):
    main(words)
    out = capsys.readouterr().out
    if words == ["silences"] or words == ["status"]:  # the silence began now, at any minute
        out = re.sub(r"(from|until|silence \d+: \S+ until|since|next due:) \S+ ?\S* \d\d:\d\d", r"\1", out)
    assert "UTC" not in out
    assert not re.search(r":\d\dZ|\+00:00", out)
    assert len(re.findall(ZONE, out)) == 1, out
    if times and words[0] not in ("silences", "status"):
        assert [found for found in TIME.findall(out) if found.endswith(":00")] == [], out


def test_a_planted_incident_is_shown_in_local_time():
    start = datetime(2026, 11, 20, 20, tzinfo=UTC)
    incident = PlantedIncident("outage", start, start + HOUR, ("views",), None, -1.0)
    assert planted_line(incident, ZONE).startswith("Sat 21 Nov 01:30  outage ")
