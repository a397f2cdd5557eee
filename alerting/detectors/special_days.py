"""What comes on one day of every month, or on holidays: learned where the past shows it twice. The band of such a day is wider.

A day is compared with the same day of the last two months, the last three days of a month also with those as far from its end,
and a holiday on a working day with those of the last two stretches of holidays. Where half of the hours of both differed from
the weeks around, in one direction, they may differ today. They need not: the band reaches from that of any other day to that of
such a day, and a value is compared with the nearer of the two expected ones. Own method; figures in docs/research/detection.md.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from alerting.detectors.bands import SPECIAL, BaseDetector
from alerting.detectors.seasonal_fit import LocalDays
from alerting.detectors.series_grid import DAY, BandColumns, SeriesGrid
from alerting.detectors.windows import max_around, quantiles
from alerting.model.clock import EPOCH

PAST_DAYS = 62  # the same day of the last two months lies in them, and the last two holidays must
FROM_END = 3  # the last days of a month, which are counted from its end too
AROUND = np.array([-14, -7, 7, 14])  # days: the same weekday in the weeks around
MIN_LOG_RATIO = 0.2  # a smaller difference is left to the band of any other day
TIMES_NOISE = 3.0  # the difference is so many times the median one of the last nine weeks
MIN_HOURS = 0.5  # share of a day's hours that differ: fewer may do so by chance
HOURS_NEAR = 6  # before and after: a quiet hour may differ and not show it
SATURDAY = 5


def widen_on_special_days(grid: SeriesGrid, columns: BandColumns, detector: BaseDetector) -> BandColumns:
    """Return the columns, which the detector has given for the grid, wider on days that are usually different; and SPECIAL.

    The detector is asked again with the values of that day divided by its usual ratio, and these limits are multiplied by it. On
    the day after, the values before midnight are divided, too: a level that ended with the day is no level to come from.
    """
    columns = {**columns, SPECIAL: np.full(np.shape(columns["low"]), np.nan)}
    if not len(grid):
        return columns
    days = LocalDays(grid)
    ratios = usual_ratios(grid, days)
    for day in sorted({*ratios, *(day + 1 for day in ratios)}):
        at = np.flatnonzero(days.day == day)
        if not len(at) or at[-1] < grid.since:
            continue
        end, since = int(at[-1]) + 1, max(grid.since, int(at[0]))
        values, changed = grid.values[:, :end].copy(), np.zeros(len(grid.values), bool)
        ratio = np.ones((len(values), end))
        for other in (day - 1, day):
            if other in ratios:
                here = np.flatnonzero(days.day[:end] == other)
                ratio[:, here] = ratios[other][:, days.at[here] % grid.per_day]
                changed |= (ratio[:, here] != 1).any(axis=1)
        which = np.flatnonzero(changed)
        ratio, part, values = ratio[which], grid.select(which), values[which]
        is_whole = part.is_count[:, None] & (np.floor(values) == values)
        values = np.where(is_whole, np.rint(values / ratio), values / ratio)  # a count stays one
        found = detector.bands(part.until(end, values, since))
        place = np.ix_(which, np.arange(since, end) - grid.since)
        columns |= _union(columns, found, place, ratio[:, since:])
    return columns


def _union(columns: BandColumns, other: BandColumns, place: tuple[np.ndarray, ...], ratio: np.ndarray) -> BandColumns:
    """Return the columns with the limits of `other` times the ratio (series, buckets) at the place where these are wider.

    What `other` expects is a column of its own, SPECIAL: a value is compared with the nearer of the two (see `verdicts`).
    """
    out: dict[str, np.ndarray] = {}

    def copy(name: str) -> np.ndarray:
        return np.array(np.broadcast_to(columns[name], np.shape(columns["low"])))

    for side, farther in (("low", np.less), ("high", np.greater)):
        wider = farther(np.asarray(other[side]) * ratio, np.asarray(columns[side])[place])  # not where either is unknown
        for name in (side, f"{side}_rule", f"sudden_{side}"):
            if name in columns:
                out[name] = copy(name)
                new = other[name] if name.endswith("rule") else np.asarray(other[name]) * ratio
                out[name][place] = np.where(wider, new, out[name][place])
    out[SPECIAL] = copy(SPECIAL)
    out[SPECIAL][place] = np.asarray(other["expected"]) * ratio
    return {**out}


def usual_ratios(grid: SeriesGrid, days: LocalDays) -> dict[int, np.ndarray]:
    """Return day -> (series, per_day): the ratio to other days that two earlier days show, 1 where they show none.

    Days are counted from the first of the grid. The requested days and the one before them are asked; those without a ratio are
    left out.
    """
    first = int(days.day[grid.since]) if grid.since < len(grid) else int(days.day[-1]) + 1
    requested = range(max(0, first - 1), int(days.day[-1]) + 1)
    pairs = np.array([pair for day in requested for pair in _same_days(day, grid)]).reshape(-1, 3)
    pairs = pairs[pairs[:, 2] >= np.maximum(pairs[:, 0] - PAST_DAYS, 0)]
    if not len(pairs):
        return {}
    hours = np.arange(grid.per_day) * min(24, grid.per_day) // grid.per_day
    compared = pairs[:, 1:].ravel()
    hourly = _hourly_means(grid.values, days, np.concatenate([compared, (compared[:, None] + AROUND).ravel()]), hours)
    both = np.stack([_log_ratios(hourly, pairs[:, number], pairs[:, 0]) for number in (1, 2)])  # (2, series, pairs, hours)
    alike = (both[0] * both[1] > 0) & (np.abs(both).min(axis=0) >= MIN_LOG_RATIO)
    found: dict[int, np.ndarray] = {}
    for number in np.flatnonzero((alike.mean(axis=2) >= MIN_HOURS).any(axis=0)):
        day, which = int(pairs[number, 0]), np.flatnonzero(alike[:, number].mean(axis=1) >= MIN_HOURS)
        past = np.arange(max(0, day - PAST_DAYS), day)
        usual = _log_ratios(_hourly_means(grid.values[which], days, past, hours), past, np.full(len(past), day))
        noise = quantiles(np.moveaxis(np.abs(usual), 1, -1), 0.5)[0]
        ratio, known = _usual_ratio(both[:, which, number], noise), found.setdefault(day, np.zeros(alike[:, number].shape))
        known[which] = np.where(np.abs(ratio) > np.abs(known[which]), ratio, known[which])
    return {day: np.exp(ratio)[:, hours] for day, ratio in found.items() if ratio.any()}


def _usual_ratio(both: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return (series, hours): the usual log ratio of a day, from those of two earlier days (2, series, hours); 0 for none.

    It is the larger one, and farther by as much as the two are apart, at least MIN_LOG_RATIO; of an hour and those near it the
    farthest. `noise` (series, hours): the median log ratio of all days.
    """
    smaller, larger = np.sort(np.abs(both), axis=0)
    differs = (both[0] * both[1] > 0) & (smaller >= np.maximum(MIN_LOG_RATIO, TIMES_NOISE * noise))
    differs &= differs.mean(axis=1, keepdims=True) >= MIN_HOURS
    size = np.where(differs, larger + np.maximum(larger - smaller, MIN_LOG_RATIO), 0.0)
    up, down = (max_around(np.where(sign * both[0] > 0, size, 0.0), HOURS_NEAR) for sign in (1, -1))
    return np.where(up > down, up, -down)


def _same_days(day: int, grid: SeriesGrid) -> Iterator[tuple[int, int, int]]:
    """Yield (day, an earlier one, and one before that) of the same kind, counted from the grid's first day.

    That is the same day of the months before, counted from their beginning, and for the last days from the end; and holidays.
    """
    first = EPOCH.date() + timedelta(days=int((grid.seconds[0] + grid.offset[0]) // DAY))
    today = first + timedelta(days=day)
    ends = [today.replace(day=1) - timedelta(days=1)]  # of the two months before
    ends.append(ends[0].replace(day=1) - timedelta(days=1))
    if today.day <= min(end.day for end in ends):
        one, other = ((end.replace(day=today.day) - first).days for end in ends)
        yield day, one, other
    if (from_end := monthrange(today.year, today.month)[1] - today.day) < FROM_END:
        one, other = ((end - first).days - from_end for end in ends)
        yield day, one, other
    if today in grid.holidays and today.weekday() < SATURDAY:
        working = sorted(holiday for holiday in grid.holidays if holiday <= today and holiday.weekday() < SATURDAY)
        apart = [holiday for holiday, following in pairwise(working) if not _is_one_stretch(holiday, following, grid)]
        if apart[1:]:
            yield day, (apart[-1] - first).days, (apart[-2] - first).days


def _is_one_stretch(holiday: date, following: date, grid: SeriesGrid) -> bool:
    """Return whether every day between two holidays is one: such days say nothing of each other, an outage may last longer."""
    return all(holiday + timedelta(days=number) in grid.holidays for number in range(1, (following - holiday).days))


def _hourly_means(values: np.ndarray, days: LocalDays, which: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Return (series, days, hours) of values (series, n); NaN for days not in `which`, and where half of an hour is missing."""
    out = np.full((len(values), len(days.weekdays), hours[-1] + 1), np.nan)
    which = np.unique(which[(which >= 0) & (which < out.shape[1])])
    x = days.place_some(values, which)
    starts, known = np.flatnonzero(np.diff(hours, prepend=-1)), np.isfinite(x)
    total, count = (np.add.reduceat(part, starts, axis=-1) for part in (np.where(known, x, 0.0), known.astype(int)))
    out[:, which] = np.where(2 * count >= np.bincount(hours), total / np.maximum(count, 1), np.nan)
    return out


def _log_ratios(hourly: np.ndarray, which: np.ndarray, until: np.ndarray) -> np.ndarray:
    """Return (series, k, hours): the log ratio of days to the median of the weeks around, up to a day each; 0 where unknown."""
    around = which[:, None] + AROUND
    known = (around >= np.maximum(until - PAST_DAYS, 0)[:, None]) & (around < until[:, None])
    near = np.where(known[:, :, None], hourly[:, np.where(known, around, 0)], np.nan)  # (series, k, weeks, hours)
    usual = quantiles(np.moveaxis(near, 2, -1), 0.5, min_values=2)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(hourly[:, which] / usual)
    return np.nan_to_num(np.clip(ratio, -3, 3))
