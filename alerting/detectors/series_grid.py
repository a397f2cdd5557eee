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
from alerting.model.clock import standard_offset

HOUR, DAY = 3600, 86400  # seconds
NIGHTLY_VERSION = 5  # raise it when the computation of nightly statistics changes: cached ones are then computed again

NightlyCache = MutableMapping[bytes, np.ndarray]  # hash of all that went in -> the statistics of one series and night

Nightly = Callable[["SeriesGrid", np.ndarray], np.ndarray]  # grid, positions of midnights -> (statistics, series, midnights)


@dataclass(frozen=True)
class SeriesGrid:
    """Values of one or more series with one row per bucket.

    `index` and `seconds` are the same instants, as aware times and as epoch seconds. `zone` is the IANA name of the local clock:
    days, weekdays and times of day are local, and those of a bucket are those of its middle.
    """

    values: np.ndarray  # float64 (series, n), NaN where missing
    step: int  # seconds
    offset: np.ndarray  # int64 (n,), seconds from a bucket's start to the local time of its middle, see `middle_offsets`
    weekday: np.ndarray  # int64 (n,), local, Monday is 0
    seconds: np.ndarray  # int64 (n,)
    index: pd.DatetimeIndex = field(repr=False)  # for detectors that work on pandas series
    zone: str
    per_day: int  # buckets
    clock_change: int  # buckets by which a change of the clocks may move a lag: two hours
    since: int = 0  # position of the first requested bucket
    cache: NightlyCache | None = field(default=None, repr=False)  # None: nothing is cached
    counts: np.ndarray | None = None  # bool (series,): numbers of something, or their ratio; None: none is
    denominators: np.ndarray | None = field(default=None, repr=False)  # float64 (series, n): of ratios; NaN where unknown

    @classmethod
    def at(
        cls,
        index: pd.Index,
        values: np.ndarray,
        zone: str,
        since: int = 0,
        cache: NightlyCache | None = None,
        counts: np.ndarray | None = None,
        denominators: np.ndarray | None = None,
    ) -> SeriesGrid:
        """Return the grid of some series (series, n). Raises ValueError when `index` is not an ascending grid of aware times."""
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            raise ValueError("a series to judge is indexed by aware times")
        seconds = index.as_unit("s").asi8
        steps = np.diff(seconds)
        if len(steps) and (steps[0] <= 0 or (steps != steps[0]).any()):
            raise ValueError("a series to judge has one row per bucket: put NaN where a bucket has no value")
        step = int(steps[0]) if len(steps) else 900
        offset = middle_offsets(index, zone, step)
        per_day, clock_change = max(1, DAY // step), 2 * HOUR // min(step, HOUR)
        weekday = ((seconds + offset) // DAY + 3) % 7
        return cls(
            values,
            step,
            offset,
            weekday,
            seconds,
            index,
            zone,
            per_day,
            clock_change,
            since,
            cache,
            counts,
            denominators,
        )

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
            denominators=None if self.denominators is None else self.denominators[:, first:],
        )

    def select(self, which: np.ndarray) -> SeriesGrid:
        """Return the grid of some of the series, by their positions (ascending)."""
        if len(which) == len(self.values):
            return self
        counts = None if self.counts is None else self.counts[which]
        denominators = None if self.denominators is None else self.denominators[which]
        return replace(self, values=self.values[which], counts=counts, denominators=denominators)

    @property
    def is_count(self) -> np.ndarray:
        """Return (series,) bool: counts and ratios of counts."""
        return np.zeros(len(self.values), bool) if self.counts is None else self.counts

    @property
    def trials(self) -> np.ndarray:
        """Return (series, n): the denominator of a ratio; 1 for other values, and for a ratio without one."""
        if self.denominators is None:
            return np.ones(self.values.shape)
        known = np.isfinite(self.denominators).any(axis=1)[:, None]
        return np.where(known, np.nan_to_num(self.denominators), 1.0)

    def nightly(self, name: str, history: timedelta, compute: Nightly) -> np.ndarray:
        """Return (statistics, series, n - since): statistics that are computed every local midnight and used until the next."""
        nights = self.starts()
        return hold_until_next(self.statistics_at(nights, name, history, compute), nights, len(self), self.since)

    def statistics_at(self, nights: np.ndarray, name: str, history: timedelta, compute: Nightly) -> np.ndarray:
        """Return (statistics, series, nights) of positions at which a local day begins.

        `compute` takes a grid (only the series that are absent from the cache) and the positions of midnights, and returns
        (statistics, series, midnights), from no more than `history` before each midnight. `name` must identify all
        other inputs, such as the detector's parameters.
        """
        uncached = replace(self, cache=None)
        if self.cache is None or not len(nights) or not len(self.values):
            return compute(uncached, nights)

        keys = [[self._key(name, history, row, night) for night in nights] for row in range(len(self.values))]
        absent = np.array([[key not in self.cache for key in row] for row in keys])
        series, when = (np.flatnonzero(absent.any(axis=axis)) for axis in (1, 0))
        if len(series):
            computed = compute(uncached.select(series), nights[when])
            for row, i in enumerate(series):
                self.cache.update({keys[i][j]: computed[:, row, k].copy() for k, j in enumerate(when)})
        return np.array([[self.cache[key] for key in row] for row in keys]).transpose(2, 0, 1)

    def _key(self, name: str, history: timedelta, row: int, night: int) -> bytes:
        """Return the hash of a series' values before the night, its instant, the local clock and `name`."""
        first = max(0, night + int(-history.total_seconds() // self.step))
        digest = hashlib.sha256(np.ascontiguousarray(self.values[row, first:night]).tobytes())
        if self.denominators is not None:
            digest.update(np.ascontiguousarray(self.denominators[row, first:night]).tobytes())
        clock = self.offset[first : night + 1]
        changes = [(at, clock[at]) for at in np.flatnonzero(np.diff(clock)).tolist()]
        parts = [NIGHTLY_VERSION, name, self.step, self.seconds[night], clock[-1], changes, bool(self.is_count[row])]
        digest.update("|".join(map(str, parts)).encode())
        return digest.digest()[:16]


def middle_offsets(index: pd.DatetimeIndex, zone: str, step: int) -> np.ndarray:
    """Return int64 (n,): seconds from the start of each bucket to the local time of its middle.

    A change of the clocks moves buckets by whole ones only, rounded: those of a day or of six hours by none.
    """
    offset = index.tz_convert(zone).tz_localize(None).as_unit("s").asi8 - index.as_unit("s").asi8
    standard = int(standard_offset(zone).total_seconds())
    return standard + np.rint((offset - standard) / step).astype(np.int64) * step + step // 2
