"""Base classes of sources: a new adapter inherits one of them and adds what is its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alerting.model.clock import day_bounds, day_of, first_bucket
from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.model.protocols import Source

if TYPE_CHECKING:
    import pandas as pd


class BaseSource(Source):
    """A source without SQL, notes or anything to close. An adapter adds `fetch`, and overrides what it can do besides."""

    runs_sql = False
    notes: Sequence[str] = ()
    loud: Sequence[str] = ()

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError(f"{query.name} has no rows: this source runs no SQL")

    def columns(self, name: str) -> dict[str, str]:
        raise SourceError(f"{name} has no columns: this source runs no SQL")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def ends(self) -> dict[str, datetime]:
        return {}

    def gone(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class SqlSource(BaseSource):
    """A source that runs the analysts' SQL. An adapter adds two methods: which table a query reads, and running it."""

    runs_sql = True

    @abstractmethod
    def table(self, name: str, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the SQL expression of the table that the query `name` reads, with all rows of start <= time < end.

        Without times only its columns are needed. Raises SourceError.
        """

    @abstractmethod
    def run_sql(self, sql: str, name: str) -> pd.DataFrame:
        """Return the rows that `sql` gives, decoded; `name` is the query's, for errors. Raises SourceError."""

    # `query` and pandas are imported in use: `embedded` must be importable before pandas, to start chDB ahead of it.

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return counts per bucket (see `model.protocols.Source`). Raises SourceError."""
        from alerting.sources.query import to_counts

        rows = self._rows_of_days(query, start, end) if query.zone not in ("", "UTC") else self.rows(query, start, end)
        return to_counts(rows, query, start, end)

    def _rows_of_days(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the rows of `query` with one bucket per local day: a query for each day, as days have 23 to 25 hours."""
        import pandas as pd

        from alerting.sources.query import bind

        parts, bucket = list[pd.DataFrame](), first_bucket(start, query.step, query.phase)
        while bucket < end or not parts:
            since, until = day_bounds(day_of(bucket, query.step, query.zone), query.zone)
            sql = bind(query, self.table(query.name, since, until), since, until, whole=True)
            parts.append(self.run_sql(sql, query.name).assign(bucket=int(bucket.timestamp())))
            bucket += query.step
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return all columns of the query as they come, texts and times too. Raises SourceError."""
        from alerting.sources.query import bind

        table = self.table(query.name, start, end + query.step)  # `bind` rounds the end up to a whole bucket
        return self.run_sql(bind(query, table, start, end), query.name)

    def columns(self, name: str) -> dict[str, str]:
        """Return column -> ClickHouse type of the table that the query `name` reads. Raises SourceError."""
        found = self.run_sql(f"DESCRIBE TABLE {self.table(name)}", name)
        return dict(zip(found["name"], found["type"], strict=True))
