"""What has been read of the source's past, and figures made of it: nothing here is lost by losing it, it only costs time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from alerting.model import Span
from alerting.store.file import File
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
        """Hold the counts of the buckets of `span`, which is at either end of what is held, or far from all of it.

        Another process that was faster is left alone.
        """

        def work(db: sqlite3.Connection) -> None:
            held = next((_span(*row) for row in db.execute(_SPAN, (key,))), None)
            if held and not (span.start <= held.until and held.start <= span.until):
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
                db.execute(_PUT, (key, part[0], *_packed(part if old is None else _over(old, part))))

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


def _over(old: Page, new: Page) -> Page:
    """Both: what the new one has of a bucket goes before."""
    names = list(dict.fromkeys([*new[1], *old[1]]))
    body = np.full((len(names), PAGE), np.nan)
    for _, columns, part in (old, new):
        rows = [names.index(name) for name in columns]
        body[rows] = np.where(np.isnan(part), body[rows], part)
    return new[0], names, body


def _packed(page: Page) -> tuple[str, bytes]:
    return json.dumps(page[1]), page[2].tobytes()


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
