"""Which past a bucket is compared with: the last hours, or the same time of day on earlier days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
import pandas as pd

DAY = 86400

Gather = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """A series without gaps in its index. `values`: float64 (n,), NaN where there is none. `offset`: local time minus
    UTC in seconds, int64 (n,). `weekday`: local day of the week, Monday 0, int64 (n,)."""

    values: np.ndarray
    step: int
    offset: np.ndarray
    weekday: np.ndarray

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
        return cls(series.to_numpy(float), int(steps[0]) if len(steps) else 900, offset, (local // DAY + 3) % 7)


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
        pad = int(lags.max()) + 2 * 3600 // min(grid.step, 3600)  # room for a clock moved by two hours
        padded = np.r_[np.full(pad, np.nan), grid.values]
        same_kind = _same_kind(grid, lags, pad) if self.kind == "work" else None
        take = _straight if (grid.offset == grid.offset[:1]).all() else _by_local_time(grid, pad)

        def rows(first: int, last: int) -> np.ndarray:
            matrix = take(padded, lags, first + pad, last + pad)
            return matrix if same_kind is None else np.where(same_kind(first, last), matrix, np.nan)

        return rows


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


def _same_kind(grid: Grid, lags: np.ndarray, pad: int) -> Callable[[int, int], np.ndarray]:
    """Which of the lags lie on a day of the same kind (working day or not) as the bucket itself."""
    days = np.round(lags * grid.step / DAY).astype(int)

    def rows(first: int, last: int) -> np.ndarray:
        today = grid.weekday[first:last, None]
        return (today >= 5) == ((today - days) % 7 >= 5)

    return rows
