"""How slices are named: os iOS, country Russia & source ads. Attributes in the reader's words, values as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from alerting.messages.pieces import enumerated, plain
from alerting.messages.words import WORDS
from alerting.model import Slice

Element = tuple[tuple[str, str], ...]
Clean = Callable[[str], str]  # what makes a text from data fit to be shown

VALUE = 30  # characters of a value (escaped)
ELEMENTS = 3  # of a slice

escaped: Clean = partial(plain, limit=VALUE)


def attribute(name: str, language: str, clean: Clean = escaped) -> str:
    return WORDS[language].get(f"attribute {name}") or clean(name)


def attributes(names: tuple[str, ...], language: str, most: int = 8) -> str:
    """os, source, country and city; two columns of the same word (age, age_band) are one."""
    return enumerated(list(dict.fromkeys(attribute(name, language) for name in names)), language, most)


def named(where: Slice, language: str, clean: Clean = escaped) -> str:
    """os iOS and os iPadOS · country Russia & source ads"""
    return enumerated([_element(pairs, language, clean) for pairs in where.elements], language, ELEMENTS)


def bare(where: Slice, language: str, clean: Clean = escaped) -> str:
    """iOS · Russia & ads: where the attributes are said already."""
    return enumerated([_joined([_value(v, language, clean) for _, v in pairs], clean) for pairs in where.elements], language, ELEMENTS)


def beside(other: Slice, of: Slice, language: str) -> str:
    """One of the others of a slice; without its attribute where that is the slice's only one."""
    alone = len(attributes_of(of)) == 1 and attributes_of(other) == attributes_of(of)
    return bare(other, language) if alone else named(other, language)


def attributes_of(where: Slice) -> tuple[str, ...]:
    """All that it is made of, in order."""
    return tuple(dict.fromkeys(name for pairs in where.elements for name, _ in pairs))


def _element(pairs: Element, language: str, clean: Clean) -> str:
    return _joined([f"{attribute(name, language, clean)} {_value(value, language, clean)}" for name, value in pairs], clean)


def _joined(pieces: list[str], clean: Clean) -> str:
    return f" {clean('&')} ".join(pieces)


def _value(value: str, language: str, clean: Clean) -> str:
    return clean(value) or WORDS[language]["empty"]
