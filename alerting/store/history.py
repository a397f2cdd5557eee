"""The history cache: closed buckets that were read from the source, and nightly statistics made of them.

A loss costs time only: both can be read and computed again. Counts are stored in pages of 96 buckets with all columns, four
bytes a number where that is exact, else eight.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from alerting.model.errors import StoreError
from alerting.model.run import CachedSpan
from alerting.store.codec import iso
from alerting.store.database import Database, ReadOnlyDatabase

UNUSED = timedelta(days=7)  # a history that no run has read in that time belongs to a query that was edited
FIGURES_FOR = timedelta(days=3)  # nightly statistics are kept
PAGE_BUCKETS = 96  # a day of quarters of an hour

_SPAN = "SELECT step, start, until, rebuilt FROM histories WHERE key = ?"
_PAGES = "SELECT page, columns, body FROM history WHERE key = ? AND page BETWEEN ? AND ? ORDER BY page"

CountPage = dict[str, np.ndarray]  # column -> (PAGE_BUCKETS,) float64, NaN where there is no row


class HistoryTables:
    """The history cache in the state database. Every method raises StoreError."""

    _file: Database

    def cached_span(self, key: str) -> CachedSpan | None:
        """Return the span of the cached buckets of this history; None if there are none."""
        return next(iter(self._file.read(_cached_span, _SPAN, key)), None)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the cached counts with start <= bucket < end, float64; only buckets that have rows (see `model.Source`)."""
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

        def work(db: sqlite3.Connection) -> None:
            cached = next((_cached_span(*row) for row in db.execute(_SPAN, (key,))), None)
            touches = cached.start <= span.until and span.start <= cached.until if cached else span.start < span.until
            if not touches:
                return
            whole = cached.joined(span) if cached else span
            start, until = int(whole.start.timestamp()), int(whole.until.timestamp())
            row = (key, query, int(span.step.total_seconds()), start, until, iso(at), iso(whole.rebuilt))
            db.execute("INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for number, page in split_pages(frame, span):
                stored = db.execute(_PAGES, (key, number, number)).fetchone()
                if stored:
                    page = overlay_page(unpack_page(*stored[1:]), page, number, span)
                elif all(np.isnan(column).all() for column in page.values()):
                    continue
                db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)", (key, number, *pack_page(page)))

        self._file.transact(work)

    def drop(self, key: str) -> None:
        """Delete this history from the cache."""
        self._file.write(("DELETE FROM history WHERE key = ?", [(key,)]), ("DELETE FROM histories WHERE key = ?", [(key,)]))

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Return the statistics that detectors compute once a night, float64, by a digest of their data."""
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


def _bucket_numbers(span: CachedSpan) -> tuple[int, int]:
    """The numbers of the first bucket of the span, and of the first behind it; bucket 0 starts at the epoch."""
    step = int(span.step.total_seconds())
    return int(span.start.timestamp()) // step, int(span.until.timestamp()) // step


def split_pages(frame: pd.DataFrame, span: CachedSpan) -> Iterator[tuple[int, CountPage]]:
    """Yield the number of each page of the span, and its counts: NaN where there are no rows, and outside of the span."""
    first, last = _bucket_numbers(span)
    bucket = frame.index.as_unit("s").asi8 // int(span.step.total_seconds())
    values, names = frame.to_numpy(float), [str(name) for name in frame.columns]
    for number in range(first // PAGE_BUCKETS, -(-last // PAGE_BUCKETS)):
        rows = (bucket // PAGE_BUCKETS == number) & (bucket >= first) & (bucket < last)
        page = np.full((len(names), PAGE_BUCKETS), np.nan)
        page[:, bucket[rows] - number * PAGE_BUCKETS] = values[rows].T
        yield number, dict(zip(names, page, strict=True))


def overlay_page(old: CountPage, new: CountPage, number: int, span: CachedSpan) -> CountPage:
    """Return the old page with the buckets of the span from the new one, also where the new one has no rows."""
    replaced = slice(*(max(0, bucket - number * PAGE_BUCKETS) for bucket in _bucket_numbers(span)))
    page = {name: old[name].copy() if name in old else np.full(PAGE_BUCKETS, np.nan) for name in {**new, **old}}
    for name, column in page.items():
        column[replaced] = new[name][replaced] if name in new else np.nan
    return page


def pack_page(page: CountPage) -> tuple[str, bytes]:
    """Return a header (names of the columns, bytes per number of each) and the numbers: columns of four bytes first."""
    with np.errstate(over="ignore"):
        is_short = [np.array_equal(column.astype("<f4").astype("<f8"), column, equal_nan=True) for column in page.values()]
    short = np.array([column for column, four in zip(page.values(), is_short, strict=True) if four])
    long = np.array([column for column, four in zip(page.values(), is_short, strict=True) if not four])
    header = json.dumps([list(page), "".join("84"[four] for four in is_short)])
    return header, short.astype("<f4").tobytes() + long.astype("<f8").tobytes()


def unpack_page(header: str, body: bytes) -> CountPage:
    """Return the page of which `pack_page` made the header and the numbers."""
    names, widths = _parse_header(header)
    page = np.empty((len(names), PAGE_BUCKETS))
    for columns, numbers in _number_blocks(widths, body):
        page[columns] = numbers
    return dict(zip(names, page, strict=True))


def join_pages(rows: list[tuple[int, str, bytes]], first: int, last: int, step: int) -> pd.DataFrame:
    """Return the counts of the buckets with numbers first <= i < last that any column has.

    `rows`: number, header and numbers of packed pages. Columns are float64, in the order of the newest page. `step`: seconds.
    """
    # Pages may have different columns: find the place of each in the result.
    headers = {header: _parse_header(header) for _, header, _ in reversed(rows)}
    places: dict[str, int] = {}
    for names, _ in headers.values():
        places |= {name: len(places) + i for i, name in enumerate(name for name in names if name not in places)}
    column_places = {header: np.array([places[name] for name in names], dtype=int) for header, (names, _) in headers.items()}

    counts = np.full((len(places), max(0, last - first)), np.nan)
    for number, header, body in rows:
        origin = number * PAGE_BUCKETS
        begin, end = max(first, origin), min(last, origin + PAGE_BUCKETS)
        for columns, numbers in _number_blocks(headers[header][1], body):
            counts[column_places[header][columns], begin - first : end - first] = numbers[:, begin - origin : end - origin]

    has_rows = ~np.isnan(counts).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    values = counts.T if has_rows.all() else counts[:, has_rows].T
    return pd.DataFrame(values, index[has_rows], list(places), copy=False)


def _parse_header(header: str) -> tuple[list[str], np.ndarray]:
    """The names of the columns, and the bytes per number of each."""
    names, widths = json.loads(header)
    return names, np.array([int(width) for width in widths], dtype=int)


def _number_blocks(widths: np.ndarray, body: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the columns with numbers of four and of eight bytes, and their numbers: (columns, PAGE_BUCKETS)."""
    short, long = np.flatnonzero(widths == 4), np.flatnonzero(widths == 8)
    cut = len(short) * PAGE_BUCKETS * 4
    yield short, np.frombuffer(body[:cut], "<f4").reshape(len(short), PAGE_BUCKETS)
    yield long, np.frombuffer(body[cut:], "<f8").reshape(len(long), PAGE_BUCKETS)
