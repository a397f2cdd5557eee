"""What has been read of the source's past, and figures made of it: nothing here is lost by losing it, it only costs time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerting.model import Span
from alerting.store.file import File
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
        return pages.joined(rows, first, last, step)

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: Span, at: datetime) -> None:
        """Hold the counts of the buckets of `span`, which is at either end of what is held, or far from all of it.

        Another process that was faster is left alone.
        """
        from alerting.store import pages

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
            for page, part in pages.split(frame, span):
                old = db.execute(_PAGES, (key, page, page)).fetchone()
                db.execute(_PUT, (key, page, *pages.packed(pages.over(pages.unpacked(*old[1:]), part) if old else part)))

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


def _span(step: int, start: int, until: int, rebuilt: str) -> Span:
    known = datetime.fromisoformat(rebuilt) if rebuilt else None
    return Span(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(until, UTC), timedelta(seconds=step), known)


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
