"""A table that came from elsewhere, as one that is easy to read: heads have a scope, numbers stand to the right, an empty one
says so, and rows that are merely counted lose their numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from alerting.pages.markup import scrolled, text

ODD = {"anomalous", "missing", "failed", "refused", "kept"}  # statuses that a reader looks for
LONG = 32  # characters of a cell that may be broken into lines
_NUMBER = re.compile(r"[-+−]?[\d,\u202f ]*\.?\d+(e[-+]?\d+)?\s?%?|nan|NaN|")


@dataclass(frozen=True)
class Cell:
    """`html` is clean."""

    tag: str
    colspan: str = ""
    rowspan: str = ""
    html: str = ""

    @property
    def spans(self) -> str:
        given = {"colspan": self.colspan, "rowspan": self.rowspan}
        return "".join(f' {name}="{count}"' for name, count in given.items() if re.fullmatch(r"[1-9]\d?", count))


Row = list[Cell]


class Grid:
    """Filled cell by cell, as they are read."""

    def __init__(self) -> None:
        self.heads: list[Row] = []
        self.body: list[Row] = []
        self._rows, self._new = self.body, True

    def part(self, tag: str) -> None:
        """thead, tbody, tfoot or tr begins."""
        if tag != "tr":
            self._rows = self.heads if tag == "thead" else self.body
        self._new = True

    def add(self, cell: Cell) -> None:
        if self._new or not self._rows:
            self._rows.append([])
        self._new = False
        self._rows[-1].append(cell)

    def fill(self, html: str) -> None:
        """The cell that was added last."""
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] = replace(self._rows[-1][-1], html=html.strip())

    def html(self, label: str, nothing: str) -> str:
        if not self.body:
            return f'<p class="none">{text(nothing)}</p>'
        heads, body = (self.heads, self.body) if self._spanned() else _uncounted(_merged(self.heads), self.body)
        numbers = _numbers(body)
        top = "".join(f"<tr>{''.join(_head(cell, n in numbers) for n, cell in enumerate(row))}</tr>" for row in heads)
        rows = "\n".join(f"<tr>{''.join(_cell(cell, n in numbers) for n, cell in enumerate(row))}</tr>" for row in body)
        return scrolled(f"<table>{f'<thead>{top}</thead>' if top else ''}<tbody>\n{rows}\n</tbody></table>", label)

    def _spanned(self) -> bool:
        return any(cell.spans for row in (*self.heads, *self.body) for cell in row)


def _merged(heads: list[Row]) -> list[Row]:
    """A name of the rows, which pandas writes into a line of its own, goes where the other names are."""
    if len(heads) == 2 and heads[0] and heads[1] and not heads[0][0].html and not any(cell.html for cell in heads[1][1:]):
        return [[heads[1][0], *heads[0][1:]]]
    return heads


def _uncounted(heads: list[Row], body: list[Row]) -> tuple[list[Row], list[Row]]:
    """Without a first column that says 0, 1, 2 ... and has no name."""
    counted = all(row and row[0].tag == "th" and row[0].html == str(n) for n, row in enumerate(body))
    if not counted or any(not row or row[0].html for row in heads) or min(map(len, body)) < 2:
        return heads, body
    return [row[1:] for row in heads], [row[1:] for row in body]


def _numbers(body: list[Row]) -> set[int]:
    """Columns that hold nothing else."""
    columns: dict[int, list[str]] = {}
    for row in body:
        for n, cell in enumerate(row):
            columns.setdefault(n, []).append(cell.html if cell.tag == "td" else "words")
    return {n for n, cells in columns.items() if any(cells) and all(map(_NUMBER.fullmatch, cells))}


def _head(cell: Cell, number: bool) -> str:
    kind = ' class="n"' if number else ""
    return f'<th scope="col"{kind}{cell.spans}>{cell.html}</th>' if cell.html else f"<td{cell.spans}></td>"


def _cell(cell: Cell, number: bool) -> str:
    if cell.tag == "th":
        return f'<th scope="row"{cell.spans}>{cell.html}</th>'
    kind = ' class="n"' if number else ' class="odd"' if cell.html in ODD else ' class="w"' if len(cell.html) > LONG else ""
    return f"<td{kind}{cell.spans}>{cell.html}</td>"
