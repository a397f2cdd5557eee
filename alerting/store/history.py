"""What has been read of the source's past, and figures made of it: nothing here is lost by losing it, it only costs time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alerting.model.errors import StoreError
from alerting.model.run import CachedSpan
from alerting.store.codec import iso
from alerting.store.database import Database, ReadOnlyDatabase

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

UNUSED = timedelta(days=7)  # a history that no run has asked for in that time belongs to a query that was edited
FIGURES_FOR = timedelta(days=3)

_SPAN = "SELECT step, start, until, rebuilt FROM histories WHERE key = ?"
_PAGES = "SELECT page, columns, body FROM history WHERE key = ? AND page BETWEEN ? AND ? ORDER BY page"
_PUT = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)"


class HistoryTables:
    """The part of the memory that holds closed buckets, and figures that are refreshed every night."""

    _file: Database

    def cached_span(self, key: str) -> CachedSpan | None:
        """What is held of this history; None for nothing."""
        return next(iter(self._file.read(_span, _SPAN, key)), None)

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts of the held buckets with start <= bucket < end, float64, those that have any (see `model.Source`)."""

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
        """Hold these counts of the buckets of `span`, and no others, where it touches what is held, if anything is.

        What does not touch it is left: another process was faster. An empty span only says that the history is in use.
        """

        def work(db: sqlite3.Connection) -> None:
            held = next((_span(*row) for row in db.execute(_SPAN, (key,))), None)
            joins = held.start <= span.until and span.start <= held.until if held else span.start < span.until
            if not joins:
                return
            whole = held.joined(span) if held else span
            row = (
                key,
                query,
                int(span.step.total_seconds()),
                _epoch(whole.start),
                _epoch(whole.until),
                iso(at),
                iso(whole.rebuilt),
            )
            db.execute("INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for page, part in split_pages(frame, span):
                old = db.execute(_PAGES, (key, page, page)).fetchone()
                if old or not is_empty_page(part):
                    whole_page = overlay_page(unpack_page(*old[1:]), part, page, span) if old else part
                    db.execute(_PUT, (key, page, *pack_page(whole_page)))

        self._file.transact(work)

    def drop(self, key: str) -> None:
        """Hold nothing of it any more."""
        self._file.write(("DELETE FROM history WHERE key = ?", [(key,)]), ("DELETE FROM histories WHERE key = ?", [(key,)]))

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Figures of nights by what they were made from."""
        import numpy as np

        return dict(self._file.read(lambda key, body: (key, np.frombuffer(body)), "SELECT key, body FROM figures"))

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Hold these for some days."""
        rows = [(key, iso(at), figure.astype(float).tobytes()) for key, figure in figures.items()]
        self._file.write(
            ("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows),
            ("DELETE FROM figures WHERE made < ?", [(iso(at - FIGURES_FOR),)]),
        )


class HistoryReader(HistoryTables):
    """The histories in the memory at `path`, which is read and never changed. Raises StoreError, as every method does, also
    where there is no such file, or one of another version."""

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = ReadOnlyDatabase(path, [], patience)


def _span(step: int, start: int, until: int, rebuilt: str) -> CachedSpan:
    known = datetime.fromisoformat(rebuilt) if rebuilt else None
    return CachedSpan(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), known)


def _epoch(at: datetime) -> int:
    return int(at.timestamp())


# Counts as rows of a table: so many buckets of all columns in one, each number in four bytes where that is exact. Pure.

PAGE_BUCKETS = 96  # buckets of a page: a day of quarters of an hour

CountPage = dict[str, np.ndarray]  # column -> (PAGE,) float64, NaN where there is none


def split_pages(frame: pd.DataFrame, span: CachedSpan) -> Iterator[tuple[int, CountPage]]:
    """The counts of a span by the number of their page; NaN where there are no rows, and beyond the span."""
    step = _step(span)
    first, last = (int(at.timestamp()) // step for at in (span.start, span.until))
    at = frame.index.as_unit("s").asi8 // step
    values, names = frame.to_numpy(float), [str(name) for name in frame.columns]
    for page in range(first // PAGE_BUCKETS, -(-last // PAGE_BUCKETS)):
        rows = (at // PAGE_BUCKETS == page) & (at >= first) & (at < last)
        body = np.full((len(names), PAGE_BUCKETS), np.nan)
        body[:, at[rows] - page * PAGE_BUCKETS] = values[rows].T
        yield page, dict(zip(names, body, strict=True))


def is_empty_page(page: CountPage) -> bool:
    """It has no count at all."""
    return all(np.isnan(column).all() for column in page.values())


def overlay_page(old: CountPage, new: CountPage, page: int, span: CachedSpan) -> CountPage:
    """The old one, but in the buckets of the span, where it is the new one, also where that has no rows."""
    step, begin = _step(span), page * PAGE_BUCKETS
    mine = slice(*(max(0, int(at.timestamp()) // step - begin) for at in (span.start, span.until)))
    out = {name: old[name].copy() if name in old else np.full(PAGE_BUCKETS, np.nan) for name in {**new, **old}}
    for name, column in out.items():
        column[mine] = new[name][mine] if name in new else np.nan
    return out


def _step(span: CachedSpan) -> int:
    return int(span.step.total_seconds())


def pack_page(page: CountPage) -> tuple[str, bytes]:
    """The columns' names, which of them have four bytes a number, and the numbers: those of four bytes first."""
    with np.errstate(over="ignore"):
        short = [np.array_equal(column.astype("<f4").astype("<f8"), column, equal_nan=True) for column in page.values()]
    columns = list(page.values())
    bodies = [np.array([c for c, s in zip(columns, short, strict=True) if s is half]) for half in (True, False)]
    written = json.dumps([list(page), "".join("84"[half] for half in short)])
    return written, bodies[0].astype("<f4").tobytes() + bodies[1].astype("<f8").tobytes()


def unpack_page(written: str, body: bytes) -> CountPage:
    """What `packed` has made of it."""
    names, widths = _header(written)
    out = np.empty((len(names), PAGE_BUCKETS))
    for place, numbers in _numbers(widths, body):
        out[place] = numbers
    return dict(zip(names, out, strict=True))


def join_pages(rows: list[tuple[int, str, bytes]], first: int, last: int, step: int) -> pd.DataFrame:
    """Buckets number first <= i < last of pages that are packed, those that any column has; float64, in the order of the newest
    page."""
    heads = {written: _header(written) for _, written, _ in reversed(rows)}
    places: dict[str, int] = {}
    for names, _ in heads.values():
        places |= {name: len(places) + i for i, name in enumerate(name for name in names if name not in places)}
    into = {written: np.array([places[name] for name in names], dtype=int) for written, (names, _) in heads.items()}
    out = np.full((len(places), max(0, last - first)), np.nan)
    for page, written, body in rows:
        begin, end = max(first, page * PAGE_BUCKETS), min(last, (page + 1) * PAGE_BUCKETS)
        for place, numbers in _numbers(heads[written][1], body):
            out[into[written][place], begin - first : end - first] = numbers[
                :, begin - page * PAGE_BUCKETS : end - page * PAGE_BUCKETS
            ]
    there = ~np.isnan(out).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    return pd.DataFrame(out.T if there.all() else out[:, there].T, index[there], list(places), copy=False)


def _header(written: str) -> tuple[list[str], np.ndarray]:
    """The names, and the width of each column's numbers in bytes."""
    names, widths = json.loads(written)
    return names, np.array([int(width) for width in widths], dtype=int)


def _numbers(widths: np.ndarray, body: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of the columns, and their numbers: (columns, PAGE), for either width."""
    short, long = np.flatnonzero(widths == 4), np.flatnonzero(widths == 8)
    cut = len(short) * PAGE_BUCKETS * 4
    yield short, np.frombuffer(body[:cut], "<f4").reshape(len(short), PAGE_BUCKETS)
    yield long, np.frombuffer(body[cut:], "<f8").reshape(len(long), PAGE_BUCKETS)
