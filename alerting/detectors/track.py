"""Tracks: values beside the usual shape of the day, and their level over the last minutes to hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from alerting.detectors.day_shape import RATIO
from alerting.detectors.series_grid import HOUR, SeriesGrid
from alerting.detectors.windows import lagged, window_sum

WINDOWS = (HOUR / 4, HOUR, 3 * HOUR, 12 * HOUR)  # seconds
LEVELS = (HOUR / 2, 2 * HOUR, 6 * HOUR, 24 * HOUR)  # seconds: levels from which the level before a window is forecast
FILLED_WINDOW, FILLED_LEVEL = 0.7, 0.4  # share of the buckets that must have a value


class Question(NamedTuple):
    """A window, and the level that it is compared with."""

    window: int  # buckets
    level: np.ndarray  # (rows, buckets)
    held: bool  # the level is the usual one of the last week


class Spans(NamedTuple):
    """Lengths in buckets."""

    per_day: int
    hour: int
    windows: tuple[int, ...]  # ascending
    levels: tuple[int, ...]  # ascending

    @classmethod
    def of(cls, grid: SeriesGrid) -> Spans:
        def buckets(seconds: float) -> int:
            return min(max(1, grid.within(seconds)), grid.per_day)

        windows = tuple(sorted({buckets(seconds) for seconds in WINDOWS}))
        return cls(grid.per_day, buckets(HOUR), windows, tuple(buckets(seconds) for seconds in LEVELS))

    def questions(self, before: Sequence[np.ndarray], usual: np.ndarray) -> Iterator[Question]:
        """Yield each window with the level before it, and one of hours with the usual level: is it held there?"""
        for window, level in zip(self.windows, before, strict=True):
            yield Question(window, level, held=False)
        yield Question(self.windows[min(2, len(self.windows) - 1)], usual, held=True)

    def last(self, window: int) -> int:
        """Return how many of the window's last buckets must agree with it."""
        return self.windows[0] if window <= self.hour else min(max(1, self.hour // 2), window)

    @property
    def hours(self) -> np.ndarray:
        """Return (per_day,): the hour of each bucket of the day, as the noise has it; fewer than 24 where buckets are longer."""
        return np.arange(self.per_day) * min(24, self.per_day) // self.per_day

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the packed parts of a `Fit`."""
        windows, questions, hours = len(self.windows), len(self.windows) + 1, min(24, self.per_day)
        return self.per_day, 1, 1, 1, windows * len(LEVELS), questions * 2, questions * hours

    @property
    def packed(self) -> int:
        return sum(self.sizes)


class Window:
    """The last buckets of a track up to each bucket: sums of what was seen and of the shape, weighted with the trials."""

    def __init__(self, track: Track, buckets: int) -> None:
        before = [np.nan_to_num(lagged(window_sum(x, buckets - 1))) if buckets > 1 else 0.0 for x in track.summands]
        self._seen, shape, filled = before
        self._own, self._weight = track.summands[0], track.weight
        self.size = shape + track.own_shape  # with the bucket's own
        self.enough = (filled + 1 >= FILLED_WINDOW * buckets) & (track.own_shape > 0)
        self.ratio = np.where(self.enough & np.isfinite(track.x), (self._seen + self._own) / self.size, np.nan)
        self._masked = (track.masked, buckets)

    @cached_property
    def learned_ratio(self) -> np.ndarray:
        """The ratio where none of the window's buckets is masked, NaN elsewhere."""
        masked, buckets = self._masked
        return np.where(window_sum(masked.astype(float), buckets) == 0, self.ratio, np.nan)

    def value_for(self, ratio: np.ndarray) -> np.ndarray:
        """Return the value of the next bucket with which the window has this ratio to the shape."""
        return (ratio * self.size - self._seen) / self._weight


class Track:
    """Values of rows (rows, buckets) and the shape of the day that they are compared with.

    `masked`: buckets from which nothing is learned. `weight`: the trials of a ratio, 1 for other values.
    """

    def __init__(
        self, x: np.ndarray, shape: np.ndarray, weight: np.ndarray, masked: np.ndarray, usual: np.ndarray, spans: Spans
    ) -> None:
        self.x, self.shape, self.weight, self.masked, self.usual, self.spans = x, shape, weight, masked, usual, spans
        self.own_shape = np.where((shape > 0) & (weight > 0), shape * weight, 0.0)
        known = np.isfinite(x) & (self.own_shape > 0)
        self.summands = [np.where(known, part, 0.0) for part in (x * weight, self.own_shape, 1.0)]
        self._windows: dict[int, Window] = {}

    def without(self, masked: np.ndarray) -> Track:
        return Track(self.x, self.shape, self.weight, masked, self.usual, self.spans)

    def window(self, buckets: int) -> Window:
        if buckets not in self._windows:
            self._windows[buckets] = Window(self, buckets)
        return self._windows[buckets]

    @cached_property
    def levels(self) -> np.ndarray:
        """(levels, rows, buckets): log levels of the last LEVELS; An unknown one is taken from the next longer, or else the next
        shorter; where all are unknown, they are the usual one."""
        seen, shape, filled = (np.where(self.masked, 0.0, x) for x in self.summands)
        found = np.full((len(self.spans.levels), *self.x.shape), np.nan)
        for level, buckets in zip(found, self.spans.levels, strict=True):
            enough = window_sum(filled, buckets) >= max(1, FILLED_LEVEL * buckets)
            np.log(np.clip(window_sum(seen, buckets) / np.where(enough, window_sum(shape, buckets), np.nan), *RATIO), out=level)
        for i in range(len(found) - 2, -1, -1):
            found[i] = np.where(np.isnan(found[i]), found[i + 1], found[i])
        for i in range(1, len(found)):
            found[i] = np.where(np.isnan(found[i]), found[i - 1], found[i])
        return np.where(np.isnan(found), np.log(self.usual), found)

    def forecast(self, window: int, weights: np.ndarray) -> np.ndarray:
        """Return (rows, buckets): the level before the window that ends with each bucket, by `weights` of the levels."""
        total = np.full(self.x.shape, np.nan)
        total[:, window:] = 0.0
        for level, weight in zip(self.levels, weights, strict=True):
            total[:, window:] += level[:, :-window] * (weight if weight.shape[-1] == 1 else weight[:, window:])
        return np.exp(total)
