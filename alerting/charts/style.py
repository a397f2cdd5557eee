"""The style of all charts: colours, sizes, font, PNG. Neither a matplotlibrc nor an earlier notebook cell changes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from matplotlib import rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

# Okabe and Ito's colours: blue, sky blue, vermilion, which colour-blind people can tell apart; and greys.
VALUE, BAND, ANOMALY = "#0072B2", "#56B4E9", "#D55E00"
EXPECTED, SPAN, GAP = "#7A7A7A", "#FBE3D3", "#9A9A9A"
INK, SOFT, MIDNIGHT, FAINT = "#222222", "#6B6B6B", "#BBBBBB", "#E6E6E6"  # from text to grid lines
FONT = "DejaVu Sans"  # ships with matplotlib, and has Cyrillic
RC_PARAMS: Any = {
    **{key: value for key, value in dict.items(rcParamsDefault) if not key.startswith("backend")},
    "font.family": FONT,
    "axes.facecolor": "white",
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": True,
    "text.usetex": False,
    "text.parse_math": False,
    "path.simplify": True,
    "hatch.color": "#C4C4C4",
    "hatch.linewidth": 0.8,
}


@dataclass(frozen=True)
class AxisStyle:
    """Sizes in points, the number of labels on the time axis and on the value axis, and whether midnights show the date."""

    font: float
    line: float
    dot: float
    times: int
    values: int
    dates: bool = True


PHONE = AxisStyle(font=15, line=2.6, dot=11, times=5, values=6)
SMALL = AxisStyle(font=13, line=2, dot=9, times=5, values=3, dates=False)
WIDE = AxisStyle(font=10, line=1, dot=8, times=14, values=6)


class PngFigure(Figure):
    """A figure that a notebook shows as the PNG that is sent, without pyplot, whose import takes half a second."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def to_png(figure: Figure, dpi: float | None = None) -> bytes:
    """Return the figure as PNG bytes, the same for the same figure: no date, no version."""
    before, buffer = figure.dpi, BytesIO()
    figure.set_dpi(dpi or before)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    figure.set_dpi(before)
    return buffer.getvalue()


def drawable_text(text: str) -> str:
    """Return at most 200 characters of the text, without those that the font lacks, white space normalized."""
    return " ".join("".join(c for c in text[:200] if ord(c) in _characters()).split())


def text_width(text: str, weight: str = "normal") -> float:
    """Return the width of `text` in font sizes, without drawing it."""
    face = _face(weight)
    face.set_size(100, 72)
    face.set_text(text, 0)
    return face.get_width_height()[0] / 64 / 100 or 1.0


def fit_text(text: str, width: float, weight: str = "normal") -> str:
    """Return the text, or as much of it as `width` font sizes have room for, and an ellipsis."""
    if text_width(text, weight) <= width:
        return text
    cuts = (f"{text[:end].rstrip()}…" for end in range(len(text), -1, -1))
    return next(cut for cut in cuts if text_width(cut, weight) <= width)


@cache
def _face(weight: str) -> FT2Font:
    return get_font(findfont(FontProperties(family=FONT, weight=weight)))


@cache
def _characters() -> frozenset[int]:
    return frozenset(_face("normal").get_charmap()) & frozenset(_face("bold").get_charmap())
