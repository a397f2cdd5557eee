"""Quantiles, sums and extremes over windows of the past. Pure numpy.

A result depends on the values of its window only, never on where the loaded series begins, because there are no cumulative
sums over the whole series. So a live run (which loads `history`) and a backtest over years give the same bits.

All arrays are float64 with time as their last axis, so that many series are worked on at once. NaN is a missing value and is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHUNK_ROWS = 4096  # rows sorted at a time: they fit into the processor's cache


def quantiles(rows: np.ndarray, *shares: float, min_values: int = 1, is_sorted: bool = False) -> list[np.ndarray]:
    """Return the quantile of the last axis for each share, interpolated linearly (numpy's default).

    NaN where fewer than `min_values` are present. `is_sorted`: each row is in ascending order already, NaN last.
    """
    flat = rows.reshape(-1, rows.shape[-1])
    out = np.full((len(shares), len(flat)), np.nan)
    for first in range(0, len(flat), CHUNK_ROWS):
        part = flat[first : first + CHUNK_ROWS]
        part = part if is_sorted else np.sort(part, axis=1)  # NaN goes last
        count, incomplete = np.full(len(part), part.shape[1]), np.isnan(part[:, -1])
        if incomplete.any():
            count[incomplete] -= np.isnan(part[incomplete]).sum(axis=1)
        each, last = np.arange(len(part)), np.maximum(count - 1, 0)
        for i, share in enumerate(shares):
            position = share * last
            below = position.astype(np.int64)
            left, right = part[each, below], part[each, np.minimum(below + 1, last)]
            found = left + (right - left) * (position - below)
            out[i, first : first + CHUNK_ROWS] = np.where(count >= min_values, found, np.nan)
    return list(out.reshape(len(shares), *rows.shape[:-1]))


def lagged(x: np.ndarray, lag: int = 1) -> np.ndarray:
    """Return x[t - lag], NaN outside of the series. A negative lag looks ahead: only for results that are used a day later."""
    n = x.shape[-1]
    out = np.full(x.shape, np.nan)
    if abs(lag) < n:
        out[..., max(lag, 0) : n + min(lag, 0)] = x[..., max(-lag, 0) : n - max(lag, 0)]
    return out


def recent_median(x: np.ndarray, buckets: int) -> np.ndarray:
    """Return the median of the last `buckets` values before each bucket; missing ones are left out."""
    before = [lagged(x, lag) for lag in range(1, buckets + 1)]
    if buckets == 1:
        return before[0]
    if buckets != 3:
        return quantiles(np.stack(before, axis=-1), 0.5)[0]

    # Three values, the usual case: minima and maxima are quicker than sorting; NaN where one of them is missing
    a, b, c = before
    out = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    incomplete = np.isnan(out)
    if incomplete.any():
        out[incomplete] = quantiles(np.stack([a[incomplete], b[incomplete], c[incomplete]], axis=-1), 0.5)[0]
    return out


def window_sum(x: np.ndarray, width: int) -> np.ndarray:
    """Return the sum of x[t - width + 1 .. t], with zeros before the start."""
    return window_sums(x, [width])[0]


def window_sums(x: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Return `window_sum` for several widths.

    Sums of 1, 2, 4 ... values are added, so log2(width) additions in always the same order; the widths share them.
    """
    totals, done = [np.zeros(x.shape) for _ in widths], [0] * len(widths)
    block, length, n = x, 1, x.shape[-1]
    while True:
        for i, width in enumerate(widths):
            if width & length:
                totals[i][..., done[i] :] += block[..., : max(n - done[i], 0)]
                done[i] += length
        if 2 * length > max(widths):
            return totals
        longer = np.empty_like(block)  # each block ends at t and is twice as long as the one before
        longer[..., :length] = block[..., :length]
        np.add(block[..., length:], block[..., : max(n - length, 0)], out=longer[..., length:])
        block, length = longer, 2 * length


def window_counts(x: np.ndarray, width: int) -> np.ndarray:
    """Return how many of x[t - width + 1 .. t] (bool) are true. A running sum of whole numbers is exact."""
    total = np.cumsum(x, axis=-1, dtype=np.int32)
    out = total.copy()
    out[..., width:] -= total[..., :-width]
    return out


def window_max(x: np.ndarray, width: int) -> np.ndarray:
    """Return the largest of x[t - width + 1 .. t]; NaN where all are missing."""
    largest, length, n = np.where(np.isnan(x), -np.inf, x), 1, x.shape[-1]
    while length < width:
        step = min(length, width - length)
        largest[..., step:] = np.maximum(largest[..., step:], largest[..., : max(n - step, 0)])
        length += step
    return np.where(np.isneginf(largest), np.nan, largest)


def max_before(x: np.ndarray, width: int, since: int) -> np.ndarray:
    """Return (..., n - since): the largest of x[t - width .. t - 1] for each t from `since` on; NaN where all are missing."""
    n = x.shape[-1] - since
    if not 0 < n <= width:
        return window_max(lagged(x), width)[..., since:]

    # The windows have a part in common: before it, each has more from the end of what goes before; after it, from the beginning
    before = np.full((*x.shape[:-1], max(0, width - since)), np.nan)
    known = np.concatenate([before, x[..., max(0, since - width) :]], axis=-1)
    known = np.where(np.isnan(known), -np.inf, known)
    common = known[..., n - 1 : width].max(axis=-1, keepdims=True)
    later = np.maximum.accumulate(np.concatenate([common, known[..., width:-1]], axis=-1), axis=-1)
    earlier = np.maximum.accumulate(np.concatenate([common, known[..., : n - 1][..., ::-1]], axis=-1), axis=-1)[..., ::-1]
    largest = np.maximum(later, earlier)
    return np.where(np.isneginf(largest), np.nan, largest)


def max_around(x: np.ndarray, reach: int) -> np.ndarray:
    """Return the largest of x[t - reach .. t + reach]. It looks ahead: only for results that are used a day later."""
    longer = np.concatenate([x, np.full((*x.shape[:-1], reach), np.nan)], axis=-1)
    return lagged(window_max(longer, 2 * reach + 1), -reach)[..., : x.shape[-1]]


def run_lengths(missing: np.ndarray) -> np.ndarray:
    """Return (..., n) int64: how many buckets in a row are missing, this one included. `missing`: bool, time last."""
    at = np.broadcast_to(np.arange(missing.shape[-1]), missing.shape)
    return at - np.maximum.accumulate(np.where(missing, -1, at), axis=-1) if at.size else at


def values_before(x: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """Return (..., len(at), width): the `width` values before each position of `at`, NaN before the start."""
    padded = np.concatenate([np.full((*x.shape[:-1], width), np.nan), x], axis=-1)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)[..., at, :]


def hold_until_next(statistics: np.ndarray, at: np.ndarray, n: int, since: int = 0) -> np.ndarray:
    """Return (..., n - since): each statistic (..., len(at)) from its position until the next one; NaN before the first."""
    if not len(at):
        return np.full((*statistics.shape[:-1], n - since), np.nan)
    which = np.searchsorted(at, np.arange(since, n), side="right") - 1
    return np.where(which >= 0, statistics[..., np.maximum(which, 0)], np.nan)
