"""A source that reads rollups where they hold all that is asked for, and the raw tables everywhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

import pandas as pd

from alerting.model import Query, SourceError
from alerting.rollups import book
from alerting.rollups.recipes import SLOT, Recipe
from alerting.sources.base import BaseSource
from alerting.sources.clickhouse import ClickHouse
from alerting.sources.contract import counts

FRESH = 120.0


@dataclass
class RolledUp(BaseSource):
    """A source (see `model.Source`) over `raw`. Of several rollups of one query the first that serves is read.

    What is known of them is asked with the first query, and again after FRESH seconds: a run lives for less, a notebook that
    was left open does not. `notes`: what did not go as it should.
    """

    runs_sql = True
    raw: ClickHouse
    recipes: Sequence[Recipe]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pages: dict[str, book.Page] = {}
        self._since = -math.inf  # when that was asked, in seconds of time.monotonic
        self._asking = Lock()

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket (see `model.Source`). Raises SourceError."""
        return counts(self.rows(query, start, end), query, start, end)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come. Raises SourceError."""
        found = self.serving(query, start, end)
        if found is None:
            return self.raw.rows(query, start, end)
        try:
            return self.raw.over({query.name: found.name}).rows(replace(found.served, step=query.step), start, end)
        except SourceError as error:
            if error.passing:
                raise
            self.notes.append(f"the rollup {found.name} could not be read, so the raw table was: {error}")
            return self.raw.rows(query, start, end)

    def serving(self, query: Query, start: datetime, end: datetime) -> Recipe | None:
        """The rollup that answers the query for that window; None where it takes the raw table."""
        fits = [r for r in self.recipes if (r.query.name, r.query.sql) == (query.name, query.sql)]
        if not fits or query.step.total_seconds() % SLOT:
            return None
        known = self._known()
        until = end + query.step  # `bind` rounds both ends up to whole buckets
        return next((r for r in fits if r.name in known and known[r.name].serves(start, until)), None)

    def columns(self, name: str) -> dict[str, str]:
        """Column -> ClickHouse type of the raw table. Raises SourceError."""
        return self.raw.columns(name)

    def now(self) -> datetime:
        """The server's clock, to the second. Raises SourceError."""
        return self.raw.now()

    def _known(self) -> dict[str, book.Page]:
        with self._asking:
            if time.monotonic() - self._since > FRESH:
                self._pages, self._since = self._asked(), time.monotonic()
            return self._pages

    def _asked(self) -> dict[str, book.Page]:
        try:
            return known(self.raw, self.recipes)
        except SourceError as error:
            if not book.absent(error):
                self.notes.append(f"the rollups could not be looked up, so the raw tables are read: {error}")
            return {}


def known(source: ClickHouse, recipes: Sequence[Recipe]) -> dict[str, book.Page]:
    """What the book says of these rollups. Raises SourceError."""
    names = [recipe.name for recipe in recipes]
    return book.pages(source.ask(book.question(f"`{source.database}`", names), "rollup_days"))
