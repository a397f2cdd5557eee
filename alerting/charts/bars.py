"""Bars under an alert's chart: the change of the segment that explains it, and of the other segments of its attribute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from alerting.charts.style import ANOMALY, INK, SOFT, VALUE, drawable_text, fit_text, text_width
from alerting.messages.format import (
    NARROW,
    NumberFormat,
    attribute_name,
    roughly,
    segment_attributes,
    segment_name,
    signed_percent,
)
from alerting.messages.words import WORDS
from alerting.model.incident import RootCause, Segment

MAX_BARS = 5
ROW_HEIGHT, HEADING_HEIGHT = 1.75, 2.6  # font sizes
MAX_NAME_WIDTH = 13.5  # font sizes
MAX_NAME_CHARACTERS = 60  # before it is measured
MARGIN = 0.025  # as the chart's title
LABEL_GAP = 0.6  # font sizes between a bar and the texts beside it
ROUGH_BELOW = 0.1  # smaller changes are given in whole percent
MAX_RATIO = 3.0  # of a bar to the longest of the others: a longer one is cut, or it would press them flat


@dataclass(frozen=True)
class Bar:
    """One segment; `change` is the length of its bar, `explains` marks the segment that explains the change."""

    name: str
    change: float
    label: str
    explains: bool

    @property
    def weight(self) -> str:
        return "bold" if self.explains else "normal"


def segment_bars(cause: RootCause | None, form: str, language: str) -> list[Bar]:
    """Return bars for the explaining segment and the other values, or the rest if there are none.

    Empty if no segment explains the change.
    """
    if cause is None or cause.answer != "carried" or cause.slice is None or math.isnan(cause.slice.change):
        return []
    attributes = segment_attributes(cause.slice)
    others = [other for other in cause.others if not math.isnan(other.change)][: MAX_BARS - 1]
    named = []
    for segment in (cause.slice, *others):
        is_other_kind = segment_attributes(segment) != attributes  # else the heading names the attributes
        name = segment_name(segment, language, drawable_text, with_attributes=is_other_kind)[:MAX_NAME_CHARACTERS]
        named.append((fit_text(name, MAX_NAME_WIDTH, "bold"), segment))
    if not others and cause.rest and not math.isnan(cause.rest.change):
        named.append((WORDS[language]["the rest"], cause.rest))
    longest = max((abs(segment.change) for _, segment in named[1:] if math.isfinite(segment.change)), default=0.0)
    limit = max(1.0, MAX_RATIO * longest)
    form = "ratio" if cause.effect == "mix" else form
    return [
        Bar(name, max(-limit, min(limit, segment.change)), _change_label(segment, form, language), segment is cause.slice)
        for name, segment in named
    ]


def _change_label(segment: Segment, form: str, language: str) -> str:
    """Return −62 %; the value where nothing was expected."""
    if abs(segment.change) < ROUGH_BELOW:
        return roughly(segment.change, language) or f"0{NARROW}%"
    percent = signed_percent(segment.value, segment.expected, language)
    return percent or NumberFormat.of(form, language, [segment.value]).difference(segment.value)


def bars_height(bars: list[Bar], font: float) -> float:
    """Return the inches by which the bars make the chart taller."""
    return (HEADING_HEIGHT + ROW_HEIGHT * len(bars)) * font / 72 if bars else 0.0


def draw_bars(figure: Figure, cause: RootCause, bars: list[Bar], language: str, font: float) -> None:
    """Draw the heading and the bars at the figure's foot, names on the left, changes on the right."""
    width, height = (size * 72 for size in figure.get_size_inches())
    left = max(text_width(bar.name, bar.weight) for bar in bars) * font
    right = max(text_width(bar.label, bar.weight) for bar in bars) * font
    start, end = MARGIN + (left + LABEL_GAP * font) / width, 1 - MARGIN - (right + LABEL_GAP * font) / width
    axes = figure.add_axes((start, 0.5 * font / height, end - start, ROW_HEIGHT * len(bars) * font / height))

    changes, colors = [bar.change for bar in bars], [ANOMALY if bar.explains else VALUE for bar in bars]
    axes.barh(range(len(bars)), changes, 0.62, color=colors, label="slices")
    low, high = min(0.0, *changes), max(0.0, *changes)
    axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low) or 1.0)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.axvline(0, color=SOFT, linewidth=font / 12)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)

    heading_at = (0.5 + ROW_HEIGHT * len(bars) + 0.45) * font / height
    figure.text(MARGIN, heading_at, _heading(cause, language, width / font), fontsize=font, color=INK)
    for row, bar in enumerate(bars):
        text: dict[str, Any] = {"va": "center", "ha": "right", "fontsize": font, "transform": axes.get_yaxis_transform()}
        text |= {"color": ANOMALY if bar.explains else INK, "fontweight": bar.weight}
        axes.text(-LABEL_GAP * font / ((end - start) * width), row, bar.name, **text)
        axes.text(1 + (right + LABEL_GAP * font) / ((end - start) * width), row, bar.label, **text)


def _heading(cause: RootCause, language: str, width: float) -> str:
    """Return "Change from expected by os", cut to `width` font sizes."""
    names = segment_attributes(cause.slice) if cause.slice else ()
    by = " & ".join(attribute_name(name, language, drawable_text) for name in names)
    words = WORDS[language]["panel, mix" if cause.effect == "mix" else "panel"].format(attributes=by)
    return fit_text(words, width * (1 - 2 * MARGIN))
