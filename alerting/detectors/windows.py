"""Quantiles, sums and extremes of the past, made so that a row does not depend on where the loaded series begins.

No running sum from the first value on: the same window gives the same bits in a live run (which loads `history`) and in
a backtest over years. All arrays are float64 with time as their last axis, so that many series are worked on at once; NaN is
a value that is not there, and is left out.
"""

from __future__ import annotations

import numpy as np

CHUNK_ROWS = 4096  # rows sorted at a time: they stay in the cache


def quantiles(rows: np.ndarray, *shares: float) -> list[np.ndarray]:
    """Each share's quantile (linear between neighbours, numpy's default) of the last axis; NaN where that is empty."""
    flat = rows.reshape(-1, rows.shape[-1])
    out = np.full((len(shares), len(flat)), np.nan)
    for first in range(0, len(flat), CHUNK_ROWS):
        part = np.sort(flat[first : first + CHUNK_ROWS], axis=1)  # NaN goes last
        count = part.shape[1] - np.isnan(part).sum(axis=1)
        for i, share in enumerate(shares):
            out[i, first : first + CHUNK_ROWS] = sorted_quantile(part, count, share)
    return list(out.reshape(len(shares), *rows.shape[:-1]))


def sorted_quantile(rows: np.ndarray, count: np.ndarray, share: float) -> np.ndarray:
    """Quantile `share` of the first `count` (...) values of the sorted rows (..., k); NaN where there is none."""
    at = share * np.maximum(count - 1, 0)
    below = at.astype(np.int64)
    left, right = pick(rows, below), pick(rows, np.minimum(below + 1, np.maximum(count - 1, 0)))
    return left + (right - left) * (at - below)


def pick(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Of each row (..., k) the value at its place `at` (...)."""
    flat = rows.reshape(-1, rows.shape[-1])
    return flat[np.arange(len(flat)), at.reshape(-1)].reshape(at.shape)


def lagged(x: np.ndarray, lag: int = 1) -> np.ndarray:
    """x[t - lag], NaN before the start; `lag` below 0 looks ahead (for values that are used a day later only)."""
    n = x.shape[-1]
    out = np.full(x.shape, np.nan)
    if abs(lag) < n:
        out[..., max(lag, 0) : n + min(lag, 0)] = x[..., max(-lag, 0) : n - max(lag, 0)]
    return out


def recent_median(x: np.ndarray, buckets: int) -> np.ndarray:
    """Median of the last `buckets` values before each bucket: what the level is just now."""
    if buckets == 1:
        return lagged(x)
    if buckets == 3:
        return _middle(*(lagged(x, lag) for lag in (1, 2, 3)))
    return quantiles(np.stack([lagged(x, lag) for lag in range(1, buckets + 1)], axis=-1), 0.5)[0]


def _middle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The median of three, of what there is of them."""
    out = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))  # NaN where one of them is
    rest = np.isnan(out)
    if rest.any():
        out[rest] = quantiles(np.stack([a[rest], b[rest], c[rest]], axis=-1), 0.5)[0]
    return out


def window_sum(x: np.ndarray, width: int) -> np.ndarray:
    """Sum of x[t - width + 1 .. t], zeros before the start. Doubling: log2(width) additions, always in the same order."""
    total, done, block, length = np.zeros(x.shape), 0, x, 1
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


def max_around(x: np.ndarray, reach: int) -> np.ndarray:
    """Largest of `x` from `reach` buckets before to `reach` after: to be looked at a day later."""
    longer = np.concatenate([x, np.full((*x.shape[:-1], reach), np.nan)], axis=-1)
    return lagged(window_max(longer, 2 * reach + 1), -reach)[..., : x.shape[-1]]


def _shifted(x: np.ndarray, by: int, fill: float) -> np.ndarray:
    by = min(by, x.shape[-1])
    if by == 0:
        return x
    return np.concatenate([np.full((*x.shape[:-1], by), fill), x[..., : x.shape[-1] - by]], axis=-1)


def values_before(x: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """(..., len(at), width): the `width` values before each of those buckets, NaN before the start."""
    padded = np.concatenate([np.full((*x.shape[:-1], width), np.nan), x], axis=-1)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)[..., at, :]


def hold_until_next(figures: np.ndarray, at: np.ndarray, n: int, since: int = 0) -> np.ndarray:
    """(..., n - since): each figure (..., len(at)) from its bucket until the next one; NaN before the first."""
    if not len(at):
        return np.full((*figures.shape[:-1], n - since), np.nan)
    which = np.searchsorted(at, np.arange(since, n), side="right") - 1
    return np.where(which >= 0, figures[..., np.maximum(which, 0)], np.nan)


def trailing_quantile(x: np.ndarray, at: np.ndarray, width: int, least: int, share: float = 0.5) -> np.ndarray:
    """(..., len(at)): that quantile of the `width` values before each of the buckets; NaN with fewer than `least` values."""
    rows = values_before(x, at, width)
    known = np.isfinite(rows).sum(axis=-1) >= least
    return np.where(known, quantiles(rows, share)[0], np.nan)
