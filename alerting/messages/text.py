"""From a template and facts to a text for the chat: escape what comes from data, render, tidy the lines, cut to length.

Texts are Telegram HTML. Templates (`templates/KIND.LANGUAGE.j2`) look like their messages; what is empty is left out:
a piece between two " · ", and a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache, partial
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from alerting.messages.words import WORDS
from alerting.model.metric import Metric

if TYPE_CHECKING:
    from jinja2 import Environment

# characters kept of each (escaped), so that a text stays under Telegram's 4096
MAX_TITLE, MAX_REASON, MAX_URL = 60, 300, 700
MAX_SHORT_TITLE = 40  # of a title among others
MAX_TEXT = 4000  # UTF-16 units of a text, as Telegram counts (it takes 4096)


def plain_line(text: str, limit: int) -> Markup:
    """Return `text` from data as one line, without what cannot be printed, at most `limit` characters once escaped."""
    line = "".join(c for c in " ".join(text[: 10 * limit].split()) if c.isprintable())
    ends = list(accumulate(len(escape(c, quote=False)) for c in line[: limit + 1]))  # no character is shorter once escaped
    fits = bisect_right(ends, limit)
    return Markup(escape(line if fits == len(line) else line[: bisect_right(ends, limit - 1)].rstrip() + "…", quote=False))


def title_of(metric: Metric, language: str, limit: int = MAX_TITLE) -> Markup:
    """Return the metric's title in the language, or else in English, or else its name."""
    title = metric.title.get(language) or metric.title.get("en") or metric.name
    return plain_line(title, limit) or Markup(metric.name)


def inside_sentence(title: str) -> str:
    """Return a title as it is written within a sentence: feed users, but CTR, A/B and iOS as they are."""
    rest = title.split(" ")[0][1:]
    return type(title)(title[:1].lower() + title[1:]) if rest.isalpha() and rest.islower() else title


def enumerate_words(words: Sequence[str], language: str, hidden: int = 0) -> str:
    """iOS, iPadOS and Android; where more of them are `hidden`: iOS, iPadOS, 7 more."""
    if hidden:
        return ", ".join([*words, WORDS[language]["more"].format(count=hidden)])
    return f"{', '.join(words[:-1])} {WORDS[language]['and']} {words[-1]}" if len(words) > 1 else "".join(words)


def is_web(url: str) -> bool:
    """Tell whether `url` is a web address that can be linked; anything else is shown, to be copied."""
    return url.startswith(("http://", "https://")) and len(escape(url)) <= MAX_URL and url.isprintable() and " " not in url


def tidy(text: str, capital: bool = False) -> str:
    """Leave out the empty pieces between " · "; with `capital`, begin with a capital. Keeps whether the text is escaped."""
    tidied = " · ".join(piece for part in text.split(" · ") if (piece := part.strip(" ")))
    return type(text)(tidied[:1].upper() + tidied[1:] if capital else tidied)


@cache
def environment() -> Environment:
    """Return the environment of the templates. Made at the first text, as the import of jinja2 takes 0.1 s."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("alerting.messages")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, auto_reload=False)
    sentence = partial(tidy, capital=True)  # of a line that may begin with any of its pieces
    templates.filters |= {"tidy": tidy, "sentence": sentence, "plain": plain_line, "inside": inside_sentence}
    templates.tests["web"] = is_web
    return templates


def render(template: str, language: str, facts: Mapping[str, Any], footer: str = "") -> str:
    """Return the lines of a template, then those of the footer's, without the lines that are empty.

    If the text is too long for the chat after all, the last lines before the footer go. Raises UndefinedError for a fact that
    does not exist.
    """
    names = [f"{name}.{language}.j2" if name else "" for name in (template, footer)]
    texts = [environment().get_template(name).render(facts) if name else "" for name in names]
    lines, ends = ([line for line in map(tidy, text.split("\n")) if line] for text in texts)
    units = [len(f"{line}\n".encode("utf-16-le")) // 2 for line in (*lines, *ends)]
    room = MAX_TEXT - sum(units[len(lines) :])
    fitting = [line for line, size in zip(lines, accumulate(units), strict=False) if size <= room]
    return "\n".join([*fitting, *ends])
