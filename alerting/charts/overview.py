"""Charts of a whole run and of long spans: all metrics side by side, and one metric over any number of days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alerting.charts.alert import draw_axes, state_text, title_text, verdict_at
from alerting.charts.series import SeriesPlot, TimeAxis, draw_midnights, draw_series, set_value_limits
from alerting.charts.style import ANOMALY, FAINT, INK, RC_PARAMS, SMALL, SOFT, WIDE, PngFigure
from alerting.model.metric import Metric
from alerting.model.verdict import Status

MAX_METRICS = 8
ROW, ROW_WITH_TIMES = 1.75, 1.95  # inches
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def overview_chart(judged: Mapping[str, pd.DataFrame], metrics: list[Metric], zone: str, language: str = "en") -> Figure:
    """Return the first metrics side by side, their last two days: the picture of every run."""
    shown = [metric for metric in metrics if metric.name in judged and len(judged[metric.name])][:MAX_METRICS]
    one_span = len({metric.chart_span for metric in shown}) < 2  # else each row needs its own times
    rows = max(1, math.ceil(len(shown) / 2))
    height = (ROW if one_span else ROW_WITH_TIMES) * rows
    end = max((judged[metric.name].index[-1] for metric in shown), default=EPOCH)
    with rc_context(RC_PARAMS):
        figure = PngFigure(figsize=(10, 0.3 + height), dpi=80, facecolor="white")
        inches = figure.get_figheight()
        for number, metric in enumerate(shown):
            row, column = divmod(number, 2)
            bottom = 0.35 + (inches - 0.3) / rows * (rows - 1 - row)
            axes = figure.add_axes((0.055 + 0.5 * column, bottom / inches, 0.435, 1.38 / inches))
            times = TimeAxis(end - metric.chart_span, end, zone, language)
            _draw_metric(axes, metric, judged[metric.name], times, labels=not one_span or number >= len(shown) - 2)
    return figure


def _draw_metric(axes: Axes, metric: Metric, judged: pd.DataFrame, times: TimeAxis, labels: bool) -> None:
    series = SeriesPlot.of(metric, judged, times)
    draw_series(axes, series, SMALL)
    _draw_light_axes(axes, metric, times, series.extent(), labels)
    verdict = verdict_at(metric, judged, judged.index[-1])
    title = f"{title_text(metric, times.language)}  {state_text(metric, verdict, times.language)}"
    weight, color = ("bold", ANOMALY) if verdict.status is Status.ANOMALOUS else ("normal", INK)
    axes.set_title(title, loc="left", fontsize=SMALL.font * 1.2, pad=3, fontweight=weight, color=color)


def _draw_light_axes(axes: Axes, metric: Metric, times: TimeAxis, extent: tuple[float, float], labels: bool) -> None:
    """Draw both axes as lines and texts only: 2.2 times quicker than matplotlib's own axes in an overview."""
    axes.set_axis_off()
    axes.set_xlim(-0.01 * times.length, times.length * 1.01)
    ticks, words = set_value_limits(axes, metric, times.language, extent, SMALL)
    line: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "linewidth": SMALL.font / 16, "zorder": 0.5}
    axes.hlines(ticks, 0, 1, colors=FAINT, **line)
    axes.hlines(axes.get_ylim()[0], 0, 1, colors=SOFT, **line)
    text: dict[str, Any] = {"fontsize": SMALL.font, "color": INK}
    for tick, word in zip(ticks, words, strict=True):
        axes.text(-0.008, tick, word, transform=axes.get_yaxis_transform(), ha="right", va="center", **text)
    instants = times.ticks(SMALL.times)
    for at, x in zip(instants, times.hours(instants), strict=True):
        side = "right" if x > 0.97 * times.length else "center"  # the last one would leave the picture
        if labels:
            axes.text(x, -0.04, times.label(at, dates=False), transform=axes.get_xaxis_transform(), ha=side, va="top", **text)
    draw_midnights(axes, times, SMALL)


def band_chart(
    metric: Metric, judged: pd.DataFrame, zone: str, language: str = "en", inches: tuple[float, float] = (12, 4)
) -> PngFigure:
    """Return value and band over the whole of `judged`, 100 dots per inch."""
    start, end = (judged.index[0], judged.index[-1]) if len(judged) else (EPOCH, EPOCH)
    times = TimeAxis(start, max(end, start + metric.step), zone, language)
    series = SeriesPlot.of(metric, judged, times)
    with rc_context(RC_PARAMS):
        figure = PngFigure(figsize=inches, dpi=100, facecolor="white")
        axes = figure.add_axes((0.005, 0.14, 0.985, 0.76))
        draw_series(axes, series, WIDE)
        draw_axes(axes, metric, series, times, WIDE)
        axes.set_title(title_text(metric, language), loc="left", fontsize=WIDE.font * 1.2, fontweight="bold", color=INK)
    return figure
