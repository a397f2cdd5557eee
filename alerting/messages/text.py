"""Pieces of lines: what comes from data is escaped and cut here. Each is empty when it has nothing to say."""

from __future__ import annotations

from bisect import bisect_right
from html import escape
from itertools import accumulate

from alerting.messages.context import Audience
from alerting.messages.words import WORDS
from alerting.model.metric import Metric

TITLE, REASON, PATH, URL = 60, 300, 300, 700  # characters kept of each (escaped), so that a text stays under Telegram's 4096
SHORT_TITLE = 40  # of a title among others
NAMED = 6  # metrics named in one line
MAX_TEXT = 4000  # UTF-16 units of a text, as Telegram counts (it takes 4096)


def title_of(metric: Metric, language: str, limit: int = TITLE) -> str:
    return plain_line(metric.title.get(language) or metric.title.get("en") or metric.name, limit) or metric.name


def inside_sentence(title: str) -> str:
    """The title within a sentence: feed users, but CTR, A/B and iOS as they are."""
    rest = title.split(" ")[0][1:]
    return title[:1].lower() + title[1:] if rest.isalpha() and rest.islower() else title


def link_line(reader: Audience, dashboard: str = "", owner: str = "") -> list[str]:
    """Dashboard · Run · @duty; what is not a web address stands on a line of its own, to be copied."""
    places = {"dashboard": dashboard, "run": reader.run_link}
    web = [f'<a href="{escape(url)}">{reader.say(key)}</a>' for key, url in places.items() if is_web(url)]
    rest = [
        f"{reader.say(key)} <code>{plain_line(path, PATH)}</code>" for key, path in places.items() if path and not is_web(path)
    ]
    return [ellipsis(*web, plain_line(owner, TITLE)), *rest]


def join_names(titles: tuple[str, ...], language: str, most: int = NAMED) -> str:
    """Likes, Views, 4 more"""
    return first_few([plain_line(title, TITLE) for title in titles], language, most)


def first_few(pieces: list[str], language: str, most: int) -> str:
    """The first `most` of them, and how many more there are."""
    more = len(pieces) - most
    return ", ".join([*pieces[:most], WORDS[language]["more"].format(count=more)] if more > 0 else pieces)


def plain_line(text: str, limit: int) -> str:
    """`text` from data: one line, nothing unprintable (nor a lone surrogate), at most `limit` characters once escaped."""
    line = "".join(c for c in " ".join(text[: 10 * limit].split()) if c.isprintable())
    ends = list(accumulate(len(escape(c, quote=False)) for c in line))
    fits = bisect_right(ends, limit)
    return escape(line if fits == len(line) else line[: bisect_right(ends, limit - 1)].rstrip() + "…", quote=False)


def join_lines(lines: list[str], ends: list[str] | None = None) -> str:
    """One text. Should it grow too long for the chat after all, the last of `lines` go; `ends` stay."""
    said, kept = [line for line in lines if line], [line for line in ends or [] if line]
    room = MAX_TEXT - sum(map(_units, kept))
    sizes = accumulate(map(_units, said))
    return "\n".join([*(line for line, size in zip(said, sizes, strict=True) if size <= room), *kept])


def _units(line: str) -> int:
    return len(line.encode("utf-16-le")) // 2 + 1


def capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def ellipsis(*pieces: str) -> str:
    return " · ".join(piece for piece in pieces if piece)


def enumerate_words(pieces: list[str], language: str, most: int) -> str:
    """iOS, iPadOS and Android; of more than `most`, how many more there are."""
    if len(pieces) < 2 or len(pieces) > most:
        return first_few(pieces, language, most)
    return f"{', '.join(pieces[:-1])} {WORDS[language]['and']} {pieces[-1]}"


def is_web(url: str) -> bool:
    return url.startswith(("http://", "https://")) and len(escape(url)) <= URL and url.isprintable() and " " not in url
