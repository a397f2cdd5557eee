"""Quantiles, sums and extremes of the past, made so that a row does not depend on where the loaded series begins.

No running sum from the first value on: the same window gives the same bits in a live run (which loads `history`) and in
a backtest over years. All arrays are float64; NaN is a value that is not there, and is left out.
"""

from __future__ import annotations

import numpy as np

CHUNK = 4096  # rows sorted at a time: they stay in the cache


def quantiles(rows: np.ndarray, *shares: float) -> list[np.ndarray]:
    """Each share's quantile (linear between neighbours, numpy's default) of each row (n, k); NaN for an empty row."""
    out = np.full((len(shares), len(rows)), np.nan)
    for first in range(0, len(rows), CHUNK):
        part = np.sort(rows[first : first + CHUNK], axis=1)  # NaN goes last
        count = part.shape[1] - np.isnan(part).sum(axis=1)
        for i, share in enumerate(shares):
            out[i, first : first + CHUNK] = of_sorted(part, count, share)
    return list(out)


def of_sorted(rows: np.ndarray, count: np.ndarray, share: float) -> np.ndarray:
    """Quantile `share` of the first `count` values of each sorted row; NaN where there is none."""
    at = share * np.maximum(count - 1, 0)
    below = at.astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    every = np.arange(len(rows))
    left = rows[every, below]
    return left + (rows[every, above] - left) * (at - below)


def previous(x: np.ndarray, lag: int = 1) -> np.ndarray:
    """x[t - lag], NaN before the start; `lag` below 0 looks ahead (for values that are used a day later only)."""
    out = np.full(len(x), np.nan)
    if abs(lag) < len(x):
        out[max(lag, 0) : len(x) + min(lag, 0)] = x[max(-lag, 0) : len(x) - max(lag, 0)]
    return out


def recent(x: np.ndarray, buckets: int) -> np.ndarray:
    """Median of the last `buckets` values before each bucket: what the level is just now."""
    return quantiles(np.stack([previous(x, lag) for lag in range(1, buckets + 1)], axis=1), 0.5)[0]


def window_sum(x: np.ndarray, width: int) -> np.ndarray:
    """Sum of x[t - width + 1 .. t], zeros before the start. Doubling: log2(width) additions, always in the same order."""
    total, done, block, length = np.zeros(len(x)), 0, x, 1
    while True:
        if width & length:
            total = total + _shifted(block, done, 0.0)
            done += length
        if done >= width:
            return total
        block = block + _shifted(block, length, 0.0)
        length *= 2


def window_max(x: np.ndarray, width: int) -> np.ndarray:
    """Largest of x[t - width + 1 .. t]; NaN where there is none."""
    best, length = np.where(np.isnan(x), -np.inf, x), 1
    while length < width:
        step = min(length, width - length)
        best = np.maximum(best, _shifted(best, step, -np.inf))
        length += step
    return np.where(np.isneginf(best), np.nan, best)


def around(x: np.ndarray, reach: int) -> np.ndarray:
    """Largest of `x` from `reach` buckets before to `reach` after: to be looked at a day later."""
    return previous(window_max(np.r_[x, np.full(reach, np.nan)], 2 * reach + 1), -reach)[: len(x)]


def _shifted(x: np.ndarray, by: int, fill: float) -> np.ndarray:
    by = min(by, len(x))
    return x if by == 0 else np.r_[np.full(by, fill), x[: len(x) - by]]


def before(x: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """(len(at), width): the `width` values before each of those buckets, NaN before the start."""
    padded = np.r_[np.full(width, np.nan), x]
    return np.lib.stride_tricks.sliding_window_view(padded, width)[at]


def held(figures: np.ndarray, at: np.ndarray, n: int) -> np.ndarray:
    """(n,): each figure from its bucket until the next one; NaN before the first."""
    which = np.searchsorted(at, np.arange(n), side="right") - 1
    return np.where(which >= 0, figures[np.maximum(which, 0)], np.nan) if len(at) else np.full(n, np.nan)


def refreshed(x: np.ndarray, at: np.ndarray, width: int, least: int, share: float = 0.5) -> np.ndarray:
    """(n,): that quantile of the `width` values before the newest of the buckets `at`; NaN with fewer than `least` values."""
    rows = before(x, at, width)
    known = np.isfinite(rows).sum(axis=1) >= least
    return held(np.where(known, quantiles(rows, share)[0], np.nan), at, len(x))
