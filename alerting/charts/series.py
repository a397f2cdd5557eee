"""What is drawn of one metric: the band, the value, its anomalous buckets, its gaps, the same time of earlier days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import is_color_like
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D

from alerting.messages.format import NumberFormat
from alerting.messages.words import MONTHS, WEEKDAYS
from alerting.model.metric import Metric
from alerting.model.verdict import Status

# Okabe and Ito's colours: blue, sky blue, vermilion, bluish green, reddish purple. Colour-blind people can tell them apart.
VALUE, BAND, ODD, YESTERDAY, WEEK = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7"
GAP = "#9A9A9A"


@dataclass(frozen=True)
class SeriesPlot:
    """One metric's judged buckets as plain arrays, placed on a time axis; what cannot be drawn (infinite) is NaN."""

    x: np.ndarray  # hours
    step: float  # hours
    value: np.ndarray
    low: np.ndarray
    expected: np.ndarray
    high: np.ndarray
    odd: np.ndarray  # bool
    color: str

    @classmethod
    def of(cls, metric: Metric, judged: pd.DataFrame, times: TimeAxis) -> SeriesPlot:
        view = judged[(judged.index >= times.start) & (judged.index <= times.end)]
        value, low, expected, high = (finite(view[name]) for name in ("value", "low", "expected", "high"))
        if metric.form != "number":  # people never see an expected count under 0
            low = np.where(high >= 0, np.maximum(low, 0.0), low)
        color = metric.color if is_color_like(metric.color) else VALUE
        odd = (view["status"] == Status.ANOMALOUS).to_numpy(bool) & ~np.isnan(value)
        return cls(times.place(view.index), metric.step / HOUR, value, low, expected, high, odd, color)

    def extent(self) -> tuple[float, float]:
        """Lowest and highest that must be seen. A band far wider than the values is cut: it would press them flat."""
        core = np.concatenate([self.value, self.expected])
        core = core[~np.isnan(core)]
        if not core.size:
            core = np.concatenate([self.low, self.high])
            core = core[~np.isnan(core)]
        if not core.size:
            return float("nan"), float("nan")
        lowest, highest = core.min(), core.max()
        reach = max(highest - lowest, 0.25 * abs(highest))
        edges = [edge[~np.isnan(edge)] for edge in (self.low, self.high)]
        low, high = (np.clip(edge, lowest - reach, highest + reach) for edge in edges)
        return float(min(low.min(initial=lowest), lowest)), float(max(high.max(initial=highest), highest))


def finite(column: pd.Series) -> np.ndarray:
    values = column.to_numpy(float, copy=True)
    values[~np.isfinite(values)] = np.nan
    return values


def draw_series(axes: Axes, curve: SeriesPlot, look: AxisStyle) -> None:
    """Gaps, band, expected, value, anomalous buckets: few artists, from back to front."""
    _gaps(axes, curve)
    _band(axes, curve)
    draw_line(axes, curve.x, curve.expected, color=curve.color, linewidth=look.line * 0.4, alpha=0.9, zorder=3)
    draw_line(axes, curve.x, curve.value, color=curve.color, linewidth=look.line, zorder=4, label="value")
    alone = true_runs(~np.isnan(curve.value), 1)  # a line needs two neighbours
    if alone:
        at = [first for first, _ in alone]
        style = {"linestyle": "", "marker": "o", "markersize": look.line * 1.5}
        draw_line(axes, curve.x[at], curve.value[at], color=curve.color, zorder=4, label="alone", **style)
    if curve.odd.any():
        odd = np.where(curve.odd, curve.value, np.nan)
        dots = {"marker": "o", "markersize": look.dot / 2, "markeredgewidth": 0}
        draw_line(axes, curve.x, odd, color=ODD, linewidth=look.line, zorder=5, label="odd", **dots)


def draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    axes.add_artist(Line2D(x, y, solid_capstyle="round", solid_joinstyle="round", **style))


def true_runs(mask: np.ndarray, longest: int = 0) -> list[tuple[int, int]]:
    """First and last position of each stretch of True (of those no longer than `longest`)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    pairs = [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return [(first, last) for first, last in pairs if not longest or last - first < longest]


def _band(axes: Axes, curve: SeriesPlot) -> None:
    shapes = []
    for first, last in true_runs(~np.isnan(curve.low) & ~np.isnan(curve.high)):
        x, low, high = (array[first : last + 1] for array in (curve.x, curve.low, curve.high))
        shapes.append(np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])]))
    if shapes:
        axes.add_collection(PolyCollection(shapes, facecolor=BAND, alpha=0.3, linewidth=0, zorder=2, label="band"), autolim=False)


def _gaps(axes: Axes, curve: SeriesPlot) -> None:
    """Hatched from the last drawn point before a gap to the first after it."""
    shapes = []
    for first, last in true_runs(np.isnan(curve.value)):
        left, right = curve.x[first] - curve.step * 0.75, curve.x[last] + curve.step * 0.75
        shapes.append([(left, 0), (left, 1), (right, 1), (right, 0)])
    if shapes:
        style: dict[str, Any] = {"facecolor": "#F1F1F1", "edgecolor": GAP, "hatch": "////", "linewidth": 0, "zorder": 1.5}
        gaps = PolyCollection(shapes, transform=axes.get_xaxis_transform(), label="gap", **style)
        axes.add_collection(gaps, autolim=False)


# The axes: which times and values get a line and a label. By hand: matplotlib's own locators cost most of a picture.

INK, SOFT, MIDNIGHT, FAINT = "#222222", "#6B6B6B", "#BBBBBB", "#E6E6E6"
HOURS = (1, 2, 3, 6, 12)  # between two labels of the time axis, or
DAYS = (1, 2, 7, 14, 28, 56, 112, 364)
STEPS = (1, 2, 2.5, 5, 10)  # between two labels of the value axis, times a power of ten
ROOM = 1.08  # highest drawn value to top of the picture
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class AxisStyle:
    """Sizes in points, and how many labels the axes take."""

    font: float
    line: float
    dot: float
    times: int
    values: int


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

    def place(self, index: pd.DatetimeIndex) -> np.ndarray:
        return ((index - self.start) / HOUR).to_numpy(float)

    def ticks(self, most: int) -> pd.DatetimeIndex:
        """At most about `most` instants whose local times are round."""
        hours = next((h for h in (*HOURS, *(24 * d for d in DAYS)) if self.length / h <= most), 24 * DAYS[-1])
        return self.local(pd.Timedelta(hours=hours))

    def midnights(self) -> pd.DatetimeIndex:
        return self.local(pd.Timedelta(days=1))

    def local(self, step: pd.Timedelta) -> pd.DatetimeIndex:
        """Every `step` of local time within the span; a local time that is skipped or doubled is taken once."""
        first, last = (pd.Timestamp(t).tz_convert(self.zone).tz_localize(None) for t in (self.start, self.end))
        monday = pd.Timestamp(1970, 1, 5)  # so that steps of whole weeks fall on Mondays
        first = monday + (first.normalize() - monday) // step * step
        walls = pd.date_range(first, last + step, freq=step)
        instants = walls.tz_localize(self.zone, ambiguous=np.ones(len(walls), bool), nonexistent="shift_forward")
        return instants[(instants >= self.start) & (instants <= self.end)]

    def label(self, at: pd.Timestamp, dates: bool) -> str:
        """12:00, or at midnight Mon (and below it 12 Oct)."""
        if at.hour or at.minute:
            return f"{at:%H:%M}" + ("\n" if dates else "")  # as tall as the others, so that all stand on one line
        date = f"{at.day}\N{NO-BREAK SPACE}{MONTHS[self.language][at.month - 1]}"
        weekday = WEEKDAYS[self.language][at.weekday()]
        if self.length > 24 * 21:  # over weeks, week days say nothing
            return date
        return f"{weekday}\n{date}" if dates else f"{weekday} {at.day}"


def draw_times(axes: Axes, times: TimeAxis, font: float, most: int, labels: bool = True, dates: bool = True) -> None:
    """Labels at round local times, a line at each midnight (while there are few)."""
    ticks = times.ticks(most)
    axes.set_xticks(times.place(ticks), [times.label(at, dates) if labels else "" for at in ticks])
    axes.tick_params(axis="x", labelsize=font, labelcolor=INK, color=SOFT, length=font / 4)
    _midnights(axes, times, font)


def draw_values(axes: Axes, metric: Metric, language: str, lowest: float, highest: float, font: float, most: int) -> str:
    """Round values with faint lines; returns the longest label."""
    ticks, labels = _round(axes, metric, language, lowest, highest, most)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", labelsize=font, labelcolor=INK, length=0, pad=font / 3)
    axes.grid(axis="y", color=FAINT, linewidth=font / 16)
    return max(labels, key=len, default="")


def light_axes(axes: Axes, metric: Metric, times: TimeAxis, extent: tuple[float, float], look: AxisStyle, labels: bool) -> None:
    """Both scales as lines and texts only: matplotlib's own axes cost half of a picture of many."""
    axes.set_axis_off()
    axes.set_xlim(-0.01 * times.length, times.length * 1.01)
    ticks, words = _round(axes, metric, times.language, *extent, look.values)
    level: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "linewidth": look.font / 16, "zorder": 0.5}
    axes.hlines(ticks, 0, 1, colors=FAINT, **level)
    axes.hlines(axes.get_ylim()[0], 0, 1, colors=SOFT, **level)
    style: dict[str, Any] = {"fontsize": look.font, "color": INK}
    for tick, word in zip(ticks, words, strict=True):
        axes.text(-0.008, tick, word, transform=axes.get_yaxis_transform(), ha="right", va="center", **style)
    instants = times.ticks(look.times) if labels else []
    for at, place in zip(instants, times.place(instants) if labels else [], strict=True):
        word = times.label(at, dates=False)
        side = "right" if place > 0.97 * times.length else "center"  # the last one would leave the picture
        axes.text(place, -0.04, word, transform=axes.get_xaxis_transform(), ha=side, va="top", **style)
    _midnights(axes, times, look.font)


def _midnights(axes: Axes, times: TimeAxis, font: float) -> None:
    midnights = times.midnights()
    if len(midnights) <= 15:
        style: dict[str, Any] = {"color": MIDNIGHT, "linewidth": font / 14, "zorder": 1}
        axes.vlines(times.place(midnights), 0, 1, transform=axes.get_xaxis_transform(), **style)


def _round(axes: Axes, metric: Metric, language: str, lowest: float, highest: float, most: int) -> tuple[np.ndarray, list[str]]:
    """Round values within the limits that suit the metric, and their labels."""
    bottom, top = value_limits(metric.form, lowest, highest)
    step = round_step((top - bottom) / most)
    if metric.form == "count":
        step = max(step, 1.0)
    ticks = np.arange(math.ceil(bottom / step), math.floor(top / step) + 1) * step
    numbers = NumberFormat(metric.form, language, _decimals(step * 100 if metric.form == "ratio" else step))
    axes.set_ylim(bottom, top)
    return ticks, [numbers.short(float(tick)) for tick in ticks]


def value_limits(form: str, lowest: float, highest: float) -> tuple[float, float]:
    """From 0 where that leaves the data a third of the height; else close around it."""
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return 0.0, 1.0
    if lowest == highest == 0:
        return 0.0, 0.01 if form == "ratio" else 1.0
    if 0 <= lowest <= highest * 2 / 3 or lowest == highest > 0:
        return 0.0, highest * ROOM
    margin = (highest - lowest) * 0.1 or abs(highest) * 0.1
    bottom = lowest - margin if form == "number" or lowest < 0 else max(lowest - margin, 0.0)
    return bottom, highest + margin


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in STEPS if factor * power >= least), 10 * power)


def _decimals(step: float) -> int:
    decimals = max(0, -math.floor(math.log10(step)))
    return decimals if math.isclose(round(step, decimals), step) else decimals + 1


# The font of all pictures: which letters it has, and how wide a text is, without drawing it.

FONT = "DejaVu Sans"  # ships with matplotlib, and has Cyrillic


def drawable_text(text: str) -> str:
    return " ".join("".join(c for c in text[:200] if ord(c) in _letters()).split())


def text_width(text: str, weight: str = "normal") -> float:
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
