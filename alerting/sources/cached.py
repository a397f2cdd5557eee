"""A source whose past is read once: closed buckets are held, and a fetch asks for what is new and for what may still change.

Held is what was read at least `mutable` after it was over, and before the newest row there was; all later buckets are read
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
from typing import Any

import numpy as np
import pandas as pd

from alerting.model import History, Query, Source, Span, StoreError

VERSION = 1  # of what is held: how answers are read
QUICK = 2.0  # seconds that a part may take, and still be followed by a longer one
GROWTH = 4
FIRST, LONGEST = timedelta(days=1), timedelta(days=28)  # of the parts
ROWS = 500_000  # values in a part, beyond which it does not grow
SAMPLE = 4  # buckets compared at a fetch
WEEK, DAY = timedelta(days=7), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAME = 1e-9  # relative difference of two numbers that are one


@dataclass
class Cached:
    """A source (see `model.Source`) over another. `identity`: what else the answers depend on, such as server and table.

    `tell` is given a line now and then while much is read. `notes`: what has to be said about what was held.
    """

    source: Source
    history: History
    identity: Callable[[str], str]
    mutable: timedelta = timedelta(hours=6)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    tell: Callable[[str], None] = lambda text: None
    notes: list[str] = field(default_factory=list)

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket, float64 (see `model.Source`): to the last digit those that the source gives. Raises SourceError."""
        try:
            return self._fetched(self._key(query), query, _up(start, query.step), _up(end, query.step))
        except StoreError as error:
            self.notes.append(f"history of {query.name}: read from the source, as what is held cannot be used: {error}")
            return self.source.fetch(query, start, end)

    def _fetched(self, key: str, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        held = self.history.span(key)
        if held and (start > held.until or end < held.start):
            self.history.drop(key)  # a run after a very long time: nothing would join the two
            held = None
        if held is None:
            return self._forward(key, query, start, end)
        odd = self._compared(key, query, held, max(start, held.start), min(end, held.until))
        if odd and not self._lately(held):
            return self._rebuilt(key, query, held, start, end, odd)
        if start < held.start:
            self._backward(key, query, start, held.start)
        late = [self._forward(key, query, max(start, held.until), end)] if end > held.until else []
        return _joined([self.history.past(key, start, min(end, held.until)), *late])

    def __getattr__(self, name: str) -> Any:
        """Whatever else the source can do."""
        return getattr(self.source, name)

    def _key(self, query: Query) -> str:
        """By everything that a held count depends on: an edited query starts afresh."""
        told = [VERSION, self.identity(query.name), query.name, query.sql, query.step.total_seconds()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]

    def _forward(self, key: str, query: Query, start: datetime, end: datetime, rebuilt: datetime | None = None) -> pd.DataFrame:
        """The counts of the window; what does not change any more is held. What is held already, if anything, ends at `start`."""
        parts, new, begin = list[pd.DataFrame](), list[pd.DataFrame](), start
        for _, last, frame in self._parts(query, start, end):
            parts.append(frame)
            new.append(frame)
            until = min(last, _down(self.clock() - self.mutable, query.step), _newest(frame, begin))
            if until > begin:
                self.history.extend(key, query.name, _joined(new), Span(begin, until, query.step, rebuilt), self.clock())
                begin, new = until, [frame]
        return _joined(parts)

    def _backward(self, key: str, query: Query, start: datetime, end: datetime) -> None:
        """Hold the window too; what is held begins at `end`."""
        for first, last, frame in self._parts(query, start, end, back=True):
            self.history.extend(key, query.name, frame, Span(first, last, query.step), self.clock())

    def _parts(
        self, query: Query, start: datetime, end: datetime, back: bool = False
    ) -> Iterator[tuple[datetime, datetime, pd.DataFrame]]:
        """The window in parts, each read when it is asked for; they grow while they are quick and small."""
        length, left, began = _up_to(FIRST, query.step), (start, end), time.monotonic()
        while left[0] < left[1]:
            first, last = (max(left[0], left[1] - length), left[1]) if back else (left[0], min(left[1], left[0] + length))
            asked = time.monotonic()
            frame = self.source.fetch(query, first, last)
            yield first, last, frame
            left = (left[0], first) if back else (last, left[1])
            if time.monotonic() - asked < QUICK / GROWTH and frame.size < ROWS / GROWTH:
                length = min(length * GROWTH, max(LONGEST, length))
            elif time.monotonic() - asked > QUICK:
                length = max(_up_to(length / GROWTH, query.step), query.step)
            if end - start > WEEK and time.monotonic() - began > QUICK:
                whole = (end - start) / DAY
                self.tell(f"history of {query.name}: {whole - (left[1] - left[0]) / DAY:.0f} of {whole:.0f} days read")

    def _compared(self, key: str, query: Query, held: Span, start: datetime, end: datetime) -> str:
        """One hour of what is held, read again: "" if it is the same, else what is not. The newest week is looked at most."""
        if end - start < SAMPLE * query.step:
            return ""
        digest = int(hashlib.sha256(f"{key}{end.timestamp()}{held.until.timestamp()}".encode()).hexdigest(), 16)
        first = max(start, end - WEEK) if digest % 2 else start
        begin = first + (digest // 2) % ((end - first) // query.step - SAMPLE + 1) * query.step
        until = begin + SAMPLE * query.step
        now, then = self.source.fetch(query, begin, until), self.history.past(key, begin, until)
        odd = _difference(then, now)
        gone = then.index.difference(now.index)
        if not odd and len(gone) and len(self.source.fetch(query, held.start, held.start + DAY)):  # it goes back further
            odd = f"{gone[0]:%Y-%m-%dT%H:%MZ} has no rows any more"
        if odd and self._lately(held):
            self.history.extend(key, query.name, now, Span(begin, until, query.step), self.clock())
            advice = "that hour is held anew; if rows come so late, raise ALERTING_MUTABLE"
            self.notes.append(f"history of {query.name}: again {odd}; {advice}")
        return odd

    def _lately(self, held: Span) -> bool:
        """It was read anew within a day: a source whose answers vary must not be read whole by every run."""
        return held.rebuilt is not None and timedelta() <= self.clock() - held.rebuilt < DAY

    def _rebuilt(self, key: str, query: Query, held: Span, start: datetime, end: datetime, odd: str) -> pd.DataFrame:
        """All of the window read anew; what the source does not go back to any more is kept."""
        note = f"THE HISTORY OF {query.name} WAS READ ANEW, as what was held is not what the source says: {odd}."
        self.notes.append(note)
        self.tell(note)
        old = self.history.past(key, max(start, held.start), held.until)
        self.history.drop(key)
        new = self._forward(key, query, start, end, self.clock())
        gone = old[old.index < new.index[0]] if len(new) else old.iloc[:0]
        if len(gone):
            span = Span(gone.index[0].to_pydatetime(), new.index[0].to_pydatetime(), query.step)
            self.history.extend(key, query.name, gone, span, self.clock())
        return _joined([gone, new])


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One after the other, float64."""
    known = [part for part in parts if len(part)] or parts[:1]
    return (known[0] if len(known) == 1 else pd.concat(known)).astype(float)


def _newest(frame: pd.DataFrame, none: datetime) -> datetime:
    """The newest bucket with rows: more may come."""
    return frame.index[-1].to_pydatetime() if len(frame) else none


def _difference(held: pd.DataFrame, now: pd.DataFrame) -> str:
    """The first count that is another one now; buckets that the source does not have any more are left out."""
    then = held.reindex(index=now.index, columns=held.columns.union(now.columns)).to_numpy(float)
    new = now.reindex(columns=held.columns.union(now.columns)).to_numpy(float)
    same = np.isclose(then, new, rtol=SAME, atol=0, equal_nan=True)
    if same.all():
        return ""
    row, column = np.argwhere(~same)[0]
    name = held.columns.union(now.columns)[column]
    return f"{name} at {now.index[row]:%Y-%m-%dT%H:%MZ} was {then[row, column]:.15g} and is {new[row, column]:.15g}"


def _up(at: datetime, step: timedelta) -> datetime:
    """Start of the first bucket at `at` or later."""
    return _down(at + step - timedelta(microseconds=1), step)


def _down(at: datetime, step: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // step * step


def _up_to(length: timedelta, step: timedelta) -> timedelta:
    return -(-length // step) * step


@dataclass(frozen=True)
class Looking:
    """A history that is read and never changed: what a rehearsal has of it."""

    history: History

    def span(self, key: str) -> Span | None:
        return self.history.span(key)

    def past(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        return self.history.past(key, start, end)

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: Span, at: datetime) -> None:
        pass

    def drop(self, key: str) -> None:
        pass
