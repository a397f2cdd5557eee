"""Baselines: which past a bucket is compared with. The last hours, the same time of day on earlier days, or the usual change.

Below them, what is usual at a time of day: the values at the same local time on earlier days, their quantiles, and how long a
gap usually is then. A gap that comes most nights is expected and not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Protocol

import numpy as np

from alerting.detectors.series_grid import DAY, HOUR, SeriesGrid
from alerting.detectors.windows import CHUNK_ROWS, max_around, quantiles, recent_median, run_lengths

GAP_DAYS = 14
GAP_QUANTILE = 0.9  # one day of ten may have a longer gap than the usual one
GAP_WINDOW = 7200  # seconds before and after this time of day

Gather = Callable[[int, int], np.ndarray]  # (first, last) -> (last - first, k): past values of those positions
AtPositions = Callable[[np.ndarray], np.ndarray]  # ascending positions (k,) -> (..., k, lags)


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
        days = [d for d in range(1, self.days + 1) if self.kind != "week" or d % 7 == 0]
        near = min(self.near, (DAY // grid.step - 1) // 2)  # neighbours never reach the bucket itself
        lags = (buckets_in(grid, np.array(days))[:, None] + np.arange(-near, near + 1)).ravel()
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


def day_lags(grid: SeriesGrid, days: int, apart: int = 1) -> np.ndarray:
    """Return how many buckets ago the same time was on each of the last `days` days (or on every `apart`-th of them)."""
    return buckets_in(grid, np.arange(apart, days + 1, apart))


def buckets_in(grid: SeriesGrid, days: np.ndarray) -> np.ndarray:
    """Return (k,) int64: the number of buckets in so many days, rounded."""
    return (days * DAY + grid.step // 2) // grid.step


def at_lags(grid: SeriesGrid, x: np.ndarray, lags: np.ndarray) -> AtPositions:
    """Return a function: ascending positions (k,) -> (..., k, len(lags)), `x` (..., n) that many buckets earlier.

    Lags follow local time. NaN before the start.
    """
    pad = int(lags.max()) + grid.clock_change
    padded = np.concatenate([np.full((*x.shape[:-1], pad), np.nan), x], axis=-1)

    def by_utc(at: np.ndarray) -> np.ndarray:
        now = at + pad
        out = np.empty((*padded.shape[:-1], len(at), len(lags)))
        contiguous = len(at) > 0 and now[-1] - now[0] == len(at) - 1  # a slice is quicker than a list of positions
        for j, lag in enumerate(lags):
            out[..., j] = padded[..., now[0] - lag : now[-1] + 1 - lag] if contiguous else padded[..., now - lag]
        return out

    if (grid.offset == grid.offset[:1]).all():
        return by_utc
    offset = np.r_[np.full(pad, grid.offset[0]), grid.offset]

    def by_local_time(at: np.ndarray) -> np.ndarray:
        """Move each lag by the difference of the two buckets' UTC offsets."""
        now = at[:, None] + pad
        then = now - lags
        moved = then + (offset[now] - offset[then]) // grid.step
        return padded[..., np.clip(np.minimum(moved, now - 1), 0, None)]

    return by_local_time


def slot_quantile(
    grid: SeriesGrid, x: np.ndarray, days: int, share: float, at: np.ndarray | None = None, by_kind: bool = False
) -> np.ndarray:
    """Return (..., n): quantile `share` of `x` (..., n) at the same local time of the `days` days before.

    Only at the positions `at` (None: those of the requested buckets); NaN elsewhere. `by_kind`: of the days of the same kind,
    working days or days off, where three of them have a value.
    """
    lags, out = day_lags(grid, days), np.full(x.shape, np.nan)
    rows = at_lags(grid, x, lags)
    at = grid.requested if at is None else at
    for first in range(0, len(at), CHUNK_ROWS):
        part = at[first : first + CHUNK_ROWS]
        past = rows(part)
        kin = np.where(same_kind_of_day(grid, lags, part), past, np.nan) if by_kind else past
        found = quantiles(kin, share, min_values=3 if by_kind else 1)[0]
        if by_kind and (unknown := np.isnan(found)).any():
            found[unknown] = quantiles(past[unknown], share)[0]
        out[..., part] = found
    return out


def usual_gap(grid: SeriesGrid) -> np.ndarray:
    """Return (series, n - since): the length in buckets of a usual gap around this local time; 0 without earlier days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros((len(missing), len(grid) - grid.since))
    recent = grid.with_history(timedelta(days=GAP_DAYS, seconds=GAP_WINDOW))
    lengths = run_lengths(missing)[:, len(grid) - len(recent) :].astype(float)
    longest = max_around(lengths, grid.within(GAP_WINDOW))
    usual = slot_quantile(recent, longest, GAP_DAYS, GAP_QUANTILE)
    return np.ceil(np.nan_to_num(usual[:, recent.since :]))


def same_kind_of_day(grid: SeriesGrid, lags: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return bool (len(at), len(lags)): whether the lag leads from the position to the same kind of day.

    There are two kinds: working days, and Saturdays with Sundays.
    """
    today = grid.weekday[at, None]
    then = (today - np.round(lags * grid.step / DAY).astype(int)) % 7
    return (today >= 5) == (then >= 5)
