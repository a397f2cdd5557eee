"""Embedded ClickHouse (chDB): the same SQL over Parquet files, in memory, by a process of its own (see `engine`).

No session on disk: its lock would let only one process read at a time, and a notebook left open would stop the cron run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock

import pandas as pd

from alerting.model import Query, SourceError
from alerting.sources import engine
from alerting.sources.base import BaseSource
from alerting.sources.binding import bind
from alerting.sources.child import Child
from alerting.sources.contract import counts
from alerting.sources.refusals import refusal


@dataclass
class Embedded(BaseSource):
    """A source (see `model.Source`) over <folder>/<table>/*.parquet. `tables`: query name -> subfolder.

    Files named YYYY-MM-DD.parquet hold the rows of that UTC day, and only those of the asked days are opened.
    A query that takes longer than `timeout` seconds is ended.
    """

    runs_sql = True
    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0

    def __post_init__(self) -> None:
        self._turn = Lock()
        self._child = Child.new()  # from the start, so that chDB loads while the run does other things

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket (see `model.Source`). Raises SourceError."""
        return counts(self.rows(query, start, end), query, start, end)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come, texts and times too. Raises SourceError."""
        until = end + query.step  # `bind` rounds the window's end up to a whole bucket
        return self._ask(bind(query, self._files(query.name, start, until), start, end), query.name)

    def columns(self, name: str) -> dict[str, str]:
        """Column -> ClickHouse type of the table that the query `name` reads. Raises SourceError."""
        now = datetime.now(UTC)
        found = self._ask(f"DESCRIBE TABLE {self._files(name, now, now)}", name)
        return dict(zip(found["name"], found["type"], strict=True))

    def _files(self, name: str, start: datetime, end: datetime) -> str:
        """The table function over the days of the window; over the newest one where there is none, for its columns."""
        folder = Path(self.folder, self.tables.get(name, name)).resolve()
        names = sorted(path.stem for path in folder.glob("[!.]*.parquet"))
        if not names:
            raise SourceError(f"there are no Parquet files in {folder}: no data was made yet, or ALERTING_DATA is another folder")
        if re.search(r"[*?{}]", str(folder)):
            raise SourceError(f"the path {folder} cannot be read: chDB takes '*', '?', '{{' and '}}' for patterns")
        days = [_day(stem) for stem in names]
        first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
        asked = [stem for stem, day in zip(names, days, strict=True) if day and first <= day <= last] or names[-1:]
        pattern = "*" if None in days else "{" + ",".join(asked) + "}"
        path = str(folder / f"{pattern}.parquet").replace("\\", r"\\").replace("'", r"\'")
        return f"file('{path}', Parquet)"

    def close(self) -> None:
        """End chDB's process. It also goes with this object, and a query that comes after all starts another."""
        self._child.end()

    def _ask(self, sql: str, name: str) -> pd.DataFrame:
        """The decoded answer."""
        from alerting.sources.decode import decode  # pandahouse brings requests, 0.05 s: here they load while chDB does, too

        try:
            kind, body = self._exchange(sql)
            if kind == engine.ROWS:
                return decode(body, lambda: "UTC")
            failed = _failure(kind, body.decode(errors="replace"), name)
        except SourceError as error:
            failed = error
        raise SourceError(f"embedded ClickHouse ({name}): {failed}", failed.passing)

    def _exchange(self, sql: str) -> engine.Answer:
        """One query at a time, by a process that lives. Raises SourceError when there is no answer."""
        with self._turn:
            if not self._child.alive:
                self._child = Child.new()
            return self._child.ask(sql, self.timeout)


def _day(stem: str) -> date | None:
    try:
        return date.fromisoformat(stem)
    except ValueError:
        return None


def _failure(kind: bytes, text: str, name: str) -> SourceError:
    if kind == engine.ABSENT:
        return SourceError(text[:300])
    return refusal(text, name, name) or SourceError(f"it failed: {text[:300]}")
