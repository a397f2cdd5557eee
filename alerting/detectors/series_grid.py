"""Series on one grid of times, and what of their rules' figures is refreshed every night."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pandas as pd

DAY = 86400
NIGHTLY_VERSION = 1  # of how figures of a night are made: those of another version are made again

NightlyCache = MutableMapping[bytes, np.ndarray]  # figures of one series and night, by all that they are made from


@dataclass(frozen=True)
class SeriesGrid:
    """Series without gaps in their index. `values`: float64 (series, n), NaN where there is none. `offset`: local time minus
    UTC in seconds, int64 (n,). `weekday`: local day of the week, Monday 0, int64 (n,). `seconds`: epoch, int64 (n,).
    `index`: the same instants, and `zone` whose clock is local, for a rule that works on pandas series.

    `since`: the buckets from this position on are asked for, those before are their past. `known`: figures of nights that
    were made before; None: nothing is kept.
    """

    values: np.ndarray
    step: int
    offset: np.ndarray
    weekday: np.ndarray
    seconds: np.ndarray
    index: pd.DatetimeIndex = field(repr=False)
    zone: str
    since: int = 0
    known: NightlyCache | None = field(default=None, repr=False)

    @classmethod
    def of(cls, series: pd.Series, zone: str) -> SeriesGrid:
        """Of one series. Raises ValueError when the index is not an ascending grid of aware times with one step."""
        return cls.at(series.index, series.to_numpy(float)[None, :], zone)

    @classmethod
    def at(cls, index: pd.Index, values: np.ndarray, zone: str, since: int = 0, known: NightlyCache | None = None) -> SeriesGrid:
        """Of many series (series, n) on one index. Raises ValueError as `of`."""
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            raise ValueError("a series to judge is indexed by aware times")
        seconds = index.as_unit("s").asi8
        steps = np.diff(seconds)
        if len(steps) and (steps[0] <= 0 or (steps != steps[0]).any()):
            raise ValueError("a series to judge has one row per bucket: put NaN where a bucket has no value")
        local = seconds + (offset := _offsets(index, seconds, zone))
        step = int(steps[0]) if len(steps) else 900
        return cls(values, step, offset, (local // DAY + 3) % 7, seconds, index, zone, since, known)

    @property
    def length(self) -> int:
        return self.values.shape[-1]

    @property
    def per_day(self) -> int:
        return max(1, DAY // self.step)

    @property
    def clocks(self) -> int:
        """Buckets by which a change of the clocks may move a lag: two hours."""
        return 2 * 3600 // min(self.step, 3600)

    @property
    def asked(self) -> np.ndarray:
        """Positions of the buckets that are asked for."""
        return np.arange(self.since, self.length)

    def beginnings(self, every: int = DAY) -> np.ndarray:
        """Positions of the first bucket of each local day (or of every so many seconds), but for the first of all."""
        return np.flatnonzero(np.diff((self.seconds + self.offset) // max(every, self.step))) + 1

    def due(self, at: np.ndarray, earlier: int = 0) -> np.ndarray:
        """Of the ascending positions those that hold for a bucket that is asked for, and so many before them."""
        return at[max(0, np.searchsorted(at, self.since, side="right") - 1 - earlier) :]

    def within(self, seconds: float) -> int:
        """That long in buckets, rounded, 0 for less than half of one."""
        return round(seconds / self.step)

    def buckets(self, length: timedelta) -> int:
        """That long in buckets, rounded up."""
        return -int(-length.total_seconds() // self.step)

    def lately(self, length: timedelta) -> SeriesGrid:
        """Without what lies further than that before the night before the first bucket that is asked for."""
        return self.cut(max(0, self.since - self.buckets(length) - 2 * self.per_day))

    def cut(self, first: int) -> SeriesGrid:
        """From that position on."""
        return replace(
            self,
            values=self.values[:, first:],
            offset=self.offset[first:],
            weekday=self.weekday[first:],
            seconds=self.seconds[first:],
            index=self.index[first:],
            since=max(0, self.since - first),
        )

    def only(self, which: np.ndarray) -> SeriesGrid:
        """Some of the series."""
        return self if len(which) == len(self.values) else replace(self, values=self.values[which])

    def all_of(self, other: SeriesGrid) -> bool:
        """It has all the series of the grid that it was made from by `only`."""
        return self.values.shape == other.values.shape

    def nightly(self, name: str, history: timedelta, make: Callable[[SeriesGrid, np.ndarray], np.ndarray]) -> np.ndarray:
        """(figures, series, n - since): what is refreshed every local night, held until the next.

        `make`: a grid and positions of nights -> (figures, series, nights), from values before each night only, of no more
        than `history`; the grid has `only` the series that are not known. What is `known` of the same past is not made again;
        `name` stands for all else that `make` knows.
        """
        nights = self.due(self.beginnings())
        figures = make(self, nights) if self.known is None else self._known(name, history, nights, make)
        at, which = self.asked, np.searchsorted(nights, self.asked, side="right") - 1
        if not len(nights):
            return np.full((len(figures), len(self.values), len(at)), np.nan)
        return np.where(which >= 0, figures[..., np.maximum(which, 0)], np.nan)

    def _known(
        self, name: str, history: timedelta, nights: np.ndarray, make: Callable[[SeriesGrid, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        assert self.known is not None
        keys = [[self._key(name, history, row, night) for night in nights] for row in self.values]
        new = np.array([i for i, row in enumerate(keys) if any(key not in self.known for key in row)], dtype=int)
        if len(new) or not len(keys) or not len(nights):
            made = make(replace(self.only(new), known=None), nights)
            for place, i in enumerate(new):
                self.known.update({key: made[:, place, j].copy() for j, key in enumerate(keys[i])})
            if len(new) == len(keys) or not len(nights):
                return made
        return np.array([[self.known[key] for key in row] for row in keys]).transpose(2, 0, 1)

    def _key(self, name: str, history: timedelta, values: np.ndarray, night: int) -> bytes:
        """Of all that a figure is made from: the values before the night, its instant, the clock, and `name`."""
        first = max(0, night - self.buckets(history))
        digest = hashlib.sha256(np.ascontiguousarray(values[first:night]).tobytes())
        clock = self.offset[first : night + 1]
        changes = np.flatnonzero(np.diff(clock))
        told = [NIGHTLY_VERSION, name, self.step, self.seconds[night], clock[-1], [(at, clock[at]) for at in changes.tolist()]]
        digest.update("|".join(map(str, told)).encode())
        return digest.digest()[:16]


def _offsets(index: pd.DatetimeIndex, seconds: np.ndarray, zone: str) -> np.ndarray:
    return index.tz_convert(zone).tz_localize(None).as_unit("s").asi8 - seconds
