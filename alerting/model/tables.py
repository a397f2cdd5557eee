"""How a result shows itself in a notebook's cell: a small table, readable on light and on dark. Pure.

No colour of its own but a grey that is seen on both; everything that is not ours is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

MAX_TABLE_ROWS = 20  # rows shown
_BORDER = "1px solid rgba(128,128,128,.4)"
_CELL_STYLE = f"padding:2px 8px;border:0;border-bottom:{_BORDER};vertical-align:top"
_TABLE_STYLE = "border-collapse:collapse;background:transparent;color:inherit;margin:4px 0"


def html_table(rows: Sequence[Mapping[str, Any]], title: str = "", zone: str = "UTC") -> str:
    """One line per row, the newest MOST of them; columns as they first come. Times are the zone's."""
    shown = rows[-MAX_TABLE_ROWS:]
    names = list(dict.fromkeys(name for row in shown for name in row))
    right = {name for name in names if any(isinstance(row.get(name), (int, float)) for row in shown)}
    head = _line("th", names, right, names)
    body = "".join(_line("td", [cell_text(row.get(name), zone) for name in names], right, names) for row in shown)
    left = f" (the last {MAX_TABLE_ROWS} of {len(rows):,})" if len(rows) > MAX_TABLE_ROWS else ""
    made = f'<table style="{_TABLE_STYLE}"><thead>{head}</thead><tbody>{body}</tbody></table>' if shown else ""
    return f'<div style="overflow-x:auto"><div><b>{escape(title)}</b>{left}</div>{made}</div>'


def text_table(rows: Sequence[Mapping[str, Any]], title: str = "", zone: str = "UTC") -> str:
    """The same as plain text, for where no HTML is shown."""
    shown = (" · ".join(filter(None, (cell_text(value, zone) for value in row.values()))) for row in rows[-MAX_TABLE_ROWS:])
    return "\n".join([title, *shown])


def _line(kind: str, cells: Sequence[str], right: set[str], names: Sequence[str]) -> str:
    sides = ("right" if name in right else "left" for name in names)
    inner = (
        f'<{kind} style="{_CELL_STYLE};text-align:{side}">{escape(cell)}</{kind}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f'<tr style="background:transparent">{"".join(inner)}</tr>'


def cell_text(value: Any, zone: str = "UTC") -> str:
    """A value as a cell has it: four digits of a number, an instant by the zone's clock, nothing for what is not known."""
    if value is None or value != value:  # NaN and NaT are not themselves
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return str(value)


def percent_change(value: float) -> str:
    """A change as a share: +12 %, and nothing where it is not known."""
    return f"{100 * value:+.0f} %" if value == value and abs(value) != float("inf") else ""


# Lists that show themselves in a notebook's cell. Pure.


class TableRow(Protocol):
    """What can be a line of a table."""

    def cells(self) -> Mapping[str, Any]: ...


T = TypeVar("T", bound=TableRow)


class DisplayList(list[T]):
    """A list as any other; in a cell a table, its times by the clock of `zone`."""

    def __init__(self, items: Iterable[T] = (), noun: str = "rows", zone: str = "UTC") -> None:
        super().__init__(items)
        self.noun, self.zone = noun, zone

    def _repr_html_(self) -> str:

        return html_table(*self._shown())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:

        printer.text(text_table(*self._shown()))

    def _shown(self) -> tuple[list[Mapping[str, Any]], str, str]:
        rows = [item.cells() for item in self]
        counted = Counter(str(row["status"]) for row in rows if "status" in row)
        said = ", ".join(f"{count:,} {status}" for status, count in counted.most_common())
        return rows, f"{self.noun.capitalize()}: {said or f'{len(rows):,}'} ({self.zone})", self.zone
