"""The slices under the curve: how far the one that carries the change is off, and how far the others are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alerting.charts.series import INK, ODD, SOFT, VALUE, drawable_text, text_width
from alerting.messages.format import NARROW, NumberFormat, roughly, signed_percent
from alerting.messages.root_cause import attribute_name, segment_attributes, segment_name, segment_values
from alerting.messages.words import WORDS
from alerting.model.incident import RootCause, Segment

ROWS = 5
HEIGHT, HEADING = 1.75, 2.6  # of a row and of the heading, in font sizes
NAME = 13.5  # font sizes of a name, at most
MARGIN = 0.025  # as the picture's title
GAP = 0.6  # font sizes between a bar and what stands beside it
LONGEST = 60  # characters of a name, before it is measured
WHOLE = 0.1  # smaller changes are said in whole percent
MOST = 3.0  # times as much as the others' farthest, a bar is cut: it would press them flat


@dataclass(frozen=True)
class Bar:
    name: str
    change: float  # as long as its bar
    label: str
    hit: bool  # it carries the change

    @property
    def weight(self) -> str:
        return "bold" if self.hit else "normal"


def segment_bars(cause: RootCause | None, form: str, language: str) -> list[Bar]:
    """The slice, then its others, or the rest where there are none; nothing unless a slice carries the change."""
    if cause is None or cause.answer != "carried" or cause.slice is None or math.isnan(cause.slice.change):
        return []
    kind = segment_attributes(cause.slice)
    others = [other for other in cause.others if not math.isnan(other.change)][: ROWS - 1]
    shown = [(_name(where, language, kind), where) for where in (cause.slice, *others)]
    if not others and cause.rest and not math.isnan(cause.rest.change):
        shown.append((WORDS[language]["the rest"], cause.rest))
    changes = [where.change for _, where in shown]
    farthest = max((abs(change) for change in changes[1:] if math.isfinite(change)), default=0.0)
    limit = max(1.0, MOST * farthest)
    form = "ratio" if cause.effect == "mix" else form
    return [
        Bar(name, max(-limit, min(limit, where.change)), _label(where, form, language), where is cause.slice)
        for name, where in shown
    ]


def bars_height(chosen: list[Bar], font: float) -> float:
    """So much taller is the picture."""
    return (HEADING + HEIGHT * len(chosen)) * font / 72 if chosen else 0.0


def draw_bars(figure: Figure, cause: RootCause, chosen: list[Bar], language: str, font: float) -> None:
    """At the figure's foot, as wide as it is."""
    wide, tall = (size * 72 for size in figure.get_size_inches())
    left = max(text_width(row.name, row.weight) for row in chosen) * font
    right = max(text_width(row.label, row.weight) for row in chosen) * font
    start, end = MARGIN + (left + GAP * font) / wide, 1 - MARGIN - (right + GAP * font) / wide
    axes = figure.add_axes((start, 0.5 * font / tall, end - start, HEIGHT * len(chosen) * font / tall))
    _bars(axes, chosen, font)
    top = (0.5 + HEIGHT * len(chosen) + 0.45) * font / tall
    figure.text(MARGIN, top, _heading(cause, language, wide / font), fontsize=font, color=INK)
    for place, row in enumerate(chosen):
        style: dict[str, Any] = {"va": "center", "fontsize": font, "transform": axes.get_yaxis_transform()}
        style |= {"color": ODD if row.hit else INK, "fontweight": row.weight}
        axes.text(-GAP * font / ((end - start) * wide), place, row.name, ha="right", **style)
        axes.text(1 + (right + GAP * font) / ((end - start) * wide), place, row.label, ha="right", **style)


def _bars(axes: Axes, chosen: list[Bar], font: float) -> None:
    changes, places = [row.change for row in chosen], range(len(chosen))
    axes.barh(places, changes, 0.62, color=[ODD if row.hit else VALUE for row in chosen], label="slices")
    low, high = min(0.0, *changes), max(0.0, *changes)
    axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low) or 1.0)
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    axes.axvline(0, color=SOFT, linewidth=font / 12)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)


def _name(where: Segment, language: str, kind: tuple[str, ...]) -> str:
    """Without its attributes where the heading says them; as much of it as the picture has room for."""
    name = (segment_values if segment_attributes(where) == kind else segment_name)(where, language, drawable_text)
    return _fitting(name[:LONGEST], NAME, "bold")


def _label(where: Segment, form: str, language: str) -> str:
    """−62 %; what came where nothing was expected."""
    if abs(where.change) < WHOLE:
        return roughly(where.change, language) or f"0{NARROW}%"
    return signed_percent(where.value, where.expected, language) or NumberFormat.fitting(form, language, where.value).difference(
        where.value
    )


def _heading(cause: RootCause, language: str, room: float) -> str:
    """Change from expected by os"""
    names = segment_attributes(cause.slice) if cause.slice else ()
    by = " & ".join(attribute_name(name, language, drawable_text) for name in names)
    words = WORDS[language]["panel, mix" if cause.effect == "mix" else "panel"].format(attributes=by)
    return _fitting(words, room * (1 - 2 * MARGIN))


def _fitting(text: str, room: float, weight: str = "normal") -> str:
    if text_width(text, weight) <= room:
        return text
    cuts = (f"{text[:end].rstrip()}…" for end in range(len(text), -1, -1))
    return next(cut for cut in cuts if text_width(cut, weight) <= room)
