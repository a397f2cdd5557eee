"""What has been read of the source's past, and figures made of it: nothing here is lost by losing it, it only costs time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from alerting.model import Span
from alerting.store.file import File, Seen
from alerting.store.rows import iso

PAGE = 96  # buckets in a row of the table: a day of quarters of an hour
UNUSED = timedelta(days=7)  # a history that no run has asked for in that time belongs to a query that was edited
FIGURES_FOR = timedelta(days=3)

_SPAN = "SELECT step, start, until, rebuilt FROM histories WHERE key = ?"
_PAGES = "SELECT page, columns, body FROM history WHERE key = ? AND page BETWEEN ? AND ? ORDER BY page"
_PUT = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?)"


class History:
    """The part of the memory that holds closed buckets, and figures that are refreshed every night."""

    _file: File

    def span(self, key: str) -> Span | None:
        """What is held of this history; None for nothing."""
        return next(iter(self._file.read(_span, _SPAN, key)), None)

    def past(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts of the held buckets with start <= bucket < end, float64, those that have any (see `model.Source`)."""
        span = self.span(key)
        if span is None:
            return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="bucket"))
        step = int(span.step.total_seconds())
        first, last = (int(max(start, span.start).timestamp()) // step, int(min(end, span.until).timestamp()) // step)
        pages = self._file.read(_page, _PAGES, key, first // PAGE, (last - 1) // PAGE)
        return _joined(pages, first, last, step)

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: Span, at: datetime) -> None:
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
            for part in _pages(frame, span):
                old = next((_page(*row) for row in db.execute(_PAGES, (key, part[0], part[0]))), None)
                db.execute(_PUT, (key, part[0], *_packed(part if old is None else _over(old, part, span))))

        self._file.transact(work)

    def drop(self, key: str) -> None:
        """Hold nothing of it any more."""
        self._file.write(("DELETE FROM history WHERE key = ?", [(key,)]), ("DELETE FROM histories WHERE key = ?", [(key,)]))

    def figures(self) -> dict[bytes, np.ndarray]:
        """Figures of nights by what they were made from."""
        return dict(self._file.read(lambda key, body: (key, np.frombuffer(body)), "SELECT key, body FROM figures"))

    def keep_figures(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Hold these for some days."""
        rows = [(key, iso(at), np.asarray(figure, dtype=float).tobytes()) for key, figure in figures.items()]
        self._file.write(
            ("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows),
            ("DELETE FROM figures WHERE made < ?", [(iso(at - FIGURES_FOR),)]),
        )


class Held(History):
    """The histories in the memory at `path`, which is read and never changed. Raises StoreError, as every method does, also
    where there is no such file, or one of another version."""

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = Seen(path, [], patience)


Page = tuple[int, list[str], np.ndarray]  # number, columns, (columns, PAGE) float64


def _span(step: int, start: int, until: int, rebuilt: str) -> Span:
    known = datetime.fromisoformat(rebuilt) if rebuilt else None
    return Span(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), known)


def _page(page: int, columns: str, body: bytes) -> Page:
    names = json.loads(columns)
    return page, names, np.frombuffer(body).reshape(len(names), PAGE)


def _joined(pages: list[Page], first: int, last: int, step: int) -> pd.DataFrame:
    """Buckets number first <= i < last, one column per name that any page has."""
    names = list(dict.fromkeys(name for _, columns, _ in reversed(pages) for name in columns))
    out = np.full((len(names), max(0, last - first)), np.nan)
    places = {name: place for place, name in enumerate(names)}
    for page, columns, body in pages:
        begin, end = max(first, page * PAGE), min(last, (page + 1) * PAGE)
        into = slice(None) if columns == names else [places[name] for name in columns]
        out[into, begin - first : end - first] = body[:, begin - page * PAGE : end - page * PAGE]
    there = ~np.isnan(out).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    return pd.DataFrame(out.T, index, names, copy=False) if there.all() else pd.DataFrame(out.T[there], index[there], names)


def _pages(frame: pd.DataFrame, span: Span) -> Iterator[Page]:
    """The counts of a span by page; NaN where there are no rows, and beyond the span."""
    step = int(span.step.total_seconds())
    first, last = _epoch(span.start) // step, _epoch(span.until) // step
    at = frame.index.as_unit("s").asi8 // step
    values, names = frame.to_numpy(float), [str(name) for name in frame.columns]
    for page in range(first // PAGE, -(-last // PAGE)):
        mine = (at // PAGE == page) & (at >= first) & (at < last)
        body = np.full((len(names), PAGE), np.nan)
        body[:, at[mine] - page * PAGE] = values[mine].T
        yield page, names, body


def _over(old: Page, new: Page, span: Span) -> Page:
    """The old one, but in the buckets of the span, where it is the new one, also where that has no rows."""
    step, begin = int(span.step.total_seconds()), new[0] * PAGE
    mine = slice(max(0, _epoch(span.start) // step - begin), max(0, _epoch(span.until) // step - begin))
    names = list(dict.fromkeys([*new[1], *old[1]]))
    body = np.full((len(names), PAGE), np.nan)
    body[[names.index(name) for name in old[1]]] = old[2]
    body[:, mine] = np.nan
    body[: len(new[1]), mine] = new[2][:, mine]
    return new[0], names, body


def _packed(page: Page) -> tuple[str, bytes]:
    return json.dumps(page[1]), page[2].tobytes()


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
