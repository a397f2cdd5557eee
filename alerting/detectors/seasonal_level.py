"""Seasonal level: is the level of the last quarter of an hour, hour, three hours or twelve hours off?

Expected = the usual shape of this kind of day x the level before the window. The band = counting noise + the usual restlessness
at this time of day. Both are fitted to the last five weeks: every Monday for counts, every night for other numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, NamedTuple

import numpy as np

from alerting.detectors import seasonal_fit
from alerting.detectors.bands import BAND, OUTAGE_COUNT, SUSTAINED, BaseDetector, Limits
from alerting.detectors.seasonal_fit import MIN_NOISE, NOISE_DAYS, POWER, WEEK, Fit, LocalDays, Spans, Track, WindowSums
from alerting.detectors.series_grid import BandColumns, Nightly, SeriesGrid, usual_gap
from alerting.detectors.windows import quantiles, window_max

RETURN = 0.04  # share by which the level before must be off the usual one, for the way back to be no alarm
RATIO_CHANCE = 0.5  # a ratio of counts of p varies by (1 - p) / count: by half of what a count does, or more
HELD = 2  # times the floor, where the level is compared with the usual one alone
AFTER = 2  # buckets after one that is off are left out as well
FITTED_ON = (0,)  # weekdays at whose beginning counts and their ratios are fitted; other numbers are restless: every night
ROWS_AT_ONCE = 16  # rows fitted at a time: they fit into the processor's cache


@dataclass(frozen=True)
class SeasonalLevel(BaseDetector):
    """The level of the last buckets against the usual shape of the day times the level before them.

    Shape: the median of the same local time on working days, or on days off, of five weeks, times what is usual for the weekday.
    Level: sum of values / sum of the shape. The level before a window is forecast from those of the last 30 minutes, 2, 6 and
    24 hours, with weights fitted to the metric's own past. Noise: the deviations at this hour in four weeks; their variance is
    split into a part that falls with the count (an over-dispersed Poisson or binomial law) and a constant one; of a count of few
    it is never less than counting makes it. Deviations are measured on a power of the ratio that puts counts as far below as
    above (Wilson and Hilferty 1931).

    A window is off when it is `k` sigmas and `floor` from the level before, `floor` from the usual level of the last week,
    and when its last buckets agree. A rise must be `up` times as large. The newest value of a number that is no count must be
    `margin` times as far from the expected one: a moment does not matter, what lasts is still found. What the fit itself finds
    to be off is left out, and the fit repeated; so are buckets of labelled incidents, which are NaN here. A metric that was below
    zero is moved above it by a constant first. Counts and their ratios are fitted at the beginning of Monday, and of the first
    day on which there is enough past, other numbers every night; the usual level of the last week is new every day. An own
    method: parameters and what was tried are in docs/research/detection.md.
    """

    single_bucket: ClassVar[bool] = False

    days: int = 35  # that are fitted
    least: int = 21  # days with values below which it does not judge ...
    count_least: int = 10  # ... and those for counts and ratios of counts
    k: float = 4.7
    floor: float = 0.15  # smallest share of the level that is off ...
    count_floor: float = 0.1  # ... and that of counts and ratios of counts, whose noise is known
    up: float = 2.0
    margin: float = 1.2  # times the band of a number that is no count
    agree: float = 0.7  # share of the deviation that the window's last buckets must have

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 20)  # a fit may be a week old; windows, levels and their flags reach further back

    @np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a part without values, or with impossible ones, has no band
    def bands(self, grid: SeriesGrid) -> BandColumns:
        gap, grid = usual_gap(grid), grid.with_history(self.history)
        band = np.full((3, len(grid.values), len(grid) - grid.since), np.nan)
        spans = Spans.of(grid)
        reach = 2 * (spans.windows[-1] + spans.levels[-1] + grid.clock_change + AFTER)
        recent = replace(grid, since=max(0, grid.since - reach))
        nights = recent.starts(earlier=WEEK - 1)
        days = LocalDays(recent) if len(nights) else None
        if days and (calendar := self._calendar(recent, days, nights)).due.any():
            first = max(0, int(np.searchsorted(nights, recent.since, side="right")) - 1)
            calendar = calendar.held_from(first)
            fitted = nights[calendar.due.any(axis=0)]
            nightly = Nightly(recent, repr(self), timedelta(days=self.days + 2), fitted)
            if nightly.absent:
                nightly.add(self._fits(nightly.grid, nightly.nights))
            track, model = _live(recent, days, calendar, Fit.unpack(nightly.statistics, spans), first, spans)
            night = np.searchsorted(nights, grid.requested, side="right") - 1 - first
            at = night * spans.per_day + days.at[grid.requested] % spans.per_day
            begin = max(0, int(at.min())) if len(at) else 0  # an hour that comes twice goes back
            masked = self._off(track, model, after=AFTER, first=max(0, begin - reach // 2))
            low, expected, high = self._limits(track.without(masked), model, begin)
            low, high = (np.where(model.is_count, side, expected + (side - expected) * self.margin) for side in (low, high))
            band = np.stack([np.where(night >= 0, side[:, np.maximum(at - begin, 0)], np.nan) for side in (low, expected, high)])
        return {**dict(zip(BAND, band, strict=True)), "low_rule": SUSTAINED, "high_rule": SUSTAINED, "gap": gap}

    def _calendar(self, grid: SeriesGrid, days: LocalDays, nights: np.ndarray) -> Calendar:
        """Return which nights a fit is made: of counts on Mondays and as soon as there are enough days, of others always."""
        day, enough = days.day[nights], np.where(grid.is_count, self.count_least, self.least)[:, None]
        there = np.isfinite(days.place(grid.values)).sum(axis=2)
        total = np.pad(np.cumsum(2 * there >= grid.per_day, axis=1), ((0, 0), (self.days + 1, 0)))
        present, before = (total[:, day + self.days - back] - total[:, day - back] for back in (0, 1))
        due = (present >= enough) & (np.isin(days.weekdays[day], FITTED_ON) | (before < enough) | ~grid.is_count[:, None])
        caution = np.where(present >= enough, np.maximum(1.0, NOISE_DAYS / np.maximum(present, 1)), np.nan)
        return Calendar(day, due, caution)

    def _fits(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """Return (statistics, series, nights): `Fit`, packed, of the `days` before each night on which it is due.

        Nights of one weekday are fitted together. What a first fit finds to be off is left out of a second.
        """
        spans = Spans.of(grid)
        out = np.full((sum(spans.sizes), len(grid.values), len(nights)), np.nan)
        if not len(nights):
            return out
        days, length, views = LocalDays(grid), self.days * spans.per_day, []
        for part in (grid.values, grid.trials):
            padded = np.pad(days.place(part).reshape(len(part), -1), ((0, 0), (length, 0)), constant_values=np.nan)
            views.append(np.lib.stride_tricks.sliding_window_view(padded, length, axis=1))
        calendar = self._calendar(grid, days, nights)
        weekdays = days.weekdays[calendar.day]
        for weekday in np.unique(weekdays):
            past = (weekday + np.arange(-self.days, 0)) % WEEK
            series, night = np.nonzero(calendar.due & (weekdays == weekday))
            for first in range(0, len(series), ROWS_AT_ONCE):
                row, of = series[first : first + ROWS_AT_ONCE], night[first : first + ROWS_AT_ONCE]
                x, trials = (view[row, calendar.day[of] * spans.per_day] for view in views)
                is_count = grid.is_count[row]
                fit, track = self._fit(x, trials, is_count, past, np.zeros(x.shape, bool), spans)
                packed, model = fit.pack(), _model_of_rows(fit, calendar.caution[row, of], is_count, spans, self.days)
                off = self._off(track, model, before=1, after=AFTER)
                if (again := off.any(axis=1)).any():
                    fit, _ = self._fit(x[again], trials[again], is_count[again], past, off[again], spans)
                    packed[:, again] = fit.pack()
                out[:, row, of] = packed
        return out

    def _fit(
        self, x: np.ndarray, trials: np.ndarray, is_count: np.ndarray, weekdays: np.ndarray, masked: np.ndarray, spans: Spans
    ) -> tuple[Fit, Track]:
        """Return the fit of rows (rows, buckets) of days with these weekdays, learned from what is not masked, and its track."""
        by_day, shift, below = (len(x), self.days, spans.per_day), np.zeros(len(x)), (x < 0).any(axis=1)
        if below.any():  # it is moved so that it lies a range of its own above zero
            low, middle, high = quantiles(x[below], 0.01, 0.5, 0.99)
            shift[below] = high - low - middle
        x = x + shift[:, None]
        shape = seasonal_fit.usual_shape(np.where(masked, np.nan, x).reshape(by_day), weekdays, spans.hour)
        expected = shape[:, weekdays]
        daily = seasonal_fit.daily_levels(x.reshape(by_day), expected)
        usual = np.repeat(seasonal_fit.usual_levels(daily), spans.per_day, axis=1)
        track = Track(x, expected.reshape(x.shape), trials, usual, spans).without(masked)
        learned = {window: track.learned_ratio(window) for window in spans.windows}
        weights = [seasonal_fit.fit_weights(track, window, ratio) for window, ratio in learned.items()]
        questions = spans.questions(track.forecasts([each[..., None] for each in weights]), track.usual)
        law, noise = zip(
            *(seasonal_fit.fit_noise(track, each, learned[each.window], is_count) for each in questions), strict=True
        )
        is_ratio, is_whole = (np.isfinite(trials) & (trials != 1)).any(axis=1), ~(x % 1 > 0).any(axis=1)
        chance = np.where(is_count, np.where(is_ratio, RATIO_CHANCE, is_whole), 0.0)
        fit = Fit(np.moveaxis(shape, 0, -1), daily[:, -WEEK:].T, shift, chance, np.stack(weights), np.stack(law), np.stack(noise))
        return fit, track

    def _off(self, track: Track, model: Model, before: int = 0, after: int = 0, first: int = 0) -> np.ndarray:
        """Return (rows, buckets) bool: outside the limits, or so many buckets before or after one that is; from `first` on."""
        low, _, high = self._limits(track, model, first)
        x, off = (track.x - model.shift)[:, first:], np.zeros((len(track.x), track.x.shape[1] + before))
        off[:, first : track.x.shape[1]] = (x < low) | (x > high)
        return window_max(off, before + after + 1)[:, before:] > 0

    def _limits(self, track: Track, model: Model, first: int = 0) -> Limits:
        """Return low, expected and high (rows, buckets): beyond a limit the next value takes some window off.

        NaN where no window has an answer. Only of the buckets from `first` on.
        """

        def late(part: np.ndarray) -> np.ndarray:
            return part if part.shape[-1] == 1 else part[..., first:]

        def value_for(window: WindowSums, ratio: np.ndarray) -> np.ndarray:
            """Return the value of the next bucket with which the window has this ratio to the shape."""
            return (ratio * window.size - window.seen) / weight

        spans, usual, shape, weight = track.spans, late(track.usual), track.shape[:, first:], late(track.weight)
        forecasts = [late(forecast) for forecast in track.forecasts(model.weights)]
        floor = np.where(model.is_count, self.count_floor, self.floor)
        low, high, expected = np.full(shape.shape, -np.inf), np.full(shape.shape, np.inf), np.full(shape.shape, np.nan)
        for i, (window, before, held) in enumerate(spans.questions(forecasts, usual)):
            seen, last = (WindowSums(*map(late, track.windows[buckets])) for buckets in (window, spans.last[window]))
            constant, per_count = map(late, model.law[i])
            inverse = 1 / np.maximum(seen.size * before, 1e-300)
            noise = late(model.noise[i]) * np.sqrt(constant + per_count * inverse)
            chance = np.where(inverse * OUTAGE_COUNT > 1, np.sqrt(late(model.chance) * inverse), MIN_NOISE)  # of a count of few
            noise = np.maximum(noise, np.maximum(chance, MIN_NOISE))
            reach = POWER * self.k * late(model.caution) * noise
            ratios = self._ratios(before, usual, reach, floor * (HELD if held else 1))

            # In units of the value: both the window and its last buckets must be beyond
            sides = [(ratio, before - self.agree * (before - ratio)) for ratio in ratios]
            (low_all, low_last), (high_all, high_last) = ((value_for(seen, a), value_for(last, b)) for a, b in sides)
            low = np.fmax(low, np.where(seen.enough, np.minimum(low_all, low_last), np.nan))
            high = np.fmin(high, np.where(seen.enough, np.maximum(high_all, high_last), np.nan))
            expected = np.where(np.isnan(expected) & seen.enough, before * shape, expected)
        bunch = np.maximum(1.0, late(model.law[0])[1])  # units that come together
        low = np.where(model.is_count & (expected >= OUTAGE_COUNT * bunch), np.maximum(low, 0.5), low)
        known = np.isfinite(expected) & (low > -np.inf) & (high < np.inf)
        off = (expected < low) | (expected > high)
        expected = np.where(off, usual * shape, expected)  # a level that is off is not to be expected
        low, high = np.minimum(low, expected), np.maximum(high, expected)
        low, expected, high = (np.where(known, side - late(model.shift), np.nan) for side in (low, expected, high))
        return low, expected, high

    def _ratios(
        self, before: np.ndarray, usual: np.ndarray, reach: np.ndarray, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest normal ratio of a window to the shape, from the level before it and the usual one.

        `reach` is on the POWER of the ratio: x * sqrt(x) is x ** (1 / POWER), and quicker. The way back to the usual level is off
        only as far beyond it.
        """
        low, high = 1 - np.minimum(reach, 1), 1 + self.up * reach
        lowest = before * np.minimum(low * np.sqrt(low), 1 - least)
        lowest = np.minimum(lowest, usual * (1 - least))
        highest = before * np.maximum(high * np.sqrt(high), 1 + self.up * least)
        highest = np.maximum(highest, usual * (1 + self.up * least))
        mirrored = usual * usual / before
        lowest = np.where(before > usual * (1 + RETURN), np.minimum(lowest, mirrored), lowest)
        highest = np.where(usual > before * (1 + RETURN), np.maximum(highest, mirrored), highest)
        return lowest, highest


class Calendar(NamedTuple):
    """What is known of nights by the number of days with values before them."""

    day: np.ndarray  # (nights,): the local days that they begin
    due: np.ndarray  # (series, nights) bool: a fit is made
    caution: np.ndarray  # (series, nights): times `k`, above 1 in the first weeks; NaN: too little history

    def held_from(self, first: int) -> Calendar:
        """Return the calendar with those fits alone that hold in a night from number `first` on."""
        last = np.maximum.accumulate(np.where(self.due, np.arange(len(self.day)), -1), axis=1)[:, first:]
        held = np.zeros(self.due.shape, bool)
        np.put_along_axis(held, np.maximum(last, 0), True, axis=1)
        return self._replace(due=held & self.due)

    def held(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (series, nights): which of the nights with a fit holds, how many days old that is, and its caution.

        -1, -1 and NaN for none.
        """
        number = np.cumsum(self.due.any(axis=0)) - 1
        last = np.maximum.accumulate(np.where(self.due, np.arange(len(self.day)), -1), axis=1)
        age = self.day - self.day[last]
        known = (last >= 0) & (age < WEEK) & np.isfinite(self.caution)
        caution = np.where(known, np.take_along_axis(self.caution, last, axis=1), np.nan)
        return np.where(known, number[last], -1), np.where(known, age, -1), caution


class Model(NamedTuple):
    """A `Fit` for each bucket of a track: arrays that fit (rows, buckets); weights and the like one per window."""

    weights: list[np.ndarray]  # (levels, rows, buckets or 1)
    law: list[np.ndarray]  # (2, rows, buckets or 1)
    noise: list[np.ndarray]
    caution: np.ndarray
    chance: np.ndarray
    shift: np.ndarray
    is_count: np.ndarray


def _model_of_rows(fit: Fit, caution: np.ndarray, is_count: np.ndarray, spans: Spans, days: int) -> Model:
    """Return the model of rows whose every bucket has the same fit."""
    noise = [np.tile(part[spans.hours].T, days) for part in fit.noise]
    weights = [part[..., None] for part in fit.weights]
    law = [part[..., None] for part in fit.law]
    return Model(weights, law, noise, caution[:, None], fit.chance[:, None], np.zeros((len(is_count), 1)), is_count[:, None])


def _live(grid: SeriesGrid, days: LocalDays, calendar: Calendar, fit: Fit, first: int, spans: Spans) -> tuple[Track, Model]:
    """Return the track of the local days from night number `first` on, each with the fit that holds then."""
    (fitted, age, caution), rows = calendar.held(), np.arange(len(grid.values))[:, None]
    unknown = fitted < 0

    def held(part: np.ndarray) -> np.ndarray:
        """Return (..., series, nights) of (..., series, fits)."""
        return np.where(unknown, np.nan, part[..., rows, fitted])

    x, weight = (days.place(part)[:, calendar.day] for part in (grid.values, grid.trials))
    shape = np.where(unknown[..., None], np.nan, fit.shape[days.weekdays[calendar.day], :, rows, fitted])
    shift = held(fit.shift)
    x = x + shift[..., None]
    usual = _live_usual(seasonal_fit.daily_levels(x, shape), held(fit.daily), age)

    def by_bucket(part: np.ndarray) -> np.ndarray:
        """Return (..., series, buckets) of (..., series, nights)."""
        return np.repeat(part[..., first:], spans.per_day, axis=-1)

    def flat(part: np.ndarray) -> np.ndarray:
        """Return (series, buckets) of (series, nights, per_day)."""
        return part[:, first:].reshape(len(part), -1)

    track = Track(flat(x), flat(shape), flat(weight), by_bucket(usual), spans).without(np.zeros(flat(x).shape, bool))
    weights = [by_bucket(held(part)) for part in fit.weights]
    noise = [flat(np.moveaxis(held(part)[spans.hours], 0, -1)) for part in fit.noise]
    law = [by_bucket(held(part)) for part in fit.law]
    chance = by_bucket(held(fit.chance))
    return track, Model(weights, law, noise, by_bucket(caution), chance, by_bucket(shift), grid.is_count[:, None])


def _live_usual(daily: np.ndarray, before: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Return (series, nights): the median of the daily levels of the seven days before each night.

    `daily` (series, nights): those of the days that begin with the nights; `before` (7, series, nights): those of the days
    before the fit that holds, which is `age` days old.
    """
    night, week = np.arange(daily.shape[1]), []
    for back in range(1, WEEK + 1):
        known = np.take_along_axis(before, np.clip(WEEK + age - back, 0, WEEK - 1)[None], axis=0)[0]
        week.append(np.where(back <= age, daily[:, np.maximum(night - back, 0)], known))
    usual = quantiles(np.stack(week, axis=-1), 0.5)[0]
    return np.where(usual > 0, usual, 1.0)
