"""A small past of two metrics. The lab's Python uses it too, so this module does not import pytest."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from alerting import metric_values
from alerting.backtest.replay import BacktestData, KnownSpan
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Metric

HOUR = timedelta(hours=1)
END = datetime(2026, 11, 20, tzinfo=UTC)
RULE = IQR(k=3, over=SameSlot(days=14))


def metric(name, rule=RULE):
    return Metric(name, {"en": name}, "t", metric_values.count("value"), rule, step=HOUR)


def past(known=()):
    """Two hourly metrics of five weeks, the last of them judged: `a` halves twice, and nearly leaves its band once."""
    index = pd.date_range(END - timedelta(weeks=5), END, freq="1h", tz="UTC", inclusive="left")
    rng = np.random.default_rng(1)
    a, b = (1_000 + rng.normal(0, 10, len(index)) for _ in range(2))
    a[-50:-46] *= 0.5
    a[-100:-98] *= 0.5
    a[-20] = 958
    series = {"a": pd.Series(a, index), "b": pd.Series(b, index)}
    return BacktestData([metric("a"), metric("b")], series, END - timedelta(weeks=1), END, "UTC", known)


def dip(first, last):
    return KnownSpan(END - first * HOUR, END - last * HOUR, ("a",))
