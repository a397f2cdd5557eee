"""Which past a bucket is compared with: the last hours, the same time of day on earlier days, or the usual change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np

from alerting.detectors.series_grid import DAY, SeriesGrid
from alerting.detectors.windows import CHUNK_ROWS, quantiles, recent_median

Gather = Callable[[int, int], np.ndarray]


class Baseline(Protocol):
    """Which past a bucket is compared with."""

    @property
    def history(self) -> timedelta:
        """How far back it looks."""

    @property
    def least(self) -> int:
        """Fewer values than this are too little to tell."""

    def gather(self, grid: SeriesGrid) -> Gather:
        """(first, last) -> float64 (last - first, k): the past values of those buckets of a grid of one series, NaN where
        there is none."""


@dataclass(frozen=True)
class Trailing:
    """The last `hours`, whatever the time of day. The folk rule of every first alerting script."""

    hours: float = 24
    filled: float = 0.5  # share of the values that must be there

    @property
    def history(self) -> timedelta:
        return timedelta(hours=self.hours)

    @property
    def least(self) -> int:
        return 4

    def gather(self, grid: SeriesGrid) -> Gather:
        n = max(4, round(self.hours * 3600 / grid.step))
        windows = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(n, np.nan), grid.values[0]], n)
        least = self.filled * n

        def rows(first: int, last: int) -> np.ndarray:
            matrix = windows[first:last].copy()
            matrix[np.isfinite(matrix).sum(axis=1) < least] = np.nan
            return matrix

        return rows


@dataclass(frozen=True)
class SameSlot:
    """The same local time of day on the `days` days before, with `near` buckets on either side.

    `kind` of day: "any"; "week" (the same day of the week); "work" (working days with working days, Saturdays and Sundays
    with each other). Slots follow local time over a change of the clocks.
    """

    days: int = 28
    near: int = 1
    kind: str = "any"
    filled: float = 1 / 3  # share of the values that must be there

    def __post_init__(self) -> None:
        if self.kind not in ("any", "week", "work"):
            raise ValueError(f"SameSlot: kind={self.kind!r} must be 'any', 'week' or 'work'")
        if self.days < 1 or self.near < 0:
            raise ValueError("SameSlot: days is at least 1 and near at least 0")

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 1)  # a day more: `near` and a change of the clocks

    @property
    def least(self) -> int:
        slots = (2 * self.near + 1) * (self.days if self.kind == "any" else max(1, self.days // 7))
        return max(4, round(self.filled * slots))

    def gather(self, grid: SeriesGrid) -> Gather:
        days = [d for d in range(1, self.days + 1) if self.kind != "week" or d % 7 == 0]
        near = min(self.near, (DAY // grid.step - 1) // 2)  # neighbours never reach the bucket itself
        lags = np.array([d * DAY // grid.step + s for d in days for s in range(-near, near + 1)])
        take = at_lags(grid, grid.values, lags)
        if self.kind != "work":
            return lambda first, last: take(np.arange(first, last))[0]
        alike = same_kind(grid, lags)

        def rows(first: int, last: int) -> np.ndarray:
            at = np.arange(first, last)
            return np.where(alike(at), take(at)[0], np.nan)

        return rows


@dataclass(frozen=True)
class Change:
    """The level just now plus each change that was seen at the same local time on the `days` days before.

    The level is the median of the `last` buckets before; the change is a value minus the level before it. Day-to-day
    noise of the level is common to neighbouring buckets and drops out, so what is left is news.
    """

    days: int = 14
    last: int = 1
    filled: float = 1 / 3  # share of the changes that must be there

    def __post_init__(self) -> None:
        if self.days < 1 or self.last < 1:
            raise ValueError("Change: days and last are at least 1")

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 2)  # a day for a change of the clocks, one for the level before the first change

    @property
    def least(self) -> int:
        return max(4, round(self.filled * self.days))

    def gather(self, grid: SeriesGrid) -> Gather:
        level = recent_median(grid.values, self.last)
        changes = at_lags(grid, grid.values - level, day_lags(grid, self.days))
        return lambda first, last: changes(np.arange(first, last))[0] + level[0, first:last, None]


def day_lags(grid: SeriesGrid, days: int, apart: int = 1) -> np.ndarray:
    """How many buckets ago the same time was on each of the last `days` days (or every so many days)."""
    return np.arange(apart, days + 1, apart) * DAY // grid.step


def at_lags(grid: SeriesGrid, x: np.ndarray, lags: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """at (k,) -> (..., k, len(lags)): `x` (..., n) so many buckets earlier on the local clock, NaN before the start.

    `at`: ascending positions in `x`.
    """
    pad = int(lags.max()) + grid.clocks
    padded = np.concatenate([np.full((*x.shape[:-1], pad), np.nan), x], axis=-1)
    if (grid.offset == grid.offset[:1]).all():
        return lambda at: _straight(padded, lags, at + pad)
    return _by_local_time(grid, padded, lags, pad)


def slot_quantile(grid: SeriesGrid, x: np.ndarray, days: int, share: float, at: np.ndarray | None = None) -> np.ndarray:
    """(..., n): that quantile of `x` (..., n) at the same local time of the days before; NaN but for the buckets `at`
    (None: all)."""
    rows, n = at_lags(grid, x, day_lags(grid, days)), x.shape[-1]
    at, out = np.arange(n) if at is None else at, np.full(x.shape, np.nan)
    for first in range(0, len(at), CHUNK_ROWS):
        part = at[first : first + CHUNK_ROWS]
        out[..., part] = quantiles(rows(part), share)[0]
    return out


def _straight(padded: np.ndarray, lags: np.ndarray, at: np.ndarray) -> np.ndarray:
    out = np.empty((*padded.shape[:-1], len(at), len(lags)))
    whole = len(at) > 0 and at[-1] - at[0] == len(at) - 1  # a slice is quicker than a list of places
    for j, lag in enumerate(lags):
        out[..., j] = padded[..., at[0] - lag : at[-1] + 1 - lag] if whole else padded[..., at - lag]
    return out


def _by_local_time(grid: SeriesGrid, padded: np.ndarray, lags: np.ndarray, pad: int) -> Callable[[np.ndarray], np.ndarray]:
    """As `_straight`, each lag moved by the difference of the two buckets' UTC offsets."""
    offset = np.r_[np.full(pad, grid.offset[0]), grid.offset]

    def take(at: np.ndarray) -> np.ndarray:
        here = at[:, None] + pad
        then = here - lags
        moved = then + (offset[here] - offset[then]) // grid.step
        return padded[..., np.clip(np.minimum(moved, here - 1), 0, None)]

    return take


def same_kind(grid: SeriesGrid, lags: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """at (k,) -> (k, len(lags)): which of the lags lie on a day of the same kind (working day or not) as the bucket itself."""
    days = np.round(lags * grid.step / DAY).astype(int)

    def rows(at: np.ndarray) -> np.ndarray:
        today = grid.weekday[at, None]
        return (today >= 5) == ((today - days) % 7 >= 5)

    return rows
