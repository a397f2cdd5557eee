"""HTML from a notebook or a chat, made harmless: only what is listed here passes, everything else is text or nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from html.parser import HTMLParser

from alerting.pages.grids import Cell, Grid
from alerting.pages.markup import away, bare, is_safe, text

PLAIN = {
    "b", "strong", "i", "em", "u", "s", "code", "pre", "p", "span", "ul", "ol", "li", "blockquote", "h2", "h3", "h4",
}  # fmt: skip
ROWS = ("thead", "tbody", "tfoot", "tr", "td", "th")
MUTE = {"script", "style", "template", "noscript", "iframe", "object", "textarea", "title"}  # gone with all that is in them
PNG = "data:image/png;base64,"
LEAD = 500  # characters that a picture's words are looked for in
MAGIC = b"\x89PNG\r\n\x1a\n"
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
        self.outs: list[list[str]] = [[]]  # of the page, and of the cell that is being read
        self.open: list[tuple[str, str]] = []  # tag, what closes it
        self.muted: list[str] = []
        self.grid = Grid()
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
            self._begin(tag, away(url, "").removesuffix("</a>"), "</a>" if is_safe(url) else "")
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
            self._say(text(data))
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
            self.grid = Grid()
        elif tag in ("td", "th"):
            self.grid.add(Cell(tag, given.get("colspan", ""), given.get("rowspan", "")))
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
        data = png(source.removeprefix(PNG)) if source.startswith(PNG) else b""
        words = self.lead.strip().partition("\n")[0] or given.get("alt", "")
        self._say(self.picture(data, words) if data else text(given.get("alt", "")))
