"""A quarter-hourly and an hourly metric of one table: what a message says about the table when only one has its rows again."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import pipeline
from alerting.detectors.auto import AutoDetector
from alerting.metric_values import count
from alerting.model.metric import Metric
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.sources.base import BaseSource
from alerting.store.state import StateStore

STEP, HOUR = timedelta(minutes=15), timedelta(hours=1)
START = datetime(2026, 11, 18, 10, tzinfo=UTC)  # of three hours without rows
BACK = START + 3 * HOUR


@dataclass
class Rows(BaseSource):
    """40 views a minute, one row each, but for the outage."""

    def fetch(self, query, start, end):
        minutes = pd.date_range(start, end, freq="1min", inclusive="left")
        minutes = minutes[(minutes < START) | (minutes >= BACK)]
        rows = pd.DataFrame({"views": 40.0, "newest": minutes.as_unit("ns").asi8 / 1e9}, minutes.floor(query.step))
        return rows.groupby(level=0).agg({"views": "sum", "newest": "max"}).rename_axis("bucket")


@pytest.fixture
def entry(tmp_path):
    """The entry in the chat at BACK + 36 minutes, when the first hour is not over yet."""
    rule = AutoDetector()
    views = Metric("views", {"en": "Views"}, "feed", count("views"), rule)
    hourly = Metric("hourly", {"en": "Views an hour"}, "feed", count("views"), rule, step=HOUR, parents=("views",))
    ctx = RunContext([views, hourly], {}, Rows(), StateStore(tmp_path / "alerts.sqlite"), Console())
    for now in START + np.arange(-8, 15) * STEP + timedelta(minutes=6):
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
        pipeline.deliver(ctx, now)
    (incident,) = ctx.store.incidents()
    return ctx.store.text(incident.key).replace("\N{NO-BREAK SPACE}", " ").splitlines()


def test_a_table_that_has_rows_again_is_not_called_silent(entry):
    assert entry[0].endswith("<b>Views an hour: no data</b> since 10:00"), "views have data again"
    assert entry[1].startswith("feed: last row 13:29, 7 min ago")
    assert "No table has all its rows" not in entry[1]
    assert "Normal again: views" in entry
