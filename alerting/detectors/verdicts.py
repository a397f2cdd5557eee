"""A value against its band: score, status and the rule that fired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND
from alerting.detectors.gaps import run_lengths
from alerting.detectors.sudden import SUDDEN
from alerting.detectors.windows import lagged, window_sum
from alerting.model.metric import Metric, Policy
from alerting.model.verdict import Status

MAX_SCORE = 1000.0  # scores are cut here: beyond it only the sign says anything
MIN_LIMIT_SHARE = 0.1  # share of a limit above zero that no width can take away: an outage is seen
USUAL_GAP = "usual gap"  # the rule of a missing bucket that is no news
TOO_FEW = "too few"  # the rule of a bucket made of less than the policy's smallest volume
REARM_AFTER = {"sustained": timedelta(hours=24), "level": timedelta(hours=6)}  # one deviation until that long without it


@dataclass(frozen=True)
class PriorVerdicts:
    """What was answered before the first bucket that is judged now. `missing`: how many buckets in a row had no value.
    `rules`: of the buckets before, oldest first, the rule that fired, "" where none did."""

    missing: int = 0
    rules: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))


def judge(values: pd.Series, band: pd.DataFrame, metric: Metric, volume: pd.Series | None = None) -> pd.DataFrame:
    """value, low, expected, high, score, status, rule, news for every bucket of `values` (float64; status, rule str; news bool).

    The band is first scaled by the metric's width and widened to the policy's smallest change, so that what is returned,
    drawn and told is what was judged by. Score: distance from expected in half-widths of the band on that side, signed, +-1
    at the edge, cut at +-1000. Rule: which question an anomalous bucket answers badly ("" for a plain fence, or when normal);
    "usual gap" for a missing bucket while the gap is no longer than it often is at this time. News: is there something to tell
    that was not told (see `news` and `gap_told`)? `volume` (float64, the same index): what a ratio is divided by; a bucket made
    of less than `policy.min_volume` is unknown, "too few".
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
) -> dict[str, np.ndarray]:
    """The columns of `judge` for buckets of one series, (n,) each, from the columns of its band and what came `before`."""
    before = before or PriorVerdicts()
    low, expected, high = _limits(metric, *(np.asarray(limits[side], dtype=float) for side in BAND))
    score = _score(value, low, expected, high)
    outside = _outside(score, metric.policy.direction)
    missing, few = np.isnan(value), _too_few(expected, volume, metric.policy)
    status = np.where(outside, Status.ANOMALOUS.value, Status.NORMAL.value).astype(object)
    status[np.isnan(score) | few] = Status.UNKNOWN.value
    status[missing] = Status.MISSING.value
    gap = _running(missing, before.missing)
    rule = _rule(value, outside, gap, limits, metric)
    rule[few & ~missing] = TOO_FEW
    told = _told(status, np.concatenate([before.rules, rule]), metric.step)
    told |= missing & (rule != USUAL_GAP) & (gap >= metric.policy.patience)
    usual = np.broadcast_to(np.asarray(limits.get("usual", np.nan), dtype=float), value.shape)
    names = ("value", "low", "expected", "high", "score", "status", "rule", "usual", "news")
    return dict(zip(names, (value, low, expected, high, score, status, rule, usual, told), strict=True))


def is_new(judged: pd.DataFrame, step: timedelta) -> np.ndarray:
    """(n,) bool: anomalous buckets that tell a person something new.

    A sudden change always does. A level held wrong is one deviation for as long as it lasts, and until it has been well for
    a day (a burst by the level rule: six hours): its first bucket tells, the others are the same news.
    """
    return _told(judged["status"].to_numpy(), judged["rule"].to_numpy(), step)


def _told(status: np.ndarray, rule: np.ndarray, step: timedelta) -> np.ndarray:
    """As `news`. `rule` may begin earlier than `status`: what is told hangs on it."""
    told, late = status == Status.ANOMALOUS.value, len(rule) - len(status)
    for name, rest in REARM_AFTER.items():
        mine = rule == name
        if mine.any():
            lately = np.nan_to_num(lagged(window_sum(mine.astype(float), max(1, rest // step))))
            told = told & (~mine | (lately == 0))[late:]
    return told


def lookback_buckets(step: timedelta) -> int:
    """Buckets before the first judged one whose rules are asked."""
    return max(max(1, rest // step) for rest in REARM_AFTER.values())


def _running(missing: np.ndarray, before: int) -> np.ndarray:
    """How many buckets in a row are missing, after so many that were."""
    gap = run_lengths(missing)
    return gap + np.where(gap == np.arange(1, len(gap) + 1), before, 0)


def _limits(metric: Metric, low: np.ndarray, expected: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    floor = np.maximum(metric.policy.min_change * np.abs(expected), metric.policy.min_units)
    below, above = metric.width * (expected - low), metric.width * (high - expected)
    below = np.where(low > 0, np.minimum(below, expected - MIN_LIMIT_SHARE * low), below)
    below, above = np.maximum(below, floor), np.maximum(above, floor)
    return expected - below, expected, expected + above


def _score(value: np.ndarray, low: np.ndarray, expected: np.ndarray, high: np.ndarray) -> np.ndarray:
    off = value - expected
    width = np.where(off < 0, expected - low, high - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = off / width
    score = np.where((width <= 0) & (off != 0), np.sign(off) * MAX_SCORE, score)  # flat past: any change is outside
    return np.clip(np.where((off == 0) & np.isfinite(width), 0.0, score), -MAX_SCORE, MAX_SCORE)


def _outside(score: np.ndarray, direction: str) -> np.ndarray:
    return {"both": np.abs(score) > 1, "down": score < -1, "up": score > 1}[direction]


def _too_few(expected: np.ndarray, volume: np.ndarray | None, policy: Policy) -> np.ndarray:
    """(n,) bool: what was expected, or what a ratio divides by, is below the policy's smallest volume."""
    if not policy.min_volume:
        return np.zeros(len(expected), bool)
    with np.errstate(invalid="ignore"):
        return (np.abs(expected) if volume is None else volume) < policy.min_volume


def _rule(
    value: np.ndarray, outside: np.ndarray, gap: np.ndarray, limits: Mapping[str, np.ndarray | str], metric: Metric
) -> np.ndarray:
    """The question whose limit was passed; "sudden" where its farther limit was passed too."""
    at, rule = np.flatnonzero(outside), np.full(len(value), "", dtype=object)
    if "low_rule" not in limits:
        return rule
    if len(at):
        part = {name: column if isinstance(column, str) else column[at] for name, column in limits.items() if name != "gap"}
        below = value[at] < part["expected"]
        rule[at] = np.where(below, part["low_rule"], part["high_rule"])
        if "sudden_low" in part:
            sides = (np.asarray(part[name], dtype=float) for name in ("sudden_low", "expected", "sudden_high"))
            low, _, high = _limits(metric, *sides)
            rule[at[np.where(below, value[at] < low, value[at] > high)]] = SUDDEN
    rule[(gap > 0) & (gap <= limits["gap"])] = USUAL_GAP
    return rule


def is_reported_gap(judged: pd.DataFrame, policy: Policy) -> np.ndarray:
    """(n,) bool: missing buckets that "no data" is said about: `patience` of them in a row, and longer than usual here."""
    missing = (judged["status"] == Status.MISSING.value).to_numpy()
    return missing & (judged["rule"] != USUAL_GAP).to_numpy() & (run_lengths(missing) >= policy.patience)
