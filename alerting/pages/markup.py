"""Text to HTML. Everything that is not ours goes through `text`."""

from __future__ import annotations

import re
from html import escape

# Colours of a terminal, titles of its window, and what else an escape begins.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[()][0-9A-Z]|\x1b[@-Z\\^_]?")
# Unprintable, or turning the direction of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WEB = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_HERE = re.compile(r"#[\w-]+")


def text(words: str) -> str:
    """`words` as text of a page or of a quoted attribute: no markup, nothing unprintable."""
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", words.replace("\r\n", "\n")), quote=True)


def bare(words: str) -> str:
    """Without what a terminal makes of it."""
    return _ANSI.sub("", words)


def is_safe(url: str) -> bool:
    """A web address or a place on the same page: no javascript:, no data:, no file:."""
    return bool(_WEB.fullmatch(url) or _HERE.fullmatch(url))


def link(href: str, words: str) -> str:
    """`words` is HTML already; `href` is a path of ours, or is checked before."""
    return f'<a href="{text(href)}">{words}</a>'


def away(url: str, words: str) -> str:
    """A link to another place, or the mere words where the address is none."""
    return f'<a href="{text(url)}" rel="noopener noreferrer">{words}</a>' if is_safe(url) else words


def scrolled(table: str, label: str) -> str:
    """A table in a box of its own, that a narrow screen and a keyboard can scroll."""
    return f'<div class="scroll" role="region" aria-label="{text(label)}" tabindex="0">{table}</div>'


def table(label: str, heads: list[str], rows: list[list[str]], numbers: frozenset[int] = frozenset()) -> str:
    """`rows` are HTML, the first cell of each is its head; `numbers`: columns set to the right."""

    def cell(n: int, html: str) -> str:
        kind = ' class="n"' if n in numbers else ""
        return f'<th scope="row">{html}</th>' if n == 0 else f"<td{kind}>{html}</td>"

    head = "".join(f'<th scope="col"{" class=n" if n in numbers else ""}>{text(word)}</th>' for n, word in enumerate(heads))
    body = "\n".join("<tr>" + "".join(cell(n, html) for n, html in enumerate(row)) + "</tr>" for row in rows)
    return scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>", label)
