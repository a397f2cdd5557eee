"""The fit of `SeasonalLevel` to the past: the shape of a day, how levels forecast the next one, how wide the noise of an hour is.

A grid of instants is laid out as local days of equal length, so that each time of day has its column. A track has the values
beside the usual shape of the day, and their level over the last minutes to hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alerting.detectors.series_grid import DAY, HOUR, SeriesGrid
from alerting.detectors.windows import quantiles, window_counts, window_sums

WEEK = 7  # days
RATIO = (0.02, 50.0)  # a level is taken to lie in this range of the usual one
WINDOWS = (HOUR / 4, HOUR, 3 * HOUR, 12 * HOUR)  # seconds
LEVELS = (HOUR / 2, 2 * HOUR, 6 * HOUR, 24 * HOUR)  # seconds: levels from which the level before a window is forecast
FILLED_WINDOW, FILLED_LEVEL = 0.7, 0.4  # share of the buckets that must have a value
PRIOR = (0.25, 0.35, 0.25, 0.15)  # weights of LEVELS in a forecast, as far as the past does not say otherwise
RIDGE = 0.05  # weight of PRIOR, as a share of the evidence
MAX_FITTED = 0.4  # log ratio to which levels are cut before weights are fitted to them
NOISE_DAYS, NOISE_REACH = 28, 1.5  # the noise of an hour: deviations within so many hours of it, on so many days
POWER = 2 / 3  # of a ratio, for deviations: counts are then as far below as above (Wilson and Hilferty 1931)
MIN_NOISE = 0.005  # share of the level
HOURS_APART = 0.02  # variance of the log noise of the hours that is taken to be chance


# The usual shape of a day.


class LocalDays:
    """Local days of equal length: a skipped hour is NaN; of one that comes twice the first is kept, which is past to both."""

    def __init__(self, grid: SeriesGrid) -> None:
        """Count the days of a grid that is not empty."""
        local = grid.seconds + grid.offset
        self.day = local // DAY - local[0] // DAY  # (n,)
        self.at = self.day * grid.per_day + np.minimum(local % DAY // grid.step, grid.per_day - 1)  # (n,)
        self.weekdays = (int(grid.weekday[0]) + np.arange(int(self.day[-1]) + 1)) % WEEK  # (days,)
        self._per_day = grid.per_day

    def place(self, x: np.ndarray) -> np.ndarray:
        """Return (series, days, per_day) of values (series, n)."""
        return self._placed(x, self.at, len(self.weekdays))

    def place_some(self, x: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return (series, len(which), per_day) of values (series, n): the days of these numbers, which ascend."""
        here = np.flatnonzero(np.isin(self.day, which))
        at = np.searchsorted(which, self.day[here]) * self._per_day + self.at[here] % self._per_day
        return self._placed(x[:, here], at, len(which))

    def _placed(self, x: np.ndarray, at: np.ndarray, days: int) -> np.ndarray:
        out = np.full((len(x), days * self._per_day), np.nan)
        out[:, at[::-1]] = x[:, ::-1]  # the earliest is written last
        return out.reshape(len(x), -1, self._per_day)


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
    sums = []
    for part in (x, base):
        total = np.zeros((*x.shape[:-1], x.shape[2] + 1))
        np.cumsum(np.where(known, part, 0.0), axis=-1, out=total[..., 1:])
        sums.append(total[..., slots + reach + 1] - total[..., slots - reach])
    seen, usual = sums
    ratio = np.log(np.clip(np.where(usual > 0, seen / usual, np.nan), *RATIO))
    missing = np.full((len(x), -len(weekdays) % WEEK, x.shape[2]), np.nan)  # the weeks are made whole
    own = np.moveaxis(np.concatenate([missing, ratio], axis=1).reshape(len(x), -1, WEEK, x.shape[2]), 1, -1)
    own = np.roll(own, weekdays[-1] + 1, axis=1)  # Monday first
    typical, count = np.nan_to_num(quantiles(own, 0.5)[0]), np.isfinite(own).sum(axis=-1)
    if x.shape[2] > 1:  # how high the whole day is, the level will say
        typical = typical - quantiles(typical, 0.5)[0][..., None]
    of_kind = np.stack([kinds[weekday >= 5] for weekday in range(WEEK)], axis=1)
    return of_kind * np.exp(typical * count / (count + 0.5))


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


# The level over the last minutes to hours.


class Question(NamedTuple):
    """A window, and the level that it is compared with."""

    window: int  # buckets
    level: np.ndarray  # (rows, buckets)
    held: bool  # the level is the usual one of the last week


@dataclass(frozen=True)
class Spans:
    """Lengths in buckets."""

    per_day: int
    hour: int
    windows: tuple[int, ...]  # ascending
    last: dict[int, int]  # window -> how many of its last buckets must agree with it
    levels: tuple[int, ...]  # ascending
    hours: np.ndarray  # (per_day,): the hour of each bucket of the day, as the noise has it; fewer than 24 of longer buckets

    @classmethod
    def of(cls, grid: SeriesGrid) -> Spans:
        hour, *lengths = (min(max(1, grid.within(seconds)), grid.per_day) for seconds in (HOUR, *WINDOWS, *LEVELS))
        windows, levels = tuple(sorted(set(lengths[: len(WINDOWS)]))), tuple(lengths[len(WINDOWS) :])
        last = {window: windows[0] if window <= hour else min(max(1, hour // 2), window) for window in windows}
        hours = np.arange(grid.per_day) * min(24, grid.per_day) // grid.per_day
        return cls(grid.per_day, hour, windows, last, levels, hours)

    def questions(self, before: Iterable[np.ndarray], usual: np.ndarray) -> Iterator[Question]:
        """Yield each window with the level before it, and one of hours with the usual level: is it held there?"""
        for window, level in zip(self.windows, before, strict=True):
            yield Question(window, level, held=False)
        yield Question(self.windows[min(2, len(self.windows) - 1)], usual, held=True)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the packed parts of a `Fit`."""
        windows, questions, hours = len(self.windows), len(self.windows) + 1, min(24, self.per_day)
        return WEEK * self.per_day, WEEK, 1, 1, windows * len(LEVELS), questions * 2, questions * hours


class WindowSums(NamedTuple):
    """The last buckets of a track up to each bucket (rows, buckets): sums that are weighted with the trials."""

    seen: np.ndarray  # of the values, without the bucket's own
    size: np.ndarray  # of the shape, with the bucket's own
    enough: np.ndarray  # bool: enough of the buckets have a value


class Track:
    """Values of rows (rows, buckets) and the shape of the day that they are compared with.

    `windows`: those that are judged and their last parts, by their lengths. `levels` (levels, rows, buckets): log levels of the
    last LEVELS; only a track made by `without` has them. `weight`: the trials of a ratio, 1 for other values.
    """

    masked: np.ndarray  # bool: buckets from which nothing is learned
    levels: np.ndarray

    def __init__(self, x: np.ndarray, shape: np.ndarray, weight: np.ndarray, usual: np.ndarray, spans: Spans) -> None:
        self.x, self.shape, self.weight, self.usual, self.spans = x, shape, weight, usual, spans
        own_shape = np.where((shape > 0) & (weight > 0), shape * weight, 0.0)
        self._known = np.isfinite(x) & (own_shape > 0)
        self._summands = np.where(self._known, np.stack([x * weight, own_shape]), 0.0)
        self.windows: dict[int, WindowSums] = {}
        lengths, before = sorted({*spans.windows, *spans.last.values()}), np.zeros(self._summands.shape)
        known_before, judged = np.zeros(x.shape, bool), own_shape > 0
        before[..., 1:], known_before[:, 1:] = self._summands[..., :-1], self._known[:, :-1]
        for buckets, (seen, size) in zip(lengths, window_sums(before, [length - 1 for length in lengths]), strict=True):
            filled = window_counts(known_before, buckets - 1) if buckets > 1 else 0
            enough = (filled + 1 >= FILLED_WINDOW * buckets) & judged
            self.windows[buckets] = WindowSums(seen, size + own_shape, enough)

    def without(self, masked: np.ndarray) -> Track:
        """Return the same track with the levels of the buckets that are not masked.

        An unknown level is taken from the next longer, or else the next shorter; where all are unknown, they are the usual one.
        """
        known, summands = self._known, self._summands
        if masked.any():
            known, summands = known & ~masked, np.where(masked, 0.0, summands)
        found = np.empty((len(self.spans.levels), *self.x.shape))
        for level, buckets, total in zip(found, self.spans.levels, window_sums(summands, self.spans.levels), strict=True):
            enough = window_counts(known, buckets) >= max(1, FILLED_LEVEL * buckets)
            np.log(np.clip(total[0] / np.where(enough, total[1], np.nan), *RATIO), out=level)
        for i in range(len(found) - 2, -1, -1):
            np.copyto(found[i], found[i + 1], where=np.isnan(found[i]))
        for i in range(1, len(found)):
            np.copyto(found[i], found[i - 1], where=np.isnan(found[i]))
        np.copyto(found, np.log(self.usual), where=np.isnan(found))
        other = copy(self)
        other.masked, other.levels = masked, found
        return other

    def learned_ratio(self, window: int) -> np.ndarray:
        """Return the ratio of a window to the shape (rows, buckets) where none of its buckets is masked, NaN elsewhere."""
        seen, size, known = self.windows[window]
        known = known & np.isfinite(self.x)
        if self.masked.any():
            known &= window_counts(self.masked, window) == 0
        return np.where(known, (seen + self._summands[0]) / size, np.nan)

    def forecasts(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return for each window (rows, buckets): the level before the window that ends with each bucket.

        `weights` of the levels, one (levels, rows, buckets or 1) for each window.
        """
        out = []
        for window, each in zip(self.spans.windows, weights, strict=True):
            total = np.zeros((len(self.x), max(self.x.shape[1] - window, 0)))
            product = np.empty(total.shape)
            for level, weight in zip(self.levels, each, strict=True):
                np.multiply(level[:, :-window], weight if weight.shape[-1] == 1 else weight[:, window:], out=product)
                total += product
            forecast = np.full(self.x.shape, np.nan)
            np.exp(total, out=forecast[:, window:])
            out.append(forecast)
        return out


# The fit of both to the past.


@dataclass(frozen=True)
class Fit:
    """What is fitted. The last axes are rows, or series and nights."""

    shape: np.ndarray  # (7, per_day, ...): of each weekday
    daily: np.ndarray  # (7, ...): levels of the last days
    shift: np.ndarray  # (...): added to the values
    chance: np.ndarray  # (...): least variance of one unit of a count: 1 of a count, less of a ratio of counts, 0 of other values
    weights: np.ndarray  # (windows, levels, ...)
    law: np.ndarray  # (questions, 2, ...): constant variance, and that of one unit of count
    noise: np.ndarray  # (questions, hours, ...): times the root of the law's variance

    def pack(self) -> np.ndarray:
        """Return all as (statistics, rows)."""
        parts = (self.shape, self.daily, self.shift, self.chance, self.weights, self.law, self.noise)
        return np.concatenate([part.reshape(-1, *self.shift.shape) for part in parts])

    @classmethod
    def unpack(cls, packed: np.ndarray, spans: Spans) -> Fit:
        """Take `pack` apart; the axes after the first stay."""
        rows = packed.shape[1:]
        shape, daily, shift, chance, weights, law, noise = np.split(packed, np.cumsum(spans.sizes)[:-1])
        law, noise = (part.reshape(len(spans.windows) + 1, -1, *rows) for part in (law, noise))
        weights = weights.reshape(len(spans.windows), -1, *rows)
        return cls(shape.reshape(WEEK, -1, *rows), daily, shift[0], chance[0], weights, law, noise)


def fit_weights(track: Track, window: int, ratio: np.ndarray) -> np.ndarray:
    """Return (levels, rows): weights with which the log levels before a window forecast that of the window, the log of `ratio`.

    Ridge regression towards PRIOR, on one bucket an hour. Sums run along the buckets of a row, so that its bits do not depend on
    its neighbours.
    """
    hourly = track.spans.hour
    levels, target = track.levels[:, :, :-window:hourly], np.log(np.clip(ratio[:, window::hourly], *RATIO))
    known = np.isfinite(levels).all(axis=0) & np.isfinite(target)
    a = np.where(known, np.clip(levels, -MAX_FITTED, MAX_FITTED), 0.0)
    b = np.where(known, np.clip(target, -MAX_FITTED, MAX_FITTED), 0.0)
    for prior, level in zip(PRIOR, a, strict=True):
        b = b - prior * level
    gram = np.stack([(a * level).sum(axis=-1) for level in a], axis=-1)  # (levels, rows, levels)
    gram, right = np.moveaxis(gram, 0, 1), (a * b).sum(axis=-1).T
    ridge = RIDGE * np.trace(gram, axis1=1, axis2=2) / len(a) + 1e-9
    change = np.linalg.solve(gram + ridge[:, None, None] * np.eye(len(a)), right[..., None])[..., 0]
    return (np.array(PRIOR) + change).T


def fit_noise(track: Track, question: Question, ratio: np.ndarray, is_count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the law of the variance (2, rows) and the noise of each hour in units of it (hours, rows), for a question.

    `ratio` (rows, buckets): the learned one of the question's window. Variance = a + b / size, fitted to the hours; the hours'
    own noise is drawn towards it by as much as the hours' difference may be chance. For a metric that is no count, tails are
    looked at as well.
    """
    spans, rows, per_day = track.spans, len(track.x), track.spans.per_day
    days, hours = min(NOISE_DAYS, track.x.shape[1] // per_day), int(spans.hours[-1]) + 1
    around = (np.arange(hours)[:, None] + np.linspace(-NOISE_REACH, NOISE_REACH, 7)) * per_day / hours  # of each hour's middle
    around = np.round(around + (per_day / hours - 1) / 2).astype(int) % per_day
    slots, places = np.unique(around, return_inverse=True)

    def at(part: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Return (rows, days, slots) of (rows, buckets)."""
        return part[:, -days * per_day :].reshape(rows, days, per_day)[:, :, slots]

    size = track.windows[question.window].size
    deviation = np.abs((at(ratio, slots) / at(question.level, slots)) ** POWER - 1) / POWER
    sample = np.moveaxis(deviation[:, :, places.reshape(around.shape)], 1, 2).reshape(rows, len(around), -1)
    most, tail = quantiles(sample, 0.9, 0.98, min_values=20)
    all_most, all_tail = quantiles(deviation.reshape(rows, -1), 0.9, 0.99, min_values=20)
    most, tail, all_most, all_tail = most / 1.645, tail / 2.326, all_most / 1.645, all_tail / 2.576  # as sigmas of normal noise
    quiet = is_count | question.held
    local = np.where(quiet[:, None], most, np.fmax(most, tail))
    overall = np.where(quiet, all_most, np.fmax(all_most, all_tail))
    noise = np.maximum(np.fmax(local, 0.5 * overall[:, None]), MIN_NOISE)

    middle = around[:, around.shape[1] // 2]
    inverse = 1 / _mean(at(size, middle) * at(question.level, middle), axis=1)
    known = np.isfinite(noise) & np.isfinite(inverse)  # not where the usual shape is 0: of that no share can be off
    typical = _mean(np.where(known, inverse, np.nan), axis=1)
    law = _variance_law(np.where(known, noise**2, np.nan), inverse / typical[:, None])
    own = noise / np.sqrt(law[0][:, None] + law[1][:, None] * inverse / typical[:, None])
    law[1] /= typical
    spread = np.log(own)
    apart = _mean((spread - _mean(spread, axis=1)[:, None]) ** 2, axis=1)
    own = own ** np.clip(1 - HOURS_APART / apart, 0, 1)[:, None]
    return law, np.where(known, own, np.nan).T


def _mean(x: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the finite values along an axis; NaN where there is none."""
    known = np.isfinite(x)
    return np.where(known, x, 0.0).sum(axis=axis) / known.sum(axis=axis)


def _variance_law(variance: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return (2, rows): a, b >= 0 of variance = a + b * inverse (rows, hours), by least squares of relative errors."""
    known = np.isfinite(variance) & np.isfinite(inverse)
    w = np.where(known, 1 / np.where(known, variance, 1.0) ** 2, 0.0)
    v, q = np.where(known, variance, 0.0), np.where(known, inverse, 0.0)
    s0, s1, s2, t0, t1 = (part.sum(axis=1) for part in (w, w * q, w * q * q, w * v, w * v * q))
    det = s0 * s2 - s1 * s1
    a, b = (s2 * t0 - s1 * t1) / det, (s0 * t1 - s1 * t0) / det
    only_a, only_b = (b < 0) | ~(det > 0), a < 0
    return np.stack([np.where(only_a, t0 / s0, np.where(only_b, 0, a)), np.where(only_a, 0, np.where(only_b, t1 / s2, b))])
