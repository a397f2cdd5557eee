"""The axes: which times and values get a line and a label. By hand: matplotlib's own locators cost most of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alerting.messages.numbers import Numbers
from alerting.messages.words import MONTHS, WEEKDAYS
from alerting.model import Metric

INK, SOFT, MIDNIGHT, FAINT = "#222222", "#6B6B6B", "#BBBBBB", "#E6E6E6"
HOURS = (1, 2, 3, 6, 12)  # between two labels of the time axis, or
DAYS = (1, 2, 7, 14, 28, 56, 112, 364)
STEPS = (1, 2, 2.5, 5, 10)  # between two labels of the value axis, times a power of ten
ROOM = 1.08  # highest drawn value to top of the picture
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Look:
    """Sizes in points, and how many labels the axes take."""

    font: float
    line: float
    dot: float
    times: int
    values: int


@dataclass(frozen=True)
class Times:
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


def times(axes: Axes, times: Times, font: float, most: int, labels: bool = True, dates: bool = True) -> None:
    """Labels at round local times, a line at each midnight (while there are few)."""
    ticks = times.ticks(most)
    axes.set_xticks(times.place(ticks), [times.label(at, dates) if labels else "" for at in ticks])
    axes.tick_params(axis="x", labelsize=font, labelcolor=INK, color=SOFT, length=font / 4)
    _midnights(axes, times, font)


def values(axes: Axes, metric: Metric, language: str, lowest: float, highest: float, font: float, most: int) -> str:
    """Round values with faint lines; returns the longest label."""
    ticks, labels = _round(axes, metric, language, lowest, highest, most)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", labelsize=font, labelcolor=INK, length=0, pad=font / 3)
    axes.grid(axis="y", color=FAINT, linewidth=font / 16)
    return max(labels, key=len, default="")


def light(axes: Axes, metric: Metric, times: Times, extent: tuple[float, float], look: Look, labels: bool) -> None:
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


def _midnights(axes: Axes, times: Times, font: float) -> None:
    midnights = times.midnights()
    if len(midnights) <= 15:
        style: dict[str, Any] = {"color": MIDNIGHT, "linewidth": font / 14, "zorder": 1}
        axes.vlines(times.place(midnights), 0, 1, transform=axes.get_xaxis_transform(), **style)


def _round(axes: Axes, metric: Metric, language: str, lowest: float, highest: float, most: int) -> tuple[np.ndarray, list[str]]:
    """Round values within the limits that suit the metric, and their labels."""
    bottom, top = limits(metric.form, lowest, highest)
    step = round_step((top - bottom) / most)
    if metric.form == "count":
        step = max(step, 1.0)
    ticks = np.arange(math.ceil(bottom / step), math.floor(top / step) + 1) * step
    numbers = Numbers(metric.form, language, _decimals(step * 100 if metric.form == "ratio" else step))
    axes.set_ylim(bottom, top)
    return ticks, [numbers.short(float(tick)) for tick in ticks]


def limits(form: str, lowest: float, highest: float) -> tuple[float, float]:
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
