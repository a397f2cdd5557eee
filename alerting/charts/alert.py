"""The pictures. Each is built in one style that neither a matplotlibrc nor an earlier cell can change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alerting.charts.bars import bars_height, draw_bars, segment_bars
from alerting.charts.calendar import draw_calendar
from alerting.charts.series import (
    FONT,
    INK,
    ODD,
    SOFT,
    VALUE,
    WEEK,
    YESTERDAY,
    AxisStyle,
    SeriesPlot,
    TimeAxis,
    draw_line,
    draw_series,
    draw_times,
    draw_values,
    drawable_text,
    finite,
    light_axes,
    text_width,
)
from alerting.messages.format import ClockFormat, NumberFormat, percent_off
from alerting.messages.words import WORDS
from alerting.model.incident import RootCause
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Status, Verdict

WIDTH, TALL = 7.5, 5.625  # inches of the alert's picture, less what stands below it
ROW, APART = 1.75, 1.95  # inches of a row of the overview; where each has its own time scale
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MANY = 8  # metrics in the picture of a run
PHONE = AxisStyle(font=15, line=2.6, dot=11, times=5, values=6)
SMALL = AxisStyle(font=8, line=1.2, dot=7, times=5, values=4)
WIDE = AxisStyle(font=10, line=1, dot=8, times=14, values=6)
STYLE: Any = {
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


class PngFigure(Figure):
    """A figure that a notebook shows as it is sent: as our PNG, without pyplot and its half second."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def alert_chart(
    metric: Metric,
    judged: pd.DataFrame,
    bucket: datetime,
    zone: str,
    language: str = "en",
    occasions: Sequence[CalendarEvent] = (),
    cause: RootCause | None = None,
) -> Figure:
    """1080 x 810 pixels, readable at 360: the days up to `bucket`, the band, what is odd, the same time of earlier days.

    Taller where a slice carries the change: it stands below, beside the others of its kind.
    """
    slices = segment_bars(cause, metric.form, language)
    times = TimeAxis(bucket - metric.chart_span, bucket, zone, language)
    curve, verdict = SeriesPlot.of(metric, judged, times), _verdict(metric, judged, bucket)
    with rc_context(STYLE):
        figure = PngFigure(figsize=(WIDTH, TALL + bars_height(slices, PHONE.font)), dpi=144, facecolor="white")
        axes = figure.add_axes((0.015, _up(figure, 0.225), 0.975, 0.595 * TALL / figure.get_figheight()))
        draw_series(axes, curve, PHONE)
        _past(axes, curve, judged, times)
        label = NumberFormat.of(metric.form, language, verdict).value(verdict.value)
        _axes(axes, metric, curve, times, PHONE, room=_mark(axes, verdict, label, times))
        draw_calendar(axes, occasions, times, bucket + metric.step, PHONE.font * 0.93)
        _title(figure, metric, verdict, times)
        _legend(figure, axes, language)
        if cause and slices:
            draw_bars(figure, cause, slices, language, PHONE.font)
    return figure


def overview_chart(judged: Mapping[str, pd.DataFrame], metrics: list[Metric], zone: str, language: str = "en") -> Figure:
    """The first metrics side by side, their last two days: the picture of every run."""
    known = (metric for metric in metrics if metric.name in judged and len(judged[metric.name]))
    shown = list(islice(known, MANY))
    spans = {metric.name: metric.chart_span for metric in shown}
    one = len(set(spans.values())) < 2  # else each has a scale of its own
    rows = max(1, math.ceil(len(shown) / 2))
    with rc_context(STYLE):
        figure = PngFigure(figsize=(10, 0.3 + (ROW if one else APART) * rows), dpi=80, facecolor="white")
        end = max((judged[metric.name].index[-1] for metric in shown), default=EPOCH)
        for place, metric in enumerate(shown):
            times = TimeAxis(end - spans[metric.name], end, zone, language)
            _small(figure, metric, judged[metric.name], times, place, rows, labels=not one or place >= len(shown) - 2)
    return figure


def band_chart(
    metric: Metric, judged: pd.DataFrame, zone: str, language: str = "en", inches: tuple[float, float] = (12, 4)
) -> PngFigure:
    """Value and band over the whole of `judged`, for studies. 100 dots per inch."""
    with rc_context(STYLE):
        figure = PngFigure(figsize=inches, dpi=100, facecolor="white")
        axes = figure.add_axes((0.005, 0.14, 0.985, 0.76))
        start, end = (judged.index[0], judged.index[-1]) if len(judged) else (EPOCH, EPOCH)
        times = TimeAxis(start, max(end, start + metric.step), zone, language)
        curve = SeriesPlot.of(metric, judged, times)
        draw_series(axes, curve, WIDE)
        _axes(axes, metric, curve, times, WIDE)
        axes.set_title(_title_of(metric, language), loc="left", fontsize=WIDE.font * 1.2, fontweight="bold", color=INK)
    return figure


def to_png(figure: Figure, dpi: float | None = None) -> bytes:
    """The figure as PNG bytes, the same for the same figure: no date, no version."""
    before, buffer = figure.dpi, BytesIO()
    figure.set_dpi(dpi or before)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    figure.set_dpi(before)
    return buffer.getvalue()


def _small(figure: Figure, metric: Metric, judged: pd.DataFrame, times: TimeAxis, place: int, rows: int, labels: bool) -> None:
    inches = figure.get_figheight()
    row, column = divmod(place, 2)
    each = (inches - 0.3) / rows
    axes = figure.add_axes((0.055 + 0.5 * column, (0.35 + each * (rows - 1 - row)) / inches, 0.435, 1.38 / inches))
    curve = SeriesPlot.of(metric, judged, times)
    draw_series(axes, curve, SMALL)
    light_axes(axes, metric, times, curve.extent(), SMALL, labels)
    verdict = _verdict(metric, judged, judged.index[-1])
    odd = verdict.status is Status.ANOMALOUS
    words = f"{_title_of(metric, times.language)}  {_state(metric, verdict, times.language)}"
    style: dict[str, Any] = {"fontweight": "bold", "color": ODD} if odd else {"fontweight": "normal", "color": INK}
    axes.set_title(words, loc="left", fontsize=SMALL.font * 1.2, pad=3, **style)


def _axes(
    axes: Axes, metric: Metric, curve: SeriesPlot, times: TimeAxis, look: AxisStyle, room: float = 0.0, labels: bool = True
) -> None:
    """Both scales. `room`: free share of the time axis on the right."""
    widest = draw_values(axes, metric, times.language, *curve.extent(), look.font, look.values)
    if look is not SMALL:  # those stand in columns, under one another
        _move_left_edge(axes, (text_width(widest) + 0.8) * look.font)
    axes.set_xlim(-0.01 * times.length, times.length * (1.01 + room))
    draw_times(axes, times, look.font, look.times, labels, dates=look is not SMALL)


def _move_left_edge(axes: Axes, points: float) -> None:
    """Leaves `points` to the labels of the value axis."""
    place, pixels = axes.get_position(), points / 72 * axes.figure.dpi
    left = place.x0 + pixels / axes.figure.bbox.width
    axes.set_position((left, place.y0, place.x1 - left, place.height))


def _past(axes: Axes, curve: SeriesPlot, judged: pd.DataFrame, times: TimeAxis) -> None:
    """The same local time one day and seven days before, thin."""
    index = judged.index[(judged.index >= times.start) & (judged.index <= times.end)]
    for days, color, style, label in ((1, YESTERDAY, "--", "yesterday"), (7, WEEK, ":", "week")):
        y = finite(values_days_before(judged["value"], index, days, times.zone))
        if not np.isnan(y).all():
            draw_line(axes, curve.x, y, color=color, linewidth=PHONE.line * 0.7, linestyle=style, zorder=2.5, label=label)


def values_days_before(values: pd.Series, index: pd.DatetimeIndex, days: int, zone: str) -> pd.Series:
    """Values at the same local time `days` before each bucket of `index`; NaN where that time was skipped or is unknown."""
    walls = index.tz_convert(zone).tz_localize(None) - pd.Timedelta(days=days)
    then = walls.tz_localize(zone, ambiguous=np.ones(len(walls), bool), nonexistent="NaT").tz_convert("UTC")
    return values.reindex(then).set_axis(index)


def _mark(axes: Axes, verdict: Verdict, label: str, times: TimeAxis) -> float:
    """The bucket the picture is about, its value beside it; returns the room that needs, as a share of the time axis."""
    if not math.isfinite(verdict.value):
        return 0.0
    color = ODD if verdict.status is Status.ANOMALOUS else VALUE
    style = {"marker": "o", "markersize": PHONE.dot, "markeredgecolor": "white", "markeredgewidth": 1.5, "zorder": 6}
    draw_line(axes, np.array([times.length]), np.array([verdict.value]), color=color, clip_on=False, label="mark", **style)
    offset: dict[str, Any] = {"xytext": (PHONE.dot, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(label, (times.length, verdict.value), color=color, fontsize=PHONE.font * 1.1, fontweight="bold", **offset)
    points = 1.5 * PHONE.dot + text_width(label, "bold") * PHONE.font * 1.1
    return points / (0.87 * 72 * WIDTH - points)


def _title(figure: Figure, metric: Metric, verdict: Verdict, times: TimeAxis) -> None:
    state, odd = _state(metric, verdict, times.language), verdict.status is Status.ANOMALOUS
    title = f"{_title_of(metric, times.language)}{' ' if odd else ': '}{state}"
    size = min(23.0, 0.95 * 72 * WIDTH / text_width(title, "bold"))
    figure.text(0.025, _up(figure, 0.925), title, fontsize=size, fontweight="bold", color=ODD if odd else INK)
    numbers, words = NumberFormat.of(metric.form, times.language, verdict), WORDS[times.language]
    when = ClockFormat(times.zone, times.language, times.end).span(verdict.bucket, verdict.bucket + metric.step)
    edges = numbers.range(verdict.low, verdict.high)
    value, expected = numbers.value(verdict.value), edges and words["expected"].format(value=edges)
    facts = " · ".join(filter(None, [when, value if odd else "", expected]))
    figure.text(0.025, _up(figure, 0.86), facts, fontsize=min(PHONE.font, 0.95 * 72 * WIDTH / text_width(facts)), color=INK)


def _legend(figure: Figure, axes: Axes, language: str) -> None:
    """What the lines mean, in the order of their weight; only of what is there."""
    drawn = {artist.get_label(): artist for artist in [*axes.lines, *axes.collections]}
    keys = [key for key in ("value", "band", "odd", "yesterday", "week", "gap") if key in drawn]
    figure.legend(
        [drawn[key] for key in keys], [WORDS[language][f"legend {key}"] for key in keys],
        loc="lower left", bbox_to_anchor=(0, _up(figure, 0)), ncols=3, fontsize=PHONE.font * 0.93, labelcolor=INK, frameon=False,
        borderaxespad=0.2, columnspacing=1.4, handlelength=1.6, handletextpad=0.5, labelspacing=0.25,
    )  # fmt: skip


def _up(figure: Figure, share: float) -> float:
    """A height within the picture as it is without slices, as one within the figure."""
    return 1 - (1 - share) * TALL / figure.get_figheight()


def _verdict(metric: Metric, judged: pd.DataFrame, bucket: datetime) -> Verdict:
    """The row of `bucket`; missing where there is none."""
    if bucket not in judged.index:
        return Verdict(metric.name, bucket, Status.MISSING)
    row = judged.loc[bucket]
    value, low, expected, high = (float(row[name]) for name in ("value", "low", "expected", "high"))
    return Verdict(metric.name, bucket, Status(row["status"]), value, low, expected, high)


def _state(metric: Metric, verdict: Verdict, language: str) -> str:
    """−38 %, or the value where nothing is odd or a share means nothing, or that there is none."""
    if verdict.status is Status.ANOMALOUS:
        return percent_off(verdict, metric.form, language)
    return NumberFormat.of(metric.form, language, verdict).value(verdict.value) or WORDS[language]["legend gap"]


def _title_of(metric: Metric, language: str) -> str:
    """The metric's title, or else its name, as far as the font has its letters and the picture has room."""
    titles = (metric.title.get(language, ""), metric.title.get("en", ""), metric.name)
    title = next(filter(None, map(drawable_text, titles)), "?")
    return title if len(title) <= 40 else f"{title[:39]}…"
