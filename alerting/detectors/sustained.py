"""Is it held wrong? The level of the last hours against the same hours of earlier weeks and days: leaks and shifts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.fences import BAND
from alerting.detectors.gaps import usual_gap
from alerting.detectors.references import Grid, at_lags, day_lags, same_kind
from alerting.detectors.rolling import before, held, previous, quantiles, window_sum

SUSTAINED = "sustained"
HOUR = 3600
WEEKS = 3  # in which the rhythm of the week is looked for
LEAST_SHARE = 0.02  # a window's sum is not taken to be lower than this share of what was expected
WIDEST = 3.9  # log of the factor beyond which a drop cannot be told from the least share


@dataclass(frozen=True)
class Window:
    """A length in hours. `vote`: "both" expectations must be left on the same side, or their geometric "mean"."""

    hours: float
    vote: str = "both"
    width: float = 1.2  # times what is usual


WINDOWS = (Window(1), Window(4), Window(12), Window(48, "mean", 1.4))


@dataclass(frozen=True)
class Sustained:
    """The sum over the last 1, 4, 12 or 48 hours is further from the expected sum than it ever is.

    z = log(sum of values / sum of expected), against two expectations: the same weekday and local time (median of four
    weeks) and the same local time (median of seven days; where the day of the week matters, of the days of its kind among
    ten). Limit: `width` times the 99 % quantile of |z| over the `days`
    before, at least `floor`. What was beyond `clean` times that limit counts as the limit only, so that one incident does
    not teach the rule to sleep; a level held for weeks does, and becomes normal. A rise must be `up` times as large.
    The last hour must be as far off as well: what has recovered is normal, whatever the hours before were.
    Needs a metric above zero; elsewhere it has no opinion.
    """

    windows: tuple[Window, ...] = WINDOWS
    days: int = 28
    share: float = 0.99
    floor: float = 0.05
    clean: float = 1.3
    up: float = 2.5

    @property
    def history(self) -> timedelta:
        longest = timedelta(hours=max(window.hours for window in self.windows))
        return timedelta(days=28 + 2 * self.days + 2) + longest  # expectations, the limit, and the limit that cleans it

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units); low_rule, high_rule; gap. NaN where the past is too little."""
        grid = Grid.of(values, zone)
        sums = _Sums.of(grid)
        usual = _mean(sums.expected)
        low, high, known = np.full(len(usual), -np.inf), np.full(len(usual), np.inf), np.zeros(len(usual), bool)
        for window in self.windows:
            least, most = self._limits(grid, sums, window)
            told = np.isfinite(most)
            low, high, known = np.fmax(low, least), np.fmin(high, most), known | told
        limits = [np.where(known, side, np.nan) for side in (np.minimum(low, usual), usual, np.maximum(high, usual))]
        frame = pd.DataFrame(dict(zip(BAND, limits, strict=True)), index=values.index)
        return frame.assign(low_rule=SUSTAINED, high_rule=SUSTAINED, gap=usual_gap(grid))

    def _limits(self, grid: Grid, sums: _Sums, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """What the next value must not pass, low and high; NaN where this window cannot tell."""
        buckets, hour = max(1, grid.within(window.hours * HOUR)), max(1, grid.within(HOUR))
        lows, highs = [], []
        for (seen, expected), (lately, due) in zip(sums.over(buckets, window.vote), sums.over(hour, window.vote), strict=True):
            limit = window.width * self._usual(grid, sums.values, seen, expected)
            shrunk, grown = np.exp(-limit), np.exp(np.minimum(self.up * limit, 50))
            lows.append(np.where(limit < WIDEST, np.minimum(expected * shrunk - seen, due * shrunk - lately), -np.inf))
            highs.append(np.maximum(expected * grown - seen, due * grown - lately))
        known = np.isfinite(np.sum(highs, axis=0))
        return np.where(known, np.min(lows, axis=0), np.nan), np.where(known, np.max(highs, axis=0), np.nan)

    def _usual(self, grid: Grid, values: np.ndarray, seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """What |z| hardly ever passed, refreshed every local night (n,): hourly samples, cleaned once."""
        ratio = np.maximum(seen + values, LEAST_SHARE * expected) / expected
        hourly = np.flatnonzero((grid.seconds + grid.step) % HOUR < min(grid.step, HOUR))
        far = np.abs(np.log(ratio[hourly]))
        nights = grid.beginnings()
        at, width = np.searchsorted(hourly, nights), self.days * min(24, grid.per_day)
        limit = np.maximum(_high(before(far, at, width), self.share), self.floor)
        by_hour = held(limit, at, len(far))
        with np.errstate(invalid="ignore"):
            cleaned = np.where(far > self.clean * by_hour, by_hour, far)
        limit = np.maximum(_high(before(cleaned, at, width), self.share), self.floor)
        return held(limit, nights, len(values))


@dataclass(frozen=True)
class _Sums:
    """`values`: (n,), NaN where a value or an expectation is absent. `expected`: one (n,) per expectation."""

    values: np.ndarray
    expected: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, grid: Grid) -> _Sums:
        n = len(grid.values)
        weeks = _median(at_lags(grid, grid.values, day_lags(grid, 28, apart=7))(0, n), 2)
        days = _median(at_lags(grid, grid.values, day_lags(grid, 7))(0, n), 4)
        weekly = _weekly(grid)
        return cls(grid.values, (weeks, np.where(weekly, _same_kind_of_day(grid), days) if weekly.any() else days))

    def over(self, buckets: int, vote: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per vote: the sum of the `buckets` - 1 values before each bucket, and the expected sum with its own; NaN if unsure."""
        due = np.isfinite(self.expected[0]) & np.isfinite(self.expected[1])
        there = due & np.isfinite(self.values)
        seen = _past_sum(np.where(there, self.values, 0.0), buckets)
        enough = due & (_past_sum(there.astype(float), buckets) + 1 >= 0.75 * buckets)
        sums = [_past_sum(np.where(there, e, 0.0), buckets) + e for e in self.expected]
        sums = [np.where(enough & (total > 0), total, np.nan) for total in sums]
        return [(seen, total) for total in (sums if vote == "both" else [np.sqrt(sums[0] * sums[1])])]


def _past_sum(x: np.ndarray, buckets: int) -> np.ndarray:
    return np.nan_to_num(previous(window_sum(x, buckets - 1)))


def _weekly(grid: Grid) -> np.ndarray:
    """(n,) bool: does the day of the week matter? Over three weeks, was a week ago nearer than yesterday by a fifth?"""
    n, width, nights = len(grid.values), WEEKS * 7 * grid.per_day, grid.beginnings()
    yesterday, week = (np.abs(grid.values - at_lags(grid, grid.values, day_lags(grid, d, d))(0, n)[:, 0]) for d in (1, 7))
    both = np.isfinite(yesterday) & np.isfinite(week)
    near, far = (window_sum(np.where(both, off, 0.0), width) for off in (week, yesterday))
    return held(previous(near < 0.8 * far)[nights], nights, n) == 1


def _same_kind_of_day(grid: Grid) -> np.ndarray:
    """The same local time on the working days (or days off) of the ten days before: median."""
    lags, n = day_lags(grid, 10), len(grid.values)
    rows = at_lags(grid, grid.values, lags)(0, n)
    return _median(np.where(same_kind(grid, lags)(0, n), rows, np.nan), 2)


def _median(rows: np.ndarray, least: int) -> np.ndarray:
    return np.where(np.isfinite(rows).sum(axis=1) >= least, quantiles(rows, 0.5)[0], np.nan)


def _mean(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return (pair[0] + pair[1]) / 2


def _high(rows: np.ndarray, share: float) -> np.ndarray:
    """That quantile (nearest rank) of each row; NaN while less than half of nine tenths of it is there."""
    count = np.isfinite(rows).sum(axis=1)
    ordered = np.sort(rows, axis=1)
    rank = np.round((np.maximum(count, 1) - 1) * share).astype(int)
    return np.where(count >= 0.45 * rows.shape[1], ordered[np.arange(len(rows)), rank], np.nan)
