"""Series on one grid of times, and statistics that are computed once a night.

A detector judges the buckets from `since` on; the values before them are their past. Positions count buckets from the start of
the grid, time spans are seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.windows import hold_until_next

HOUR, DAY = 3600, 86400  # seconds
NIGHTLY_VERSION = 1  # raise it when the computation of nightly statistics changes: cached ones are then computed again

NightlyCache = MutableMapping[bytes, np.ndarray]  # hash of all that went in -> the statistics of one series and night


@dataclass(frozen=True)
class SeriesGrid:
    """Values of one or more series with one row per bucket.

    `index` and `seconds` are the same instants, as aware times and as epoch seconds. `zone` is the IANA name of the local clock:
    days, weekdays and times of day are local.
    """

    values: np.ndarray  # float64 (series, n), NaN where missing
    step: int  # seconds
    offset: np.ndarray  # int64 (n,), seconds from UTC to local time
    weekday: np.ndarray  # int64 (n,), local, Monday is 0
    seconds: np.ndarray  # int64 (n,)
    index: pd.DatetimeIndex = field(repr=False)  # for detectors that work on pandas series
    zone: str
    per_day: int  # buckets
    clock_change: int  # buckets by which a change of the clocks may move a lag: two hours
    since: int = 0  # position of the first requested bucket
    cache: NightlyCache | None = field(default=None, repr=False)  # None: nothing is cached

    @classmethod
    def at(cls, index: pd.Index, values: np.ndarray, zone: str, since: int = 0, cache: NightlyCache | None = None) -> SeriesGrid:
        """Return the grid of some series (series, n). Raises ValueError when `index` is not an ascending grid of aware times."""
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            raise ValueError("a series to judge is indexed by aware times")
        seconds = index.as_unit("s").asi8
        steps = np.diff(seconds)
        if len(steps) and (steps[0] <= 0 or (steps != steps[0]).any()):
            raise ValueError("a series to judge has one row per bucket: put NaN where a bucket has no value")
        local = index.tz_convert(zone).tz_localize(None).as_unit("s").asi8
        step = int(steps[0]) if len(steps) else 900
        per_day, clock_change = max(1, DAY // step), 2 * HOUR // min(step, HOUR)
        weekday = (local // DAY + 3) % 7
        return cls(values, step, local - seconds, weekday, seconds, index, zone, per_day, clock_change, since, cache)

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def requested(self) -> np.ndarray:
        """The positions of the requested buckets."""
        return np.arange(self.since, len(self))

    def within(self, seconds: float) -> int:
        """Return the number of buckets in a time span, rounded: 0 for less than half a bucket."""
        return round(seconds / self.step)

    def starts(self, every: int = DAY, weekday: int | None = None, earlier: int = 0) -> np.ndarray:
        """Return the positions at which a local day (or every `every` seconds) begins, the grid's first bucket left out.

        Only those that the requested buckets need: from the last one at or before `since`, and `earlier` more before it.
        """
        found = np.flatnonzero(np.diff((self.seconds + self.offset) // max(every, self.step))) + 1
        if weekday is not None:
            found = found[self.weekday[found] == weekday]
        return found[max(0, np.searchsorted(found, self.since, side="right") - 1 - earlier) :]

    def with_history(self, length: timedelta) -> SeriesGrid:
        """Return the grid without history older than `length` before the last midnight before `since`."""
        buckets = -int(-length.total_seconds() // self.step)
        first = max(0, self.since - buckets - 2 * self.per_day)
        return replace(
            self,
            values=self.values[:, first:],
            offset=self.offset[first:],
            weekday=self.weekday[first:],
            seconds=self.seconds[first:],
            index=self.index[first:],
            since=max(0, self.since - first),
        )

    def select(self, which: np.ndarray) -> SeriesGrid:
        """Return the grid of some of the series, by their positions (ascending)."""
        return self if len(which) == len(self.values) else replace(self, values=self.values[which])

    def nightly(self, name: str, history: timedelta, compute: Callable[[SeriesGrid, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return (statistics, series, n - since): statistics that are computed every local midnight and used until the next.

        `compute` takes a grid (only the series that are absent from the cache) and the positions of midnights, and returns
        (statistics, series, midnights), from no more than `history` before each midnight. `name` must identify all
        other inputs, such as the detector's parameters.
        """
        nights, uncached = self.starts(), replace(self, cache=None)
        if self.cache is None or not len(nights) or not len(self.values):
            return hold_until_next(compute(uncached, nights), nights, len(self), self.since)

        keys = [[self._key(name, history, row, night) for night in nights] for row in self.values]
        absent = np.array([i for i, row in enumerate(keys) if any(key not in self.cache for key in row)], dtype=int)
        if len(absent):
            computed = compute(uncached.select(absent), nights)
            for row, i in enumerate(absent):
                self.cache.update({key: computed[:, row, j].copy() for j, key in enumerate(keys[i])})
        statistics = np.array([[self.cache[key] for key in row] for row in keys]).transpose(2, 0, 1)
        return hold_until_next(statistics, nights, len(self), self.since)

    def _key(self, name: str, history: timedelta, values: np.ndarray, night: int) -> bytes:
        """Return the hash of the values before the night, its instant, the local clock and `name`."""
        first = max(0, night + int(-history.total_seconds() // self.step))
        digest = hashlib.sha256(np.ascontiguousarray(values[first:night]).tobytes())
        clock = self.offset[first : night + 1]
        changes = [(at, clock[at]) for at in np.flatnonzero(np.diff(clock)).tolist()]
        parts = [NIGHTLY_VERSION, name, self.step, self.seconds[night], clock[-1], changes]
        digest.update("|".join(map(str, parts)).encode())
        return digest.digest()[:16]
