"""What `SeasonalLevel` fits to the past: how levels forecast the next one, and how wide the noise of each hour is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerting.detectors.day_shape import RATIO, WEEK
from alerting.detectors.track import Question, Spans, Track
from alerting.detectors.windows import quantiles

PRIOR = (0.25, 0.35, 0.25, 0.15)  # weights of LEVELS in a forecast, as far as the past does not say otherwise
RIDGE = 0.05  # weight of PRIOR, as a share of the evidence
MAX_FITTED = 0.4  # log ratio to which levels are cut before weights are fitted to them
NOISE_DAYS, NOISE_REACH = 28, 1.5  # the noise of an hour: deviations within so many hours of it, on so many days
POWER = 2 / 3  # of a ratio, for deviations: counts are then as far below as above (Wilson and Hilferty 1931)
MIN_NOISE = 0.005  # share of the level
HOURS_APART = 0.02  # variance of the log noise of the hours that is taken to be chance


@dataclass(frozen=True)
class Fit:
    """What is fitted. The last axes are rows, or series and nights."""

    shape: np.ndarray  # (7, per_day, ...): of each weekday
    daily: np.ndarray  # (7, ...): levels of the last days
    shift: np.ndarray  # (...): added to the values
    weights: np.ndarray  # (windows, levels, ...)
    law: np.ndarray  # (questions, 2, ...): constant variance, and that of one unit of count
    noise: np.ndarray  # (questions, hours, ...): times the root of the law's variance

    def pack(self) -> np.ndarray:
        """Return all as (statistics, rows)."""
        rows = self.shift.shape
        parts = (self.shape, self.daily, self.shift, self.weights, self.law, self.noise)
        return np.concatenate([part.reshape(-1, *rows) for part in parts])

    @classmethod
    def unpack(cls, packed: np.ndarray, spans: Spans) -> Fit:
        """Take `pack` apart; the axes after the first stay."""
        rows = packed.shape[1:]
        shape, daily, shift, weights, law, noise = np.split(packed, np.cumsum(spans.sizes)[:-1])
        law, noise = (part.reshape(len(spans.windows) + 1, -1, *rows) for part in (law, noise))
        return cls(shape.reshape(WEEK, -1, *rows), daily, shift[0], weights.reshape(len(spans.windows), -1, *rows), law, noise)


def shift_above_zero(x: np.ndarray) -> np.ndarray:
    """Return (rows,): what is added to values that were below zero, so that they lie a range of theirs above it; 0 for others."""
    shift, below = np.zeros(len(x)), (x < 0).any(axis=1)
    if below.any():
        low, middle, high = quantiles(x[below], 0.01, 0.5, 0.99)
        shift[below] = high - low - middle
    return shift


def fit_weights(track: Track, window: int) -> np.ndarray:
    """Return (levels, rows): weights with which the log levels before a window forecast that of the window.

    Ridge regression towards PRIOR, on one bucket an hour. Sums run along the buckets of a row, so that its bits do not depend on
    its neighbours.
    """
    hourly = track.spans.hour
    levels, target = track.levels[:, :, :-window:hourly], np.log(np.clip(track.learned_ratio(window)[:, window::hourly], *RATIO))
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


def fit_noise(track: Track, question: Question, is_count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the law of the variance (2, rows) and the noise of each hour in units of it (hours, rows), for a question.

    Variance = a + b / size, fitted to the
    hours; the hours' own noise is drawn towards it by as much as the hours' difference may be chance. For a metric that is no
    count, tails are looked at as well.
    """
    spans, rows = track.spans, len(track.x)
    days, around = min(NOISE_DAYS, track.x.shape[1] // spans.per_day), spans.around_hours(NOISE_REACH)
    slots, places = np.unique(around, return_inverse=True)

    def at(part: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Return (rows, days, slots) of (rows, buckets)."""
        return part[:, -days * spans.per_day :].reshape(rows, days, spans.per_day)[:, :, slots]

    ratio, size = track.learned_ratio(question.window), track.windows[question.window].size
    deviation = np.abs((at(ratio, slots) / at(question.level, slots)) ** POWER - 1) / POWER
    sample = np.moveaxis(deviation[:, :, places.reshape(around.shape)], 1, 2).reshape(rows, len(around), -1)
    most, tail = quantiles(sample, 0.9, 0.98, min_values=20)
    all_most, all_tail = quantiles(deviation.reshape(rows, -1), 0.9, 0.99, min_values=20)
    most, tail, all_most, all_tail = most / 1.645, tail / 2.326, all_most / 1.645, all_tail / 2.576  # as sigmas of normal noise
    quiet = is_count | question.held
    local = np.where(quiet[:, None], most, np.fmax(most, tail))
    overall = np.where(quiet, all_most, np.fmax(all_most, all_tail))
    noise = np.maximum(np.fmax(local, 0.5 * overall[:, None]), MIN_NOISE)

    known = np.isfinite(noise)
    middle = around[:, around.shape[1] // 2]
    inverse = 1 / _mean(at(size, middle) * at(question.level, middle), axis=1)
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
