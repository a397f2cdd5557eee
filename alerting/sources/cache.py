"""A source in front of another that reads closed buckets once: a fetch reads what is new and what may still change.

Buckets are cached when they are final: older than `mutable`, by the clock and by the newest row. Newer ones are read each time.
The first fill, and what a long gap has left out, is read in parts that grow while they are quick.
At each fetch one hour of the cache is compared with the source. A difference is reported, and the cache is read anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from alerting.model.clock import DAY, EPOCH, first_bucket, iso_text
from alerting.model.errors import StoreError
from alerting.model.metric import Query
from alerting.model.protocols import HistoryCache, Source
from alerting.model.run import CachedSpan, Progress

VERSION = 1  # of the cached counts: raise it when answers are read in another way
WEEK = timedelta(days=7)
FIRST_PART, LONGEST_PART = DAY, 4 * WEEK
SLOW = 2.0  # seconds: a part that takes longer is followed by a shorter one
GROWTH = 4  # a quick part is followed by one of so many times its length
MAX_VALUES = 500_000  # in a part, beyond which parts do not grow
SAMPLE = 4  # buckets that a fetch compares with the source
TOLERANCE = 1e-9  # relative difference up to which two numbers are the same


@dataclass
class CachedSource:
    """A source (see `model.protocols.Source`) in front of another.

    `identity`: query name -> what else the counts depend on, such as server and table. `mutable`: the age from which a bucket
    is final. `report` gets a line now and then while much is read; where `progress` is set, that gets the query, the days read
    so far and the days in all instead. `loud`: notes that the run's last line repeats; times in notes are those of `zone`.
    """

    source: Source
    history: HistoryCache
    identity: Callable[[str], str]
    mutable: timedelta = timedelta(hours=6)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    report: Callable[[str | Progress], None] = lambda line: None
    progress: Callable[[str, float, float], None] | None = None
    zone: str = "UTC"
    loud: list[str] = field(default_factory=list, init=False)
    _notes: list[str] = field(default_factory=list, init=False)

    @property
    def notes(self) -> list[str]:
        """The source's notes, and those about the cache."""
        return [*self.source.notes, *self._notes]

    @property
    def runs_sql(self) -> bool:
        return self.source.runs_sql

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the rows from the source: only counts are cached."""
        return self.source.rows(query, start, end)

    def now(self) -> datetime:
        return self.source.now()

    def ends(self) -> dict[str, datetime]:
        return self.source.ends()

    def gone(self) -> frozenset[str]:
        return self.source.gone()

    def close(self) -> None:
        self.source.close()

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return counts per bucket, float64, equal to those of the source to the last digit (see `model.protocols.Source`).

        A bucket with nothing but NaN may be left out. Raises SourceError.
        """
        if start.tzinfo is None or end.tzinfo is None:
            return self.source.fetch(query, start, end).astype(float)
        # As if its buckets began at the epoch: so the history cache has them
        start, end = (first_bucket(at - query.phase, query.step) for at in (start, end))
        window = (start + query.phase, end + query.phase)
        if start >= end:
            return self.source.fetch(query, *window).astype(float)
        key, parts = self._key(query), list[pd.DataFrame]()
        try:
            span, begin = self.history.cached_span(key), start
            if span and end < span.start:  # an old window, with a gap between it and the cache
                return self.source.fetch(query, *window).astype(float)
            if span and start > span.until:  # the first run after a very long time
                self.history.drop(key)
            elif span:
                parts, begin = self._read_cached(key, query, span, start, end), max(start, span.until)
            if begin < end:
                parts.append(self._read_forward(key, query, begin, end))
        except StoreError as error:
            self._notes.append(f"history of {query.name}: read from the source, as what is held cannot be used: {error}")
            return self.source.fetch(query, *window).astype(float)
        return moved(join_counts(parts), query.phase)

    def _key(self, query: Query) -> str:
        """Return a hash of all that a count depends on: an edited query has a history of its own."""
        parts = [VERSION, self.identity(query.name), query.name, query.sql, query.step.total_seconds()]
        parts += [query.zone] if query.zone not in ("", "UTC") else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _read_cached(self, key: str, query: Query, span: CachedSpan, start: datetime, end: datetime) -> list[pd.DataFrame]:
        """Return the counts of the window up to the end of the cache. It is compared with the source, and extended backward."""
        first, last = max(start, span.start), min(end, span.until)
        change = self._compare_sample(key, query, span, first, last)
        if change and not self._rebuilt_lately(span):
            parts = [self._rebuild(key, query, span, first, last, change)]
        else:
            parts = [self.history.read(key, first, last)]
        for left, right, counts in self._parts(query, start, span.start, backward=True):
            self._cache(key, query, counts, left, right)
            parts.insert(0, counts)
        return parts

    def _cache(self, key: str, query: Query, counts: pd.DataFrame, start: datetime, until: datetime) -> None:
        """Cache the counts of start <= bucket < until; an empty span marks the cache as in use."""
        self.history.extend(key, query.name, counts, CachedSpan(start, until, query.step), self.clock())

    # Reading the source: in parts, which are cached one by one, so that a run that is killed loses only the last.

    def _read_forward(self, key: str, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the counts of the window, and cache its final buckets. The cache, if there is one, ends at `start`."""
        parts, waiting, begin = list[pd.DataFrame](), list[pd.DataFrame](), start
        for _, last, counts in self._parts(query, start, end):
            parts.append(counts)
            waiting.append(counts)
            newest = counts.index[-1].to_pydatetime() if len(counts) else begin  # more rows of that bucket may come
            final = min(self.clock(), newest) - self.mutable
            until = min(last, EPOCH + (final - EPOCH) // query.step * query.step)
            if until > begin:
                unfinished = join_counts(waiting)
                self._cache(key, query, unfinished, begin, until)
                begin, waiting = until, [unfinished[unfinished.index >= until]]
        if begin == start:  # no final bucket
            self._cache(key, query, join_counts(parts), start, start)
        return join_counts(parts)

    def _parts(
        self, query: Query, start: datetime, end: datetime, backward: bool = False
    ) -> Iterator[tuple[datetime, datetime, pd.DataFrame]]:
        """Yield start, end and counts of one part of the window after the other, longer while they are quick and small."""
        length, left, began = -(-FIRST_PART // query.step) * query.step, (start, end), time.monotonic()
        while left[0] < left[1]:
            first, last = (max(left[0], left[1] - length), left[1]) if backward else (left[0], min(left[1], left[0] + length))
            part_began = time.monotonic()
            counts = moved(self.source.fetch(query, first + query.phase, last + query.phase), -query.phase)
            yield first, last, counts
            left = (left[0], first) if backward else (last, left[1])
            seconds = time.monotonic() - part_began
            if seconds < SLOW / GROWTH and counts.size < MAX_VALUES / GROWTH:
                length = min(length * GROWTH, max(LONGEST_PART, length))
            elif seconds > SLOW:
                length = max(-(-length / GROWTH // query.step), 1) * query.step

            if end - start > WEEK:
                days, days_left = (end - start) / DAY, (left[1] - left[0]) / DAY
                if self.progress:
                    self.progress(query.name, days - days_left, days)
                elif time.monotonic() - began > SLOW:
                    self.report(Progress(query.name, days - days_left, days))

    # Checking the cache against the source.

    def _compare_sample(self, key: str, query: Query, span: CachedSpan, start: datetime, end: datetime) -> str:
        """Read one hour of the window again, half of the times from its newest week. Return what changed, "" for nothing."""
        if end - start < SAMPLE * query.step:
            return ""
        digest = int(hashlib.sha256(f"{key}{end.timestamp()}{span.until.timestamp()}".encode()).hexdigest(), 16)
        first = max(start, end - WEEK) if digest % 2 else start
        begin = first + (digest // 2) % ((end - first) // query.step - SAMPLE + 1) * query.step
        until = begin + SAMPLE * query.step
        now = moved(self.source.fetch(query, begin + query.phase, until + query.phase), -query.phase)
        then = self.history.read(key, begin, until)
        change = first_difference(then, now, self.zone)
        gone = then.index.difference(now.index)
        if not change and len(gone):
            # Where the source still has older rows, these were deleted, and not for their age.
            deleted = gone[0].to_pydatetime()
            past = self.history.read(key, span.start, deleted)
            oldest = past.index[0].to_pydatetime() + query.phase if len(past) else None
            if oldest and len(self.source.fetch(query, oldest, min(oldest + DAY, deleted + query.phase))):
                change = f"{iso_text(deleted, self.zone)} has no rows any more"
        if change and self._rebuilt_lately(span):
            self._cache(key, query, now, begin, until)
            advice = "that hour is held anew; if rows come so late, raise ALERTING_MUTABLE"
            self._notes.append(f"history of {query.name}: again {change}; {advice}")
        return change

    def _rebuilt_lately(self, span: CachedSpan) -> bool:
        """Return whether it was read anew within a day: a source whose answers vary must not be read whole by every run."""
        return span.rebuilt is not None and timedelta() <= self.clock() - span.rebuilt < DAY

    def _rebuild(self, key: str, query: Query, span: CachedSpan, start: datetime, end: datetime, change: str) -> pd.DataFrame:
        """Read the window anew, in place, and return it. Buckets from before the source's first row are kept from the cache."""
        text = f"THE HISTORY OF {query.name} WAS READ ANEW, as what was held is not what the source says: {change}."
        self._notes.append(text)
        self.loud.append(text)
        self.report(text)
        old, parts, begin = self.history.read(key, start, end), list[pd.DataFrame](), end
        for left, right, counts in self._parts(query, start, end):
            parts.append(counts)
            begin = min(begin, counts.index[0].to_pydatetime()) if len(counts) else begin
            if begin < right:
                self._cache(key, query, counts, max(left, begin), right)
        now = self.clock()
        self.history.extend(key, query.name, old.iloc[:0], CachedSpan(span.until, span.until, query.step, rebuilt=now), now)
        return join_counts([old[old.index < begin], *parts])


def moved(counts: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    """Return the counts with their buckets moved: by minus the query's phase, they begin at the epoch."""
    return counts.set_axis(counts.index + by) if by else counts


def join_counts(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the parts one after the other, float64; of parts without rows the last, for its columns."""
    filled = [part for part in parts if len(part)] or parts[-1:]
    return (filled[0] if len(filled) == 1 else pd.concat(filled)).astype(float)


def first_difference(then: pd.DataFrame, now: pd.DataFrame, zone: str = "UTC") -> str:
    """Return the first count that differs, as text with the time in `zone`; "" for none. Only buckets of `now` are compared."""
    columns = then.columns.union(now.columns)
    old = then.reindex(index=now.index, columns=columns).to_numpy(float)
    new = now.reindex(columns=columns).to_numpy(float)
    same = np.isclose(old, new, rtol=TOLERANCE, atol=0, equal_nan=True)
    if same.all():
        return ""
    row, column = np.argwhere(~same)[0]
    place = f"{columns[column]} at {iso_text(now.index[row].to_pydatetime(), zone)}"
    return f"{place} was {old[row, column]:.15g} and is {new[row, column]:.15g}"
