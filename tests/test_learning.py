"""Labels of incidents change the history for later bands, never the values that are judged."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_series_equal

from alerting.model.incident import Incident, Member
from alerting.model.verdict import Label, Status, Verdict
from alerting.pipeline.judged import mask_incidents

STEP = timedelta(minutes=15)
SINCE = datetime(2026, 11, 20, 12, tzinfo=UTC)
UNTIL = SINCE + 8 * STEP
LATER = UNTIL + timedelta(hours=2)


def series():
    index = pd.date_range(SINCE - timedelta(days=20), SINCE + timedelta(days=2), freq=STEP)
    values = pd.Series(1000 + 300 * np.sin(2 * np.pi * np.arange(len(index)) / 96), index)
    return values.where(index < SINCE, values * 0.7)


def incident(label, until=UNTIL):
    verdict = Verdict("views", SINCE, Status.ANOMALOUS, 700.0, 900.0, 1000.0, 1100.0, -3.0)
    return Incident("i", SINCE, (Member("views", SINCE, SINCE, verdict, until=until),), until, label=label)


@pytest.mark.parametrize("label", [Label.REAL, Label.EXPECTED])
def test_real_and_expected_buckets_are_left_out_and_nothing_else(label):
    seen = mask_incidents("views", series(), [incident(label)], LATER)
    assert list(seen.index[seen.isna()]) == list(pd.date_range(SINCE, UNTIL - STEP, freq=STEP))
    assert_series_equal(seen.dropna(), series()[seen.notna()])


@pytest.mark.parametrize(
    ("label", "until", "first"),
    [
        (None, UNTIL, LATER),
        (Label.FALSE_ALARM, UNTIL, LATER),  # it is normal
        (Label.REAL, None, LATER),  # it goes on: the newest values are the level
        (Label.REAL, UNTIL, UNTIL + STEP),  # it has only just ended
    ],
)
def test_open_incidents_recent_ones_and_false_alarms_stay_in_the_history(label, until, first):
    assert_series_equal(mask_incidents("views", series(), [incident(label, until)], first), series())


def test_before_a_new_level_the_past_is_taken_at_that_level():
    seen = mask_incidents("views", series(), [incident(Label.NEW_TREND, None)], LATER)
    assert_series_equal(seen[SINCE:], series()[SINCE:])
    week_before = seen[SINCE - timedelta(days=7) : SINCE - timedelta(days=6)]
    assert np.allclose(week_before.to_numpy(), series()[SINCE : SINCE + timedelta(days=1)].to_numpy())


def test_other_metrics_and_too_short_levels_are_left_alone():
    assert_series_equal(mask_incidents("likes", series(), [incident(Label.REAL)], LATER), series())
    short = series()[: SINCE + 3 * STEP]
    assert_series_equal(mask_incidents("views", short, [incident(Label.NEW_TREND, None)], SINCE + 3 * STEP), short)
