"""Telegram HTML: cut to a length as Telegram counts it, and read as plain text."""

from __future__ import annotations

import html
import re

_PIECE = re.compile(
    r"""<(?P<end>/?)(?P<tag>[a-z][\w-]*)(?:"[^"]*"|'[^']*'|[^<>"'])*>|&(?:lt|gt|amp|quot|\#\d+|\#x[\da-f]+);|.""",
    re.IGNORECASE | re.DOTALL,
)
_LINK = re.compile(r"""<a\s[^<>]*?href=(["'])(?P<url>.*?)\1[^<>]*>(?P<text>.*?)</a>""", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"""</?[a-z](?:"[^"]*"|'[^']*'|[^<>"'])*>""", re.IGNORECASE)


def cut_html(text: str, limit: int) -> str:
    """Telegram HTML `text` in at most `limit` units; if something had to go, it ends in '…', every tag closed.

    Tags cost nothing and an entity (&lt;) costs the character it stands for, so neither is ever split.
    """
    pieces = list(_PIECE.finditer(text))
    if sum(map(_units, pieces)) <= limit:
        return text
    room, opened, kept = limit - 1, list[str](), list[str]()
    for piece in pieces:
        room -= _units(piece)
        if room < 0:
            break
        kept.append(piece[0])
        if piece["tag"] and not piece["end"]:
            opened.append(piece["tag"])
        elif piece["tag"] and opened:
            opened.pop()
    return "".join(kept).rstrip() + "…" + "".join(f"</{tag}>" for tag in reversed(opened))


def html_to_text(text: str) -> str:
    """Telegram HTML as a person reads it: tags gone, entities read, links as `text (url)`."""

    def link(match: re.Match[str]) -> str:
        return match["text"] if match["text"] == match["url"] else f"{match['text']} ({match['url']})"

    return html.unescape(_TAG.sub("", _LINK.sub(link, text)))


def cut_plain(text: str, limit: int) -> str:
    """`cut` for text without markup."""
    return html.unescape(cut_html(html.escape(text), limit))


def encodable(text: str) -> str:
    """Text that can be sent: a lone surrogate (from a mangled name in the data) becomes '?'."""
    return text.encode("utf-8", "replace").decode()


def _units(piece: re.Match[str]) -> int:
    """UTF-16 code units. Telegram counts no more than that: a character beyond 65535 is two here."""
    return 0 if piece["tag"] else max(1, len(html.unescape(piece[0]).encode("utf-16-le", "replace")) // 2)
