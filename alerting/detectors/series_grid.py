"""Series on one grid of times, statistics that are computed once a night, and what is usual at a time of day.

A detector judges the buckets from `since` on; the values before them are their past. Positions count buckets from the start of
the grid, time spans are seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from alerting.detectors.windows import CHUNK_ROWS, hold_until_next, max_around, quantiles, run_lengths
from alerting.model.clock import standard_offset

HOUR, DAY = 3600, 86400  # seconds
NIGHTLY_VERSION = 5  # raise it when the computation of nightly statistics changes: cached ones are then computed again
GAP_DAYS = 14
GAP_QUANTILE = 0.9  # one day of ten may have a longer gap than the usual one
GAP_WINDOW = 7200  # seconds before and after this time of day

BandColumns = dict[str, np.ndarray | str]  # column -> (series, buckets), or one word for all buckets
NightlyCache = MutableMapping[bytes, np.ndarray]  # hash of all that went in -> the statistics of one series and night
AtPositions = Callable[[np.ndarray], np.ndarray]  # ascending positions (k,) -> (..., k, lags)


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
    is_count: np.ndarray  # bool (series,): numbers of something, or their ratio
    since: int = 0  # position of the first requested bucket
    cache: NightlyCache | None = field(default=None, repr=False)  # None: nothing is cached
    denominators: np.ndarray | None = field(default=None, repr=False)  # float64 (series, n): of ratios; NaN where unknown
    holidays: frozenset[date] = frozenset()  # local dates

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
        holidays: frozenset[date] = frozenset(),
    ) -> SeriesGrid:
        """Return the grid of some series (series, n); `counts`: see `is_count`, None: none is.

        Raises ValueError when `index` is not an ascending grid of aware times.
        """
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
        is_count = np.zeros(len(values), bool) if counts is None else counts
        clock = (step, offset, weekday, seconds, index, zone, per_day, clock_change)
        return cls(values, *clock, is_count, since, cache, denominators, holidays)

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def requested(self) -> np.ndarray:
        """The positions of the requested buckets."""
        return np.arange(self.since, len(self.seconds))

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

    def until(self, end: int, values: np.ndarray, since: int) -> SeriesGrid:
        """Return the grid up to position `end`, with these values (series, end), and requested from `since` on."""
        return replace(
            self,
            values=values,
            offset=self.offset[:end],
            weekday=self.weekday[:end],
            seconds=self.seconds[:end],
            index=self.index[:end],
            since=since,
            denominators=None if self.denominators is None else self.denominators[:, :end],
        )

    def select(self, which: np.ndarray) -> SeriesGrid:
        """Return the grid of some of the series, by their positions (ascending)."""
        if len(which) == len(self.values):
            return self
        denominators = None if self.denominators is None else self.denominators[which]
        return replace(self, values=self.values[which], is_count=self.is_count[which], denominators=denominators)

    @property
    def trials(self) -> np.ndarray:
        """Return (series, n): the denominator of a ratio; 1 for other values, and for a ratio without one."""
        if self.denominators is None:
            return np.ones(self.values.shape)
        known = np.isfinite(self.denominators).any(axis=1)[:, None]
        return np.where(known, np.nan_to_num(self.denominators), 1.0)


def series_columns(columns: BandColumns, series: int) -> BandColumns:
    """Return the columns of one series: (buckets,) each, or the word."""
    return {name: column if isinstance(column, str) else column[series] for name, column in columns.items()}


def middle_offsets(index: pd.DatetimeIndex, zone: str, step: int) -> np.ndarray:
    """Return int64 (n,): seconds from the start of each bucket to the local time of its middle.

    A change of the clocks moves buckets by whole ones only, rounded: those of a day or of six hours by none.
    """
    offset = index.tz_convert(zone).tz_localize(None).as_unit("s").asi8 - index.as_unit("s").asi8
    standard = int(standard_offset(zone).total_seconds())
    return standard + np.rint((offset - standard) / step).astype(np.int64) * step + step // 2


class Nightly:
    """Statistics that are computed every local midnight and used until the next.

    Those of `grid` (only the series) and `nights` (positions of midnights) are `absent` from the cache: add them, from no more
    than `history` before each midnight. `name` must identify all other inputs, such as the detector's parameters.
    """

    def __init__(self, grid: SeriesGrid, name: str, history: timedelta, nights: np.ndarray | None = None) -> None:
        """Look up the statistics of the series and of `nights` (None: those that the requested buckets need)."""
        self.nights = self._nights = grid.starts() if nights is None else nights
        self.grid, self._whole, self._keys = replace(grid, cache=None), grid, list[list[bytes]]()
        self.absent = True
        if grid.cache is not None and len(self.nights) and len(grid.values):
            self._keys = self._hashes(name, history)
            absent = np.array([[key not in grid.cache for key in row] for row in self._keys])
            self._series, self._when = (np.flatnonzero(absent.any(axis=axis)) for axis in (1, 0))
            self.absent, self.nights = bool(absent.any()), self.nights[self._when]
            self.grid = self.grid.select(self._series)

    def add(self, computed: np.ndarray) -> None:
        """Take the statistics (statistics, series, midnights) of `grid` and `nights`."""
        self._computed = computed
        if self._whole.cache is not None and self._keys:
            for row, i in enumerate(self._series):
                self._whole.cache.update({self._keys[i][j]: computed[:, row, k].copy() for k, j in enumerate(self._when)})

    @property
    def statistics(self) -> np.ndarray:
        """The statistics of all series and nights: (statistics, series, nights)."""
        if self._whole.cache is None or not self._keys:
            return self._computed
        return np.array([[self._whole.cache[key] for key in row] for row in self._keys]).transpose(2, 0, 1)

    def held(self) -> np.ndarray:
        """Return (statistics, series, n - since): those of each requested bucket."""
        return hold_until_next(self.statistics, self._nights, len(self._whole), self._whole.since)

    def _hashes(self, name: str, history: timedelta) -> list[list[bytes]]:
        """Return for each series and night the hash of its values before it, its instant, the local clock and `name`."""
        grid, out = self._whole, [list[bytes]() for _ in self._whole.values]
        for night in self._nights:
            first = max(0, night + int(-history.total_seconds() // grid.step))
            clock = grid.offset[first : night + 1]
            changes = [(at, clock[at]) for at in np.flatnonzero(np.diff(clock)).tolist()]
            common = "|".join(map(str, (NIGHTLY_VERSION, name, grid.step, grid.seconds[night], clock[-1], changes)))
            for row, keys in enumerate(out):
                digest = hashlib.sha256(np.ascontiguousarray(grid.values[row, first:night]).tobytes())
                if grid.denominators is not None:
                    digest.update(np.ascontiguousarray(grid.denominators[row, first:night]).tobytes())
                digest.update(f"{common}|{bool(grid.is_count[row])}".encode())
                keys.append(digest.digest()[:16])
        return out


# What is usual at a time of day: the values at the same local time on earlier days.


def day_lags(grid: SeriesGrid, days: int, apart: int = 1) -> np.ndarray:
    """Return (k,) int64: how many buckets ago, rounded, the same time was on each of the last `days` days (or on every
    `apart`-th of them)."""
    return (np.arange(apart, days + 1, apart) * DAY + grid.step // 2) // grid.step


def at_lags(grid: SeriesGrid, x: np.ndarray, lags: np.ndarray) -> AtPositions:
    """Return a function: ascending positions (k,) -> (..., k, len(lags)), `x` (..., n) that many buckets earlier.

    Lags follow local time. NaN before the start.
    """
    pad = int(lags.max()) + grid.clock_change
    padded = np.concatenate([np.full((*x.shape[:-1], pad), np.nan), x], axis=-1)

    def by_utc(at: np.ndarray) -> np.ndarray:
        now = at + pad
        out = np.empty((*padded.shape[:-1], len(at), len(lags)))
        contiguous = len(at) > 0 and now[-1] - now[0] == len(at) - 1  # a slice is quicker than a list of positions
        for j, lag in enumerate(lags):
            out[..., j] = padded[..., now[0] - lag : now[-1] + 1 - lag] if contiguous else padded[..., now - lag]
        return out

    if (grid.offset == grid.offset[:1]).all():
        return by_utc
    offset = np.r_[np.full(pad, grid.offset[0]), grid.offset]

    def by_local_time(at: np.ndarray) -> np.ndarray:
        """Move each lag by the difference of the two buckets' UTC offsets."""
        now = at[:, None] + pad
        then = now - lags
        moved = then + (offset[now] - offset[then]) // grid.step
        return padded[..., np.clip(np.minimum(moved, now - 1), 0, None)]

    return by_local_time


def slot_quantile(
    grid: SeriesGrid, x: np.ndarray, days: int, share: float, at: np.ndarray | None = None, by_kind: bool = False
) -> np.ndarray:
    """Return (..., n): quantile `share` of `x` (..., n) at the same local time of the `days` days before.

    Only at the positions `at` (None: those of the requested buckets); NaN elsewhere. `by_kind`: of the days of the same kind,
    working days or days off, where three of them have a value.
    """
    lags, out = day_lags(grid, days), np.full(x.shape, np.nan)
    rows = at_lags(grid, x, lags)
    at = grid.requested if at is None else at
    for first in range(0, len(at), CHUNK_ROWS):
        part = at[first : first + CHUNK_ROWS]
        past = rows(part)
        kin = np.where(same_kind_of_day(grid, lags, part), past, np.nan) if by_kind else past
        found = quantiles(kin, share, min_values=3 if by_kind else 1)[0]
        if by_kind and (unknown := np.isnan(found)).any():
            found[unknown] = quantiles(past[unknown], share)[0]
        out[..., part] = found
    return out


def usual_gap(grid: SeriesGrid) -> np.ndarray:
    """Return (series, n - since): the length in buckets of a usual gap around this local time; 0 without earlier days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros((len(missing), len(grid) - grid.since))
    recent = grid.with_history(timedelta(days=GAP_DAYS, seconds=GAP_WINDOW))
    lengths = np.where((~missing).cumsum(axis=1) > 0, run_lengths(missing), np.nan)  # before its first value a series has no gap
    lengths = lengths[:, len(grid) - len(recent) :]
    longest = max_around(lengths, grid.within(GAP_WINDOW))
    usual = slot_quantile(recent, longest, GAP_DAYS, GAP_QUANTILE)
    return np.ceil(np.nan_to_num(usual[:, recent.since :]))


def same_kind_of_day(grid: SeriesGrid, lags: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return bool (len(at), len(lags)): whether the lag leads from the position to the same kind of day.

    There are two kinds: working days, and Saturdays with Sundays.
    """
    today = np.arange(7)[:, None]
    then = (today - np.round(lags * grid.step / DAY).astype(int)) % 7
    return ((today >= 5) == (then >= 5))[grid.weekday[at]]
