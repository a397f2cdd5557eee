"""Rollups are made, filled in day by day, looked at and taken away.

    create     the table; a view that counts rows from `cut` on as they come; and one that notes days with rows before it
    backfill   each day before `cut`, newest first: what a killed try left is dropped, the day is filled in, its rows are
               counted in both tables, and only then it is done; at last answers of rollup and raw table are compared

`cut` is a moment to come, so that no row from it on can be there already.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from alerting.model import SourceError
from alerting.rollups import book
from alerting.rollups.book import DAY, Page
from alerting.rollups.checking import check_engine, same_answers
from alerting.rollups.recipes import PREFIX, SLOT, Recipe
from alerting.rollups.serving import known
from alerting.rollups.writing import Writer
from alerting.sources.binding import quoted_table

AHEAD = (
    2 * SLOT
)  # seconds from now to the cut, at least half of it: an INSERT that began before the views were there ends till then
TRIES = 3  # a day that gets rows while it is filled in


@dataclass
class Builder:
    """`say` hears of each step. `raw`: query name -> the raw table as settings name it."""

    writer: Writer
    raw: dict[str, str]
    say: Callable[[str], object]

    def create(self, recipe: Recipe, cut: datetime | None = None) -> None:
        """The rollup and its views. What is there stays. Raises SourceError."""
        check_engine(self.writer, self._raw(recipe))
        self._open_book()
        if self._page(recipe).cut is not None:
            self.say(f"{recipe.name}: is there")
            return
        at = int(cut.timestamp()) if cut else (int(self.writer.now().timestamp()) // SLOT * SLOT + AHEAD)
        self._remove(recipe.name)  # what a killed try left
        self._do(recipe.table(self._at(recipe.name), self._raw(recipe)))
        self._do(
            f"CREATE MATERIALIZED VIEW {self._at(recipe.name + '_late')} TO {self._at(book.LATE)} AS {self._late(recipe, at)}"
        )
        live = recipe.select(self._raw(recipe), f"time >= toDateTime({at})", 1)
        self._do(f"CREATE MATERIALIZED VIEW {self._at(recipe.name + '_live')} TO {self._at(recipe.name)} AS {live}")
        self._note(recipe, book.CUT, at)
        self.say(f"{recipe.name}: made; rows from {_written(at)} on are counted as they come")

    def backfill(self, recipe: Recipe, days: int) -> None:
        """Fill in what is not whole of the last `days` before the cut. Raises SourceError."""
        page = self._page(recipe)
        if page.cut is None:
            raise SourceError(f"the rollup {recipe.name} is not there: `python -m alerting rollup create` makes it")
        self._end_others(recipe)
        now = int(self.writer.now().timestamp())
        for day in range(page.last, page.last - days, -1):
            if page.whole(day):
                continue
            if day == page.last and now < page.cut:
                self.say(f"{recipe.name}: {_day(day)} ends at {_written(page.cut)}: run it again after that")
                continue
            self._fill(recipe, day, page.cut)
        page = self._page(recipe)
        if not page.whole(page.last):
            return
        same_answers(self.writer, self._named(recipe), recipe, page)
        self._note(recipe, book.CHECKED, 1)
        self.say(f"{recipe.name}: is read from {_day(page.first)} on")

    def status(self, recipe: Recipe) -> str:
        """A line about it. Raises SourceError."""
        page = self._page(recipe)
        if page.cut is None:
            return f"{recipe.name}: not there"
        stale = [day for day in page.done if not page.whole(day)]
        size = self._number(f"SELECT toFloat64(sum(bytes)) AS n FROM system.parts WHERE active AND {self._is(recipe.name)}")
        state = f"read from {_day(page.first)} on" if page.checked and page.whole(page.last) else "not read yet: backfill"
        behind = f"; {len(stale)} days got rows late and wait for backfill" if stale else ""
        filled = f"live from {_written(page.cut)} on, {len(page.done)} days filled in, {size / 1e6:.1f} MB"
        return f"{recipe.name}: {state}; {filled}{behind}"

    def there(self) -> list[str]:
        """All rollups in the database, those of older texts too. Raises SourceError."""
        found = self.writer.ask(f"SELECT name FROM system.tables WHERE database = '{self.writer.database}'", "rollup_tables")
        return sorted(
            name for name in found["name"].astype(str) if re.fullmatch(rf"{PREFIX}(totals|slices)_\w+_[0-9a-f]{{10}}", name)
        )

    def drop(self, name: str) -> None:
        """The views before the table: an INSERT into the raw table would fail without it. Raises SourceError."""
        self._open_book()
        self._remove(name)
        self.say(f"{name}: dropped")

    def drop_book(self) -> None:
        """Raises SourceError."""
        for name in book.TABLES:
            self._do(f"DROP TABLE IF EXISTS {self._at(name)}")

    def _open_book(self) -> None:
        for name, form in book.TABLES.items():
            self._do(f"CREATE TABLE IF NOT EXISTS {self._at(name)} {form}")

    def _remove(self, name: str) -> None:
        for suffix in ("_live", "_late", ""):
            self._do(f"DROP TABLE IF EXISTS {self._at(name + suffix)}")
        for table in book.TABLES:
            self._do(f"ALTER TABLE {self._at(table)} DROP PARTITION '{name}'")

    def _fill(self, recipe: Recipe, day: int, cut: int) -> None:
        """One day, as often as rows arrive in between."""
        within = f"time >= toDateTime({day * DAY}) AND time < toDateTime({min(cut, (day + 1) * DAY)})"
        began = time.monotonic()
        for _ in range(TRIES):
            late = self._page(recipe).late.get(day, 0)
            self._do(f"ALTER TABLE {self._at(recipe.name)} DROP PARTITION ({day}, 0)")
            self._do(f"INSERT INTO {self._at(recipe.name)} {recipe.select(self._raw(recipe), within, 0)}", f"fill_{recipe.name}")
            rows = self._number(f"SELECT toFloat64(count()) AS n FROM {self._raw(recipe)} WHERE {within}")
            held = self._number(
                f"SELECT toFloat64(countMerge(rows)) AS n FROM {self._at(recipe.name)} WHERE {_kept(day)} AND live = 0"
            )
            if rows == held:
                self._note(recipe, day, late)
                self.say(f"{recipe.name}: {_day(day)}, {rows:,.0f} rows in {time.monotonic() - began:.1f} s")
                return
        raise SourceError(
            f"{recipe.name}: {_day(day)} has {rows:.0f} rows, and {held:.0f} in the rollup: run it again when it is calm"
        )

    def _late(self, recipe: Recipe, cut: int) -> str:
        day = f"toUInt32(intDiv(toUInt32(time), {DAY})) AS day"
        where = f"WHERE time < toDateTime({cut})"
        return f"SELECT '{recipe.name}' AS name, {day}, count() AS came FROM {self._raw(recipe)} {where} GROUP BY day"

    def _end_others(self, recipe: Recipe) -> None:
        """A try that was killed may still write."""
        self._do(f"KILL QUERY WHERE query_id LIKE 'alerting-fill_{recipe.name}-%' SYNC", "kill")

    def _page(self, recipe: Recipe) -> Page:
        return known(self.writer, [recipe]).get(recipe.name, Page())

    def _note(self, recipe: Recipe, day: int, value: int) -> None:
        row = f"('{recipe.name}', {day}, {value}, {time.time_ns()})"
        self._do(f"INSERT INTO {self._at(book.DAYS)} (name, day, value, turn) VALUES {row}")

    def _number(self, sql: str) -> float:
        return float(self.writer.ask(sql, "rollup_count")["n"].iloc[0])

    def _is(self, name: str) -> str:
        return f"database = '{self.writer.database}' AND table = '{name}'"

    def _named(self, recipe: Recipe) -> str:
        return self.raw.get(recipe.query.name, recipe.query.name)

    def _raw(self, recipe: Recipe) -> str:
        return quoted_table(self._named(recipe), self.writer.database)

    def _at(self, name: str) -> str:
        return quoted_table(name, self.writer.database)

    def _do(self, sql: str, name: str = "rollup") -> None:
        self.writer.do(sql, name)


def _kept(day: int) -> str:
    return f"slot >= toDateTime({day * DAY}) AND slot < toDateTime({(day + 1) * DAY})"


def _day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY, UTC):%Y-%m-%d}"


def _written(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%MZ}"
