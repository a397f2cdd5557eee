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
FIGURES_FOR = timedelta(days=14)  # nightly statistics are kept: a level looks back for four nights, to a fit a week old

# The cached span, and another one that it touches, become one. An empty span begins no history.
_EXTEND = """INSERT INTO histories SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
      WHERE ?4 < ?5 OR EXISTS (SELECT 1 FROM histories WHERE key = ?1)
    ON CONFLICT (key) DO UPDATE SET start = MIN(start, excluded.start), until = MAX(until, excluded.until), used = excluded.used,
      rebuilt = MAX(rebuilt, excluded.rebuilt) WHERE start <= excluded.until AND excluded.start <= until"""
_PAGE = "SELECT page, columns, body FROM history WHERE key = ? AND page = ?"
# One statement, because another process may drop a history between two. Times are epoch seconds.
_WINDOW = """SELECT step, start, until, page, columns, body FROM histories LEFT JOIN history
      ON history.key = histories.key AND page BETWEEN ? / (step * ?) AND (? - 1) / (step * ?)
    WHERE histories.key = ? ORDER BY page"""


class HistoryTables:
    """The history cache in the state database (see `model.protocols.HistoryCache`), and nightly statistics (see `Store`)."""

    _file: Database

    def cached_span(self, key: str) -> CachedSpan | None:
        def make(step: int, start: int, until: int, rebuilt: str) -> CachedSpan:
            begin, end = (datetime.fromtimestamp(seconds, UTC) for seconds in (start, until))
            return CachedSpan(begin, end, timedelta(seconds=step), datetime.fromisoformat(rebuilt) if rebuilt else None)

        return next(iter(self._file.read(make, "SELECT step, start, until, rebuilt FROM histories WHERE key = ?", key)), None)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
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
        from alerting.store.pages import page_numbers, updated_page

        start, until, step = int(span.start.timestamp()), int(span.until.timestamp()), int(span.step.total_seconds())
        row = (key, query, step, start, until, iso(at), iso(span.rebuilt))

        def work(db: sqlite3.Connection) -> None:
            if not db.execute(_EXTEND, row).rowcount:
                return
            for number in page_numbers(span):
                stored = db.execute(_PAGE, (key, number)).fetchall()
                if page := updated_page(stored, number, frame, span):
                    db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", (key, number, *page))

        self._file.run(work, transaction)

    def drop(self, key: str) -> None:
        statements = [(f"DELETE FROM {table} WHERE key = ?", [(key,)]) for table in ("history", "histories")]
        self._file.write(*statements, backed_up=False)

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        import numpy as np

        return dict(self._file.read(lambda key, body: (key, np.frombuffer(body)), "SELECT key, body FROM figures"))

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        rows = [(key, iso(at), figure.astype(float).tobytes()) for key, figure in figures.items()]
        self._file.write(
            ("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows),
            ("DELETE FROM figures WHERE made < ?", [(iso(at - FIGURES_FOR),)]),
            backed_up=False,
        )


class HistoryReader(HistoryTables):
    """The history cache in the state database at `path`, only to be read: `extend` and `drop` do nothing.

    Raises StoreError, as every method does, also where there is no such file, or one of another version.
    """

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = ReadOnlyDatabase(path, [], patience)
        if self._file.read(int, "PRAGMA user_version") != [len(MIGRATIONS)]:
            raise StoreError(f"{path} was written by another version")

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        pass

    def drop(self, key: str) -> None:
        pass
