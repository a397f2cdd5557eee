"""A value against its band: score, status and the rule that fired."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.fences import BAND
from alerting.detectors.gaps import running
from alerting.detectors.rolling import previous, window_sum
from alerting.detectors.sudden import SUDDEN
from alerting.model import Metric, Policy, Status

FARTHEST = 1000.0  # scores are cut here: beyond it only the sign says anything
KEPT = 0.1  # share of a limit above zero that no width can take away: an outage is seen
USUAL_GAP = "usual gap"  # the rule of a missing bucket that is no news
TOO_FEW = "too few"  # the rule of a bucket made of less than the policy's smallest volume
REARM = {"sustained": timedelta(hours=24), "level": timedelta(hours=6)}  # one deviation until that long without it


def judge(values: pd.Series, band: pd.DataFrame, metric: Metric, volume: pd.Series | None = None) -> pd.DataFrame:
    """value, low, expected, high, score, status, rule, news for every bucket of `values` (float64; status, rule str; news bool).

    The band is first scaled by the metric's width and widened to the policy's smallest change, so that what is returned,
    drawn and told is what was judged by. Score: distance from expected in half-widths of the band on that side, signed, +-1
    at the edge, cut at +-1000. Rule: which question an anomalous bucket answers badly ("" for a plain fence, or when normal);
    "usual gap" for a missing bucket while the gap is no longer than it often is at this time. News: is there something to tell
    that was not told (see `news` and `gap_told`)? `volume` (float64, the same index): what a ratio is divided by; a bucket made
    of less than `policy.min_volume` is unknown, "too few".
    """
    low, expected, high = _limits(band[BAND], metric)
    value = values.to_numpy(float)
    score = _score(value, low, expected, high)
    outside = _outside(score, metric.policy.direction)
    status = np.where(outside, Status.ANOMALOUS.value, Status.NORMAL.value).astype(object)
    few = _too_few(expected, volume, metric.policy)
    status[np.isnan(score) | few] = Status.UNKNOWN.value
    status[np.isnan(value)] = Status.MISSING.value
    columns = {"value": value, "low": low, "expected": expected, "high": high, "score": score, "status": status}
    judged = pd.DataFrame(columns, index=values.index).assign(rule=_rule(value, outside, band, metric))
    judged.loc[few & ~np.isnan(value), "rule"] = TOO_FEW
    judged["usual"] = band.get("usual", np.nan)
    return judged.assign(news=news(judged, metric.step) | gap_told(judged, metric.policy))


def news(judged: pd.DataFrame, step: timedelta) -> np.ndarray:
    """(n,) bool: anomalous buckets that tell a person something new.

    A sudden change always does. A level held wrong is one deviation for as long as it lasts, and until it has been well for
    a day (a burst by the level rule: six hours): its first bucket tells, the others are the same news.
    """
    told = (judged["status"] == Status.ANOMALOUS.value).to_numpy()
    for rule, rest in REARM.items():
        mine = (judged["rule"] == rule).to_numpy()
        lately = np.nan_to_num(previous(window_sum(mine.astype(float), max(1, rest // step))))
        told = told & (~mine | (lately == 0))
    return told


def _limits(band: pd.DataFrame, metric: Metric) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, expected, high = (band[c].to_numpy(float) for c in BAND)
    floor = np.maximum(metric.policy.min_change * np.abs(expected), metric.policy.min_units)
    below, above = metric.width * (expected - low), metric.width * (high - expected)
    below = np.where(low > 0, np.minimum(below, expected - KEPT * low), below)
    below, above = np.maximum(below, floor), np.maximum(above, floor)
    return expected - below, expected, expected + above


def _score(value: np.ndarray, low: np.ndarray, expected: np.ndarray, high: np.ndarray) -> np.ndarray:
    off = value - expected
    width = np.where(off < 0, expected - low, high - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = off / width
    score = np.where((width <= 0) & (off != 0), np.sign(off) * FARTHEST, score)  # flat past: any change is outside
    return np.clip(np.where((off == 0) & np.isfinite(width), 0.0, score), -FARTHEST, FARTHEST)


def _outside(score: np.ndarray, direction: str) -> np.ndarray:
    return {"both": np.abs(score) > 1, "down": score < -1, "up": score > 1}[direction]


def _too_few(expected: np.ndarray, volume: pd.Series | None, policy: Policy) -> np.ndarray:
    """(n,) bool: what was expected, or what a ratio divides by, is below the policy's smallest volume."""
    size = np.abs(expected) if volume is None else volume.to_numpy(float)
    with np.errstate(invalid="ignore"):
        return (size < policy.min_volume) if policy.min_volume else np.zeros(len(expected), bool)


def _rule(value: np.ndarray, outside: np.ndarray, band: pd.DataFrame, metric: Metric) -> np.ndarray:
    """The question whose limit was passed; "sudden" where its farther limit was passed too."""
    if "low_rule" not in band:
        return np.full(len(value), "", dtype=object)
    at, rule = np.flatnonzero(outside), np.full(len(value), "", dtype=object)
    part, seen = band.iloc[at], value[at]
    below = seen < part["expected"].to_numpy(float)
    rule[at] = np.where(below, part["low_rule"].to_numpy(), part["high_rule"].to_numpy())
    if "sudden_low" in band:
        low, _, high = _limits(part.assign(low=part["sudden_low"], high=part["sudden_high"]), metric)
        rule[at[np.where(below, seen < low, seen > high)]] = SUDDEN
    missing = np.isnan(value)
    rule[missing & (running(missing) <= band["gap"].to_numpy())] = USUAL_GAP
    return rule


def gap_told(judged: pd.DataFrame, policy: Policy) -> np.ndarray:
    """(n,) bool: missing buckets that "no data" is said about: `patience` of them in a row, and longer than usual here."""
    missing = (judged["status"] == Status.MISSING.value).to_numpy()
    return missing & (judged["rule"] != USUAL_GAP).to_numpy() & (running(missing) >= policy.patience)
