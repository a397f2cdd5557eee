"""Sudden detector: did the value just change? The change against the last buckets, less the change usual at this time of day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from alerting.detectors.bands import BAND, OUTAGE_COUNT, SIGMA, BaseDetector, Limits
from alerting.detectors.series_grid import HOUR, BandColumns, Nightly, SeriesGrid, at_lags, day_lags, slot_quantile, usual_gap
from alerting.detectors.windows import (
    hold_until_next,
    max_around,
    max_before,
    quantiles,
    recent_median,
    values_before,
    window_max,
)

SUDDEN = "sudden"
LEVEL_BUCKETS = (1, 3)  # the recent level is the median of so many buckets: the change is measured against both
COARSE_STEP = 1800  # seconds; a week of longer buckets has too few of them to show its tail around one time of day
COUNT_NOISE = 0.5**0.5  # standard deviation of the change of the root of a Poisson count, from one bucket to the next
FEW = OUTAGE_COUNT**0.5 / COUNT_NOISE  # times that noise: the root of a count whose past is too coarse to show its own noise
COUNT_WIDTH = 6.5 * COUNT_NOISE  # of the band in roots, if a change is that of two Poisson counts
ROUNDING = 1e-9  # share of the value: the square of a root is not exactly the number


class Changes(NamedTuple):
    """Changes of the square roots (or values) against the recent level: float64 (series, n) each.

    `usual` and `deviation` are NaN except at the positions that they were computed for.
    """

    level: np.ndarray  # median of the last buckets
    usual: np.ndarray  # the change from it that is usual at this time of day
    deviation: np.ndarray  # |change - usual|


@dataclass(frozen=True)
class Sudden(BaseDetector):
    """Outside `k` robust sigmas of the usual change, against the last bucket or against the median of the last three.

    Works on square roots, which give counting noise the same width at night and by day (Anscombe 1948); on the values themselves
    where some of the last two weeks were below zero. The sigma of a change is the sum of: the geometric mean of the week's median
    deviation and of the deviation that is reached around this time on three days of four; the spread of the last 24 hours,
    weighted; a share of the usual change itself, because a morning rise comes earlier or later. That of a count of few,
    or a ratio of them, is at least the noise of counting: of a metric that is mostly 0, the past alone would call any 1 a jump.
    Parameters and what was tried: docs/research/detection.md.
    """

    k: float = 6.5
    days: int = 14  # for the usual extremes
    usual_days: int = 21  # for the usual change ...
    by_kind: bool = True  # ... of which those of its kind count: working days, or Saturdays and Sundays
    week: int = 7  # days for the overall spread
    today: float = 0.3  # weight of the spread of the last 24 h
    tail: float = 0.3  # weight of the week's 95 % quantile, for buckets longer than half an hour
    edge: float = 0.15  # share of the usual change by which it may vary
    early: float = 1800  # seconds by which it may come early or late
    around: float = 7200  # seconds before and after in which the usual extremes are looked for ...
    reached: float = 0.25  # ... which are reached on all but this share of the days

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + self.usual_days + 2)  # changes, and the usual changes that those are compared with

    def bands(self, grid: SeriesGrid) -> BandColumns:
        gap, grid = usual_gap(grid), grid.with_history(self.history)
        past, trials = self.days * grid.per_day, grid.trials[:, grid.since :]
        lowest = -max_before(-grid.values, past, grid.since)
        has_fraction = np.isfinite(grid.values) & (np.floor(grid.values) != grid.values)
        fraction = max_before(has_fraction.astype(float), past, grid.since) > 0  # a ratio whose denominator is unknown
        counts = grid.is_count[:, None] & ((trials != 1) | ~fraction)
        limits = self._limits(grid, np.where(counts, COUNT_NOISE / np.sqrt(np.maximum(trials, 1)), 0.0))
        below_zero = np.flatnonzero((lowest < 0).any(axis=1))
        if len(below_zero):
            plain = self._limits(grid.select(below_zero), None)
            limits[:, below_zero] = np.where(lowest[below_zero] < 0, plain, limits[:, below_zero])
        usual = slot_quantile(grid, grid.values, self.days, 0.5)[:, grid.since :]
        counted = grid.is_count[:, None] & ((trials != 1) | (lowest >= 1))  # not a ratio whose denominator is unknown
        trials = np.where(counted, trials, np.inf)
        band = dict(zip(BAND, _guarded(limits, lowest, trials), strict=True))
        return {**band, "low_rule": SUDDEN, "high_rule": SUDDEN, "gap": gap, "usual": usual}

    def _limits(self, grid: SeriesGrid, noise: np.ndarray | None) -> np.ndarray:
        """Return (3, series, n): low, expected, high in the metric's units, computed from square roots.

        `noise` (series, n): the least sigma of the roots; None: computed from the values.
        """
        roots = noise is not None
        scaled = replace(grid, values=np.sqrt(np.maximum(grid.values, 0))) if roots else grid
        needed = self._needed_positions(grid)
        changes = [self._changes(scaled, buckets, needed) for buckets in LEVEL_BUCKETS]
        nightly = Nightly(scaled, f"{self!r} {roots=}", self.history)
        if nightly.absent:
            nightly.add(self._weekly(nightly.grid, nightly.nights, changes if grid.since == 0 else None))
        weeks = np.split(nightly.held(), len(LEVEL_BUCKETS))
        one, three = (self._expected(scaled, change, week) for change, week in zip(changes, weeks, strict=True))
        if noise is not None:
            one, three = (
                (expected, np.maximum(sigma, np.where(expected < FEW * noise, noise, 0.0))) for expected, sigma in (one, three)
            )
        limits = self._combined(one, three)
        return np.sign(limits) * (limits * limits) if roots else limits

    def _needed_positions(self, grid: SeriesGrid) -> np.ndarray:
        """Return the positions whose usual change is needed: the last day, and around the requested slots on earlier days."""
        moved = 0 if (grid.offset == grid.offset[:1]).all() else grid.clock_change
        reach = grid.within(max(self.around, self.early)) + moved
        needed = np.zeros(len(grid), bool)
        needed[max(0, grid.since - grid.per_day - grid.within(HOUR) - reach) :] = True
        for lag in day_lags(grid, self.days):
            needed[max(0, grid.since - lag - reach) : max(0, len(grid) - lag + reach)] = True
        return np.flatnonzero(needed)

    def _changes(self, grid: SeriesGrid, buckets: int, at: np.ndarray) -> Changes:
        """Return the changes against the median of the last `buckets`, with the usual change at the positions `at`."""
        level = recent_median(grid.values, buckets)
        change = grid.values - level
        usual = slot_quantile(grid, change, self.usual_days, 0.5, at, self.by_kind)
        return Changes(level, usual, np.abs(change - usual))

    def _weekly(self, grid: SeriesGrid, nights: np.ndarray, changes: list[Changes] | None) -> np.ndarray:
        """Return (2 levels, or 4, series, nights): quantiles of the deviations of the week before each night.

        `changes`: those of every bucket, if they are computed; they are used when the grid has all the series.
        """
        week = self.week * grid.per_day
        if changes is None or len(changes[0].level) != len(grid.values):
            needed = np.zeros(len(grid), bool)
            for night in nights:
                needed[max(0, night - week) : night] = True
            changes = [self._changes(grid, buckets, np.flatnonzero(needed)) for buckets in LEVEL_BUCKETS]
        shares, min_values = (0.5, 0.95) if grid.step > COARSE_STEP else (0.5,), max(4, grid.per_day // 4)
        weeks = [values_before(change.deviation, nights, week) for change in changes]
        return np.concatenate([quantiles(rows, *shares, min_values=min_values) for rows in weeks])

    def _expected(self, grid: SeriesGrid, changes: Changes, weekly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected root of the requested buckets, and the sigma of the distance from it, for one recent level."""
        # The deviations from the usual change: of the week, those reached around this time, and of the last 24 hours
        around = max_around(changes.deviation, grid.within(self.around))
        extreme = _fill(slot_quantile(grid, around, self.days, self.reached)[:, grid.since :], 0.0)
        spread = np.maximum(SIGMA * weekly[0], extreme / 40)  # a flat week with a burst a day is not flat
        sigma = np.sqrt(spread * np.maximum(spread, extreme / 2))
        if grid.step > COARSE_STEP:
            sigma = sigma + self.tail * weekly[1]
        hours = grid.starts(HOUR)
        last_day = values_before(changes.deviation, hours, grid.per_day)
        last_day = quantiles(last_day, 0.5, min_values=min(5, grid.per_day))[0]
        today = SIGMA * hold_until_next(last_day, hours, len(grid), grid.since)
        sigma = sigma + self.today * _fill(today, spread)

        # The largest usual change just before this time of day and, as of yesterday, just after it
        size, reach = np.abs(changes.usual), grid.within(self.early)
        yesterday = at_lags(grid, max_around(size, reach), day_lags(grid, 1))(grid.requested)[..., 0]
        steepest = np.fmax(window_max(size, reach + 1)[:, grid.since :], yesterday)
        level, usual = changes.level[:, grid.since :], changes.usual[:, grid.since :]
        return level + _fill(usual, 0.0), sigma + self.edge * _fill(steepest, 0.0)

    def _combined(self, one: tuple[np.ndarray, np.ndarray], three: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return (3, series, n): low, expected, high of roots, from (expected, sigma) against one and three buckets.

        Outside either band is outside. Where the two do not overlap, the smoother one counts.
        """
        (near, sigma), (smooth, smooth_sigma) = one, three
        near, sigma = _fill(near, smooth), _fill(sigma, smooth_sigma)
        smooth_low, smooth_high = smooth - self.k * smooth_sigma, smooth + self.k * smooth_sigma
        low, high = np.fmax(near - self.k * sigma, smooth_low), np.fmin(near + self.k * sigma, smooth_high)
        apart = low > high
        low, high = np.where(apart, smooth_low, low), np.where(apart, smooth_high, high)
        return np.stack([low, np.clip(np.where(apart, smooth, (near + smooth) / 2), low, high), high])


@np.errstate(invalid="ignore")
def _guarded(limits: np.ndarray, lowest: np.ndarray, trials: np.ndarray) -> Limits:
    """Return the limits with what the lowest value of the past says about zero.

    A metric that was never below zero is not expected there. One that was always above it has its low limit at half of its lowest
    value or higher, so that an outage is outside. But a small count may be lower by chance, even 0: its limit is, in roots, as
    far from what is expected as 0 is from OUTAGE_COUNT, and farther where the band is wider than counting alone makes it.
    `trials`: 1 for counts, the denominator for ratios, infinite for other values.
    """
    low, expected, high = limits
    expected = np.where(lowest >= 0, np.maximum(expected, 0), expected)
    root = np.sqrt(expected * trials)
    bunch = np.maximum(1.0, (np.sqrt(high * trials) - root) / COUNT_WIDTH)
    chance = np.maximum(root - np.sqrt(OUTAGE_COUNT) * bunch, 0) ** 2 / trials
    floor = np.where(lowest >= 0, np.where(np.isfinite(trials), np.minimum(lowest / 2, chance), lowest / 2), -np.inf)
    rounding = ROUNDING * np.abs(expected)
    return np.minimum(np.fmax(low, floor), expected - rounding), expected, np.maximum(high, expected + rounding)


def _fill(x: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    """Return `x` with `other` where it is NaN."""
    return np.where(np.isnan(x), other, x)
