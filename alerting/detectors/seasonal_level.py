"""Seasonal level: is the level of the last quarter of an hour, hour, three hours or twelve hours off?

Expected = the usual shape of this kind of day x the level before the window. The band = counting noise + the usual restlessness
at this time of day. Both are fitted every night to the last five weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, NamedTuple

import numpy as np

from alerting.detectors.bands import BAND, BandColumns, BaseDetector, Limits
from alerting.detectors.baselines import usual_gap
from alerting.detectors.day_shape import RATIO, WEEK, LocalDays, usual_levels, usual_shape
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.sustained import SUSTAINED
from alerting.detectors.track import Question, Spans, Track
from alerting.detectors.windows import lagged, quantiles, window_max

PRIOR = (0.25, 0.35, 0.25, 0.15)  # weights of LEVELS in a forecast, as far as the past does not say otherwise
RIDGE = 0.05  # weight of PRIOR, as a share of the evidence
MAX_FITTED = 0.4  # log ratio to which levels are cut before weights are fitted to them
NOISE_DAYS, NOISE_REACH = 28, 1.5  # the noise of an hour: deviations within so many hours of it, on so many days
POWER = 2 / 3  # of a ratio, for deviations: counts are then as far below as above (Wilson and Hilferty 1931)
MIN_NOISE = 0.005  # share of the level
HOURS_APART = 0.02  # variance of the log noise of the hours that is taken to be chance
RETURN = 0.04  # share by which the level before must be off the usual one, for the way back to be no alarm
HELD = 2  # times the floor, where the level is compared with the usual one alone
AFTER = 2  # buckets after one that is off are left out as well
OUTAGE_COUNT = 12  # expected number from which a count of zero is an outage
ROWS_AT_ONCE = 16  # rows fitted at a time: they fit into the processor's cache


@dataclass(frozen=True)
class SeasonalLevel(BaseDetector):
    """The level of the last buckets against the usual shape of the day times the level before them.

    Shape: the median of the same local time on working days, or on days off, of five weeks, times what is usual for the weekday.
    Level: sum of values / sum of the shape. The level before a window is forecast from those of the last 30 minutes, 2, 6 and
    24 hours, with weights fitted to the metric's own past. Noise: the deviations at this hour in four weeks; their variance is
    split into a part that falls with the count (an over-dispersed Poisson or binomial law) and a constant one. Deviations are
    measured on a power of the ratio that puts counts as far below as above (Wilson and Hilferty 1931).

    A window is off when it is `k` sigmas and `floor` from the level before, `floor` from the usual level of the last
    week, and when its last buckets agree. A rise must be `up` times as large. What the fit itself finds to be off is left out,
    and the fit repeated; so are buckets of labelled incidents, which are NaN here. A metric that was below zero is moved above
    it by a constant first. An own method: parameters and what was tried are in docs/research/detection.md.
    """

    single_bucket: ClassVar[bool] = False

    days: int = 35  # that are fitted
    least: int = 21  # days with values below which it does not judge ...
    count_least: int = 10  # ... and those for counts and ratios of counts
    k: float = 4.7
    floor: float = 0.15  # smallest share of the level that is off ...
    count_floor: float = 0.1  # ... and that of counts and ratios of counts, whose noise is known
    up: float = 2.0
    agree: float = 0.7  # share of the deviation that the window's last buckets must have

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 5)  # windows and levels reach two days back, their flags as far again

    @np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a part without values, or with impossible ones, has no band
    def bands(self, grid: SeriesGrid) -> BandColumns:
        gap, grid = usual_gap(grid), grid.with_history(self.history)
        band = np.full((3, len(grid.values), len(grid) - grid.since), np.nan)
        spans = Spans.of(grid)
        reach = 2 * (spans.windows[-1] + spans.levels[-1] + grid.clock_change + AFTER)
        recent = replace(grid, since=max(0, grid.since - reach))
        nights, packed = recent.nightly_statistics(repr(self), timedelta(days=self.days + 1), self._nightly)
        if len(nights):
            days = LocalDays(recent)
            first = int(days.day[nights[0]])
            track, model = _live(recent, days, first, days.day[nights] - first, Fit.unpack(packed, spans), spans)
            limits = self._limits(track.without(self._off(track, model, after=AFTER)), model)
            at = days.at[grid.requested] - first * spans.per_day
            band = np.stack([np.where(at >= 0, side[:, np.maximum(at, 0)], np.nan) for side in limits])
        return {**dict(zip(BAND, band, strict=True)), "low_rule": SUSTAINED, "high_rule": SUSTAINED, "gap": gap}

    def _nightly(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """Return (statistics, series, nights): `Fit`, packed, of the `days` before each night."""
        spans = Spans.of(grid)
        if not len(nights):
            return np.empty((spans.packed, len(grid.values), 0))
        days = LocalDays(grid)
        span, day = self.days * spans.per_day, days.day[nights]
        values, trials = (_rows_before(days.place(x), span) for x in (grid.values, grid.trials))
        out = np.full((spans.packed, len(grid.values), len(nights)), np.nan)
        for weekday in range(WEEK):
            series, night = np.nonzero(np.broadcast_to(days.weekday(day) == weekday, out.shape[1:]))
            for first in range(0, len(series), ROWS_AT_ONCE):
                row, of = series[first : first + ROWS_AT_ONCE], night[first : first + ROWS_AT_ONCE]
                x, weight = (view[row, day[of] * spans.per_day] for view in (values, trials))
                out[:, row, of] = self._fit(x, weight, grid.is_count[row], weekday, spans).pack()
        return out

    def _fit(self, x: np.ndarray, weight: np.ndarray, is_count: np.ndarray, weekday: int, spans: Spans) -> Fit:
        """Return the fit of rows (rows, buckets) of whole days before a night with that weekday."""
        per_day, weekdays = spans.per_day, (weekday + np.arange(-self.days, 0)) % WEEK
        present = (2 * np.isfinite(x.reshape(len(x), self.days, per_day)).sum(axis=2) >= per_day).sum(axis=1)
        caution = np.where(
            present >= np.where(is_count, self.count_least, self.least),
            np.maximum(1.0, NOISE_DAYS / np.maximum(present, 1)),
            np.nan,
        )
        shift = _shift_above_zero(x)
        x, masked = x + shift[:, None], np.zeros(x.shape, bool)
        for last in (False, True):
            learned = np.where(masked, np.nan, x)
            shape = usual_shape(learned.reshape(len(x), self.days, per_day), weekdays, spans.hour)
            expected = shape[:, weekdays].reshape(x.shape)
            usual = usual_levels(x / np.where(expected > 0, expected, np.nan), per_day)  # of each day, and of the coming one
            track = Track(x, expected, weight, masked, np.repeat(usual[:, :-1], per_day, axis=1), spans)
            weights = [_fit_weights(track, window) for window in spans.windows]
            forecasts = [track.forecast(window, each[..., None]) for window, each in zip(spans.windows, weights, strict=True)]
            law, noise = zip(
                *(_fit_noise(track, question, is_count) for question in spans.questions(forecasts, track.usual)), strict=True
            )
            fit = Fit(shape[:, weekday].T, usual[:, -1], shift, caution, np.stack(weights), np.stack(law), np.stack(noise))
            if not last:
                masked = self._off(track, _model_of_rows(fit, is_count, spans, self.days), before=1, after=AFTER)
                if not masked.any():
                    break
        return fit

    def _off(self, track: Track, model: Model, before: int = 0, after: int = 0) -> np.ndarray:
        """Return (rows, buckets) bool: outside the limits, or so many buckets before or after one that is."""
        low, _, high = self._limits(track, model)
        x = track.x - model.shift
        off = ((x < low) | (x > high)).astype(float)
        return lagged(window_max(np.pad(off, ((0, 0), (0, before))), before + after + 1), -before)[:, : off.shape[1]] > 0

    def _limits(self, track: Track, model: Model) -> Limits:
        """Return low, expected and high (rows, buckets): beyond a limit the next value takes some window off.

        NaN where no window has an answer.
        """
        spans, usual = track.spans, track.usual
        floor = np.where(model.is_count, self.count_floor, self.floor)
        low, high = np.full(track.x.shape, -np.inf), np.full(track.x.shape, np.inf)
        expected = np.full(track.x.shape, np.nan)
        forecasts = [track.forecast(window, weights) for window, weights in zip(spans.windows, model.weights, strict=True)]
        for i, (window, before, held) in enumerate(spans.questions(forecasts, usual)):
            seen, last = track.window(window), track.window(spans.last(window))
            least = floor * (HELD if held else 1)
            noise = model.noise[i] * np.sqrt(model.law[i][0] + model.law[i][1] / np.maximum(seen.size * before, 1e-300))
            reach = POWER * self.k * model.caution * np.maximum(noise, MIN_NOISE)

            # The window's own limits, as ratios; the way back to the usual level is off only as far beyond it
            lowest = before * np.minimum((1 - np.minimum(reach, 1)) ** (1 / POWER), 1 - least)
            lowest = np.minimum(lowest, usual * (1 - least))
            highest = before * np.maximum((1 + self.up * reach) ** (1 / POWER), 1 + self.up * least)
            highest = np.maximum(highest, usual * (1 + self.up * least))
            mirrored = usual * usual / before
            lowest = np.where(before > usual * (1 + RETURN), np.minimum(lowest, mirrored), lowest)
            highest = np.where(usual > before * (1 + RETURN), np.maximum(highest, mirrored), highest)

            # In units of the value: both the window and its last buckets must be beyond
            sides = [(ratio, before - self.agree * (before - ratio)) for ratio in (lowest, highest)]
            (low_all, low_last), (high_all, high_last) = ((seen.value_for(a), last.value_for(b)) for a, b in sides)
            low = np.fmax(low, np.where(seen.enough, np.minimum(low_all, low_last), np.nan))
            high = np.fmin(high, np.where(seen.enough, np.maximum(high_all, high_last), np.nan))
            expected = np.where(np.isnan(expected) & seen.enough, before * track.shape, expected)
        low = np.where(model.is_count & (expected >= OUTAGE_COUNT), np.maximum(low, 0.5), low)
        known = np.isfinite(expected) & (low > -np.inf) & (high < np.inf)
        off = (expected < low) | (expected > high)
        expected = np.where(off, usual * track.shape, expected)  # a level that is off is not to be expected
        low, high = np.minimum(low, expected), np.maximum(high, expected)
        low, expected, high = (np.where(known, side - model.shift, np.nan) for side in (low, expected, high))
        return low, expected, high


@dataclass(frozen=True)
class Fit:
    """What is fitted in a night. The last axes are rows, or series and nights."""

    shape: np.ndarray  # (per_day, ...): of the coming day
    usual: np.ndarray  # (...): level of the last week
    shift: np.ndarray  # (...): added to the values
    caution: np.ndarray  # (...): times `k`, above 1 in the first weeks; NaN: too little history
    weights: np.ndarray  # (windows, levels, ...)
    law: np.ndarray  # (questions, 2, ...): constant variance, and that of one unit of count
    noise: np.ndarray  # (questions, hours, ...): times the root of the law's variance

    def pack(self) -> np.ndarray:
        """Return all as (statistics, rows)."""
        rows = self.usual.shape
        parts = (self.shape, self.usual, self.shift, self.caution, self.weights, self.law, self.noise)
        return np.concatenate([part.reshape(-1, *rows) for part in parts])

    @classmethod
    def unpack(cls, packed: np.ndarray, spans: Spans) -> Fit:
        """Take `pack` apart; the axes after the first stay."""
        shape, usual, shift, caution, weights, law, noise = np.split(packed, np.cumsum(spans.sizes)[:-1])
        weights = weights.reshape(len(spans.windows), -1, *packed.shape[1:])
        law, noise = (part.reshape(len(spans.windows) + 1, -1, *packed.shape[1:]) for part in (law, noise))
        return cls(shape, usual[0], shift[0], caution[0], weights, law, noise)


class Model(NamedTuple):
    """A `Fit` for each bucket of a track: arrays that fit (rows, buckets); weights and the like one per window."""

    weights: list[np.ndarray]  # (levels, rows, buckets or 1)
    law: list[np.ndarray]  # (2, rows, buckets or 1)
    noise: list[np.ndarray]
    caution: np.ndarray
    shift: np.ndarray
    is_count: np.ndarray


def _shift_above_zero(x: np.ndarray) -> np.ndarray:
    """Return (rows,): what is added to values that were below zero, so that they lie a range of theirs above it; 0 for others."""
    low, middle, high = quantiles(x, 0.01, 0.5, 0.99)
    return np.where((x < 0).any(axis=1), high - low - middle, 0.0)


def _fit_weights(track: Track, window: int) -> np.ndarray:
    """Return (levels, rows): weights with which the log levels before a window forecast that of the window.

    Ridge regression towards PRIOR, on one bucket an hour. Sums run along the buckets of a row, so that its bits do not depend on
    its neighbours.
    """
    at = np.arange(window, track.x.shape[1], track.spans.hour)
    levels, target = track.levels[:, :, at - window], np.log(np.clip(track.window(window).learned_ratio[:, at], *RATIO))
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


def _fit_noise(track: Track, question: Question, is_count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the law of the variance (2, rows) and the noise of each hour in units of it (hours, rows), for a question.

    Variance = a + b / size, fitted to the
    hours; the hours' own noise is drawn towards it by as much as the hours' difference may be chance. For a metric that is no
    count, tails are looked at as well.
    """
    spans, seen, level = track.spans, track.window(question.window), question.level
    deviation, size = np.abs((seen.learned_ratio / level) ** POWER - 1) / POWER, seen.size * level
    rows, days, hours = len(deviation), min(NOISE_DAYS, deviation.shape[1] // spans.per_day), spans.hours[-1] + 1
    deviation, size = (x[:, -days * spans.per_day :].reshape(rows, days, spans.per_day) for x in (deviation, size))
    slots = (np.arange(hours)[:, None] + np.linspace(-NOISE_REACH, NOISE_REACH, 7)) * spans.per_day / hours
    slots = np.round(slots + (spans.per_day / hours - 1) / 2).astype(int) % spans.per_day
    sample = np.moveaxis(deviation[:, :, slots], 1, 2).reshape(rows, hours, -1)
    most, tail = quantiles(sample, 0.9, 0.98, min_values=20)
    all_most, all_tail = quantiles(deviation.reshape(rows, -1), 0.9, 0.99, min_values=20)
    most, tail, all_most, all_tail = most / 1.645, tail / 2.326, all_most / 1.645, all_tail / 2.576  # as sigmas of normal noise
    quiet = is_count | question.held
    local = np.where(quiet[:, None], most, np.fmax(most, tail))
    overall = np.where(quiet, all_most, np.fmax(all_most, all_tail))
    noise = np.maximum(np.fmax(local, 0.5 * overall[:, None]), MIN_NOISE)

    known = np.isfinite(noise)
    inverse = 1 / _mean(size[:, :, slots[:, 3]], axis=1)
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


def _rows_before(x: np.ndarray, span: int) -> np.ndarray:
    """Return a view (series, positions, span): the `span` values before each position."""
    padded = np.concatenate([np.full((len(x), span), np.nan), x], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, span, axis=1)


def _model_of_rows(fit: Fit, is_count: np.ndarray, spans: Spans, days: int) -> Model:
    """Return the model of rows whose every bucket has the same fit."""
    noise = [np.tile(part[spans.hours].T, days) for part in fit.noise]
    weights = [part[..., None] for part in fit.weights]
    law = [part[..., None] for part in fit.law]
    return Model(weights, law, noise, fit.caution[:, None], np.zeros((len(is_count), 1)), is_count[:, None])


def _live(grid: SeriesGrid, days: LocalDays, first: int, fitted: np.ndarray, fit: Fit, spans: Spans) -> tuple[Track, Model]:
    """Return the track from local day `first` on, each day with the newest fit; `fitted`: the days, counted from `first`, that
    have one of their own."""
    skipped = first * spans.per_day
    x, weight = (days.place(part)[:, skipped:] for part in (grid.values, grid.trials))
    which = np.searchsorted(fitted, np.arange(x.shape[1] // spans.per_day), side="right") - 1

    def by_bucket(part: np.ndarray) -> np.ndarray:
        """Return (..., series, buckets) of (..., series, nights)."""
        return np.repeat(part[..., which], spans.per_day, axis=-1)

    def by_slot(part: np.ndarray) -> np.ndarray:
        """Return (series, buckets) of (per_day, series, nights)."""
        return np.moveaxis(part[..., which], 0, -1).reshape(part.shape[1], -1)

    shift = by_bucket(fit.shift)
    track = Track(x + shift, by_slot(fit.shape), weight, np.zeros(x.shape, bool), by_bucket(fit.usual), spans)
    weights = [by_bucket(part) for part in fit.weights]
    noise = [by_slot(part[spans.hours]) for part in fit.noise]
    law = [by_bucket(part) for part in fit.law]
    return track, Model(weights, law, noise, by_bucket(fit.caution), shift, grid.is_count[:, None])
