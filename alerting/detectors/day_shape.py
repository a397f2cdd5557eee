"""Local days and the usual shape of a day.

A grid of instants is laid out as days of equal length, so that each time of day has its column.
"""

from __future__ import annotations

import numpy as np

from alerting.detectors.series_grid import DAY, SeriesGrid
from alerting.detectors.windows import quantiles

WEEK = 7  # days
RATIO = (0.02, 50.0)  # a level is taken to lie in this range of the usual one


class LocalDays:
    """Local days of equal length: a skipped hour is NaN; of one that comes twice the first is kept, which is past to both."""

    def __init__(self, grid: SeriesGrid) -> None:
        """Count the days of a grid that is not empty."""
        local = grid.seconds + grid.offset
        self.day = local // DAY - local[0] // DAY  # (n,)
        self.at = self.day * grid.per_day + np.minimum(local % DAY // grid.step, grid.per_day - 1)  # (n,)
        self._buckets, self._first_weekday = int(self.day[-1] + 1) * grid.per_day, int(grid.weekday[0])

    def place(self, x: np.ndarray) -> np.ndarray:
        """Return (series, whole days) of values (series, n)."""
        out = np.full((len(x), self._buckets), np.nan)
        out[:, self.at[::-1]] = x[:, ::-1]  # the earliest is written last
        return out

    def weekday(self, day: np.ndarray) -> np.ndarray:
        return (self._first_weekday + day) % WEEK


def usual_shape(x: np.ndarray, weekdays: np.ndarray, hour: int) -> np.ndarray:
    """Return (rows, 7, per_day): the usual values of a day for each weekday, from rows (rows, days, per_day).

    The median of the days of its kind (working days; Saturdays and Sundays), times the weekday's usual ratio to it, which is
    smoothed over an hour before and after.
    """
    off = weekdays >= 5
    kinds = [quantiles(np.moveaxis(x[:, days], 1, -1), 0.5, min_values=2)[0] for days in (~off, off)]
    kinds = [np.where(np.isnan(kind), other, kind) for kind, other in (kinds, kinds[::-1])]
    base = np.where(off[:, None], kinds[1][:, None], kinds[0][:, None])
    known, slots = np.isfinite(x) & (base > 0), np.arange(x.shape[2])
    reach = np.minimum(hour, np.minimum(slots, slots[::-1]))  # less at midnight, where the kind of day changes
    seen, usual = (_sums_around(np.where(known, part, 0.0), reach) for part in (x, base))
    ratio = np.log(np.clip(np.where(usual > 0, seen / usual, np.nan), *RATIO))
    missing = np.full((len(x), -len(weekdays) % WEEK, x.shape[2]), np.nan)  # the weeks are made whole
    own = np.moveaxis(np.concatenate([missing, ratio], axis=1).reshape(len(x), -1, WEEK, x.shape[2]), 1, -1)
    own = np.roll(own, weekdays[-1] + 1, axis=1)  # Monday first
    typical, count = np.nan_to_num(quantiles(own, 0.5)[0]), np.isfinite(own).sum(axis=-1)
    if x.shape[2] > 1:  # how high the whole day is, the level will say
        typical = typical - quantiles(typical, 0.5)[0][..., None]
    of_kind = np.stack([kinds[weekday >= 5] for weekday in range(WEEK)], axis=1)
    return of_kind * np.exp(typical * count / (count + 0.5))


def _sums_around(x: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return (..., n): the sum of x[t - reach[t] .. t + reach[t]]."""
    total = np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x, axis=-1)], axis=-1)
    at = np.arange(x.shape[-1])
    return total[..., at + reach + 1] - total[..., at - reach]


def daily_levels(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return (rows, days): the median of values to the shape (rows, days, per_day), where a quarter of the values is there."""
    return quantiles(x / np.where(shape > 0, shape, np.nan), 0.5, min_values=max(1, x.shape[2] // 4))[0]


def usual_levels(daily: np.ndarray) -> np.ndarray:
    """Return (rows, days): for each day, the median of the levels (rows, days) of the seven days before it.

    Incidents are included: a new level is the usual one after half a week. The first seven days have that of all seven; 1 where
    there is none.
    """
    weeks = np.lib.stride_tricks.sliding_window_view(daily[:, :-1], WEEK, axis=1)
    usual = quantiles(weeks, 0.5)[0]
    usual = np.concatenate([np.repeat(usual[:, :1], WEEK, axis=1), usual], axis=1)
    return np.where(usual > 0, usual, 1.0)
