"""Which past a bucket is compared with: the last hours, the same time of day on earlier days, or the usual change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from alerting.detectors.rolling import CHUNK, quantiles, recent

DAY = 86400

Gather = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """A series without gaps in its index. `values`: float64 (n,), NaN where there is none. `offset`: local time minus
    UTC in seconds, int64 (n,). `weekday`: local day of the week, Monday 0, int64 (n,). `seconds`: epoch, int64 (n,)."""

    values: np.ndarray
    step: int
    offset: np.ndarray
    weekday: np.ndarray
    seconds: np.ndarray

    @classmethod
    def of(cls, series: pd.Series, zone: str) -> Grid:
        """Raises ValueError when the index is not an ascending grid of aware times with one step."""
        index = series.index
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            raise ValueError("a series to judge is indexed by aware times")
        seconds = index.as_unit("s").asi8
        steps = np.diff(seconds)
        if len(steps) and (steps[0] <= 0 or (steps != steps[0]).any()):
            raise ValueError("a series to judge has one row per bucket: put NaN where a bucket has no value")
        local = seconds + (offset := _offsets(index, seconds, zone))
        return cls(series.to_numpy(float), int(steps[0]) if len(steps) else 900, offset, (local // DAY + 3) % 7, seconds)

    @property
    def per_day(self) -> int:
        return max(1, DAY // self.step)

    def beginnings(self, every: int = DAY) -> np.ndarray:
        """Positions of the first bucket of each local day (or of every so many seconds), but for the first of all."""
        return np.flatnonzero(np.diff((self.seconds + self.offset) // max(every, self.step))) + 1

    def within(self, seconds: float) -> int:
        """That long in buckets, rounded, 0 for less than half of one."""
        return round(seconds / self.step)


def _offsets(index: pd.DatetimeIndex, seconds: np.ndarray, zone: str) -> np.ndarray:
    return index.tz_convert(zone).tz_localize(None).as_unit("s").asi8 - seconds


class Reference(Protocol):
    """Which past a bucket is compared with."""

    @property
    def history(self) -> timedelta:
        """How far back it looks."""

    @property
    def least(self) -> int:
        """Fewer values than this are too little to tell."""

    def gather(self, grid: Grid) -> Gather:
        """(first, last) -> float64 (last - first, k): the past values of those buckets, NaN where there is none."""


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

    def gather(self, grid: Grid) -> Gather:
        n = max(4, round(self.hours * 3600 / grid.step))
        windows = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(n, np.nan), grid.values], n)
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

    def gather(self, grid: Grid) -> Gather:
        days = [d for d in range(1, self.days + 1) if self.kind != "week" or d % 7 == 0]
        near = min(self.near, (DAY // grid.step - 1) // 2)  # neighbours never reach the bucket itself
        lags = np.array([d * DAY // grid.step + s for d in days for s in range(-near, near + 1)])
        take = at_lags(grid, grid.values, lags)
        if self.kind != "work":
            return take
        alike = same_kind(grid, lags)
        return lambda first, last: np.where(alike(first, last), take(first, last), np.nan)


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

    def gather(self, grid: Grid) -> Gather:
        level = recent(grid.values, self.last)
        changes = at_lags(grid, grid.values - level, day_lags(grid, self.days))
        return lambda first, last: changes(first, last) + level[first:last, None]


def day_lags(grid: Grid, days: int, apart: int = 1) -> np.ndarray:
    """How many buckets ago the same time was on each of the last `days` days (or every so many days)."""
    return np.arange(apart, days + 1, apart) * DAY // grid.step


def at_lags(grid: Grid, x: np.ndarray, lags: np.ndarray) -> Gather:
    """(first, last) -> (last - first, len(lags)): `x` (n,) so many buckets earlier on the local clock, NaN before the start."""
    pad = int(lags.max()) + 2 * 3600 // min(grid.step, 3600)  # room for a clock moved by two hours
    padded = np.r_[np.full(pad, np.nan), x]
    take = _straight if (grid.offset == grid.offset[:1]).all() else _by_local_time(grid, pad)
    return lambda first, last: take(padded, lags, first + pad, last + pad)


def slots(grid: Grid, x: np.ndarray, days: int, share: float) -> np.ndarray:
    """That quantile of `x` at the same local time of the days before."""
    rows, n = at_lags(grid, x, day_lags(grid, days)), len(x)
    parts = [quantiles(rows(first, min(first + CHUNK, n)), share)[0] for first in range(0, n, CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


def _straight(padded: np.ndarray, lags: np.ndarray, first: int, last: int) -> np.ndarray:
    out = np.empty((last - first, len(lags)))
    for j, lag in enumerate(lags):
        out[:, j] = padded[first - lag : last - lag]
    return out


def _by_local_time(grid: Grid, pad: int) -> Callable[..., np.ndarray]:
    """As `_straight`, each lag moved by the difference of the two buckets' UTC offsets."""
    offset = np.r_[np.full(pad, grid.offset[0]), grid.offset]

    def take(padded: np.ndarray, lags: np.ndarray, first: int, last: int) -> np.ndarray:
        at = np.arange(first, last)[:, None]
        then = at - lags
        moved = then + (offset[at] - offset[then]) // grid.step
        return padded[np.clip(np.minimum(moved, at - 1), 0, None)]

    return take


def same_kind(grid: Grid, lags: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """Which of the lags lie on a day of the same kind (working day or not) as the bucket itself."""
    days = np.round(lags * grid.step / DAY).astype(int)

    def rows(first: int, last: int) -> np.ndarray:
        today = grid.weekday[first:last, None]
        return (today >= 5) == ((today - days) % 7 >= 5)

    return rows
