"""Did it just change? The change against the last buckets, minus the change usual at this time of day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.fences import BAND, SIGMA
from alerting.detectors.gaps import usual_gap
from alerting.detectors.references import Grid, at_lags, day_lags, slots
from alerting.detectors.rolling import around, previous, recent, refreshed, window_max

SUDDEN = "sudden"
HOUR = 3600
ROUNDING = 1e-9  # share of the value: the square of a root is not quite the number it was


@dataclass(frozen=True)
class Sudden:
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
        grid = Grid.of(values, zone)
        roots = np.sign(grid.values) * np.sqrt(np.abs(grid.values))
        one, three = (self._reach(grid, roots, recent(roots, n)) for n in (1, 3))
        limits = _guarded(_squared(_both(one, three, self.k)), self._lowest(grid))
        frame = pd.DataFrame(dict(zip(BAND, limits, strict=True)), index=values.index)
        usual = slots(grid, grid.values, self.days, 0.5)
        return frame.assign(low_rule=SUDDEN, high_rule=SUDDEN, gap=usual_gap(grid), usual=usual)

    def _reach(self, grid: Grid, roots: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected root, and the sigma of its distance, from this level."""
        change = roots - level
        usual = slots(grid, change, self.days, 0.5)
        edge = self.edge * _or(_at_the_edge(grid, np.abs(usual), grid.within(self.early)), 0.0)
        return level + _or(usual, 0.0), self._spread(grid, np.abs(change - usual)) + edge

    def _spread(self, grid: Grid, off: np.ndarray) -> np.ndarray:
        """What distances from the usual change are worth, as a sigma."""
        nights, week, least = grid.beginnings(), self.week * grid.per_day, max(4, grid.per_day // 4)
        extreme = _or(slots(grid, around(off, grid.within(self.around)), self.days, self.reached), 0.0)
        spread = SIGMA * refreshed(off, nights, week, least)
        spread = np.maximum(spread, extreme / 40)  # a flat week with a burst a day is not flat
        sigma = np.sqrt(spread * np.maximum(spread, extreme / 2))
        today = SIGMA * refreshed(off, grid.beginnings(HOUR), grid.per_day, min(5, grid.per_day))
        if grid.step > HOUR / 2:  # a week of coarse buckets is too few to meet its tail around one time of day
            sigma = sigma + self.tail * refreshed(off, nights, week, least, 0.95)
        return sigma + self.today * _or(today, spread)

    def _lowest(self, grid: Grid) -> np.ndarray:
        """The lowest value of the `days` before each bucket."""
        return -window_max(previous(-grid.values), self.days * grid.per_day)


def _at_the_edge(grid: Grid, usual: np.ndarray, reach: int) -> np.ndarray:
    """Largest usual change just before this time of day and, as yesterday knew it, just after."""
    yesterday = at_lags(grid, around(usual, reach), day_lags(grid, 1))(0, len(usual))[:, 0]
    return np.fmax(window_max(usual, reach + 1), yesterday)


def _both(one: tuple[np.ndarray, np.ndarray], three: tuple[np.ndarray, np.ndarray], k: float) -> np.ndarray:
    """(3, n) low, expected, high. Outside either band is outside; where they lie apart, the calmer one counts."""
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
