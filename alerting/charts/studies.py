"""Figures of the study notebooks: rhythm, lines, noise, correlation, bands of several rules. Pure; never pyplot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import FuncFormatter, LogLocator

from alerting.charts.alert import STYLE, PngFigure, band_chart
from alerting.charts.series import (
    FAINT,
    HOUR,
    INK,
    ODD,
    SOFT,
    VALUE,
    AxisStyle,
    SeriesPlot,
    TimeAxis,
    draw_series,
    draw_times,
    draw_values,
)
from alerting.messages.words import WEEKDAYS
from alerting.model.metric import Metric

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe and Ito's
THIN = AxisStyle(font=8, line=1, dot=6, times=5, values=4)
SHADE = "#FBE9D0"
DASHES = ("-", "--", ":", "-.")  # a ninth line looks like the first, dashed
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
SHARE = FuncFormatter(lambda value, _: f"{100 * value:g} %")


class Interval(Protocol):
    """Something that has a beginning and an end."""

    @property
    def start(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...


def rhythm_chart(tables: Mapping[str, pd.DataFrame], columns: int = 3, language: str = "en") -> PngFigure:
    """Small multiples of weekday x hour: white is the mean, purple above it, orange below."""
    picture, places = _grid(len(tables), columns, (3.6, 1.75))
    for place, (axes, (name, table)) in enumerate(zip(places, tables.items(), strict=True)):
        norm = TwoSlopeNorm(1.0, 0.0, max(2.0, float(np.nanmax(table.to_numpy()))))
        axes.pcolormesh(table.columns, table.index, table.to_numpy(), cmap="PuOr", norm=norm, shading="nearest")
        axes.set_xticks(range(0, 24, 6), [f"{hour}:00" for hour in range(0, 24, 6)], fontsize=8)
        axes.set_yticks(table.index, [WEEKDAYS[language][day] if place % columns == 0 else "" for day in table.index], fontsize=8)
        axes.invert_yaxis()
        _titled(axes, name)
    return picture


def lines_chart(
    tables: Mapping[str, pd.DataFrame],
    columns: int = 3,
    labels: tuple[str, str] = ("", ""),
    share: bool = False,
    size: tuple[float, float] = (3.6, 2.2),
    marks: Mapping[str, float] | None = None,
    log: bool = False,
) -> PngFigure:
    """Small multiples, one line per column of each table. `share`: values are shares;
    `marks`: name -> x of an upright line; `log`: values by order of magnitude."""
    picture, places = _grid(len(tables), columns, size)
    for axes, (name, table) in zip(places, tables.items(), strict=True):
        for place, (label, column) in enumerate(table.items()):
            style: dict[str, Any] = {"color": COLOURS[place % 8], "linestyle": DASHES[place // 8 % 4], "linewidth": 1.4}
            axes.plot(table.index, column.to_numpy(float), label=str(label), **style)
        if marks and name in marks:
            axes.axvline(marks[name], color=ODD, linewidth=1, linestyle="--")
        if share:
            axes.yaxis.set_major_formatter(SHARE)
            axes.set_ylim(0, 1.03)
        if log:
            axes.set_yscale("symlog", linthresh=0.1)
            axes.yaxis.set_major_formatter(PLAIN)
            axes.set_ylim(0, max(1.0, 1.5 * float(np.nanmax(table.to_numpy()))))
        _scaled(axes, labels)
        _titled(axes, name)
        if table.shape[1] > 1 and axes is places[0]:
            axes.legend(fontsize=7.5, frameon=False)
    _dates(places, tables)
    return picture


def noise_chart(tables: Mapping[str, pd.DataFrame], columns: int = 3) -> PngFigure:
    """Level against spread on logarithmic axes, beside the line of pure chance."""
    picture, places = _grid(len(tables), columns, (3.6, 2.2))
    for axes, (name, table) in zip(places, tables.items(), strict=True):
        axes.plot(table["level"], table["spread"], "o", color=VALUE, markersize=4, label="measured")
        if (table["level"] > 1).all() and len(table):
            axes.plot(table["level"], table["chance"], color=SOFT, linewidth=1, label="pure chance (Poisson)")
            for scale, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
                axes.set(**{f"{scale}scale": "log"})
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(PLAIN)
        _scaled(axes, ("level", "spread"))
        _titled(axes, name)
        axes.minorticks_off()
        if axes is places[0]:
            axes.legend(fontsize=7.5, frameon=False)
    return picture


def matrix_chart(table: pd.DataFrame, title: str = "") -> PngFigure:
    """Correlations as colours and numbers."""
    n = len(table)
    picture, places = _grid(1, 1, (1.6 + 0.62 * n, 0.9 + 0.42 * n))
    axes = places[0]
    axes.pcolormesh(table.to_numpy(), cmap="PuOr", vmin=-1, vmax=1)
    for row, column in np.ndindex(n, n):
        value = float(table.to_numpy()[row, column])
        axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=8, color=_ink(abs(value) > 0.7))
    axes.set_xticks(np.arange(n) + 0.5, list(table.columns), fontsize=8, rotation=30, ha="right")
    axes.set_yticks(np.arange(n) + 0.5, list(table.index), fontsize=8)
    axes.invert_yaxis()
    _titled(axes, title)
    return picture


def bands_chart(
    views: Mapping[str, tuple[Metric, pd.DataFrame]], zone: str, spans: Sequence[Interval] = (), alike: bool = False
) -> PngFigure:
    """Judged buckets in their bands, side by side; `spans` (faults, known incidents) are shaded. `alike`: on one scale."""
    picture, places = _grid(len(views), 2, (5.4, 2.0))
    index = next(iter(views.values()))[1].index
    times = TimeAxis(index[0], index[-1], zone, "en")
    curves = {name: SeriesPlot.of(metric, judged, times) for name, (metric, judged) in views.items()}
    widest = np.array([curve.extent() for curve in curves.values()])
    for axes, (name, curve), (metric, _) in zip(places, curves.items(), views.values(), strict=True):
        draw_series(axes, curve, THIN)
        low, high = (np.nanmin(widest[:, 0]), np.nanmax(widest[:, 1])) if alike else curve.extent()
        draw_values(axes, metric, "en", float(low), float(high), 8, 4)
        axes.set_xlim(0, times.length)
        draw_times(axes, times, 8, 5)
        for span in spans:
            start, end = (float((at - times.start) / HOUR) for at in (span.start, span.end))
            axes.axvspan(
                max(start, 0), min(end, times.length), color=SHADE, zorder=0
            ) if start < times.length and end > 0 else None
        _titled(axes, name)
    return picture


def tradeoff_chart(table: pd.DataFrame, x: str, y: str, labels: tuple[str, str], marks: Sequence[str]) -> PngFigure:
    """A line per rule through its rows of a sweep: what it finds against what that costs. The `marks` are named and coloured,
    the other rules stay grey; a catalogue's own is thick."""
    picture, places = _grid(1, 1, (9.5, 4.2))
    for rule in dict.fromkeys(table.index.get_level_values("rule")):
        mine = table.xs(rule, level="rule").sort_values([x, y])
        if rule not in marks:
            places[0].plot(mine[x], mine[y], color=FAINT, linewidth=1, zorder=1)
            continue
        style: dict[str, Any] = {"linewidth": 2.6 if rule == marks[-1] else 1.4, "marker": "o", "markersize": 3}
        places[0].plot(mine[x], mine[y], label=rule, color=COLOURS[list(marks).index(rule) % 8], **style)
    places[0].set_xscale("symlog", linthresh=0.1)
    places[0].set_xlim(left=0)
    places[0].xaxis.set_major_formatter(PLAIN)
    places[0].yaxis.set_major_formatter(SHARE)
    _scaled(places[0], labels)
    places[0].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return picture


def _grid(count: int, columns: int, each: tuple[float, float]) -> tuple[PngFigure, list[Axes]]:
    """A figure of `count` axes, `each` so many inches."""
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    with rc_context(STYLE):
        picture = PngFigure(figsize=(each[0] * columns, each[1] * rows), dpi=100, facecolor="white", layout="constrained")
        return picture, [picture.add_subplot(rows, columns, place + 1) for place in range(count)]


def _scaled(axes: Axes, labels: tuple[str, str]) -> None:
    axes.tick_params(labelsize=8, labelcolor=INK, color=SOFT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_xlabel(labels[0], fontsize=8, color=SOFT)
    axes.set_ylabel(labels[1], fontsize=8, color=SOFT)


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", color=INK)


def _ink(dark: bool) -> str:
    return "white" if dark else INK


def _dates(places: Sequence[Axes], tables: Mapping[str, pd.DataFrame]) -> None:
    """Few and short dates on axes of time."""
    for axes, table in zip(places, tables.values(), strict=True):
        if isinstance(table.index, pd.DatetimeIndex) and len(table):
            at = table.index[:: max(1, math.ceil(len(table) / 4))]
            axes.set_xticks(at, [f"{day:%d %b}" for day in at])


# The picture below the sliders: one metric in its band, and what would have been told. Pure.


def tuned_chart(metric: Metric, judged: pd.DataFrame, zone: str, spans: Sequence[Interval]) -> PngFigure:
    """Judged buckets in their band; what would have been told is shaded."""
    picture = band_chart(metric, judged, zone, inches=(10, 3.2))
    axes, start = picture.axes[0], judged.index[0]
    left, right = axes.get_xlim()
    for span in spans:
        first, last = (float((at - start) / HOUR) for at in (span.start, span.end))
        axes.axvspan(max(first, left), min(last, right), color=SHADE, zorder=0)
    return picture
