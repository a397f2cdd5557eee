"""Tables in the output of a notebook cell: lists of results as HTML and as plain text. Pure.

pandas writes the HTML, because every front end shows its tables readably, on light and on dark background. It is imported on
first use, because the command line imports this module and shows no table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from alerting.model.clock import DAY, day_of, offset_if_twice

MAX_TABLE_ROWS = 20


def html_table(rows: Sequence[Mapping[str, Any]], title: str = "", zone: str = "UTC") -> str:
    """Return an HTML table of the newest (last) MAX_TABLE_ROWS rows. All texts are escaped.

    `rows`: column -> value for each row. Columns are in the order of their first appearance. Times are shown as local time of
    `zone` (IANA name).
    """
    import pandas as pd

    shown = [{name: cell_text(value, zone) for name, value in row.items()} for row in rows[-MAX_TABLE_ROWS:]]
    frame, table = pd.DataFrame(shown).fillna(""), ""
    if shown:
        with pd.option_context("display.max_colwidth", None):
            table = frame.to_html(index=False, border=0, formatters=[str] * len(frame.columns))
    left_out = f" (the last {MAX_TABLE_ROWS} of {len(rows):,})" if len(rows) > MAX_TABLE_ROWS else ""
    return f'<div style="overflow-x:auto"><div><b>{escape(title)}</b>{left_out}</div>{table}</div>'


def cell_text(value: Any, zone: str = "UTC") -> str:
    """Return a value as text: a number with four digits, an instant in local time of `zone`; "" for None, NaN and NaT."""
    if value is None or value != value:  # NaN and NaT differ from themselves
        return ""
    if isinstance(value, datetime):
        local = value.astimezone(ZoneInfo(zone))
        return f"{local:%a %Y-%m-%d %H:%M} {offset_if_twice(local)}".rstrip()
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return str(value)


def bucket_text(bucket: datetime, step: timedelta, zone: str) -> str:
    """Return the start of a bucket as local time of `zone`. If the bucket is a day, return the date only."""
    return f"{day_of(bucket, step, zone):%a %Y-%m-%d}" if step >= DAY else cell_text(bucket, zone)


def percent_change(value: float) -> str:
    """Return a share as a signed percentage ("+12 %"); "" for NaN and infinity."""
    return f"{100 * value:+.0f} %" if value == value and abs(value) != float("inf") else ""


class TableRow(Protocol):
    """A result that is a row of a table."""

    def cells(self) -> Mapping[str, Any]:
        """Return column -> value: one row."""


T = TypeVar("T", bound=TableRow)


class DisplayTable:
    """A result that a notebook shows as an HTML table, and a terminal as lines of plain text."""

    @abstractmethod
    def _table(self) -> tuple[Sequence[Mapping[str, Any]], str, str]:
        """Return the rows (column -> value), the title and the IANA name of the time zone."""

    def _repr_html_(self) -> str:
        return html_table(*self._table())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        rows, title, zone = self._table()
        cells = ([cell_text(value, zone) for value in row.values()] for row in rows[-MAX_TABLE_ROWS:])
        printer.text("\n".join([title, *(" · ".join(filter(None, texts)) for texts in cells)]))


class DisplayList(list[T], DisplayTable):
    """A list that is shown as a table, with times in `zone`. If rows have a status, the title counts each status."""

    def __init__(self, items: Iterable[T] = (), noun: str = "rows", zone: str = "UTC") -> None:
        super().__init__(items)
        self.noun, self.zone = noun, zone

    def _table(self) -> tuple[Sequence[Mapping[str, Any]], str, str]:
        rows = [item.cells() for item in self]
        statuses = Counter(str(row["status"]) for row in rows if "status" in row)
        counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
        return rows, f"{self.noun.capitalize()}: {counts or f'{len(rows):,}'} ({self.zone})", self.zone
