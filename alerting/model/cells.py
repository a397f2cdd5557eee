"""How a result shows itself in a notebook's cell: a small table, readable on light and on dark. Pure.

No colour of its own but a grey that is seen on both; everything that is not ours is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

MOST = 20  # rows shown
LINE = "1px solid rgba(128,128,128,.4)"
CELL = f"padding:2px 8px;border:0;border-bottom:{LINE};vertical-align:top"
LOOK = "border-collapse:collapse;background:transparent;color:inherit;margin:4px 0"


def table(rows: Sequence[Mapping[str, Any]], title: str = "", zone: str = "UTC") -> str:
    """One line per row, the newest MOST of them; columns as they first come. Times are the zone's."""
    shown = rows[-MOST:]
    names = list(dict.fromkeys(name for row in shown for name in row))
    right = {name for name in names if any(isinstance(row.get(name), (int, float)) for row in shown)}
    head = _line("th", names, right, names)
    body = "".join(_line("td", [text(row.get(name), zone) for name in names], right, names) for row in shown)
    left = f" (the last {MOST} of {len(rows):,})" if len(rows) > MOST else ""
    made = f'<table style="{LOOK}"><thead>{head}</thead><tbody>{body}</tbody></table>' if shown else ""
    return f'<div style="overflow-x:auto"><div><b>{escape(title)}</b>{left}</div>{made}</div>'


def lines(rows: Sequence[Mapping[str, Any]], title: str = "", zone: str = "UTC") -> str:
    """The same as plain text, for where no HTML is shown."""
    shown = (" · ".join(filter(None, (text(value, zone) for value in row.values()))) for row in rows[-MOST:])
    return "\n".join([title, *shown])


def _line(kind: str, cells: Sequence[str], right: set[str], names: Sequence[str]) -> str:
    sides = ("right" if name in right else "left" for name in names)
    inner = (f'<{kind} style="{CELL};text-align:{side}">{escape(cell)}</{kind}>' for cell, side in zip(cells, sides, strict=True))
    return f'<tr style="background:transparent">{"".join(inner)}</tr>'


def text(value: Any, zone: str = "UTC") -> str:
    """A value as a cell has it: four digits of a number, an instant by the zone's clock, nothing for what is not known."""
    if value is None or value != value:  # NaN and NaT are not themselves
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return str(value)


def share(value: float) -> str:
    """A change as a share: +12 %, and nothing where it is not known."""
    return f"{100 * value:+.0f} %" if value == value and abs(value) != float("inf") else ""
