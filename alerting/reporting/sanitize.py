"""HTML from a notebook or a chat, made harmless: only what is listed here passes, everything else is text or nothing."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

from alerting.reporting.layout import escape_html, is_safe, outside_link, scrollable_table, strip_ansi

PLAIN = {
    "b", "strong", "i", "em", "u", "s", "code", "pre", "p", "span", "ul", "ol", "li", "blockquote", "h2", "h3", "h4",
}  # fmt: skip
ROWS = ("thead", "tbody", "tfoot", "tr", "td", "th")
MUTE = {"script", "style", "template", "noscript", "iframe", "object", "textarea", "title"}  # gone with all that is in them
PNG = "data:image/png;base64,"
LEAD = 500  # characters that a picture's words are looked for in
MAGIC = b"\x89PNG\r\n\x1a\n"
Picture = Callable[[bytes, str], str]  # a PNG and its words -> HTML


def sanitize(html: str, picture: Picture, label: str, nothing: str = "") -> str:
    """`label` names tables for those who cannot see them; `nothing` stands for an empty one."""
    cleaner = _Cleaner(picture, label, nothing)
    cleaner.feed(strip_ansi(html))
    cleaner.close()
    return cleaner.html()


def png_base64(encoded: str) -> bytes:
    """The picture in base64; empty when it is none."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if data.startswith(MAGIC) else b""


class _Cleaner(HTMLParser):
    def __init__(self, picture: Picture, label: str, nothing: str) -> None:
        super().__init__(convert_charrefs=True)
        self.picture, self.label, self.nothing = picture, label, nothing
        self.outs: list[list[str]] = [[]]  # of the page, and of the cell that is being read
        self.open: list[tuple[str, str]] = []  # tag, what closes it
        self.muted: list[str] = []
        self.grid = TableGrid()
        self.lead = ""  # text since the last message began: its first line says what a picture shows

    def html(self) -> str:
        while self.open:
            self._end()
        return "".join(self.outs[0])

    def _say(self, html: str) -> None:
        self.outs[-1].append(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in MUTE:
            self.muted.append(tag)
        elif self.muted:
            return
        elif tag == "br":
            self._say("<br>")
        elif tag == "img":
            self._picture(given)
        elif tag == "table" or tag in ROWS:
            self._tabular(tag, given)
        elif tag == "a":
            url = given.get("href", "")
            self._begin(tag, outside_link(url, "").removesuffix("</a>"), "</a>" if is_safe(url) else "")
        elif tag == "div":
            self._block(given)
        elif tag in PLAIN:
            self._begin(tag, f"<{tag}>", f"</{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if self.muted:
            if tag == self.muted[-1]:
                self.muted.pop()
        elif any(tag == name for name, _ in self.open):
            while self._end() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self.muted:
            self._say(escape_html(data))
            self.lead += data if len(self.lead) < LEAD else ""

    def _block(self, given: dict[str, str]) -> None:
        kind = ' class="message"' if "pre-wrap" in given.get("style", "") else ""
        place = ' id="run-failed"' if given.get("id") == "run-failed" else ""
        self.lead = ""
        self._begin("div", f"<div{place}{kind}>", "</div>")

    def _tabular(self, tag: str, given: dict[str, str]) -> None:
        """A table, or a part of one; not of one inside of another, nor of none."""
        within = [name for name, _ in self.open if name == "table" or name in ROWS]
        if bool(within) == (tag == "table"):
            return
        while any(name in ("td", "th") for name, _ in self.open):  # it was left open
            self._end()
        if tag == "table":
            self.grid = TableGrid()
        elif tag in ("td", "th"):
            self.grid.add(TableCell(tag, given.get("colspan", ""), given.get("rowspan", "")))
        else:
            self.grid.part(tag)
        if tag in ("table", "td", "th"):
            self.outs.append([])
        self.open.append((tag, ""))

    def _begin(self, tag: str, html: str, end: str) -> None:
        self._say(html)
        self.open.append((tag, end))

    def _end(self) -> str:
        tag, end = self.open.pop()
        if tag in ("td", "th"):
            self.grid.fill("".join(self.outs.pop()))
        elif tag == "table":
            self.outs.pop()  # what stood between its cells
            self._say(self.grid.html(self.label, self.nothing))
        elif tag == "thead":
            self.grid.part("tbody")
        else:
            self._say(end)
        return tag

    def _picture(self, given: dict[str, str]) -> None:
        source = given.get("src", "")
        data = png_base64(source.removeprefix(PNG)) if source.startswith(PNG) else b""
        words = self.lead.strip().partition("\n")[0] or given.get("alt", "")
        self._say(self.picture(data, words) if data else escape_html(given.get("alt", "")))


# A table that came from elsewhere, as one that is easy to read: heads have a scope, numbers stand to the right, an empty one
# says so, and rows that are merely counted lose their numbers.

ODD = {"anomalous", "missing", "failed", "refused", "kept"}  # statuses that a reader looks for
LONG = 32  # characters of a cell that may be broken into lines
_NUMBER = re.compile(r"[-+−]?[\d,\u202f ]*\.?\d+(e[-+]?\d+)?\s?%?|nan|NaN|")


@dataclass(frozen=True)
class TableCell:
    """`html` is clean."""

    tag: str
    colspan: str = ""
    rowspan: str = ""
    html: str = ""

    @property
    def spans(self) -> str:
        given = {"colspan": self.colspan, "rowspan": self.rowspan}
        return "".join(f' {name}="{count}"' for name, count in given.items() if re.fullmatch(r"[1-9]\d?", count))


Row = list[TableCell]


class TableGrid:
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

    def add(self, cell: TableCell) -> None:
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
            return f'<p class="none">{escape_html(nothing)}</p>'
        heads, body = (self.heads, self.body) if self._spanned() else _uncounted(_merged(self.heads), self.body)
        numbers = _numbers(body)
        top = "".join(f"<tr>{''.join(_head(cell, n in numbers) for n, cell in enumerate(row))}</tr>" for row in heads)
        rows = "\n".join(f"<tr>{''.join(_cell(cell, n in numbers) for n, cell in enumerate(row))}</tr>" for row in body)
        return scrollable_table(f"<table>{f'<thead>{top}</thead>' if top else ''}<tbody>\n{rows}\n</tbody></table>", label)

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


def _head(cell: TableCell, number: bool) -> str:
    kind = ' class="n"' if number else ""
    return f'<th scope="col"{kind}{cell.spans}>{cell.html}</th>' if cell.html else f"<td{cell.spans}></td>"


def _cell(cell: TableCell, number: bool) -> str:
    if cell.tag == "th":
        return f'<th scope="row"{cell.spans}>{cell.html}</th>'
    kind = ' class="n"' if number else ' class="odd"' if cell.html in ODD else ' class="w"' if len(cell.html) > LONG else ""
    return f"<td{kind}{cell.spans}>{cell.html}</td>"


# Pictures of a notebook that lie beside it as files: shown from there, instead of being in it a second time.

_SOURCE = re.compile(rf'src="{re.escape(PNG)}([A-Za-z0-9+/=\s]*)"')

Same = Callable[[str, bytes], bool]  # whether a file of that name holds just this picture


def move_pictures(notebook: dict[str, Any], name: str, same: Same) -> dict[str, Any]:
    """The notebook `name` with every picture replaced by a link to its file, where there is one."""
    notebook, files = deepcopy(notebook), _Files(name, same)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                file = files.of("".join(data["image/png"]))
                if file:
                    del data["image/png"]
                    data["text/html"] = f'<img src="{escape_html(file)}">'
            elif "text/html" in data:
                data["text/html"] = _SOURCE.sub(files.linked, "".join(data["text/html"]))
    return notebook


class _Files:
    """Numbers them in the order of the notebook, as its page did."""

    def __init__(self, name: str, same: Same) -> None:
        self.name, self.same, self.count = name, same, 0

    def of(self, encoded: str) -> str:
        data = png_base64(encoded)
        self.count += bool(data)
        file = f"{self.name}.{self.count}.png"
        return file if data and self.same(file, data) else ""

    def linked(self, match: re.Match[str]) -> str:
        file = self.of(match[1])
        return f'src="{escape_html(file)}"' if file else match[0]
