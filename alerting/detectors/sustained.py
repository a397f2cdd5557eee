"""Is it held wrong? The level of the last hours against the same hours of earlier weeks and days: leaks and shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND, BandColumns, BaseDetector, band_frame
from alerting.detectors.baselines import at_lags, day_lags, same_kind
from alerting.detectors.gaps import usual_gap
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import hold_until_next, lagged, pick, quantiles, values_before, window_sum

SUSTAINED = "sustained"
HOUR = 3600
RHYTHM_WEEKS = 3  # in which the rhythm of the week is looked for
MIN_SUM_SHARE = 0.02  # a window's sum is not taken to be lower than this share of what was expected
MAX_LOG_LIMIT = 3.9  # log of the factor beyond which a drop cannot be told from the least share


@dataclass(frozen=True)
class Window:
    """A length in hours. `vote`: "both" expectations must be left on the same side, or their geometric "mean"."""

    hours: float
    vote: str = "both"
    width: float = 1.2  # times what is usual


WINDOWS = (Window(1), Window(4), Window(12), Window(48, "mean", 1.4))


@dataclass(frozen=True)
class Sustained(BaseDetector):
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
        return band_frame(self.bands(SeriesGrid.of(values, zone)), values.index)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        """The columns of `band` for the buckets that are asked for: (series, n - since) each."""
        first = max(0, grid.since - grid.within(max(window.hours for window in self.windows) * HOUR) - 1)
        sums = _Sums.of(grid, first)
        whole = sums if grid.since == 0 else None  # those of every bucket, of all the series
        limits = grid.nightly(repr(self), self.history, lambda g, at: self._usual(g, at, whole if g.all_of(grid) else None))
        usual, late = _mean(sums.expected)[:, grid.since - first :], grid.since - first
        low, high, known = np.full(usual.shape, -np.inf), np.full(usual.shape, np.inf), np.zeros(usual.shape, bool)
        parts = iter(limits)
        for window in self.windows:
            least, most = self._bounds(grid, sums, window, parts, late)
            told = np.isfinite(most)
            low, high, known = np.fmax(low, least), np.fmin(high, most), known | told
        sides = [np.where(known, side, np.nan) for side in (np.minimum(low, usual), usual, np.maximum(high, usual))]
        return {**dict(zip(BAND, sides, strict=True)), "low_rule": SUSTAINED, "high_rule": SUSTAINED, "gap": usual_gap(grid)}

    def _bounds(
        self, grid: SeriesGrid, sums: _Sums, window: Window, limits: Iterator[np.ndarray], late: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the next value must not pass, low and high; NaN where this window cannot tell."""
        lows, highs = [], []
        votes = zip(sums.over(self._length(grid, window), window.vote), sums.over(self._hour(grid), window.vote), strict=True)
        for pair in votes:
            (seen, expected), (lately, due) = ((a[:, late:], b[:, late:]) for a, b in pair)
            limit = window.width * next(limits)
            shrunk, grown = np.exp(-limit), np.exp(np.minimum(self.up * limit, 50))
            lows.append(np.where(limit < MAX_LOG_LIMIT, np.minimum(expected * shrunk - seen, due * shrunk - lately), -np.inf))
            highs.append(np.maximum(expected * grown - seen, due * grown - lately))
        known = np.isfinite(np.sum(highs, axis=0))
        return np.where(known, np.min(lows, axis=0), np.nan), np.where(known, np.max(highs, axis=0), np.nan)

    def _length(self, grid: SeriesGrid, window: Window) -> int:
        return max(1, grid.within(window.hours * HOUR))

    def _hour(self, grid: SeriesGrid) -> int:
        return max(1, grid.within(HOUR))

    def _usual(self, grid: SeriesGrid, nights: np.ndarray, sums: _Sums | None) -> np.ndarray:
        """(windows and votes, series, nights): what |z| hardly ever passed."""
        sums = sums or _Sums.of(grid, 0)
        votes = [vote for window in self.windows for vote in sums.over(self._length(grid, window), window.vote)]
        return np.array([self._passed(grid, nights, sums.values, *vote) for vote in votes])

    def _passed(
        self, grid: SeriesGrid, nights: np.ndarray, values: np.ndarray, seen: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        """(series, nights), of hourly samples, cleaned once."""
        hourly = np.flatnonzero((grid.seconds + grid.step) % HOUR < min(grid.step, HOUR))
        with np.errstate(over="ignore", divide="ignore"):  # next to nothing may be expected, or be there
            ratio = np.maximum(seen + values, MIN_SUM_SHARE * expected) / expected
            far = np.abs(np.log(ratio[:, hourly]))
        width, nightly = self.days * min(24, grid.per_day), replace(grid, since=int(nights[0]) if len(nights) else 0)
        at = np.searchsorted(hourly, nightly.due(grid.beginnings(), self.days + 1))
        limit = np.maximum(_high(values_before(far, at, width), self.share), self.floor)
        by_hour = hold_until_next(limit, at, far.shape[-1])
        with np.errstate(invalid="ignore"):
            cleaned = np.where(far > self.clean * by_hour, by_hour, far)
        return np.maximum(_high(values_before(cleaned, np.searchsorted(hourly, nights), width), self.share), self.floor)


@dataclass(frozen=True)
class _Sums:
    """`values`: (series, n), NaN where a value or an expectation is absent. `expected`: one (series, n) per expectation."""

    values: np.ndarray
    expected: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, grid: SeriesGrid, first: int) -> _Sums:
        """From the position `first` on."""
        at = np.arange(first, grid.length)
        weeks = _median(at_lags(grid, grid.values, day_lags(grid, 28, apart=7))(at), 2)
        days = _median(at_lags(grid, grid.values, day_lags(grid, 7))(at), 4)
        weekly = _weekly(grid, first)
        kind = np.where(weekly, _same_kind_of_day(grid, at), days) if weekly.any() else days
        return cls(grid.values[:, first:], (weeks, kind))

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
    return np.nan_to_num(lagged(window_sum(x, buckets - 1)))


def _weekly(grid: SeriesGrid, first: int) -> np.ndarray:
    """(series, n - first) bool: does the day of the week matter? Over three weeks, was a week ago nearer than yesterday by a
    fifth?"""
    late = replace(grid, since=first).lately(timedelta(days=RHYTHM_WEEKS * 7 + 8))
    at, width, nights = np.arange(late.length), RHYTHM_WEEKS * 7 * grid.per_day, late.due(late.beginnings())
    yesterday, week = (np.abs(late.values - at_lags(late, late.values, day_lags(late, d, d))(at)[..., 0]) for d in (1, 7))
    both = np.isfinite(yesterday) & np.isfinite(week)
    near, far = (window_sum(np.where(both, off, 0.0), width) for off in (week, yesterday))
    return hold_until_next(lagged((near < 0.8 * far).astype(float))[:, nights], nights, late.length, late.since) == 1


def _same_kind_of_day(grid: SeriesGrid, at: np.ndarray) -> np.ndarray:
    """The same local time on the working days (or days off) of the ten days before: median."""
    lags = day_lags(grid, 10)
    rows = at_lags(grid, grid.values, lags)(at)
    return _median(np.where(same_kind(grid, lags)(at), rows, np.nan), 2)


def _median(rows: np.ndarray, least: int) -> np.ndarray:
    return np.where(np.isfinite(rows).sum(axis=-1) >= least, quantiles(rows, 0.5)[0], np.nan)


def _mean(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return (pair[0] + pair[1]) / 2


def _high(rows: np.ndarray, share: float) -> np.ndarray:
    """That quantile (nearest rank) of the last axis; NaN while less than half of nine tenths of it is there."""
    count = np.isfinite(rows).sum(axis=-1)
    rank = np.round((np.maximum(count, 1) - 1) * share).astype(int)
    return np.where(count >= 0.45 * rows.shape[-1], pick(np.sort(rows, axis=-1), rank), np.nan)
