"""Baselines: which past a bucket is compared with. The last hours, the same time of day on earlier days, or the usual change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Protocol

import numpy as np

from alerting.detectors.series_grid import DAY, HOUR, SeriesGrid, at_lags, day_lags, same_kind_of_day
from alerting.detectors.windows import recent_median

Gather = Callable[[int, int], np.ndarray]  # (first, last) -> (last - first, k): past values of those positions


class Baseline(Protocol):
    """The past that a bucket is compared with: a frozen parameter object."""

    @property
    def history(self) -> timedelta:
        """Return how far back it looks."""

    @property
    def min_values(self) -> int:
        """The number of past values below which there is no band."""

    def gather(self, grid: SeriesGrid) -> Gather:
        """Return a function of (first, last) that gives the past values of these positions.

        The grid has one series. Result: float64 (last - first, k), NaN where a value is missing.
        """


@dataclass(frozen=True)
class Trailing:
    """The last `hours`, whatever the time of day: a rolling window, as first alerting scripts have it."""

    min_values: ClassVar[int] = 4

    hours: float = 24
    filled: float = 0.5  # share of the values that must be present

    @property
    def history(self) -> timedelta:
        return timedelta(hours=self.hours)

    def gather(self, grid: SeriesGrid) -> Gather:
        n = max(4, round(self.hours * HOUR / grid.step))
        windows = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(n, np.nan), grid.values[0]], n)
        min_filled = self.filled * n

        def rows(first: int, last: int) -> np.ndarray:
            matrix = windows[first:last].copy()
            matrix[np.isfinite(matrix).sum(axis=1) < min_filled] = np.nan
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
    filled: float = 1 / 3  # share of the values that must be present

    def __post_init__(self) -> None:
        if self.kind not in ("any", "week", "work"):
            raise ValueError(f"SameSlot: kind={self.kind!r} must be 'any', 'week' or 'work'")
        if self.days < 1 or self.near < 0:
            raise ValueError("SameSlot: days is at least 1 and near at least 0")

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 1)  # a day more: `near` and a change of the clocks

    @property
    def min_values(self) -> int:
        slots = (2 * self.near + 1) * (self.days if self.kind == "any" else max(1, self.days // 7))
        return max(4, round(self.filled * slots))

    def gather(self, grid: SeriesGrid) -> Gather:
        near = min(self.near, (DAY // grid.step - 1) // 2)  # neighbours never reach the bucket itself
        days = day_lags(grid, self.days, apart=7 if self.kind == "week" else 1)
        lags = (days[:, None] + np.arange(-near, near + 1)).ravel()
        take = at_lags(grid, grid.values, lags)

        def rows(first: int, last: int) -> np.ndarray:
            at = np.arange(first, last)
            past = take(at)[0]
            if self.kind == "work":
                past = np.where(same_kind_of_day(grid, lags, at), past, np.nan)
            return past

        return rows


@dataclass(frozen=True)
class Change:
    """The recent level plus each change that was seen at the same local time on the `days` days before.

    The level is the median of the `last` buckets before; a change is a value minus the level before it. Neighbouring buckets
    share the day-to-day noise of the level, so it drops out of the change.
    """

    days: int = 14
    last: int = 1
    filled: float = 1 / 3  # share of the changes that must be present

    def __post_init__(self) -> None:
        if self.days < 1 or self.last < 1:
            raise ValueError("Change: days and last are at least 1")

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 2)  # a day for a change of the clocks, one for the level before the first change

    @property
    def min_values(self) -> int:
        return max(4, round(self.filled * self.days))

    def gather(self, grid: SeriesGrid) -> Gather:
        level = recent_median(grid.values, self.last)
        changes = at_lags(grid, grid.values - level, day_lags(grid, self.days))
        return lambda first, last: changes(np.arange(first, last))[0] + level[0, first:last, None]
