"""Expectations of leaves from their recent past, for callers that have a matrix of it."""

from __future__ import annotations

import numpy as np

from alerting.slices.curves import UNEQUAL
from alerting.slices.noise import MEDIAN

MEMORY = 1.25  # buckets: weight of the past falls by e; best of 0.5 .. 4 for the error of slices of 2 % and more
LEAST_UNEQUAL = 0.0005
ERRORS = 6  # past buckets that are forecast to learn each leaf's spread


def recent(past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) expected and (n,) spread of the next bucket of counts.

    `past` (n, steps): the buckets before, newest first, 0 where a leaf had none. Each bucket is brought to the newest one's
    total, then averaged with weights that fall with age; the spread is the root mean square of the same forecast's errors
    of the newest `ERRORS` buckets. Raises ValueError under 2 buckets.
    """
    if past.ndim != 2 or past.shape[1] < 2:
        raise ValueError(f"recent: past must have two buckets or more, has shape {past.shape}")
    tries = range(min(ERRORS, past.shape[1] - 1))
    squares = [(past[:, i] - _level(past[:, i + 1 :], past[:, i].sum())) ** 2 for i in tries]
    return _level(past, past[:, 0].sum()), np.sqrt(np.mean(squares, axis=0))


def _level(past: np.ndarray, total: float) -> np.ndarray:
    """(n,) weighted mean of the buckets, each scaled to `total`."""
    weights = np.exp(-np.arange(past.shape[1]) / MEMORY)
    return (past * (total / np.maximum(past.sum(axis=0), 1e-9))) @ (weights / weights.sum())


def calm(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) expected part and whole of a ratio where higher is worse: the mean of the better half of the past buckets.

    `part`, `whole` (n, steps). The worse half may hold the beginning of the trouble, or the last one.
    """
    used = np.flatnonzero(whole.sum(axis=0) > 0)
    if not len(used):
        return np.zeros(len(part)), np.zeros(len(part))
    overall = part[:, used].sum(axis=0) / whole[:, used].sum(axis=0)
    better = used[np.argsort(overall, kind="stable")[: (len(used) + 1) // 2]]
    return part[:, better].mean(axis=1), whole[:, better].mean(axis=1)


def unequal(part: np.ndarray, whole: np.ndarray) -> float:
    """How correlated the units of a leaf are (0 = binomial), from past buckets (n, steps) of a ratio: `Search.unequal`.

    Moments: the excess of each leaf's variance over the binomial, brought to a common rate in each bucket; leaves of 20 units
    and more a bucket. At least 0.0005; the default of `Search` where nothing can be measured.
    """
    big = (whole.mean(axis=1) >= 20) & (part.sum(axis=1) > 0)
    part, whole = part[big], np.maximum(whole[big], 1e-9)
    if not len(part) or part.shape[1] < 2:
        return UNEQUAL
    rate = part.sum(axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    due = whole * rate * (part.sum(axis=0) / np.maximum((whole * rate).sum(axis=0), 1e-9))
    usual = np.maximum(due * (1 - np.minimum(due / whole, 1)), 1e-9)
    degrees = part.shape[1] / (part.shape[1] - 1)
    excess = np.median(((part - due) ** 2 * degrees / usual / MEDIAN - 1) / np.maximum(whole - 1, 1))
    return float(np.clip(excess, LEAST_UNEQUAL, UNEQUAL))
