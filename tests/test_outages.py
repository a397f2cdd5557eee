"""An outage is an outage to its end, whatever the detector has learned of it by then; and nobody learns that zero is usual."""

import numpy as np
import pandas as pd
import pytest

from alerting.detectors.auto import AutoDetector, Level
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot, Trailing
from alerting.detectors.seasonal_level import SeasonalLevel
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained
from alerting.metric_values import count
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judged import judge_series, verdicts

DAY = 96  # buckets
HOUR = 4
EVENING = 42 * DAY - 12  # 21:00: a midnight follows soon, at which statistics are computed again


def series(kind):
    """Seven weeks of a metric whose buckets are independent bursts, or that has a daily rhythm."""
    rng, n = np.random.default_rng(3), 49 * DAY
    index = pd.date_range("2026-01-05", periods=n, freq="15min", tz="UTC")
    rhythm = 1000 + 600 * np.sin(2 * np.pi * np.arange(n) / DAY)
    values = rng.lognormal(np.log(50), 0.7, n) if kind == "bursty" else rng.poisson(rhythm)
    return pd.Series(np.maximum(values.round(), 1.0), index)


def events_of(values, rule):
    """The events of the last week, bucket by bucket, without reminders."""
    metric = Metric("a", {"en": "a"}, "t", count("value"), rule, form="number")
    due = DueBuckets(metric, values.index[EVENING - DAY].to_pydatetime(), values.index[-1].to_pydatetime())
    events = fold_episodes([metric], verdicts([due], {"a": judge_series(metric, values, "UTC")}), {})[1]
    return [(e.kind, values.index.get_loc(e.bucket) - EVENING) for e in events if e.kind is not EventKind.REMINDER]


RULES = {
    "auto": AutoDetector(),
    "level": Level(),
    "sudden": Sudden(),
    "sustained": Sustained(),
    "seasonal": SeasonalLevel(),
    "trailing": IQR(over=Trailing()),
    "same slot": IQR(over=SameSlot(days=28, near=1)),
}


@pytest.mark.parametrize("days", [2, 3])
@pytest.mark.parametrize("kind", ["bursty", "rhythm"])
@pytest.mark.parametrize("name", RULES)
def test_an_outage_is_over_when_a_value_comes(name, kind, days):
    values = series(kind)
    values.iloc[EVENING : EVENING + days * DAY] = 0
    events = [event for event in events_of(values, RULES[name]) if event[1] >= 0]
    if not events or events[0][1] >= days * DAY:  # it tells changes, and a burst more or less is none
        assert (name, kind) in {("sudden", "bursty"), ("seasonal", "bursty")}
        return
    assert events[0][0] is EventKind.OPENED
    assert events[0][1] <= 4 * HOUR
    ended = [at for event, at in events if event is EventKind.RESOLVED]
    assert ended[0] >= days * DAY


@pytest.mark.parametrize("name", ["auto", "level"])
def test_the_level_rule_does_not_take_two_days_of_zeros_for_usual(name):
    values = series("bursty")
    values.iloc[EVENING : EVENING + 2 * DAY] = 0
    again = slice(EVENING + 4 * DAY, EVENING + 5 * DAY)
    values.iloc[again] = 0
    starts = [at for event, at in events_of(values, RULES[name]) if event is EventKind.OPENED]
    assert starts[:2] == [0, 4 * DAY]


@pytest.mark.parametrize(("name", "hours"), [("auto", 24), ("sustained", 24)])
def test_a_slow_decay_is_found_and_not_over_while_it_lasts(name, hours):
    values = series("rhythm")
    fall = np.concatenate([np.linspace(1, 0.3, 2 * DAY), np.full(DAY, 0.3)])
    values.iloc[EVENING : EVENING + 3 * DAY] = (values.iloc[EVENING : EVENING + 3 * DAY] * fall).round()
    events = [event for event in events_of(values, RULES[name]) if event[1] >= 0]
    assert events[0][0] is EventKind.OPENED
    assert events[0][1] <= hours * HOUR
    assert all(at >= 3 * DAY for event, at in events if event is EventKind.RESOLVED)


def test_a_metric_with_a_rhythm_at_half_for_two_days_stays_off():
    values = series("rhythm")
    values.iloc[EVENING : EVENING + 2 * DAY] = (values.iloc[EVENING : EVENING + 2 * DAY] / 2).round()
    events = [event for event in events_of(values, RULES["auto"]) if event[1] >= 0]
    assert [event for event, _ in events if event is not EventKind.WORSENED] == [EventKind.OPENED, EventKind.RESOLVED]
    assert events[-1][1] >= 2 * DAY


@pytest.mark.parametrize("name", ["auto", "sudden"])
def test_a_small_count_may_be_zero_by_chance_and_a_larger_one_may_not(name):
    """Of six a bucket at night none may come, even if that was not so for two weeks. Where forty are expected it is an outage."""
    index = pd.date_range("2026-01-05", periods=42 * DAY, freq="15min", tz="UTC")
    night = index.hour < 6
    values = pd.Series(np.maximum(np.random.default_rng(5).poisson(np.where(night, 6, 40)), 1.0), index)
    at_night, at_noon = 40 * DAY + 3 * HOUR, 40 * DAY + 12 * HOUR
    values.iloc[[at_night, at_noon]] = 0.0
    judged = judge_series(Metric("a", {"en": "a"}, "t", count("value"), RULES[name]), values, "UTC")
    assert [judged["status"].iloc[at] for at in (at_night, at_noon)] == ["normal", "anomalous"]
    frame = judge_series(Metric("a", {"en": "a"}, "t", count("value"), RULES[name], form="number"), values, "UTC")
    assert frame["status"].iloc[at_night] == "anomalous", "a number that is no count has no such noise"
