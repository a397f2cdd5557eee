"""HTML from a notebook or a chat, made harmless: only what is listed here passes, everything else is text or nothing.

Tables become readable ones on the way: heads have a scope, numbers stand to the right, an empty one says so.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from html.parser import HTMLParser

from alerting.pages.markup import away, bare, is_safe, scrolled, text

PLAIN = {
    "b", "strong", "i", "em", "u", "s", "code", "pre", "p", "span", "ul", "ol", "li", "blockquote", "h2", "h3", "h4",
}  # fmt: skip
ROWS = ("thead", "tbody", "tfoot", "tr", "td", "th")
MUTE = {"script", "style", "template", "noscript", "iframe", "object", "textarea", "title"}  # gone with all that is in them
ODD = {"anomalous", "missing", "failed", "refused", "kept"}  # statuses that a reader looks for
PNG = "data:image/png;base64,"
LEAD = 500  # characters that a picture's words are looked for in
MAGIC = b"\x89PNG\r\n\x1a\n"
_NUMBER = re.compile(r"[-+−]?[\d,\u202f ]*\.?\d+(e[-+]?\d+)?\s?%?|nan|NaN|")

Picture = Callable[[bytes, str], str]  # a PNG and its words -> HTML


def clean(html: str, picture: Picture, label: str, nothing: str = "") -> str:
    """`label` names tables for those who cannot see them; `nothing` stands for an empty one."""
    cleaner = _Cleaner(picture, label, nothing)
    cleaner.feed(bare(html))
    cleaner.close()
    return cleaner.html()


def png(encoded: str) -> bytes:
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
        self.out: list[str] = []
        self.open: list[tuple[str, str]] = []  # tag, what closes it
        self.muted: list[str] = []
        self.table = _Table()
        self.lead = ""  # text since the last message began: its first line says what a picture shows

    def html(self) -> str:
        while self.open:
            self._end()
        return "".join(self.out)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in MUTE:
            self.muted.append(tag)
        elif self.muted:
            return
        elif tag == "br":
            self.out.append("<br>")
        elif tag == "img":
            self._picture(given)
        elif tag == "table" or tag in ROWS:
            self._tabular(tag)
        elif tag == "a":
            url = given.get("href", "")
            self._begin(tag, away(url, "").removesuffix("</a>"), "</a>" if is_safe(url) else "")
        elif tag == "div":
            kind = ' class="message"' if "pre-wrap" in given.get("style", "") else ""
            place = ' id="run-failed"' if given.get("id") == "run-failed" else ""
            self.lead = ""
            self._begin(tag, f"<div{place}{kind}>", "</div>")
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
            self.out.append(text(data))
            self.lead += data if len(self.lead) < LEAD else ""

    def _tabular(self, tag: str) -> None:
        """A table, or a part of one; not of one inside of another, nor of none."""
        within = [name for name, _ in self.open if name == "table" or name in ROWS]
        if bool(within) == (tag == "table"):
            return
        while within and within[-1] in ("td", "th"):  # it was left open
            self._end()
            within = [name for name, _ in self.open if name == "table" or name in ROWS]
        if tag == "table":
            self.table = _Table(start=len(self.out))
        self.table.begin(tag, len(self.out))
        self._begin(tag, f"<{tag}>", f"</{tag}>")

    def _begin(self, tag: str, html: str, end: str) -> None:
        self.out.append(html)
        self.open.append((tag, end))

    def _end(self) -> str:
        tag, end = self.open.pop()
        if tag in ("td", "th"):
            self.out[self.table.cell], end = self.table.filled(tag, "".join(self.out[self.table.cell + 1 :]))
        self.out.append(end)
        if tag == "table":
            start = self.table.start
            self.table.align(self.out)
            made = "".join(self.out[start:])
            shown = scrolled(made, self.label) if self.table.body else f'<p class="none">{text(self.nothing)}</p>'
            self.out[start:] = [shown]
        return tag

    def _picture(self, given: dict[str, str]) -> None:
        data = png(given.get("src", "").removeprefix(PNG)) if given.get("src", "").startswith(PNG) else b""
        if data:
            self.out.append(self.picture(data, self.lead.strip().partition("\n")[0] or given.get("alt", "")))
        else:
            self.out.append(text(given.get("alt", "")))


class _Table:
    """What is known of the table being read."""

    def __init__(self, start: int = 0) -> None:
        self.start, self.head, self.column, self.cell, self.body = start, False, -1, 0, 0
        self.heads: dict[int, int] = {}  # column -> where its head is written
        self.numbers: dict[int, bool] = {}  # column -> whether it holds nothing else

    def begin(self, tag: str, place: int) -> None:
        if tag in ("thead", "tbody", "tfoot"):
            self.head = tag == "thead"
        elif tag == "tr":
            self.column = -1
        elif tag in ("td", "th"):
            self.cell = place

    def filled(self, tag: str, inner: str) -> tuple[str, str]:
        """The tags around a cell, now that its content is known."""
        self.column += 1
        if self.head:
            if tag == "th" and inner.strip():
                self.heads[self.column] = self.cell
                return '<th scope="col">', "</th>"
            return "<td>", "</td>"
        self.body += 1
        if tag == "th":
            return '<th scope="row">', "</th>"
        if _NUMBER.fullmatch(inner.strip()):
            self.numbers.setdefault(self.column, True)
            return '<td class="n">', "</td>"
        self.numbers[self.column] = False
        return ('<td class="odd">' if inner.strip() in ODD else "<td>"), "</td>"

    def align(self, out: list[str]) -> None:
        """Heads of numbers stand where the numbers do."""
        for column, place in self.heads.items():
            if self.numbers.get(column):
                out[place] = '<th scope="col" class="n">'
