"""The history cache: closed buckets that were read from the source, and nightly statistics made of them.

A loss costs time only: both can be read and computed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.model.errors import StoreError
from alerting.model.run import CachedSpan
from alerting.store.codec import iso
from alerting.store.database import MIGRATIONS, Database, ReadOnlyDatabase, transaction

if TYPE_CHECKING:  # a process that reads incidents only does not load them
    import numpy as np
    import pandas as pd

UNUSED = timedelta(days=7)  # a history that no run has read in that time belongs to a query that was edited
FIGURES_FOR = timedelta(days=3)  # nightly statistics are kept

_SPAN = "SELECT step, start, until, rebuilt FROM histories WHERE key = ?"
_PAGE = "SELECT page, columns, body FROM history WHERE key = ? AND page = ?"
# One statement, because another process may drop a history between two. Times are epoch seconds.
_WINDOW = """SELECT step, start, until, page, columns, body FROM histories LEFT JOIN history
      ON history.key = histories.key AND page BETWEEN ? / (step * ?) AND (? - 1) / (step * ?)
    WHERE histories.key = ? ORDER BY page"""


class HistoryTables:
    """The history cache in the state database. Every method raises StoreError."""

    _file: Database

    def cached_span(self, key: str) -> CachedSpan | None:
        """Return the span of the cached buckets of this history; None if there are none."""
        return next(iter(self._file.read(_cached_span, _SPAN, key)), None)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the cached counts with start <= bucket < end, float64; only buckets that have rows (see `model.Source`).

        Raises StoreError also where some of the window is not cached, because another process has just dropped it.
        """
        from alerting.store.pages import PAGE_BUCKETS, join_pages

        first, last = int(start.timestamp()), int(end.timestamp())
        rows = self._file.read(lambda *row: row, _WINDOW, first, PAGE_BUCKETS, last, PAGE_BUCKETS, key)
        if not rows or first < rows[0][1] or last > rows[0][2]:
            raise StoreError("another process reads it anew just now")
        step = rows[0][0]
        pages = [row[3:] for row in rows if row[3] is not None]
        try:
            return join_pages(pages, first // step, last // step, step)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise StoreError(f"a row of what is held makes no sense ({error})") from None

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Cache the counts of the buckets of `span`, which replace those that were cached.

        A span that does not touch the cached one changes nothing: another process was faster. An empty span only marks the
        history as used at `at`.
        """
        from alerting.store.pages import page_numbers, updated_page

        def work(db: sqlite3.Connection) -> None:
            cached = next((_cached_span(*row) for row in db.execute(_SPAN, (key,))), None)
            touches = cached.start <= span.until and span.start <= cached.until if cached else span.start < span.until
            if not touches:
                return
            whole = span
            if cached:
                rebuilt = max(filter(None, (cached.rebuilt, span.rebuilt)), default=None)
                whole = CachedSpan(min(cached.start, span.start), max(cached.until, span.until), cached.step, rebuilt)
            start, until = int(whole.start.timestamp()), int(whole.until.timestamp())
            row = (key, query, int(span.step.total_seconds()), start, until, iso(at), iso(whole.rebuilt))
            db.execute("INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for number in page_numbers(span):
                stored = db.execute(_PAGE, (key, number)).fetchall()
                if page := updated_page(stored, number, frame, span):
                    db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", (key, number, *page))

        self._file.run(work, transaction)

    def drop(self, key: str) -> None:
        """Delete this history from the cache."""
        self._file.write(("DELETE FROM history WHERE key = ?", [(key,)]), ("DELETE FROM histories WHERE key = ?", [(key,)]))

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Return the statistics that detectors compute once a night, float64, by a digest of their data."""
        import numpy as np

        return dict(self._file.read(lambda key, body: (key, np.frombuffer(body)), "SELECT key, body FROM figures"))

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Store these for FIGURES_FOR, and delete older ones."""
        rows = [(key, iso(at), figure.astype(float).tobytes()) for key, figure in figures.items()]
        self._file.write(
            ("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows),
            ("DELETE FROM figures WHERE made < ?", [(iso(at - FIGURES_FOR),)]),
        )


class HistoryReader(HistoryTables):
    """The history cache in the state database at `path`, only to be read: what a dry run would cache is forgotten.

    Raises StoreError, as every method does, also where there is no such file, or one of another version.
    """

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = ReadOnlyDatabase(path, [], patience)
        if self._file.read(int, "PRAGMA user_version") != [len(MIGRATIONS)]:
            raise StoreError(f"{path} was written by another version")

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Do nothing."""

    def drop(self, key: str) -> None:
        """Do nothing."""


def _cached_span(step: int, start: int, until: int, rebuilt: str) -> CachedSpan:
    """A row of `histories` as a span; its times are epoch seconds, but for `rebuilt`."""
    rebuilt_at = datetime.fromisoformat(rebuilt) if rebuilt else None
    return CachedSpan(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), rebuilt_at)
