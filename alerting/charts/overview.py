"""Charts of a whole run and of long spans: all metrics side by side, and one metric over any number of days."""

from collections.abc import Mapping, MutableMapping
from datetime import datetime
from itertools import islice

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alerting.charts.alert import draw_axes, state_text, title_text, verdict_at
from alerting.charts.series import (
    ANOMALY,
    HOUR,
    INK,
    RC_PARAMS,
    SMALL,
    WIDE,
    PngFigure,
    SeriesPlot,
    TimeAxis,
    draw_line,
    draw_series,
    draw_times,
    draw_values,
)
from alerting.messages.format import ClockFormat
from alerting.model.clock import EPOCH
from alerting.model.metric import Metric
from alerting.model.run import caught
from alerting.model.verdict import Status

MAX_METRICS = 8
WIDTH, ROW, ROW_WITH_TIMES = 7.2, 1.25, 1.6  # inches


def overview_chart(
    judged: Mapping[str, pd.DataFrame],
    metrics: list[Metric],
    zone: str,
    language: str = "en",
    marked: Mapping[str, datetime] | None = None,
    errors: MutableMapping[str, str] | None = None,
) -> Figure:
    """Return the picture of a run: the last day of the first metrics, one below the other, readable at a width of 360 pixels.

    `marked`: metric -> the bucket that a message is about. It gets a dot, and the title shows its verdict. If a metric cannot be
    drawn, its place stays empty and `errors` gets the reason; if `errors` is None, the error is raised.
    """
    with_values = (metric for metric in metrics if metric.name in judged and len(judged[metric.name]))
    shown = list(islice(with_values, MAX_METRICS))  # a frame is built on access: thousands of metrics are not all drawn
    one_span = len({metric.chart_span for metric in shown}) < 2  # if False, each row needs its own times
    row = ROW if one_span else ROW_WITH_TIMES
    inches = 0.35 + row * max(1, len(shown))
    end = max((judged[metric.name].index[-1] for metric in shown), default=EPOCH)
    with rc_context(RC_PARAMS):
        figure = PngFigure(figsize=(WIDTH, inches), dpi=100, facecolor="white")
        for number, metric in enumerate(shown, 1):
            axes = figure.add_axes((0.125, (inches - row * number + (row - ROW)) / inches, 0.865, (ROW - 0.38) / inches))
            times = TimeAxis(end - metric.chart_span, end, zone, language)
            bucket = (marked or {}).get(metric.name)
            with caught(errors, metric.name):
                _draw_row(axes, metric, judged[metric.name], times, not one_span or number == len(shown), bucket)
            if errors and metric.name in errors:
                axes.remove()
    return figure


def _draw_row(axes: Axes, metric: Metric, judged: pd.DataFrame, times: TimeAxis, labels: bool, marked: datetime | None) -> None:
    series = SeriesPlot.of(metric, judged, times)
    draw_series(axes, series, SMALL)
    draw_values(axes, metric, times.language, series.extent(), SMALL)
    axes.set_xlim(-0.01 * times.length, times.length * 1.01)
    draw_times(axes, times, SMALL)
    axes.tick_params(axis="x", labelbottom=labels)
    verdict = verdict_at(metric, judged, marked or judged.index[-1])
    title = f"{title_text(metric, times.language)}  {state_text(metric, verdict, times.language)}"
    if marked:
        title += f"  ·  {ClockFormat(times.language, times.zone, times.end).span(marked, marked + metric.step)}"
        x, color = (marked - times.start) / HOUR, ANOMALY if verdict.status is Status.ANOMALOUS else INK
        dot = {"marker": "o", "markersize": SMALL.dot, "markeredgecolor": "white", "zorder": 6, "clip_on": False, "label": "mark"}
        draw_line(axes, np.array([x]), np.array([verdict.value]), color=color, **dot)
    bold = marked or verdict.status is Status.ANOMALOUS
    weight, color = "bold" if bold else "normal", ANOMALY if verdict.status is Status.ANOMALOUS else INK
    axes.set_title(title, loc="left", fontsize=SMALL.font * 1.2, pad=3, fontweight=weight, color=color)


def band_chart(
    metric: Metric, judged: pd.DataFrame, zone: str, language: str = "en", inches: tuple[float, float] = (12, 4)
) -> PngFigure:
    """Return a chart of value and band over all buckets of `judged`, with 100 dots per inch."""
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
