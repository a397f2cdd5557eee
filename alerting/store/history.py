"""The history cache: closed buckets that were read from the source, and nightly statistics computed from them.

If it is lost, both are read and computed again. The counts are stored in pages of 96 buckets, a column in four bytes per number
if that is exact, otherwise in eight. Bucket 0 and page 0 start at the epoch. A stored page is its number, a header (names of the
columns, bytes per number of each) and the numbers (columns, PAGE_BUCKETS): columns of four bytes first, NaN without rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.model.errors import StoreError
from alerting.model.run import CachedSpan
from alerting.store.codec import MIGRATIONS, iso
from alerting.store.database import Database, ReadOnlyDatabase, transaction

if TYPE_CHECKING:  # imported at their first use: a process that only reads incidents does not load them
    import numpy as np
    import pandas as pd

PAGE_BUCKETS = 96  # a day of quarters of an hour
StoredPage = tuple[int, str, bytes]  # number, header, numbers

UNUSED = timedelta(days=7)  # a history that no run has read for this long belongs to an edited query, and is deleted
FIGURES_FOR = timedelta(days=14)  # how long nightly statistics are kept: a level uses four nights, and a fit a week old

# The cached span and a new span that touches it become one. An empty span creates no history.
_EXTEND = """INSERT INTO histories SELECT ?, ?, ?, ?, ?, ?, ?
      WHERE ? < ? OR EXISTS (SELECT 1 FROM histories WHERE key = ?)
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

        return self._file.first(make, "SELECT step, start, until, rebuilt FROM histories WHERE key = ?", key)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
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
        start, until, step = int(span.start.timestamp()), int(span.until.timestamp()), int(span.step.total_seconds())
        row = (key, query, step, start, until, iso(at), iso(span.rebuilt), start, until, key)

        def work(db: sqlite3.Connection) -> None:
            if not db.execute(_EXTEND, row).rowcount:
                return
            for number in range(start // (step * PAGE_BUCKETS), -(-until // (step * PAGE_BUCKETS))):
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
    """The history cache in the state database at `path`, read-only: `extend` and `drop` do nothing.

    Raises StoreError, as every method does, also if there is no such file or if another version wrote it.
    """

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = ReadOnlyDatabase(path, [], patience)
        if self._file.read(int, "PRAGMA user_version") != [len(MIGRATIONS)]:
            raise StoreError(f"{path} was written by another version")

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Do nothing."""

    def drop(self, key: str) -> None:
        """Do nothing."""


def updated_page(stored: list[StoredPage], number: int, frame: pd.DataFrame, span: CachedSpan) -> tuple[str, bytes] | None:
    """Return header and numbers of a page, in which the rows of `frame` replace all stored rows of the span.

    `stored`: the present page; an empty list if it is new. Return None for a new page without rows.
    """
    import numpy as np
    import pandas as pd

    step = int(span.step.total_seconds())
    first = number * PAGE_BUCKETS
    old = join_pages(stored, first, first + PAGE_BUCKETS, step)
    kept = old[(old.index < span.start) | (old.index >= span.until)]
    buckets = pd.DatetimeIndex(np.arange(first, first + PAGE_BUCKETS) * (step * 10**9), tz="UTC")
    new = frame.reindex(buckets[(buckets >= span.start) & (buckets < span.until)])
    page = pd.concat([new, kept]).reindex(buckets)
    values = page.to_numpy(float).T
    if not stored and np.isnan(values).all():
        return None

    with np.errstate(over="ignore"):
        short = values.astype("<f4")
    is_short = ((short == values) | np.isnan(values)).all(axis=1)
    header = json.dumps([[str(name) for name in page], "".join(np.where(is_short, "4", "8"))])
    return header, short[is_short].tobytes() + values[~is_short].astype("<f8").tobytes()


def join_pages(pages: list[StoredPage], first: int, last: int, step: int) -> pd.DataFrame:
    """Return the counts of the buckets numbered first <= i < last, without buckets in which all columns are NaN.

    Columns are float64, in the order of the newest page. `step`: seconds.
    """
    import numpy as np
    import pandas as pd

    # Pages may have different columns: find the place of each in the result.
    headers = {header: json.loads(header) for _, header, _ in reversed(pages)}
    names = list(dict.fromkeys(name for columns, _ in headers.values() for name in columns))
    places = {name: i for i, name in enumerate(names)}
    places_by_width = {
        header: [np.array([places[name] for name, w in zip(columns, widths, strict=True) if w == width], int) for width in "48"]
        for header, (columns, widths) in headers.items()
    }

    counts = np.full((len(names), max(0, last - first)), np.nan)
    for number, header, body in pages:
        origin = number * PAGE_BUCKETS
        begin, end = max(first, origin), min(last, origin + PAGE_BUCKETS)
        short, long = places_by_width[header]
        cut = len(short) * PAGE_BUCKETS * 4
        for columns, numbers in ((short, np.frombuffer(body[:cut], "<f4")), (long, np.frombuffer(body[cut:], "<f8"))):
            block = numbers.reshape(len(columns), PAGE_BUCKETS)[:, begin - origin : end - origin]
            counts[columns, begin - first : end - first] = block

    has_rows = ~np.isnan(counts).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    values = counts.T if has_rows.all() else counts[:, has_rows].T
    return pd.DataFrame(values, index[has_rows], names, copy=False)
