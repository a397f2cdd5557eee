"""Telegram HTML, the markup of all messages: cut to a length as Telegram counts it, and converted to plain text."""

from __future__ import annotations

import html
import re

PIECE = re.compile(  # a tag, an entity or a character
    r"""<(?P<end>/?)(?P<tag>[a-z][\w-]*)(?:"[^"]*"|'[^']*'|[^<>"'])*>|&(?:lt|gt|amp|quot|\#\d+|\#x[\da-f]+);|.""",
    re.IGNORECASE | re.DOTALL,
)
_LINK = re.compile(r"""<a\s[^<>]*?href=(["'])(?P<url>.*?)\1[^<>]*>(?P<text>.*?)</a>""", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"""</?[a-z](?:"[^"]*"|'[^']*'|[^<>"'])*>""", re.IGNORECASE)


def cut_html(text: str, limit: int) -> str:
    """Return the text in at most `limit` UTF-16 code units. A text that was cut ends in '…', with every tag closed.

    Tags count nothing and an entity (&lt;) counts as the character that it stands for; neither is ever split.
    """
    pieces = list(PIECE.finditer(text))
    if sum(map(_units, pieces)) <= limit:
        return text
    left, open_tags, kept = limit - 1, list[str](), list[str]()
    for piece in pieces:
        left -= _units(piece)
        if left < 0:
            break
        kept.append(piece[0])
        if piece["tag"] and not piece["end"]:
            open_tags.append(piece["tag"])
        elif piece["tag"] and open_tags:
            open_tags.pop()
    return "".join(kept).rstrip() + "…" + "".join(f"</{tag}>" for tag in reversed(open_tags))


def html_to_text(text: str) -> str:
    """Return the text without tags, its entities as characters, its links as `text (url)`."""

    def link(match: re.Match[str]) -> str:
        return match["text"] if match["text"] == match["url"] else f"{match['text']} ({match['url']})"

    return html.unescape(_TAG.sub("", _LINK.sub(link, text)))


def cut_plain(text: str, limit: int) -> str:
    """Return text without markup, cut as `cut_html` does."""
    return html.unescape(cut_html(html.escape(text), limit))


def encodable(text: str) -> str:
    """Return text that can be sent: a lone surrogate (from a mangled name in the data) becomes '?'."""
    return text.encode("utf-8", "replace").decode()


def _units(piece: re.Match[str]) -> int:
    """The UTF-16 code units of a piece, as Telegram counts them: a character beyond 65535 has two."""
    return 0 if piece["tag"] else max(1, len(html.unescape(piece[0]).encode("utf-16-le", "replace")) // 2)
