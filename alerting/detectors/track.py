"""Tracks: values beside the usual shape of the day, and their level over the last minutes to hours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np

from alerting.detectors.day_shape import RATIO, WEEK
from alerting.detectors.series_grid import HOUR, SeriesGrid
from alerting.detectors.windows import window_counts, window_sums

WINDOWS = (HOUR, 3 * HOUR, 12 * HOUR)  # seconds; what is shorter is a jump
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

    def questions(self, before: Iterable[np.ndarray], usual: np.ndarray) -> Iterator[Question]:
        """Yield each window with the level before it, and one of hours with the usual level: is it held there?"""
        for window, level in zip(self.windows, before, strict=True):
            yield Question(window, level, held=False)
        yield Question(self.windows[min(1, len(self.windows) - 1)], usual, held=True)

    def last(self, window: int) -> int:
        """Return how many of the window's last buckets must agree with it."""
        return max(1, self.hour // (4 if window <= self.hour else 2))

    @property
    def hours(self) -> np.ndarray:
        """Return (per_day,): the hour of each bucket of the day, as the noise has it; fewer than 24 where buckets are longer."""
        return np.arange(self.per_day) * min(24, self.per_day) // self.per_day

    def around_hours(self, reach: float) -> np.ndarray:
        """Return (hours, 7): buckets of the day from `reach` hours before the middle of each hour to `reach` after it."""
        hours = int(self.hours[-1]) + 1
        slots = (np.arange(hours)[:, None] + np.linspace(-reach, reach, 7)) * self.per_day / hours
        return np.round(slots + (self.per_day / hours - 1) / 2).astype(int) % self.per_day

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the packed parts of a `Fit`."""
        windows, questions, hours = len(self.windows), len(self.windows) + 1, min(24, self.per_day)
        return WEEK * self.per_day, WEEK, 1, windows * len(LEVELS), questions * 2, questions * hours

    @property
    def packed(self) -> int:
        return sum(self.sizes)


class WindowSums:
    """The last buckets of a track up to each bucket: sums of what was seen and of the shape, weighted with the trials."""

    def __init__(self, track: Track, buckets: int, before: np.ndarray, filled: np.ndarray) -> None:
        """Take the sums (2, rows, buckets) of the window without its last bucket, and how many of those have a value."""
        self._track, self._seen = track, before[0]
        self.size = before[1] + track.own_shape  # with the bucket's own
        self.enough = (filled + 1 >= FILLED_WINDOW * buckets) & (track.own_shape > 0)

    @cached_property
    def ratio(self) -> np.ndarray:
        return np.where(self.enough & np.isfinite(self._track.x), (self._seen + self._track.summands[0]) / self.size, np.nan)

    def value_for(self, ratio: np.ndarray, first: int = 0) -> np.ndarray:
        """Return the value of the next bucket with which the window has this ratio to the shape, from bucket `first` on."""
        return (ratio * self.size[:, first:] - self._seen[:, first:]) / self._track.weight[:, first:]


class Track:
    """Values of rows (rows, buckets) and the shape of the day that they are compared with.

    `masked`: buckets from which nothing is learned. `weight`: the trials of a ratio, 1 for other values.
    """

    def __init__(
        self, x: np.ndarray, shape: np.ndarray, weight: np.ndarray, masked: np.ndarray, usual: np.ndarray, spans: Spans
    ) -> None:
        self.x, self.shape, self.weight, self.masked, self.usual, self.spans = x, shape, weight, masked, usual, spans
        self.own_shape = np.where((shape > 0) & (weight > 0), shape * weight, 0.0)
        self._known = np.isfinite(x) & (self.own_shape > 0)
        self.summands = np.where(self._known, np.stack([x * weight, self.own_shape]), 0.0)
        self._learned: dict[int, np.ndarray] = {}

    def without(self, masked: np.ndarray) -> Track:
        """Return the same track, of which other buckets are masked."""
        other = copy(self)
        other.masked, other._learned = masked, {}
        other.__dict__.pop("levels", None)
        return other

    @cached_property
    def windows(self) -> dict[int, WindowSums]:
        """The windows that are judged and their last parts, by their lengths."""
        lengths = sorted({*self.spans.windows, *map(self.spans.last, self.spans.windows)})
        out = {}
        for buckets, total in zip(lengths, window_sums(self.summands, [length - 1 for length in lengths]), strict=True):
            before, filled = np.zeros(total.shape), np.zeros(self.x.shape, np.int32)
            if buckets > 1:
                before[..., 1:] = total[..., :-1]
                filled[:, 1:] = window_counts(self._known, buckets - 1)[:, :-1]
            out[buckets] = WindowSums(self, buckets, before, filled)
        return out

    def learned_ratio(self, window: int) -> np.ndarray:
        """Return the ratio of a window (rows, buckets) where none of its buckets is masked, NaN elsewhere."""
        if window not in self._learned:
            ratio, is_masked = self.windows[window].ratio, self.masked.any()
            self._learned[window] = np.where(window_counts(self.masked, window) == 0, ratio, np.nan) if is_masked else ratio
        return self._learned[window]

    @cached_property
    def levels(self) -> np.ndarray:
        """(levels, rows, buckets): log levels of the last LEVELS; An unknown one is taken from the next longer, or else the next
        shorter; where all are unknown, they are the usual one."""
        known, summands = self._known, self.summands
        if self.masked.any():
            known, summands = known & ~self.masked, np.where(self.masked, 0.0, summands)
        found = np.empty((len(self.spans.levels), *self.x.shape))
        for level, buckets, total in zip(found, self.spans.levels, window_sums(summands, self.spans.levels), strict=True):
            enough = window_counts(known, buckets) >= max(1, FILLED_LEVEL * buckets)
            np.log(np.clip(total[0] / np.where(enough, total[1], np.nan), *RATIO), out=level)
        for i in range(len(found) - 2, -1, -1):
            found[i] = np.where(np.isnan(found[i]), found[i + 1], found[i])
        for i in range(1, len(found)):
            found[i] = np.where(np.isnan(found[i]), found[i - 1], found[i])
        return np.where(np.isnan(found), np.log(self.usual), found)

    def forecasts(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return for each window (rows, buckets): the level before the window that ends with each bucket.

        `weights` of the levels, one (levels, rows, buckets or 1) for each window.
        """
        out = []
        for window, each in zip(self.spans.windows, weights, strict=True):
            total = np.full(self.x.shape, np.nan)
            total[:, window:] = 0.0
            for level, weight in zip(self.levels, each, strict=True):
                total[:, window:] += level[:, :-window] * (weight if weight.shape[-1] == 1 else weight[:, window:])
            out.append(np.exp(total))
        return out
