"""Draw a metric's band, value, anomalies and gaps on two axes. Style and PNG of all charts, whatever matplotlibrc says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib import rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D

from alerting.messages.format import NumberFormat
from alerting.messages.words import MONTHS, WEEKDAYS
from alerting.model.metric import Metric
from alerting.model.verdict import Status

HOUR = timedelta(hours=1)
TICK_HOURS = (1, 2, 3, 6, 12, *(24 * days for days in (1, 2, 7, 14, 28, 56, 112, 364)))  # hours between two labelled times
TICK_FACTORS = (1, 2, 2.5, 5, 10)  # distances between two labelled values, times a power of ten
HEADROOM = 1.08  # top of the value axis over the highest value
OFF_AXIS = 10.0  # times the largest value to show: far beyond the value axis, where a band without a limit ends
MAX_MIDNIGHTS = 15  # largest number of midnights that get a line

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
    """Font and line sizes in points, number of labels on the two axes, and whether midnights show the date."""

    font: float
    line: float
    dot: float
    times: int
    values: int
    dates: bool = True


PHONE = AxisStyle(font=15, line=2.6, dot=11, times=5, values=6)
SMALL = AxisStyle(font=13, line=2, dot=9, times=5, values=3, dates=False)
WIDE = AxisStyle(font=10, line=1, dot=8, times=14, values=6)


@dataclass(frozen=True)
class TimeAxis:
    """The time axis from `start` to `end` (aware UTC), drawn in hours since `start`; labels are local time of `zone`."""

    start: datetime
    end: datetime
    zone: str
    language: str

    @property
    def length(self) -> float:
        return (self.end - self.start) / HOUR

    def hours(self, index: pd.DatetimeIndex) -> np.ndarray:
        return ((index - self.start) / HOUR).to_numpy(float)

    def ticks(self, most: int) -> pd.DatetimeIndex:
        """Return about `most` instants, or fewer, whose local times are round."""
        return self.every(next((hours for hours in TICK_HOURS if self.length / hours <= most), TICK_HOURS[-1]))

    def every(self, hours: int) -> pd.DatetimeIndex:
        """Return the multiples of `hours` of local time within the span. A local time that is skipped or doubled counts once."""
        step = pd.Timedelta(hours=hours)
        first, last = (pd.Timestamp(t).tz_convert(self.zone).tz_localize(None) for t in (self.start, self.end))
        monday = pd.Timestamp(1970, 1, 5)  # so that steps of whole weeks fall on Mondays
        first = monday + (first.normalize() - monday) // step * step
        local = pd.date_range(first, last + step, freq=step)
        instants = local.tz_localize(self.zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")
        return instants[(instants >= self.start) & (instants <= self.end)]

    def label(self, at: pd.Timestamp, dates: bool) -> str:
        """Return the label of a time, such as 12:00. At midnight it is Mon, and with `dates` also 12 Oct on a second line."""
        if at.hour or at.minute:
            return f"{at:%H:%M}" + ("\n" if dates else "")  # the empty second line gives all labels the same height
        date = f"{at.day}\N{NO-BREAK SPACE}{MONTHS[self.language][at.month - 1]}"
        weekday = WEEKDAYS[self.language][at.weekday()]
        if self.length > 24 * 21:  # weeks: weekdays would only repeat
            return date
        return f"{weekday}\n{date}" if dates else f"{weekday} {at.day}"


@dataclass(frozen=True)
class SeriesPlot:
    """One metric's judged buckets as arrays on a time axis. Values that cannot be drawn (infinite) are NaN.

    If one limit does not exist (infinite), the band ends far beyond the axis on that side.
    """

    x: np.ndarray  # hours
    step: float  # hours
    value: np.ndarray
    low: np.ndarray
    expected: np.ndarray
    high: np.ndarray
    anomalous: np.ndarray  # bool
    color: str

    @classmethod
    def of(cls, metric: Metric, judged: pd.DataFrame, times: TimeAxis) -> Self:
        """Return the buckets of `judged` (columns value, low, expected, high, status) as arrays on the time axis."""
        shown = judged[(judged.index >= times.start) & (judged.index <= times.end)]
        value, expected, low, high = (shown[name].to_numpy(float) for name in ("value", "expected", "low", "high"))
        value, expected = (np.where(np.isfinite(numbers), numbers, np.nan) for numbers in (value, expected))
        if metric.form != "number":  # people never see an expected count under 0
            low = np.where(high >= 0, np.maximum(low, 0.0), low)
        color = metric.color if is_color_like(metric.color) else VALUE
        anomalous = (shown["status"] == Status.ANOMALOUS).to_numpy(bool) & ~np.isnan(value)
        return cls(times.hours(shown.index), metric.step / HOUR, value, low, expected, high, anomalous, color)

    def extent(self) -> tuple[float, float]:
        """Return the lowest and the highest value to show (NaN: none). A far wider band is cut: it would hide the changes."""
        low, high = (edge[np.isfinite(edge)] for edge in (self.low, self.high))
        values, edges = np.concatenate([self.value, self.expected]), np.concatenate([low, high])
        shown = values if not np.isnan(values).all() else edges
        if np.isnan(shown).all():
            return float("nan"), float("nan")
        lowest, highest = np.nanmin(shown), np.nanmax(shown)
        reach = max(highest - lowest, 0.25 * abs(highest))
        low, high = (np.clip(edge, lowest - reach, highest + reach) for edge in (low, high))
        return float(low.min(initial=lowest)), float(high.max(initial=highest))


def draw_series(axes: Axes, series: SeriesPlot, style: AxisStyle) -> None:
    """Draw gaps, band, expected, value and anomalous buckets, from back to front, with as few artists as possible."""
    reach = series.step * 0.75  # a gap goes from the last drawn point before it to the first after it
    gaps = [(series.x[first] - reach, series.x[last] + reach) for first, last in true_runs(np.isnan(series.value))]
    if gaps:
        shade(axes, gaps, facecolor="#F1F1F1", edgecolor=GAP, hatch="////", zorder=1.5, label="gap")
    _draw_band(axes, series)
    if not np.isnan(series.expected).all():
        draw_line(axes, series.x, series.expected, color=EXPECTED, linewidth=style.line * 0.6, zorder=3, label="expected")
    draw_line(axes, series.x, series.value, color=series.color, linewidth=style.line, zorder=4, label="value")
    alone = [first for first, last in true_runs(~np.isnan(series.value)) if first == last]  # a line needs two neighbours
    if alone:
        dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": style.line * 1.5}
        draw_line(axes, series.x[alone], series.value[alone], color=series.color, zorder=4, label="alone", **dots)
    if series.anomalous.any():
        value = np.where(series.anomalous, series.value, np.nan)
        dots = {"marker": "o", "markersize": style.dot / 2, "markeredgewidth": 0}
        draw_line(axes, series.x, value, color=ANOMALY, linewidth=style.line, zorder=5, label="odd", **dots)


def draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, **options: Any) -> None:
    axes.add_artist(Line2D(x, y, solid_capstyle="round", solid_joinstyle="round", **options))


def true_runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the last position of each unbroken row of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _draw_band(axes: Axes, series: SeriesPlot) -> None:
    shapes, beyond = [], OFF_AXIS * max(1.0, *np.abs(series.extent()))
    lows, highs = (np.nan_to_num(edge, nan=np.nan, posinf=beyond, neginf=-beyond) for edge in (series.low, series.high))
    for first, last in true_runs(~np.isnan(lows) & ~np.isnan(highs)):
        x, low, high = (array[first : last + 1] for array in (series.x, lows, highs))
        shapes.append(np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])]))
    if shapes:
        axes.add_collection(PolyCollection(shapes, facecolor=BAND, alpha=0.3, linewidth=0, zorder=2, label="band"), autolim=False)


def shade(axes: Axes, spans: Sequence[Sequence[float]], **options: Any) -> None:
    """Fill the whole height of the axes within each span. `spans` are pairs of hours. The limits of the axes do not change."""
    shapes = [[(left, 0), (left, 1), (right, 1), (right, 0)] for left, right in spans]
    axes.add_collection(PolyCollection(shapes, transform=axes.get_xaxis_transform(), linewidth=0, **options), autolim=False)


# The axes. Ticks are chosen here, because matplotlib's own locators take most of a chart's time.


def draw_times(axes: Axes, times: TimeAxis, style: AxisStyle) -> None:
    """Draw labels at round local times and, if there are few midnights, a line at each of them."""
    ticks, midnights = times.ticks(style.times), times.every(24)
    axes.set_xticks(times.hours(ticks), [times.label(at, style.dates) for at in ticks])
    axes.tick_params(axis="x", labelsize=style.font, labelcolor=INK, color=SOFT, length=style.font / 4)
    (first, last), box = axes.get_xlim(), axes.get_position()
    points = axes.bbox.width / axes.figure.dpi * 72 / (last - first)  # for an hour
    edge = last + (1 - box.x1) / box.width * (last - first)
    for label, hour in zip(axes.get_xticklabels(), times.hours(ticks), strict=True):
        if hour + max(map(text_width, label.get_text().split("\n"))) * style.font / points / 2 > edge:
            label.set_horizontalalignment("right")  # otherwise the edge of the picture would cut it
    if len(midnights) <= MAX_MIDNIGHTS:
        options: dict[str, Any] = {"color": MIDNIGHT, "linewidth": style.font / 14, "zorder": 1}
        axes.vlines(times.hours(midnights), 0, 1, transform=axes.get_xaxis_transform(), **options)


def draw_values(axes: Axes, metric: Metric, language: str, extent: tuple[float, float], style: AxisStyle) -> str:
    """Set the limits of the value axis and draw round values with faint lines. Return the longest label."""
    bottom, top = value_limits(metric.form, *extent)
    axes.set_ylim(bottom, top)
    step = round_step((top - bottom) / style.values)
    if metric.form == "count":
        step = max(step, 1.0)
    ticks = np.arange(math.ceil(bottom / step), math.floor(top / step) + 1) * step

    shown = step * 100 if metric.form == "ratio" else step
    decimals = max(0, -math.floor(math.log10(shown)))
    decimals += not math.isclose(round(shown, decimals), shown)  # 2.5 needs one more
    numbers = NumberFormat(metric.form, language, decimals)
    labels = [numbers.short(float(tick)) for tick in ticks]

    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", labelsize=style.font, labelcolor=INK, length=0, pad=style.font / 3)
    axes.grid(axis="y", color=FAINT, linewidth=style.font / 16)
    return max(labels, key=len, default="")


def value_limits(form: str, lowest: float, highest: float) -> tuple[float, float]:
    """Return the limits of the value axis: from 0, if the data then has at least a third of the height, else near the data."""
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return 0.0, 1.0
    if lowest == highest == 0:
        return 0.0, 0.01 if form == "ratio" else 1.0
    if 0 <= lowest <= highest * 2 / 3 or lowest == highest > 0:
        return 0.0, highest * HEADROOM
    margin = (highest - lowest) * 0.1 or abs(highest) * 0.1
    bottom = lowest - margin if form == "number" or lowest < 0 else max(lowest - margin, 0.0)
    return bottom, highest + margin


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-300)))  # for the smallest floats the power would round to 0
    return next((factor * power for factor in TICK_FACTORS if factor * power >= least), 10 * power)


class PngFigure(Figure):
    """A figure that a notebook shows as the PNG that is sent. It does without pyplot, whose import takes half a second."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def to_png(figure: Figure, dpi: float | None = None) -> bytes:
    """Return the figure as PNG bytes. The same figure always gives the same bytes: they contain no date and no version."""
    before, buffer = figure.dpi, BytesIO()
    figure.set_dpi(dpi or before)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    figure.set_dpi(before)
    return buffer.getvalue()


def drawable_text(text: str) -> str:
    """Return at most 200 characters of the text: without characters that the font lacks, with single spaces as white space."""
    return " ".join("".join(c for c in text[:200] if ord(c) in _characters()).split())


def text_width(text: str, weight: str = "normal") -> float:
    """Return the width of `text` as a multiple of the font size, without drawing it."""
    face = _face(weight)
    face.set_size(100, 72)
    face.set_text(text, 0)
    return face.get_width_height()[0] / 64 / 100 or 1.0


def fit_text(text: str, width: float, weight: str = "normal") -> str:
    """Return the text; if it is wider than `width` (a multiple of the font size), cut it and add an ellipsis."""
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
