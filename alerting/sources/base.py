"""Defaults for a source that can only count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.model.protocols import Source

if TYPE_CHECKING:
    import pandas as pd


class BaseSource(Source):
    """A source without SQL, notes or anything to close; an adapter adds `fetch` and overrides what it can do."""

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

    def close(self) -> None:
        """Nothing is open."""
