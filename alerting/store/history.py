"""What has been read of the source's past, and figures made of it: nothing here is lost by losing it, it only costs time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.model import Span, StoreError
from alerting.store.file import File, Seen
from alerting.store.rows import iso

if TYPE_CHECKING:  # who only asks for incidents does not load them
    import numpy as np
    import pandas as pd

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
        from alerting.store import pages

        span = self.span(key)
        if span is None:
            return pages.joined([], 0, 0, 1)
        step = int(span.step.total_seconds())
        first, last = (int(max(start, span.start).timestamp()) // step, int(min(end, span.until).timestamp()) // step)
        rows = self._file.read(lambda *row: row, _PAGES, key, first // pages.PAGE, (last - 1) // pages.PAGE)
        try:
            return pages.joined(rows, first, last, step)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise StoreError(f"a row of what is held makes no sense ({error})") from None

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: Span, at: datetime) -> None:
        """Hold these counts of the buckets of `span`, and no others, where it touches what is held, if anything is.

        What does not touch it is left: another process was faster. An empty span only says that the history is in use.
        """
        from alerting.store import pages

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
            for page, part in pages.split(frame, span):
                old = db.execute(_PAGES, (key, page, page)).fetchone()
                if old or not pages.is_empty(part):
                    whole_page = pages.over(pages.unpacked(*old[1:]), part, page, span) if old else part
                    db.execute(_PUT, (key, page, *pages.packed(whole_page)))

        self._file.transact(work)

    def drop(self, key: str) -> None:
        """Hold nothing of it any more."""
        self._file.write(("DELETE FROM history WHERE key = ?", [(key,)]), ("DELETE FROM histories WHERE key = ?", [(key,)]))

    def figures(self) -> dict[bytes, np.ndarray]:
        """Figures of nights by what they were made from."""
        import numpy as np

        return dict(self._file.read(lambda key, body: (key, np.frombuffer(body)), "SELECT key, body FROM figures"))

    def keep_figures(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Hold these for some days."""
        rows = [(key, iso(at), figure.astype(float).tobytes()) for key, figure in figures.items()]
        self._file.write(
            ("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows),
            ("DELETE FROM figures WHERE made < ?", [(iso(at - FIGURES_FOR),)]),
        )


class Held(History):
    """The histories in the memory at `path`, which is read and never changed. Raises StoreError, as every method does, also
    where there is no such file, or one of another version."""

    def __init__(self, path: Path, patience: float = 10.0) -> None:
        self._file = Seen(path, [], patience)


def _span(step: int, start: int, until: int, rebuilt: str) -> Span:
    known = datetime.fromisoformat(rebuilt) if rebuilt else None
    return Span(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), known)


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
