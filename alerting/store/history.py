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
from alerting.store.database import Database, ReadOnlyDatabase

if TYPE_CHECKING:  # a process that reads incidents only does not load them
    import numpy as np
    import pandas as pd

UNUSED = timedelta(days=7)  # a history that no run has read in that time belongs to a query that was edited
FIGURES_FOR = timedelta(days=3)  # nightly statistics are kept

_SPAN = "SELECT step, start, until, rebuilt FROM histories WHERE key = ?"
_PAGES = "SELECT page, columns, body FROM history WHERE key = ? AND page BETWEEN ? AND ? ORDER BY page"


class HistoryTables:
    """The history cache in the state database. Every method raises StoreError."""

    _file: Database

    def cached_span(self, key: str) -> CachedSpan | None:
        """Return the span of the cached buckets of this history; None if there are none."""
        return next(iter(self._file.read(_cached_span, _SPAN, key)), None)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the cached counts with start <= bucket < end, float64; only buckets that have rows (see `model.Source`)."""
        from alerting.store.pages import PAGE_BUCKETS, join_pages

        span = self.cached_span(key)
        if span is None:
            return join_pages([], 0, 0, 1)
        step = int(span.step.total_seconds())
        first, last = (int(max(start, span.start).timestamp()) // step, int(min(end, span.until).timestamp()) // step)
        rows = self._file.read(lambda *row: row, _PAGES, key, first // PAGE_BUCKETS, (last - 1) // PAGE_BUCKETS)
        try:
            return join_pages(rows, first, last, step)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise StoreError(f"a row of what is held makes no sense ({error})") from None

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Cache the counts of the buckets of `span`, which replace those that were cached.

        A span that does not touch the cached one changes nothing: another process was faster. An empty span only marks the
        history as used at `at`.
        """
        from alerting.store.pages import is_empty_page, overlay_page, pack_page, split_pages, unpack_page

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
            for number, page in split_pages(frame, span):
                stored = db.execute(_PAGES, (key, number, number)).fetchone()
                if stored:
                    page = overlay_page(unpack_page(*stored[1:]), page, number, span)
                elif is_empty_page(page):
                    continue
                db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", (key, number, *pack_page(page)))

        self._file.transact(work)

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
    """The history cache in the state database at `path`, only to be read.

    Raises StoreError, as every method does, also where there is no such file, or one of another version.
    """

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = ReadOnlyDatabase(path, [], patience)


def _cached_span(step: int, start: int, until: int, rebuilt: str) -> CachedSpan:
    """A row of `histories` as a span; its times are epoch seconds, but for `rebuilt`."""
    rebuilt_at = datetime.fromisoformat(rebuilt) if rebuilt else None
    return CachedSpan(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), rebuilt_at)
