"""A source whose past is read once: closed buckets are held, and a fetch asks for what is new and for what may still change.

Held is what was over `mutable` before it was read, by the clock and by the newest row there was; all later buckets are read
again each time. What is held for the first time, and what a long gap has left out, is read in parts that grow while they are
quick. One hour of what is held is compared with the source at each fetch: one that differs is read anew, and said.
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

from alerting.model.errors import StoreError
from alerting.model.metric import Query
from alerting.model.protocols import HistoryCache, Source
from alerting.model.run import CachedSpan, Progress

VERSION = 1  # of what is held: how answers are read
QUICK = 2.0  # seconds that a part may take, and still be followed by a longer one
GROWTH = 4
FIRST, LONGEST = timedelta(days=1), timedelta(days=28)  # of the parts
ROWS = 500_000  # values in a part, beyond which it does not grow
SAMPLE = 4  # buckets compared at a fetch
WEEK, DAY = timedelta(days=7), timedelta(days=1)


@dataclass
class CachedSource:
    """A source (see `model.Source`) over another. `identity`: what else the answers depend on, such as server and table.

    `tell` is given a line now and then while much is read; or, where there is one, `progress` the query, the days that are read
    and how many there are. `loud`: what the run's last line has to say, too.
    """

    source: Source
    history: HistoryCache
    identity: Callable[[str], str]
    mutable: timedelta = timedelta(hours=6)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    tell: Callable[[str | Progress], None] = lambda said: None
    progress: Callable[[str, float, float], None] | None = None
    said: list[str] = field(default_factory=list)
    loud: list[str] = field(default_factory=list)

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket, float64 (see `model.Source`): to the last digit those that the source gives. A bucket of nothing
        but NaN may be left out. Raises SourceError."""
        if start.tzinfo is None or end.tzinfo is None or start >= end:
            return self.source.fetch(query, start, end).astype(float)
        try:
            return self._fetched(self._key(query), query, round_up(start, query.step), round_up(end, query.step))
        except StoreError as error:
            self.said.append(f"history of {query.name}: read from the source, as what is held cannot be used: {error}")
            return self.source.fetch(query, start, end).astype(float)

    def _fetched(self, key: str, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        held = self.history.cached_span(key)
        if held and end < held.start:
            return self.source.fetch(query, start, end).astype(float)  # a look at old times: nothing would join the two
        if held and start > held.until:
            self.history.drop(key)  # a run after a very long time
            held = None
        if held is None:
            return self._forward(key, query, start, end)
        odd = self._compared(key, query, held, max(start, held.start), min(end, held.until))
        if odd and not self._lately(held):
            return self._rebuilt(key, query, held, start, end, odd)
        early = self._backward(key, query, start, held.start)
        past = self._past(key, max(start, held.start), min(end, held.until))
        late = [self._forward(key, query, max(start, held.until), end)] if end > held.until else []
        return join_counts([*early, past, *late])

    def _past(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """What is held of a window that was held a moment ago. Raises StoreError if another process has just dropped it."""
        found, held = self.history.read(key, start, end), self.history.cached_span(key)
        if held is None or start < held.start or end > held.until:
            raise StoreError("another process reads it anew just now")
        return found

    @property
    def notes(self) -> list[str]:
        """What has to be said about what was held, and about the source."""
        return [*self.source.notes, *self.said]

    @property
    def runs_sql(self) -> bool:
        return self.source.runs_sql

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """As the source gives them: only counts are held."""
        return self.source.rows(query, start, end)

    def columns(self, name: str) -> dict[str, str]:
        return self.source.columns(name)

    def now(self) -> datetime:
        return self.source.now()

    def ends(self) -> dict[str, datetime]:
        return self.source.ends()

    def close(self) -> None:
        self.source.close()

    def _key(self, query: Query) -> str:
        """By everything that a held count depends on: an edited query starts afresh."""
        told = [VERSION, self.identity(query.name), query.name, query.sql, query.step.total_seconds()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]

    def _forward(self, key: str, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """The counts of the window; what does not change any more is held. What is held already, if anything, ends at `start`."""
        parts, new, begin = list[pd.DataFrame](), list[pd.DataFrame](), start
        for _, last, frame in self._parts(query, start, end):
            parts.append(frame)
            new.append(frame)
            until = min(last, round_down(min(self.clock(), newest_bucket(frame, begin)) - self.mutable, query.step))
            if until > begin:
                self.history.extend(key, query.name, join_counts(new), CachedSpan(begin, until, query.step), self.clock())
                begin, new = until, [frame]
        if begin == start:  # nothing that is over; what is held is in use all the same
            self.history.extend(key, query.name, join_counts(parts), CachedSpan(start, start, query.step), self.clock())
        return join_counts(parts)

    def _backward(self, key: str, query: Query, start: datetime, end: datetime) -> list[pd.DataFrame]:
        """The counts of the window, which are held too; what is held begins at `end`."""
        parts = list[pd.DataFrame]()
        for first, last, frame in self._parts(query, start, end, back=True):
            self.history.extend(key, query.name, frame, CachedSpan(first, last, query.step), self.clock())
            parts.insert(0, frame)
        return parts

    def _parts(
        self, query: Query, start: datetime, end: datetime, back: bool = False
    ) -> Iterator[tuple[datetime, datetime, pd.DataFrame]]:
        """The window in parts, each read when it is asked for; they grow while they are quick and small."""
        length, left, began = first_buckets(FIRST, query.step), (start, end), time.monotonic()
        while left[0] < left[1]:
            first, last = (max(left[0], left[1] - length), left[1]) if back else (left[0], min(left[1], left[0] + length))
            asked = time.monotonic()
            frame = self.source.fetch(query, first, last)
            yield first, last, frame
            left = (left[0], first) if back else (last, left[1])
            if time.monotonic() - asked < QUICK / GROWTH and frame.size < ROWS / GROWTH:
                length = min(length * GROWTH, max(LONGEST, length))
            elif time.monotonic() - asked > QUICK:
                length = max(first_buckets(length / GROWTH, query.step), query.step)
            if end - start > WEEK:
                self._going_on(query.name, (end - start) / DAY, (left[1] - left[0]) / DAY, time.monotonic() - began > QUICK)

    def _going_on(self, name: str, whole: float, left: float, slow: bool) -> None:
        if self.progress:
            self.progress(name, whole - left, whole)
        elif slow:
            self.tell(Progress(name, whole - left, whole))

    def _compared(self, key: str, query: Query, held: CachedSpan, start: datetime, end: datetime) -> str:
        """One hour of what is held, read again: "" if it is the same, else what is not. The newest week is looked at most."""
        if end - start < SAMPLE * query.step:
            return ""
        digest = int(hashlib.sha256(f"{key}{end.timestamp()}{held.until.timestamp()}".encode()).hexdigest(), 16)
        first = max(start, end - WEEK) if digest % 2 else start
        begin = first + (digest // 2) % ((end - first) // query.step - SAMPLE + 1) * query.step
        until = begin + SAMPLE * query.step
        now, then = self.source.fetch(query, begin, until), self._past(key, begin, until)
        odd = first_difference(then, now)
        gone = then.index.difference(now.index)
        if not odd and len(gone) and self._goes_back(key, query, held.start, gone[0].to_pydatetime()):
            odd = f"{gone[0]:%Y-%m-%dT%H:%MZ} has no rows any more"
        if odd and self._lately(held):
            self.history.extend(key, query.name, now, CachedSpan(begin, until, query.step), self.clock())
            advice = "that hour is held anew; if rows come so late, raise ALERTING_MUTABLE"
            self.said.append(f"history of {query.name}: again {odd}; {advice}")
        return odd

    def _goes_back(self, key: str, query: Query, start: datetime, bucket: datetime) -> bool:
        """The source has rows before that bucket: what it does not have there was deleted, and not for its age."""
        past = self._past(key, start, bucket)
        first = past.index[0].to_pydatetime() if len(past) else bucket
        return first < bucket and len(self.source.fetch(query, first, min(first + DAY, bucket))) > 0

    def _lately(self, held: CachedSpan) -> bool:
        """It was read anew within a day: a source whose answers vary must not be read whole by every run."""
        return held.rebuilt is not None and timedelta() <= self.clock() - held.rebuilt < DAY

    def _rebuilt(self, key: str, query: Query, held: CachedSpan, start: datetime, end: datetime, odd: str) -> pd.DataFrame:
        """All of the window read anew, in place: a run that is killed on the way has lost nothing. What the source does not go
        back to any more is kept."""
        self._say_loud(f"THE HISTORY OF {query.name} WAS READ ANEW, as what was held is not what the source says: {odd}.")
        first, last = max(start, held.start), min(end, held.until)
        old, parts, begin = self._past(key, first, last), list[pd.DataFrame](), last
        for left, right, frame in self._parts(query, first, last):
            parts.append(frame)
            begin = min(begin, frame.index[0].to_pydatetime()) if len(frame) else begin
            if begin < right:
                self.history.extend(key, query.name, frame, CachedSpan(max(left, begin), right, query.step), self.clock())
        done = CachedSpan(held.until, held.until, query.step, self.clock())
        self.history.extend(key, query.name, old.iloc[:0], done, self.clock())
        early = self._backward(key, query, start, held.start)
        late = [self._forward(key, query, max(start, held.until), end)] if end > held.until else []
        return join_counts([*early, old[old.index < begin], *parts, *late])

    def _say_loud(self, text: str) -> None:
        self.said.append(text)
        self.loud.append(text)
        self.tell(text)


@dataclass(frozen=True)
class ReadOnlyHistory:
    """A history that is read and never changed: what a rehearsal has of it."""

    history: HistoryCache

    def cached_span(self, key: str) -> CachedSpan | None:
        return self.history.cached_span(key)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        return self.history.read(key, start, end)

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        pass

    def drop(self, key: str) -> None:
        pass


# Frames of counts by bucket, and times on their grid. Pure.

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAME = 1e-9  # relative difference of two numbers that are one


def join_counts(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One after the other, float64."""
    known = [part for part in parts if len(part)] or parts[-1:]
    return (known[0] if len(known) == 1 else pd.concat(known)).astype(float)


def newest_bucket(frame: pd.DataFrame, none: datetime) -> datetime:
    """The newest bucket with rows: more may come."""
    return frame.index[-1].to_pydatetime() if len(frame) else none


def first_difference(held: pd.DataFrame, now: pd.DataFrame) -> str:
    """The first count that is another one now; buckets that the source does not have any more are left out."""
    then = held.reindex(index=now.index, columns=held.columns.union(now.columns)).to_numpy(float)
    new = now.reindex(columns=held.columns.union(now.columns)).to_numpy(float)
    same = np.isclose(then, new, rtol=SAME, atol=0, equal_nan=True)
    if same.all():
        return ""
    row, column = np.argwhere(~same)[0]
    name = held.columns.union(now.columns)[column]
    return f"{name} at {now.index[row]:%Y-%m-%dT%H:%MZ} was {then[row, column]:.15g} and is {new[row, column]:.15g}"


def round_up(at: datetime, step: timedelta) -> datetime:
    """Start of the first bucket at `at` or later."""
    return round_down(at + step - timedelta(microseconds=1), step)


def round_down(at: datetime, step: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // step * step


def first_buckets(length: timedelta, step: timedelta) -> timedelta:
    return -(-length // step) * step
