"""A value against its band: score and status."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alerting.detectors.fences import BAND
from alerting.model import Metric, Status

FARTHEST = 1000.0  # scores are cut here: beyond it only the sign says anything


def judge(values: pd.Series, band: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """value, low, expected, high, score, status for every bucket of `values` (float64; status str).

    The band is first scaled by the metric's width and widened to the policy's smallest change, so that what is returned,
    drawn and told is what was judged by. Score: distance from expected in half-widths of the band on that side, signed, +-1
    at the edge, cut at +-1000.
    """
    low, expected, high = _limits(band, metric)
    value = values.to_numpy(float)
    score = _score(value, low, expected, high)
    status = np.where(_outside(score, metric.policy.direction), Status.ANOMALOUS.value, Status.NORMAL.value).astype(object)
    status[np.isnan(score)] = Status.UNKNOWN.value
    status[np.isnan(value)] = Status.MISSING.value
    columns = {"value": value, "low": low, "expected": expected, "high": high, "score": score, "status": status}
    return pd.DataFrame(columns, index=values.index)


def _limits(band: pd.DataFrame, metric: Metric) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, expected, high = (band[c].to_numpy(float) for c in BAND)
    floor = np.maximum(metric.policy.min_change * np.abs(expected), metric.policy.min_units)
    below, above = (np.maximum(metric.width * side, floor) for side in (expected - low, high - expected))
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
