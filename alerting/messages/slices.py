"""How slices are named: os iOS, country Russia & source ads. Attributes in the reader's words, values as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from alerting.messages.pieces import enumerated, plain
from alerting.messages.words import WORDS
from alerting.model import Slice

Clean = Callable[[str], str]  # what makes a text from data fit to be shown

VALUE, ATTRIBUTE = 30, 20  # characters of each (escaped), so that a text stays under Telegram's 4096
ELEMENTS, PAIRS = 3, 3  # of a slice, of an element

escaped: Clean = partial(plain, limit=VALUE)


def attribute(name: str, language: str, clean: Clean = escaped) -> str:
    return WORDS[language].get(f"attribute {name}") or clean(name[:ATTRIBUTE])


def attributes(names: tuple[str, ...], language: str, most: int = 8) -> str:
    """os, source, country and city; two columns of the same word (age, age_band) are one."""
    return enumerated(list(dict.fromkeys(attribute(name, language) for name in names)), language, most)


def named(where: Slice, language: str, clean: Clean = escaped, most: int = ELEMENTS) -> str:
    """os iOS and os iPadOS · country Russia & source ads"""

    def pair(name: str, value: str) -> str:
        return f"{attribute(name, language, clean)} {_value(value, language, clean)}"

    return _slice(where, language, clean, most, pair)


def bare(where: Slice, language: str, clean: Clean = escaped, most: int = ELEMENTS) -> str:
    """iOS and iPadOS · Russia & ads: where the attributes are said already."""
    return _slice(where, language, clean, most, lambda _, value: _value(value, language, clean))


def beside(other: Slice, of: Slice, language: str) -> str:
    """One of the others of a slice; without its attribute where that is the slice's only one."""
    alone = len(attributes_of(of)) == 1 and attributes_of(other) == attributes_of(of)
    return (bare if alone else named)(other, language, most=1)


def attributes_of(where: Slice) -> tuple[str, ...]:
    """All that it is made of, in order."""
    return tuple(dict.fromkeys(name for pairs in where.elements for name, _ in pairs))


def _slice(where: Slice, language: str, clean: Clean, most: int, pair: Callable[[str, str], str]) -> str:
    elements = [[pair(*both) for both in pairs[:PAIRS]] + ["…"] * (len(pairs) > PAIRS) for pairs in where.elements[: most + 1]]
    said = [f" {clean('&')} ".join(pieces) for pieces in elements]
    return enumerated([*said, *("",) * (len(where.elements) - len(said))], language, most)


def _value(value: str, language: str, clean: Clean) -> str:
    return clean(value) or WORDS[language]["empty"]
