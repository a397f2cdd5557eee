"""The sustained detector finds deviations that last for hours, by comparison with the same hours of earlier weeks and days.

They are leaks and shifts that are too small for a single bucket.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

import numpy as np

from alerting.detectors.bands import BAND, SUSTAINED, BaseDetector
from alerting.detectors.series_grid import HOUR, BandColumns, Nightly, SeriesGrid, at_lags, day_lags, same_kind_of_day, usual_gap
from alerting.detectors.windows import hold_until_next, lagged, quantiles, values_before, window_sum

RHYTHM_WEEKS = 3  # weeks in which a weekly rhythm is looked for
RHYTHM_RATIO = 0.8  # weekly when a week ago is nearer than yesterday by a fifth
MIN_SUM_SHARE = 0.02  # a window's sum is taken to be at least this share of the expected sum
MAX_LOG_LIMIT = 3.9  # log(1 / MIN_SUM_SHARE), rounded down: with a limit beyond it no drop can be anomalous

SumPair = tuple[np.ndarray, np.ndarray]  # sum of the values, expected sum: (series, n) each


@dataclass(frozen=True)
class Window:
    """A length in hours. `vote`: the sum must deviate from "both" expectations on one side, or from their geometric "mean"."""

    hours: float
    vote: str = "both"
    width: float = 1.2  # times the usual limit


WINDOWS = (Window(1), Window(4), Window(12), Window(48, "mean", 1.4))


@dataclass(frozen=True)
class Sustained(BaseDetector):
    """The sum over the last 1, 4, 12 or 48 hours is further from the expected sum than it ever gets.

    z = log(sum of values / sum of expected), against two expectations: the same weekday and local time (median of four weeks),
    and the same local time (median of seven days; with a weekly rhythm, of the days of the same kind among ten). Limit: `width`
    times the 99 % quantile of |z| over the `days` before, at least `floor`. Earlier deviations beyond `clean` times the
    limit are cut to the limit, so one incident does not widen the band; a level that lasts for weeks becomes normal. A rise must
    be `up` times as large. The last hour must deviate as far too: what has recovered is normal, whatever the hours before were.

    Needs a metric above zero; elsewhere the band is NaN. An own method: docs/research/detection.md.
    """

    single_bucket: ClassVar[bool] = False

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

    def bands(self, grid: SeriesGrid) -> BandColumns:
        first = max(0, grid.since - grid.within(max(window.hours for window in self.windows) * HOUR) - 1)
        sums, since = Sums(grid, first), grid.since - first
        nightly = Nightly(grid, repr(self), self.history)
        if nightly.absent:
            nightly.add(self._usual_limits(nightly.grid, nightly.nights, sums if grid.since == 0 else None))
        limits = iter(nightly.held())
        usual = ((sums.expected[0] + sums.expected[1]) / 2)[:, since:]
        low, high, known = np.full(usual.shape, -np.inf), np.full(usual.shape, np.inf), np.zeros(usual.shape, bool)
        for window in self.windows:
            votes = zip(sums.over(window.hours, window.vote), sums.over(1, window.vote), strict=True)  # and the last hour
            each = [self._bounds(window.width * next(limits), over, hour, since) for over, hour in votes]
            lows, highs = zip(*each, strict=True)
            judged = np.isfinite(np.sum(highs, axis=0))  # this window has an answer, by all of its expectations
            low = np.fmax(low, np.where(judged, np.min(lows, axis=0), np.nan))
            high = np.fmin(high, np.where(judged, np.max(highs, axis=0), np.nan))
            known = known | judged
        sides = [np.where(known, side, np.nan) for side in (np.minimum(low, usual), usual, np.maximum(high, usual))]
        return {**dict(zip(BAND, sides, strict=True)), "low_rule": SUSTAINED, "high_rule": SUSTAINED, "gap": usual_gap(grid)}

    def _bounds(self, limit: np.ndarray, over: SumPair, hour: SumPair, since: int) -> SumPair:
        """Return (low, high): beyond them the next value takes both the window's sum and the last hour's beyond `limit`."""
        (seen, expected), (hour_seen, hour_expected) = ((a[:, since:], b[:, since:]) for a, b in (over, hour))
        shrunk, grown = np.exp(-limit), np.exp(np.minimum(self.up * limit, 50))
        low = np.minimum(expected * shrunk - seen, hour_expected * shrunk - hour_seen)
        high = np.maximum(expected * grown - seen, hour_expected * grown - hour_seen)
        return np.where(limit < MAX_LOG_LIMIT, low, -np.inf), high

    def _usual_limits(self, grid: SeriesGrid, nights: np.ndarray, sums: Sums | None) -> np.ndarray:
        """Return (windows and their votes, series, nights): the quantile of |z| over the days before each night.

        `sums`: those of every bucket, if they are computed; they are used when the grid has all the series.
        """
        if sums is None or len(sums.values) != len(grid.values):
            sums = Sums(grid, 0)
        votes = [vote for window in self.windows for vote in sums.over(window.hours, window.vote)]
        return np.array([self._usual_limit(grid, nights, sums.values, *vote) for vote in votes])

    def _usual_limit(
        self, grid: SeriesGrid, nights: np.ndarray, values: np.ndarray, seen: np.ndarray, expected: np.ndarray
    ) -> np.ndarray:
        """Return (series, nights) for one window and vote, from hourly samples that are cleaned once."""
        hourly = np.flatnonzero((grid.seconds + grid.step) % HOUR < min(grid.step, HOUR))
        with np.errstate(over="ignore", divide="ignore"):  # values and expectations may be next to nothing
            ratio = np.maximum(seen + values, MIN_SUM_SHARE * expected) / expected
            distance = np.abs(np.log(ratio[:, hourly]))

        # A first limit for each night of the `days` before; what is far beyond it counts as that limit
        width, from_first_night = self.days * min(24, grid.per_day), replace(grid, since=int(nights[0]) if len(nights) else 0)
        at = np.searchsorted(hourly, from_first_night.starts(earlier=self.days + 1))
        limit = np.maximum(_nearest_rank(values_before(distance, at, width), self.share), self.floor)
        by_hour = hold_until_next(limit, at, distance.shape[-1])
        with np.errstate(invalid="ignore"):
            cleaned = np.where(distance > self.clean * by_hour, by_hour, distance)
        rows = values_before(cleaned, np.searchsorted(hourly, nights), width)
        return np.maximum(_nearest_rank(rows, self.share), self.floor)


class Sums:
    """Values and the two expectations of each bucket from position `first` on, to be summed over windows.

    `values`: (series, n). `expected`: by the same weekday, by the same time of day; (series, n) each, NaN where unknown.
    """

    def __init__(self, grid: SeriesGrid, first: int) -> None:
        at = np.arange(first, len(grid))
        weeks = quantiles(at_lags(grid, grid.values, day_lags(grid, 28, apart=7))(at), 0.5, min_values=2)[0]
        days = quantiles(at_lags(grid, grid.values, day_lags(grid, 7))(at), 0.5, min_values=4)[0]
        weekly = _has_weekly_rhythm(grid, first)
        if weekly.any():
            lags = day_lags(grid, 10)
            same_kind = np.where(same_kind_of_day(grid, lags, at), at_lags(grid, grid.values, lags)(at), np.nan)
            days = np.where(weekly, quantiles(same_kind, 0.5, min_values=2)[0], days)
        self.grid, self.values, self.expected = grid, grid.values[:, first:], (weeks, days)

    def over(self, hours: float, vote: str) -> list[SumPair]:
        """Return for each vote the sum of the window's values before each bucket, and the expected sum with the bucket's own.

        NaN where less than three quarters of the window is known.
        """
        buckets = max(1, self.grid.within(hours * HOUR))
        expected = np.isfinite(self.expected[0]) & np.isfinite(self.expected[1])
        known = expected & np.isfinite(self.values)
        summands = [np.where(known, x, 0.0) for x in (self.values, 1.0, *self.expected)]
        seen, count, *sums = (np.nan_to_num(lagged(window_sum(x, buckets - 1))) for x in summands)
        enough = expected & (count + 1 >= 0.75 * buckets)
        sums = [total + own for total, own in zip(sums, self.expected, strict=True)]
        sums = [np.where(enough & (total > 0), total, np.nan) for total in sums]
        return [(seen, total) for total in (sums if vote == "both" else [np.sqrt(sums[0] * sums[1])])]


def _has_weekly_rhythm(grid: SeriesGrid, first: int) -> np.ndarray:
    """Return (series, n - first) bool: over three weeks, was a week ago nearer than yesterday? Computed every midnight."""
    recent = replace(grid, since=first).with_history(timedelta(days=RHYTHM_WEEKS * 7 + 8))
    at, width, nights = np.arange(len(recent)), RHYTHM_WEEKS * 7 * grid.per_day, recent.starts()
    yesterday, week = (np.abs(recent.values - at_lags(recent, recent.values, day_lags(recent, d, d))(at)[..., 0]) for d in (1, 7))
    both = np.isfinite(yesterday) & np.isfinite(week)
    near, far = (window_sum(np.where(both, distance, 0.0), width) for distance in (week, yesterday))
    weekly = lagged((near < RHYTHM_RATIO * far).astype(float))[:, nights]
    return hold_until_next(weekly, nights, len(recent), recent.since) == 1


def _nearest_rank(rows: np.ndarray, share: float) -> np.ndarray:
    """Return the quantile (nearest rank) of the last axis; NaN while fewer than 45 % of its values are present."""
    count = np.isfinite(rows).sum(axis=-1)
    rank = np.round((np.maximum(count, 1) - 1) * share).astype(int)
    found = np.take_along_axis(np.sort(rows, axis=-1), rank[..., None], axis=-1)[..., 0]
    return np.where(count >= 0.45 * rows.shape[-1], found, np.nan)
