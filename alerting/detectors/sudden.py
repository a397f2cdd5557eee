"""Did it just change? The change against the last buckets, minus the change usual at this time of day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND, SIGMA, BandColumns, BaseDetector, band_frame
from alerting.detectors.baselines import at_lags, day_lags, slot_quantile
from alerting.detectors.gaps import usual_gap
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import hold_until_next, lagged, max_around, recent_median, trailing_quantile, window_max

SUDDEN = "sudden"
HOUR = 3600
LEVEL_BUCKETS = (1, 3)  # buckets whose median is the level just now
ROUNDING = 1e-9  # share of the value: the square of a root is not quite the number it was


@dataclass(frozen=True)
class Sudden(BaseDetector):
    """Outside `k` robust sigmas of the usual change, against the last bucket or against the median of the last three.

    Works on square roots, where counting noise is as wide at night as by day (Anscombe 1948); signed, so that values below
    zero go through. The sigma of a change, in words: what changes were worth over a week, raised half of the way (geometric
    mean) to what is reached around this time on three days of four, plus what today adds, plus a share of the usual change
    itself (a morning rise comes earlier or later). The limits are given in the metric's own units.
    """

    k: float = 6.5
    days: int = 14  # behind the usual change and the usual extremes
    week: int = 7  # days behind the overall spread
    today: float = 0.3  # weight of the spread of the last 24 h
    tail: float = 0.3  # weight of the week's 95 % quantile, for buckets longer than half an hour
    edge: float = 0.15  # share of the usual change by which it may vary
    early: float = 1800  # seconds by which it may come early or late
    around: float = 7200  # seconds on both sides in which the usual extremes are looked for
    reached: float = 0.25  # ... they are reached on all but this share of the days

    @property
    def history(self) -> timedelta:
        return timedelta(days=2 * self.days + 2)  # changes, and the usual changes that those are measured against

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units); low_rule, high_rule; gap; usual (the same
        time of the days before, by which an episode tells whether what fell has come back). NaN where the past is too little.
        """
        return band_frame(self.bands(SeriesGrid.of(values, zone)), values.index)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        """The columns of `band` for the buckets that are asked for: (series, n - since) each."""
        gap, grid = usual_gap(grid), grid.lately(self.history)
        roots = np.sign(grid.values) * np.sqrt(np.abs(grid.values))
        changes = [_Changes.of(grid, roots, level, self.days, self._looked_at(grid)) for level in LEVEL_BUCKETS]
        whole = changes if grid.since == 0 else None  # those of every bucket, of all the series
        weeks = grid.nightly(repr(self), self.history, lambda g, at: self._weeks(g, at, whole if g.all_of(grid) else None))
        one, three = (self._reach(grid, c, w) for c, w in zip(changes, np.split(weeks, len(LEVEL_BUCKETS)), strict=True))
        guarded = _guarded(_squared(_both(one, three, self.k)), self._lowest(grid)[:, grid.since :])
        usual = slot_quantile(grid, grid.values, self.days, 0.5, grid.asked)[:, grid.since :]
        return {**dict(zip(BAND, guarded, strict=True)), "low_rule": SUDDEN, "high_rule": SUDDEN, "gap": gap, "usual": usual}

    def _looked_at(self, grid: SeriesGrid) -> np.ndarray:
        """Positions of the buckets whose usual change is needed: the last day's, and what is around each slot."""
        reach = grid.within(max(self.around, self.early)) + grid.clocks
        mask = np.zeros(grid.length, bool)
        mask[max(0, grid.since - grid.per_day - grid.within(HOUR) - reach) :] = True
        for lag in day_lags(grid, self.days):
            mask[max(0, grid.since - lag - reach) : max(0, grid.length - lag + reach)] = True
        return np.flatnonzero(mask)

    def _weeks(self, grid: SeriesGrid, nights: np.ndarray, changes: list[_Changes] | None) -> np.ndarray:
        """(2 levels, or 4, series, nights): what distances from the usual change were worth in the week before."""
        week, least = self.week * grid.per_day, max(4, grid.per_day // 4)
        if changes is None:
            roots = np.sign(grid.values) * np.sqrt(np.abs(grid.values))
            mask = np.zeros(grid.length, bool)
            for night in nights:
                mask[max(0, night - week) : night] = True
            changes = [_Changes.of(grid, roots, level, self.days, np.flatnonzero(mask)) for level in LEVEL_BUCKETS]
        shares = (0.5, 0.95) if self._coarse(grid) else (0.5,)
        return np.array([trailing_quantile(c.off, nights, week, least, share) for c in changes for share in shares])

    def _coarse(self, grid: SeriesGrid) -> bool:
        """A week of such buckets is too few to meet its tail around one time of day."""
        return grid.step > HOUR / 2

    def _reach(self, grid: SeriesGrid, changes: _Changes, weeks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected root, and the sigma of its distance, from this level."""
        usual = changes.usual
        edge = self.edge * _or(_at_the_edge(grid, np.abs(usual), grid.within(self.early)), 0.0)
        level, usual = changes.level[:, grid.since :], usual[:, grid.since :]
        return level + _or(usual, 0.0), self._spread(grid, changes.off, weeks) + edge

    def _spread(self, grid: SeriesGrid, off: np.ndarray, weeks: np.ndarray) -> np.ndarray:
        """What distances from the usual change are worth, as a sigma."""
        reached = slot_quantile(grid, max_around(off, grid.within(self.around)), self.days, self.reached, grid.asked)
        extreme = _or(reached[:, grid.since :], 0.0)
        spread = SIGMA * weeks[0]
        spread = np.maximum(spread, extreme / 40)  # a flat week with a burst a day is not flat
        sigma = np.sqrt(spread * np.maximum(spread, extreme / 2))
        hours = grid.due(grid.beginnings(HOUR))
        today = SIGMA * hold_until_next(
            trailing_quantile(off, hours, grid.per_day, min(5, grid.per_day)), hours, grid.length, grid.since
        )
        if self._coarse(grid):
            sigma = sigma + self.tail * weeks[1]
        return sigma + self.today * _or(today, spread)

    def _lowest(self, grid: SeriesGrid) -> np.ndarray:
        """The lowest value of the `days` before each bucket."""
        return -window_max(lagged(-grid.values), self.days * grid.per_day)


@dataclass(frozen=True)
class _Changes:
    """Against the median of the last values: the `level`, the `usual` change from it at this time, and how far `off` that
    the change was. (series, n) each; the last two are NaN but for the buckets that were asked for."""

    level: np.ndarray
    usual: np.ndarray
    off: np.ndarray

    @classmethod
    def of(cls, grid: SeriesGrid, roots: np.ndarray, last: int, days: int, at: np.ndarray) -> _Changes:
        level = recent_median(roots, last)
        change = roots - level
        usual = slot_quantile(grid, change, days, 0.5, at)
        return cls(level, usual, np.abs(change - usual))


def _at_the_edge(grid: SeriesGrid, usual: np.ndarray, reach: int) -> np.ndarray:
    """Largest usual change just before this time of day and, as yesterday knew it, just after."""
    yesterday = at_lags(grid, max_around(usual, reach), day_lags(grid, 1))(grid.asked)[..., 0]
    return np.fmax(window_max(usual, reach + 1)[:, grid.since :], yesterday)


def _both(one: tuple[np.ndarray, np.ndarray], three: tuple[np.ndarray, np.ndarray], k: float) -> np.ndarray:
    """(3, series, n) low, expected, high. Outside either band is outside; where they lie apart, the calmer one counts."""
    (near, sigma), (calm, calm_sigma) = one, three
    near, sigma = _or(near, calm), _or(sigma, calm_sigma)
    low, high = np.fmax(near - k * sigma, calm - k * calm_sigma), np.fmin(near + k * sigma, calm + k * calm_sigma)
    apart = low > high
    low, high = np.where(apart, calm - k * calm_sigma, low), np.where(apart, calm + k * calm_sigma, high)
    return np.stack([low, np.clip(np.where(apart, calm, (near + calm) / 2), low, high), high])


def _squared(roots: np.ndarray) -> np.ndarray:
    return np.sign(roots) * (roots * roots)


def _guarded(limits: np.ndarray, lowest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was never below zero is not expected there; what was always above it ends at half of its lowest: an outage is seen."""
    low, expected, high = limits
    least = np.where(lowest >= 0, lowest / 2, -np.inf)
    expected = np.where(lowest >= 0, np.maximum(expected, 0), expected)
    rounding = ROUNDING * np.abs(expected)
    return np.minimum(np.fmax(low, least), expected - rounding), expected, np.maximum(high, expected + rounding)


def _or(x: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    return np.where(np.isnan(x), other, x)
