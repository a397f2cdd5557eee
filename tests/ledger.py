"""A source that a test controls completely: rows with their times of arrival, and the behaviour of its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.base import BaseSource
from tests.waiting import PATIENCE

EVER = datetime(9999, 1, 1, tzinfo=UTC)


class NoSource(BaseSource):
    def fetch(self, query, start, end):
        raise AssertionError("this needs no source")


class Ledger(BaseSource):
    """A source (see `model.Source`) over rows: `at` and `arrived` (aware times), and numbers that are added up per bucket.

    `now`: rows that arrive later are not there yet. `asked`: every window that was asked for, by table. `gates`: a table with
    one answers once it is open. `fault`: what an answer raises, if anything. `meanwhile`: called before each answer.
    """

    runs_sql = True  # tables are read at the same time, as of a database

    def __init__(self, rows: pd.DataFrame, now: datetime = EVER) -> None:
        self.now, self.asked = now, list[tuple[str, datetime, datetime]]()
        self.gates: dict[str, threading.Event] = {}
        self.fault: Callable[[Query, datetime, datetime], SourceError | None] = lambda query, start, end: None
        self.meanwhile: Callable[[], None] = lambda: None
        self.hold(rows)

    def hold(self, rows: pd.DataFrame) -> None:
        """These rows and no others."""
        self.frame = rows.sort_values("at", kind="stable", ignore_index=True)
        self._at, self._arrived = _epoch(self.frame["at"]), _epoch(self.frame["arrived"])
        self._numbers = self.frame.drop(columns=["at", "arrived"])

    def add(self, rows: pd.DataFrame) -> None:
        self.hold(pd.concat([self.frame, rows], ignore_index=True))

    def remove(self, start: datetime, end: datetime) -> None:
        self.hold(self.frame[(self.frame["at"] < start) | (self.frame["at"] >= end)])

    def buckets(self, query: Query) -> int:
        """Return the number of buckets requested since `asked` was last cleared."""
        return sum((end - start) // query.step for _, start, end in self.asked)

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        if start.tzinfo is None or end.tzinfo is None:
            raise SourceError("a window needs times with a zone")
        self.asked.append((query.name, start, end))
        if query.name in self.gates:
            assert self.gates[query.name].wait(PATIENCE), "nobody opened the gate"
        self.meanwhile()
        fault = self.fault(query, start, end)
        if fault:
            raise fault
        return self._counted(int(query.step.total_seconds()), start.timestamp(), end.timestamp())

    def _counted(self, step: int, start: float, end: float) -> pd.DataFrame:
        first, last = (int(np.searchsorted(self._at, -(-edge // step) * step)) for edge in (start, end))
        part = slice(first, max(first, last))
        there = self._arrived[part] <= self.now.timestamp()
        at = self._at[part][there]
        numbers = self._numbers.iloc[part][there].assign(newest=at.astype(float))
        groups = numbers.groupby(at // step * step)
        counted = groups.sum(min_count=1).assign(newest=groups["newest"].max())
        return counted.set_axis(pd.DatetimeIndex(counted.index.to_numpy() * 10**9, tz="UTC", name="bucket"), axis=0)


def rows(counts: pd.DataFrame, delay: pd.Timedelta | str = "1s", within: str = "1min") -> pd.DataFrame:
    """One row per bucket of `counts`, `within` it, that arrives so much later."""
    at = counts.index + pd.Timedelta(within)
    return counts.reset_index(drop=True).assign(at=at, arrived=at + pd.Timedelta(delay))


def _epoch(times: pd.Series) -> np.ndarray:
    return pd.DatetimeIndex(times).as_unit("s").asi8
