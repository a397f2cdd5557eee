"""Verdicts: each value against its band gives a score, a status and the rule that fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from alerting.detectors.auto import LEVEL
from alerting.detectors.bands import BAND, SPECIAL, SUSTAINED, Limits
from alerting.detectors.sudden import SUDDEN
from alerting.detectors.windows import lagged, run_lengths, window_sum
from alerting.model.metric import Metric
from alerting.model.verdict import Status

Sides = tuple[np.ndarray, np.ndarray]  # below, above: bool (n,) each

MAX_SCORE = 1000.0  # scores are cut here: beyond it only the sign is meaningful
MIN_LIMIT_SHARE = 0.1  # share of a low limit above zero that no width can take away, so that an outage is anomalous
USUAL_GAP = "usual gap"  # rule of a missing bucket in a gap that is usual at this time
TOO_FEW = "too few"  # rule of a bucket whose volume is below the policy's `min_volume`
REARM_AFTER = timedelta(hours=6)  # `PriorVerdicts.rules` reaches back as far before the first judged bucket
REARM_BY = {SUSTAINED: (SUDDEN, SUSTAINED), LEVEL: (LEVEL,)}  # rule -> those without which for so long it is new again
SUPPORT = 1.4  # the band is so many times narrower on the side on which a related metric is off
SUPPORT_FOR = timedelta(hours=1)  # after that it says nothing of the others


@dataclass(frozen=True)
class PriorVerdicts:
    """Verdicts before the first bucket that is judged now.

    `missing`: how many buckets in a row had no value. `rules`: the rule that fired for each bucket, oldest first, "" for none.
    """

    missing: int = 0
    rules: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))


def judge(values: pd.Series, band: pd.DataFrame, metric: Metric, volume: pd.Series | None = None) -> pd.DataFrame:
    """Return value, low, expected, high, score, usual (float64), status, rule (str) and news (bool) for each bucket of `values`.

    - low, expected, high: the band scaled by the metric's width and widened to the policy's smallest change, as it is drawn.
      Limits without an expected value are fixed: they stay as they are.
    - score: distance from expected in half-widths of the band on that side, signed, +-1 at the limit, cut at +-1000; for fixed
      limits see `_score_of_limits`.
    - rule: what fired for an anomalous bucket ("" for a plain band); "usual gap" for a missing bucket while the gap is no longer
      than usual at this time; "too few" for an unknown bucket with a volume below `policy.min_volume`.
    - news: whether a person should be notified: an anomaly that `is_new`, or a missing bucket after `policy.patience` in a
      row, unless the gap is usual.

    `volume`: float64 on the same index, the denominator of a ratio.
    """
    limits = {str(name): column.to_numpy() for name, column in band.items()}
    size = None if volume is None else volume.to_numpy(float)
    return pd.DataFrame(judge_values(values.to_numpy(float), limits, metric, size), index=values.index)


def judge_values(
    value: np.ndarray,
    limits: Mapping[str, np.ndarray | str],
    metric: Metric,
    volume: np.ndarray | None = None,
    before: PriorVerdicts | None = None,
    support: Sides | None = None,
) -> dict[str, np.ndarray]:
    """Return the columns of `judge`, (n,) each, for one series; `limits`: the columns of its band.

    `support`: on which side a related metric is off; there the band is narrower.
    """
    before, policy = before or PriorVerdicts(), metric.policy
    low, expected, high = _scaled(metric, value, limits, support=support)
    score = _score(value, low, expected, high)
    outside = {"both": np.abs(score) > 1, "down": score < -1, "up": score > 1}[policy.direction]
    missing, too_few = np.isnan(value), np.zeros(len(value), bool)
    if policy.min_volume:
        with np.errstate(invalid="ignore"):
            too_few = (np.abs(expected) if volume is None else volume) < policy.min_volume
    status = np.where(outside, Status.ANOMALOUS.value, Status.NORMAL.value).astype(object)
    status[np.isnan(score) | too_few] = Status.UNKNOWN.value
    status[missing] = Status.MISSING.value

    # A gap at the start goes on from before
    gap = run_lengths(missing)
    gap = gap + np.where(gap == np.arange(1, len(gap) + 1), before.missing, 0)
    rule = _fired_rule(value, outside, limits, metric, support)
    if "low_rule" in limits:
        rule[(gap > 0) & (gap <= limits["gap"])] = USUAL_GAP
    rule[too_few & ~missing] = TOO_FEW
    news = is_new({"status": status, "rule": rule}, metric.step, before.rules)
    news |= missing & (rule != USUAL_GAP) & (gap >= policy.patience)
    usual = np.broadcast_to(np.asarray(limits.get("usual", np.nan), dtype=float), value.shape)
    names = ("value", "low", "expected", "high", "score", "status", "rule", "usual", "news")
    return dict(zip(names, (value, low, expected, high, score, status, rule, usual, news), strict=True))


def is_new(judged: Mapping[str, Any], step: timedelta, rules_before: np.ndarray | None = None) -> np.ndarray:
    """Return (n,) bool: anomalous buckets that a person should be notified of.

    Every sudden one; a sustained deviation where nothing was off for six hours before, a burst of the level detector where
    there was none for six. `judged`: the columns status and rule. `rules_before`: the rules of earlier buckets, oldest first.
    """
    status, rule = np.asarray(judged["status"]), np.asarray(judged["rule"])
    before = 0 if rules_before is None else len(rules_before)
    rules = rule if rules_before is None else np.concatenate([rules_before, rule])
    new = status == Status.ANOMALOUS.value
    for name, others in REARM_BY.items():
        fired = rules == name
        if fired.any():
            any_fired = np.isin(rules, others)
            recently = np.nan_to_num(lagged(window_sum(any_fired.astype(float), max(1, REARM_AFTER // step))))
            new = new & (~fired | (recently == 0))[before:]
    return new


def sides_off(value: np.ndarray, limits: Mapping[str, np.ndarray | str], metric: Metric) -> Sides:
    """Return (below, above), bool (n,) each: where the value is outside its band, by its own evidence alone."""
    score = _score(value, *_scaled(metric, value, limits))
    return score < -1, score > 1


def _scaled(
    metric: Metric,
    value: np.ndarray,
    limits: Mapping[str, np.ndarray | str],
    names: Sequence[str] = BAND,
    support: Sides | None = None,
) -> Limits:
    """Return the band with the metric's width, narrower where it is supported, not narrower than the smallest change.

    On a special day two values are expected: the lower limit belongs to the smaller one, the upper limit to the larger one, and
    the value is compared with the nearer one. Fixed limits stay as they are. `names`: the columns of the band.
    """
    low, expected, high = (np.asarray(limits[name], dtype=float) for name in names)
    other = np.asarray(limits.get(SPECIAL, np.nan), dtype=float)
    smaller, larger = np.fmin(expected, other), np.fmax(expected, other)
    below, above = metric.width * (smaller - low), metric.width * (high - larger)
    if support is not None:
        below, above = np.where(support[0], below / SUPPORT, below), np.where(support[1], above / SUPPORT, above)
    below = np.where(low > 0, np.minimum(below, smaller - MIN_LIMIT_SHARE * low), below)
    below, above = (
        np.maximum(width, np.maximum(metric.policy.min_change * np.abs(end), metric.policy.min_units))
        for width, end in ((below, smaller), (above, larger))
    )
    nearest = np.where(value - smaller < larger - value, smaller, larger)
    nearest = np.where(np.isnan(value) | np.isnan(other), expected, nearest)
    is_fixed = np.isnan(expected)
    return np.where(is_fixed, low, smaller - below), nearest, np.where(is_fixed, high, larger + above)


def _score(value: np.ndarray, low: np.ndarray, expected: np.ndarray, high: np.ndarray) -> np.ndarray:
    residual = value - expected
    width = np.where(residual < 0, expected - low, high - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = residual / width
    score = np.where((width <= 0) & (residual != 0), np.sign(residual) * MAX_SCORE, score)  # constant past: any change is outside
    score = np.where((residual == 0) & np.isfinite(width), 0.0, score)
    if (is_fixed := np.isnan(expected)).any():
        score = np.where(is_fixed, _score_of_limits(value, low, high), score)
    return np.clip(score, -MAX_SCORE, MAX_SCORE)


def _score_of_limits(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the score (n,) against limits without an expected value: +-1 at a limit, 0 far inside, NaN where either is unknown.

    The unit is the size of the limit or half the width of the band, whichever is smaller: 130 against a limit of 100 has a score
    of 1.3. One limit of 0 alone gives no unit, and any value beyond it has an infinite score.
    """
    half = (high - low) / 2  # infinite for one limit
    units = [np.where((limit == 0) & np.isfinite(half), half, np.minimum(np.abs(limit), half)) for limit in (low, high)]
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = 1 + (low - value) / units[0], 1 + (value - high) / units[1]
    score = np.fmax(above, 0) - np.fmax(below, 0)  # NaN, of a side without a limit, counts as 0
    return np.where(np.isnan(value) | np.isnan(low) | np.isnan(high), np.nan, score)


def _fired_rule(
    value: np.ndarray, outside: np.ndarray, limits: Mapping[str, np.ndarray | str], metric: Metric, support: Sides | None
) -> np.ndarray:
    """Return (n,) str: the rule whose limit the value passed; "sudden" where it passed the farther sudden limit too."""
    at, rule = np.flatnonzero(outside), np.full(len(value), "", dtype=object)
    if "low_rule" not in limits or not len(at):
        return rule
    part = {name: column if isinstance(column, str) else column[at] for name, column in limits.items() if name != "gap"}
    below = value[at] < part["expected"]
    rule[at] = np.where(below, part["low_rule"], part["high_rule"])
    if "sudden_low" in part:
        sudden = ("sudden_low", "expected", "sudden_high")
        low, _, high = _scaled(metric, value[at], part, sudden, support and (support[0][at], support[1][at]))
        rule[at[np.where(below, value[at] < low, value[at] > high)]] = SUDDEN
    return rule
