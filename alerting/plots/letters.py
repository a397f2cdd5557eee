"""The font of all pictures: which letters it has, and how wide a text is, without drawing it."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"  # ships with matplotlib, and has Cyrillic


def drawable(text: str) -> str:
    return " ".join("".join(c for c in text[:200] if ord(c) in _letters()).split())


def width(text: str, weight: str = "normal") -> float:
    """Of `text`, in font sizes."""
    face = _face(weight)
    face.set_size(100, 72)
    face.set_text(text, 0)
    return face.get_width_height()[0] / 64 / 100 or 1.0


@cache
def _face(weight: str) -> FT2Font:
    return get_font(findfont(FontProperties(family=FONT, weight=weight)))


@cache
def _letters() -> frozenset[int]:
    return frozenset(_face("normal").get_charmap()) & frozenset(_face("bold").get_charmap())
