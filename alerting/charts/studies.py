"""Charts of the study notebooks: rhythm, lines, noise, correlation, bands of several detectors. Pure; never pyplot.

seaborn is in the lab environment only, so it is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import FuncFormatter, LogLocator

from alerting.charts.overview import band_chart
from alerting.charts.series import HOUR, SeriesPlot, TimeAxis, draw_series, draw_times, draw_values, shade
from alerting.charts.style import ANOMALY, BAND, FAINT, INK, RC_PARAMS, SOFT, VALUE, WEEK, YESTERDAY, AxisStyle, PngFigure
from alerting.messages.words import WEEKDAYS
from alerting.model.metric import Metric

COLORS = (VALUE, ANOMALY, YESTERDAY, WEEK, "#E69F00", BAND, "#000000", "#999999")
LINE_STYLES = ("-", "--", ":", "-.")  # from the ninth line on, the colours repeat
STUDY = AxisStyle(font=8, line=1, dot=6, times=5, values=4)
SPAN_COLOR = "#FBE9D0"
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")


class Interval(Protocol):
    """A fault, a known incident, or anything else with a start and an end."""

    @property
    def start(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...


def rhythm_chart(tables: Mapping[str, pd.DataFrame], columns: int = 3, language: str = "en") -> PngFigure:
    """Draw weekday x hour as small multiples: white is the mean, purple above it, orange below."""
    import seaborn

    figure, grid = _grid(len(tables), columns, (3.6, 1.75))
    for number, (axes, (name, table)) in enumerate(zip(grid, tables.items(), strict=True)):
        norm = TwoSlopeNorm(1.0, 0.0, max(2.0, float(np.nanmax(table.to_numpy()))))
        days = [WEEKDAYS[language][day] if number % columns == 0 else "" for day in table.index]
        hours = [f"{hour}:00" if hour % 6 == 0 else "" for hour in table.columns]
        seaborn.heatmap(table, ax=axes, cmap="PuOr", norm=norm, cbar=False, xticklabels=hours, yticklabels=days)
        axes.tick_params(length=0, labelrotation=0)
        _label(axes, name)
    return figure


def matrix_chart(table: pd.DataFrame, title: str = "") -> PngFigure:
    """Draw correlations as colours and numbers."""
    import seaborn

    figure, (axes,) = _grid(1, 1, (1.6 + 0.62 * len(table), 0.9 + 0.42 * len(table)))
    seaborn.heatmap(table, ax=axes, cmap="PuOr", vmin=-1, vmax=1, cbar=False, annot=True, fmt=".2f", annot_kws={"size": 8})
    axes.set_xticks(axes.get_xticks(), list(table.columns), rotation=30, ha="right")
    _label(axes, title)
    return figure


def lines_chart(
    tables: Mapping[str, pd.DataFrame],
    columns: int = 3,
    labels: tuple[str, str] = ("", ""),
    share: bool = False,
    size: tuple[float, float] = (3.6, 2.2),
    marks: Mapping[str, float] | None = None,
    log: bool = False,
) -> PngFigure:
    """Draw small multiples, one line per column of each table.

    `labels`: of the x and the y axis. `share`: the values are shares. `marks`: name -> x of an upright line. `log`: a
    logarithmic value axis that includes 0.
    """
    figure, grid = _grid(len(tables), columns, size)
    for axes, (name, table) in zip(grid, tables.items(), strict=True):
        for number, (label, column) in enumerate(table.items()):
            style: dict[str, Any] = {"color": COLORS[number % 8], "linestyle": LINE_STYLES[number // 8 % 4], "linewidth": 1.4}
            axes.plot(table.index, column.to_numpy(float), label=str(label), **style)
        if marks and name in marks:
            axes.axvline(marks[name], color=ANOMALY, linewidth=1, linestyle="--")
        if share:
            axes.yaxis.set_major_formatter(PERCENT)
            axes.set_ylim(0, 1.03)
        if log:
            axes.set_yscale("symlog", linthresh=0.1)
            axes.yaxis.set_major_formatter(PLAIN)
            axes.set_ylim(0, max(1.0, 1.5 * float(np.nanmax(table.to_numpy()))))
        if isinstance(table.index, pd.DatetimeIndex) and len(table):  # few and short dates
            days = table.index[:: max(1, math.ceil(len(table) / 4))]
            axes.set_xticks(days, [f"{day:%d %b}" for day in days])
        _label(axes, name, labels)
        if table.shape[1] > 1 and axes is grid[0]:
            axes.legend(fontsize=7.5, frameon=False)
    return figure


def noise_chart(tables: Mapping[str, pd.DataFrame], columns: int = 3) -> PngFigure:
    """Draw level against spread on logarithmic axes, beside the line of pure chance."""
    figure, grid = _grid(len(tables), columns, (3.6, 2.2))
    for axes, (name, table) in zip(grid, tables.items(), strict=True):
        axes.plot(table["level"], table["spread"], "o", color=VALUE, markersize=4, label="measured")
        if (table["level"] > 1).all() and len(table):
            axes.plot(table["level"], table["chance"], color=SOFT, linewidth=1, label="pure chance (Poisson)")
            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(PLAIN)
        _label(axes, name, ("level", "spread"))
        axes.minorticks_off()
        if axes is grid[0]:
            axes.legend(fontsize=7.5, frameon=False)
    return figure


def bands_chart(
    views: Mapping[str, tuple[Metric, pd.DataFrame]], zone: str, spans: Sequence[Interval] = (), alike: bool = False
) -> PngFigure:
    """Draw judged buckets in their bands, side by side, with the `spans` shaded. `alike`: on one scale.

    `views`: title -> metric and judged buckets, the same buckets in all of them.
    """
    figure, grid = _grid(len(views), 2, (5.4, 2.0))
    index = next(iter(views.values()))[1].index
    times = TimeAxis(index[0], index[-1], zone, "en")
    plots = [SeriesPlot.of(metric, judged, times) for metric, judged in views.values()]
    extents = np.array([series.extent() for series in plots])
    common = (float(np.nanmin(extents[:, 0])), float(np.nanmax(extents[:, 1])))
    for axes, series, (name, (metric, _)) in zip(grid, plots, views.items(), strict=True):
        draw_series(axes, series, STUDY)
        draw_values(axes, metric, "en", common if alike else series.extent(), STUDY)
        axes.set_xlim(0, times.length)
        draw_times(axes, times, STUDY)
        _shade(axes, spans, times.start)
        _label(axes, name)
    return figure


def tuned_chart(metric: Metric, judged: pd.DataFrame, zone: str, spans: Sequence[Interval]) -> PngFigure:
    """Draw the picture below the sliders: judged buckets in their band, incidents shaded."""
    figure = band_chart(metric, judged, zone, inches=(10, 3.2))
    _shade(figure.axes[0], spans, judged.index[0])
    return figure


def tradeoff_chart(table: pd.DataFrame, x: str, y: str, labels: tuple[str, str], marks: Sequence[str]) -> PngFigure:
    """Draw a line per detector through its rows of `score.sweep_widths`: what it finds against its false alerts.

    The `marks` are named and coloured, the last of them thick; the other detectors stay grey.
    """
    figure, (axes,) = _grid(1, 1, (9.5, 4.2))
    for rule in dict.fromkeys(table.index.get_level_values("rule")):
        rows = table.xs(rule, level="rule").sort_values([x, y])
        if rule not in marks:
            axes.plot(rows[x], rows[y], color=FAINT, linewidth=1, zorder=1)
            continue
        style: dict[str, Any] = {"linewidth": 2.6 if rule == marks[-1] else 1.4, "marker": "o", "markersize": 3}
        axes.plot(rows[x], rows[y], label=rule, color=COLORS[list(marks).index(rule) % 8], **style)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(PERCENT)
    _label(axes, "", labels)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _grid(count: int, columns: int, inches: tuple[float, float]) -> tuple[PngFigure, list[Axes]]:
    """Return a figure and its `count` axes, each of that width and height."""
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    with rc_context(RC_PARAMS):
        size = (inches[0] * columns, inches[1] * rows)
        figure = PngFigure(figsize=size, dpi=100, facecolor="white", layout="constrained")
        return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _label(axes: Axes, title: str, labels: tuple[str, str] | None = None) -> None:
    """Draw the title; with `labels`, which may be empty, also those of the axes and a grid."""
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", color=INK)
    axes.tick_params(labelsize=8, labelcolor=INK)
    if labels is None:
        axes.set(xlabel="", ylabel="")  # seaborn writes the names of the index
        return
    axes.tick_params(color=SOFT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_xlabel(labels[0], fontsize=8, color=SOFT)
    axes.set_ylabel(labels[1], fontsize=8, color=SOFT)


def _shade(axes: Axes, spans: Iterable[Interval], start: datetime) -> None:
    """Shade the spans on a time axis in hours since `start`."""
    shade(axes, [((span.start - start) / HOUR, (span.end - start) / HOUR) for span in spans], facecolor=SPAN_COLOR, zorder=0)
