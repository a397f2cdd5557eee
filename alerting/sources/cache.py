"""A source in front of another one, which reads closed buckets once: a fetch reads new buckets and those that may still change.

Buckets are cached when they are final: older than `mutable`, by the clock and by the newest row. Newer ones are read each time.
The first fill, and a long gap, are read in parts, which become longer while they are quick. Each fetch compares one hour of the
cache with the source. A difference is reported, and the cache is read again.
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

VERSION = 1  # version of the cached counts; increase it if answers are decoded in another way
WEEK = timedelta(days=7)
FIRST_PART, LONGEST_PART = DAY, 4 * WEEK
SLOW = 2.0  # seconds: a part that takes longer is followed by a shorter one
GROWTH = 4  # the part after a quick one is longer by this factor
MAX_VALUES = 500_000  # parts do not grow beyond this many values
SAMPLE = 4  # buckets that a fetch compares with the source
TOLERANCE = 1e-9  # relative difference up to which two numbers are the same


@dataclass
class CachedSource:
    """A source (see `model.protocols.Source`) in front of another.

    `identity`: query name -> text of all else that the counts depend on, such as server and table. `mutable`: the age at which a
    bucket is final. `report`: called with a line now and then during a long read. `progress`: if set, called instead with query,
    days read so far, days in all. `loud`: notes that the last line of the run repeats. Times in notes are local times of `zone`.
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
        """Return counts per bucket, float64, exactly equal to those of the source (see `model.protocols.Source`).

        A bucket with only NaN may be left out. Raises SourceError.
        """
        if start.tzinfo is None or end.tzinfo is None:
            return self.source.fetch(query, start, end).astype(float)
        # Buckets are moved as if they began at the epoch, because the history cache stores them like that
        start, end = (first_bucket(at - query.phase, query.step) for at in (start, end))
        window = (start + query.phase, end + query.phase)
        if start >= end:
            return self.source.fetch(query, *window).astype(float)
        key, parts = self._key(query), list[pd.DataFrame]()
        try:
            span, begin = self.history.cached_span(key), start
            if span and end < span.start:  # an old window that does not touch the cached span
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
        """Return a hash of everything that a count depends on. An edited query therefore has another history."""
        parts = [VERSION, self.identity(query.name), query.name, query.sql, query.step.total_seconds()]
        parts += [query.zone] if query.zone not in ("", "UTC") else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _read_cached(self, key: str, query: Query, span: CachedSpan, start: datetime, end: datetime) -> list[pd.DataFrame]:
        """Return the counts of the window up to the end of the cache, which is compared with the source and extended backward."""
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

    # Reading the source in parts. Each is cached at once, so that a run that is killed loses only the last part.

    def _read_forward(self, key: str, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the counts of the window, and cache its final buckets. If there is a cache, it ends at `start`."""
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
        """Yield start, end and counts of the parts of the window. They become longer while they are quick and small."""
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
        """Read one hour of the window again (half of the time from its newest week). Return the change as text; "" for none."""
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
            # If the source still has older rows, these were not deleted because of their age.
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
        """Return whether it was read again within a day: if answers vary, not every run may read the whole history."""
        return span.rebuilt is not None and timedelta() <= self.clock() - span.rebuilt < DAY

    def _rebuild(self, key: str, query: Query, span: CachedSpan, start: datetime, end: datetime, change: str) -> pd.DataFrame:
        """Read the window again, replace the cache, and return the counts. Buckets before the source's first row are kept."""
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
    """Return the counts with their buckets moved `by`. Moved by minus the phase of the query, they begin at the epoch."""
    return counts.set_axis(counts.index + by) if by else counts


def join_counts(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the parts as one frame, float64. If all are empty, return the last one, which has the columns."""
    filled = [part for part in parts if len(part)] or parts[-1:]
    return (filled[0] if len(filled) == 1 else pd.concat(filled)).astype(float)


def first_difference(then: pd.DataFrame, now: pd.DataFrame, zone: str = "UTC") -> str:
    """Return the first count that differs, as text with local time of `zone`; "" for none. Only buckets of `now` are compared."""
    columns = then.columns.union(now.columns)
    old = then.reindex(index=now.index, columns=columns).to_numpy(float)
    new = now.reindex(columns=columns).to_numpy(float)
    same = np.isclose(old, new, rtol=TOLERANCE, atol=0, equal_nan=True)
    if same.all():
        return ""
    row, column = np.argwhere(~same)[0]
    place = f"{columns[column]} at {iso_text(now.index[row].to_pydatetime(), zone)}"
    return f"{place} was {old[row, column]:.15g} and is {new[row, column]:.15g}"
