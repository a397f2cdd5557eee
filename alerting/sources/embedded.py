"""Embedded ClickHouse (chDB): the same SQL over Parquet files, in process and in memory.

No session on disk: its lock would let only one process read at a time, and a notebook left open would stop the cron run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

import pandas as pd

from alerting.model import Query, SourceError
from alerting.sources.binding import bind
from alerting.sources.contract import counts
from alerting.sources.decode import decode
from alerting.sources.refusals import refusal


@dataclass(frozen=True)
class Embedded:
    """A source (see `model.Source`) over <folder>/<table>/*.parquet. `tables`: query name -> subfolder.

    Files named YYYY-MM-DD.parquet hold the rows of that UTC day, and only those of the asked days are opened.
    """

    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket (see `model.Source`). Raises SourceError."""
        return counts(self.rows(query, start, end), query, start, end)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come, texts and times too. Raises SourceError."""
        until = end + query.step  # `bind` rounds the window's end up to a whole bucket
        return _ask(bind(query, self._files(query.name, start, until), start, end), query.name)

    def columns(self, name: str) -> dict[str, str]:
        """Column -> ClickHouse type of the table that the query `name` reads. Raises SourceError."""
        now = datetime.now(UTC)
        found = _ask(f"DESCRIBE TABLE {self._files(name, now, now)}", name)
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


def _day(stem: str) -> date | None:
    try:
        return date.fromisoformat(stem)
    except ValueError:
        return None


def _ask(sql: str, name: str) -> pd.DataFrame:
    """The decoded answer. Times without a zone are UTC, whatever the zone of this machine."""
    engine = _engine()
    try:
        return decode(engine.query(f"SET session_timezone = 'UTC'; {sql}", "TSVWithNamesAndTypes").bytes(), lambda: "UTC")
    except SourceError as error:
        failed = error
    except (RuntimeError, ValueError, engine.ChdbError) as error:
        failed = refusal(str(error), name, name) or SourceError(f"it failed: {str(error)[:300]}")
    raise SourceError(f"embedded ClickHouse ({name}): {failed}", failed.passing)


def _engine() -> ModuleType:
    """chdb, imported where it is used: 0.2 s and 220 MB of mapped code."""
    try:
        import chdb
    except ImportError:
        raise SourceError("chdb is not installed: `make run-alerts` installs what requirements.txt lists") from None
    except (RuntimeError, ValueError) as error:  # it starts an engine when imported, with ./config.xml if there is one
        hint = f": a config.xml in {Path.cwd()} is in its way" if Path("config.xml").exists() else ""
        raise SourceError(f"chDB does not start{hint} ({str(error)[:200]})") from None
    return chdb
