"""The chart of an alert: the last day of one metric, its incident, its calendar, and the segments that explain the change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alerting.charts.series import (
    ANOMALY,
    HOUR,
    INK,
    PHONE,
    RC_PARAMS,
    SOFT,
    SPAN,
    VALUE,
    AxisStyle,
    PngFigure,
    SeriesPlot,
    TimeAxis,
    draw_line,
    draw_series,
    draw_times,
    draw_values,
    drawable_text,
    fit_text,
    shade,
    text_width,
)
from alerting.messages.format import (
    NARROW,
    ClockFormat,
    NumberFormat,
    VerdictFacts,
    attribute_name,
    roughly,
    segment_attributes,
    segment_name,
    signed_percent,
)
from alerting.messages.words import WORDS
from alerting.model.incident import RootCause
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Status, Verdict

WIDTH, HEIGHT = 7.5, 5.625  # inches, without the segments
MAX_TITLE_FONT, MAX_TITLE_CHARACTERS = 23.0, 40
MAX_EVENTS = 3  # largest number of calendar events that get a line; the nearest to the bucket are drawn
MAX_EVENT_CHARACTERS = 22
DAY_COLOR = "#F6EFD9"
EVENT_GAP, EVENT_ROW = 0.6, 1.25  # font sizes between two titles of events, and from one row of them to the next


def alert_chart(
    metric: Metric,
    judged: pd.DataFrame,
    bucket: datetime,
    zone: str,
    language: str = "en",
    calendar: Sequence[CalendarEvent] = (),
    cause: RootCause | None = None,
    span: tuple[datetime, datetime | None] | None = None,
) -> Figure:
    """Return a chart of 1080 x 810 pixels that is readable at a width of 360: the day up to `bucket`, band, anomalies, incident.

    `span`: begin and end of the incident; if the end is None, it goes on, and the chart ends at the newest bucket. A longer
    incident has a longer time axis. If a segment explains the change, the chart is taller and shows it below, next to the other
    segments of its attribute.
    """
    bars = segment_bars(cause, metric.form, language)
    since, over = span or (bucket, None)
    end = bucket if over is None or not len(judged) else max(bucket, judged.index[-1].to_pydatetime())
    start = min(end - metric.chart_span, since - max((end - since) // 8 // metric.step, 4) * metric.step)
    times = TimeAxis(start, end, zone, language)
    series, verdict = SeriesPlot.of(metric, judged, times), verdict_at(metric, judged, bucket)
    with rc_context(RC_PARAMS):
        taller = (HEADING_HEIGHT + ROW_HEIGHT * len(bars)) * PHONE.font / 72 if bars else 0.0
        figure = PngFigure(figsize=(WIDTH, HEIGHT + taller), dpi=144, facecolor="white")
        axes = figure.add_axes((0.015, _from_top(figure, 0.225), 0.975, 0.595 * HEIGHT / figure.get_figheight()))
        if span:
            hours = [(since - start) / HOUR - series.step / 2, ((over or bucket) - start) / HOUR + series.step / 2 * (not over)]
            shade(axes, [hours], facecolor=SPAN, zorder=0.6, label="span")
        draw_series(axes, series, PHONE)
        room = _mark_bucket(axes, metric, verdict, times)
        draw_axes(axes, metric, series, times, PHONE, room)
        _draw_calendar(axes, calendar, times, end + metric.step, PHONE.font * 0.93)
        _draw_title(figure, metric, verdict, times)
        _draw_legend(figure, axes, language)
        if cause and bars:
            draw_bars(figure, cause, bars, language, PHONE.font)
    return figure


def draw_axes(axes: Axes, metric: Metric, series: SeriesPlot, times: TimeAxis, style: AxisStyle, room: float = 0.0) -> None:
    """Draw both axes, and move the left edge to make room for the value labels. `room`: free share of the time axis."""
    longest = draw_values(axes, metric, times.language, series.extent(), style)
    box, pixels = axes.get_position(), (text_width(longest) + 0.8) * style.font / 72 * axes.figure.dpi
    left = box.x0 + pixels / axes.figure.bbox.width
    axes.set_position((left, box.y0, box.x1 - left, box.height))
    axes.set_xlim(-0.01 * times.length, times.length * (1.01 + room))
    draw_times(axes, times, style)


def _mark_bucket(axes: Axes, metric: Metric, verdict: Verdict, times: TimeAxis) -> float:
    """Mark the alert's bucket with a dot and, if it is the last, its value. Return the share of the time axis for the value."""
    if not math.isfinite(verdict.value):
        return 0.0
    x, color = (verdict.bucket - times.start) / HOUR, ANOMALY if verdict.status is Status.ANOMALOUS else VALUE
    dot = {"marker": "o", "markersize": PHONE.dot, "markeredgecolor": "white", "markeredgewidth": 1.5, "zorder": 6}
    draw_line(axes, np.array([x]), np.array([verdict.value]), color=color, clip_on=False, label="mark", **dot)
    if verdict.bucket != times.end:
        return 0.0
    label = NumberFormat.of(metric.form, times.language, verdict).value(verdict.value)
    beside: dict[str, Any] = {"xytext": (PHONE.dot, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(label, (times.length, verdict.value), color=color, fontsize=PHONE.font * 1.1, fontweight="bold", **beside)
    points = 1.5 * PHONE.dot + text_width(label, "bold") * PHONE.font * 1.1
    return points / (0.87 * 72 * WIDTH - points)


def _draw_calendar(axes: Axes, events: Sequence[CalendarEvent], times: TimeAxis, until: datetime, font: float) -> None:
    """Draw the calendar events on the time axis. `until`: end of its last bucket. `axes` must have its limits and position."""
    clock = ClockFormat(times.language, times.zone, times.end)
    seen = [event for event in events if event.start < until and max(event.start, event.end) >= times.start]
    days = [event for event in seen if clock.days(event.start, max(event.start, event.end))]
    moments = [event for event in seen if event not in days and event.start >= times.start]
    nearest = sorted(moments, key=lambda event: abs(event.start - until))[:MAX_EVENTS]
    if days:  # without a title: the message names them
        spans = [[(max(times.start, min(times.end, at)) - times.start) / HOUR for at in (day.start, day.end)] for day in days]
        shade(axes, spans, facecolor=DAY_COLOR, zorder=0.5, label="days")
    if nearest:
        starts = [(event.start - times.start) / HOUR for event in nearest]
        line: dict[str, Any] = {"linewidth": font / 12, "linestyle": (0, (4, 3)), "zorder": 3.5}
        axes.vlines(starts, 0, 1, transform=axes.get_xaxis_transform(), colors=SOFT, label="calendar", **line)
        _draw_calendar_titles(axes, nearest, starts, font)


def _draw_calendar_titles(axes: Axes, events: Sequence[CalendarEvent], starts: Sequence[float], font: float) -> None:
    """Draw the titles of the events at the top, in rows, so that no two titles overlap.

    A title is left of its line, or right of it at the left edge of the chart. The value axis is extended at the top by the height
    of the rows, so that no title lies on the series.
    """
    low, high = axes.get_xlim()
    width, height = (size / axes.figure.dpi * 72 for size in (axes.figure.bbox.width, axes.figure.bbox.height))
    points_per_hour = axes.get_position().width * width / (high - low)
    taken: list[tuple[float, float, int]] = []
    for event, start in zip(events, starts, strict=True):
        title = drawable_text(event.title) or drawable_text(event.kind)
        title = title if len(title) <= MAX_EVENT_CHARACTERS else f"{title[: MAX_EVENT_CHARACTERS - 1].rstrip()}…"
        hours = (text_width(title) + EVENT_GAP) * font / points_per_hour
        at_left = start - hours >= low
        first, last = (start - hours, start) if at_left else (start, start + hours)
        row = next(row for row in range(MAX_EVENTS) if not any(r == row and first < e and s < last for s, e, r in taken))
        taken.append((first, last, row))
        offset = (-font * EVENT_GAP / 2 if at_left else font * EVENT_GAP / 2, -font * EVENT_ROW * row - 2)
        axes.annotate(
            title, (start, 1), xycoords=axes.get_xaxis_transform(), xytext=offset, textcoords="offset points",
            ha="right" if at_left else "left", va="top", fontsize=font, color=SOFT, zorder=7,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
        )  # fmt: skip
    rows, tall = 1 + max(row for _, _, row in taken), axes.get_position().height * height
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, bottom + (top - bottom) * tall / (tall - font * EVENT_ROW * rows))


def _draw_title(figure: Figure, metric: Metric, verdict: Verdict, times: TimeAxis) -> None:
    """Draw the title and, below it, the time, the value and the expected range. The font is as large as the width allows."""
    anomalous = verdict.status is Status.ANOMALOUS
    state, width = state_text(metric, verdict, times.language), 0.95 * 72 * WIDTH
    title = f"{title_text(metric, times.language)}{' ' if anomalous else ': '}{state}"
    size, color = min(MAX_TITLE_FONT, width / text_width(title, "bold")), ANOMALY if anomalous else INK
    figure.text(0.025, _from_top(figure, 0.925), title, fontsize=size, fontweight="bold", color=color)

    numbers = NumberFormat.of(metric.form, times.language, verdict)
    clock = ClockFormat(times.language, times.zone, times.end, day_start=metric.day_start)
    when = clock.span(verdict.bucket, verdict.bucket + metric.step)
    band = numbers.range(verdict.low, verdict.high)
    expected = band and WORDS[times.language]["expected"].format(value=band)
    facts = " · ".join(filter(None, [when, numbers.value(verdict.value) if anomalous else "", expected]))
    figure.text(0.025, _from_top(figure, 0.86), facts, fontsize=min(PHONE.font, width / text_width(facts)), color=INK)


def _draw_legend(figure: Figure, axes: Axes, language: str) -> None:
    """Draw a legend of the lines that are in the chart, the most important first."""
    drawn = {artist.get_label(): artist for artist in [*axes.lines, *axes.collections]}
    keys = [key for key in ("value", "expected", "band", "odd", "span", "gap") if key in drawn]
    figure.legend(
        [drawn[key] for key in keys], [WORDS[language][f"legend {key}"] for key in keys],
        loc="lower left", bbox_to_anchor=(0, _from_top(figure, 0)), ncols=3, fontsize=PHONE.font * 0.93, labelcolor=INK,
        frameon=False, borderaxespad=0.2, columnspacing=1.4, handlelength=1.6, handletextpad=0.5, labelspacing=0.25,
    )  # fmt: skip


def _from_top(figure: Figure, share: float) -> float:
    """Return a height in the figure for a height in the chart without segments. With segments below, the figure is taller."""
    return 1 - (1 - share) * HEIGHT / figure.get_figheight()


def verdict_at(metric: Metric, judged: pd.DataFrame, bucket: datetime) -> Verdict:
    """Return the verdict of `bucket`: missing if `judged` has no such row, unknown if it was not judged."""
    if bucket not in judged.index:
        return Verdict(metric.name, bucket, Status.MISSING)
    row = judged.loc[bucket]
    value, low, expected, high = (float(row[name]) for name in ("value", "low", "expected", "high"))
    return Verdict(metric.name, bucket, Status(row["status"] or Status.UNKNOWN), value, low, expected, high)


def state_text(metric: Metric, verdict: Verdict, language: str) -> str:
    """Return the change, such as −38 %; the value if it is normal or a share has no meaning; "no data" if there is no value."""
    if verdict.status is Status.ANOMALOUS:
        return VerdictFacts.of(verdict, metric.form, language).deviation
    return NumberFormat.of(metric.form, language, verdict).value(verdict.value) or WORDS[language]["legend gap"]


def title_text(metric: Metric, language: str) -> str:
    """Return the first of the metric's title and its name that the font can draw, cut to the room that there is."""
    titles = (metric.title_in(language), metric.title_in("en"), metric.name)
    title = next(filter(None, map(drawable_text, titles)), "?")
    return title if len(title) <= MAX_TITLE_CHARACTERS else f"{title[: MAX_TITLE_CHARACTERS - 1]}…"


# The segments below the chart: a bar for the one that explains the change, and for the others of its attribute.

MAX_BARS = 5
ROW_HEIGHT, HEADING_HEIGHT = 1.75, 2.6  # font sizes
MAX_NAME_WIDTH = 13.5  # font sizes
MAX_NAME_CHARACTERS = 60  # before it is measured
MARGIN = 0.025  # the same margin as the chart's title
LABEL_GAP = 0.6  # font sizes between a bar and the texts beside it
ROUGH_BELOW = 0.1  # smaller changes are given in whole percent
MAX_RATIO = 3.0  # longest bar, as a multiple of the longest of the others; a longer one is cut


@dataclass(frozen=True)
class Bar:
    """One segment. `change`: length of its bar. `explains`: whether it is the segment that explains the change."""

    name: str
    change: float
    label: str
    explains: bool
    weight: str  # font weight of its texts


def segment_bars(cause: RootCause | None, form: str, language: str) -> list[Bar]:
    """Return bars: the explaining segment and the other values of its attribute, or the rest; none without such a segment."""
    cause = cause and cause.claim
    if cause is None or cause.answer != "carried" or cause.slice is None or math.isnan(cause.slice.change):
        return []
    attributes = segment_attributes(cause.slice)
    others = [other for other in cause.others if not math.isnan(other.change)][: MAX_BARS - 1]
    named = []
    for segment in (cause.slice, *others):
        is_other_kind = segment_attributes(segment) != attributes  # if False, the heading names the attributes
        name = segment_name(segment, language, drawable_text, with_attributes=is_other_kind)[:MAX_NAME_CHARACTERS]
        named.append((fit_text(name, MAX_NAME_WIDTH, "bold"), segment))
    if not others and cause.rest and not math.isnan(cause.rest.change):
        named.append((WORDS[language]["the rest"], cause.rest))
    longest = max((abs(segment.change) for _, segment in named[1:] if math.isfinite(segment.change)), default=0.0)
    limit = max(1.0, MAX_RATIO * longest)
    form = "ratio" if cause.effect == "mix" else form
    numbers = NumberFormat.of(form, language, [number for _, segment in named for number in (segment.value, segment.expected)])
    bars = []
    for name, segment in named:
        percent = roughly(segment.change, language) or f"0{NARROW}%"
        if abs(segment.change) >= ROUGH_BELOW:
            percent = signed_percent(segment.value, segment.expected, language)  # "" where nothing was expected
        label = f"{numbers.value(segment.expected)} → {numbers.value(segment.value)}" + (f" ({percent})" if percent else "")
        explains = segment is cause.slice
        bars.append(Bar(name, max(-limit, min(limit, segment.change)), label, explains, "bold" if explains else "normal"))
    return bars


def draw_bars(figure: Figure, cause: RootCause, bars: list[Bar], language: str, font: float) -> None:
    """Draw the heading and the bars below the chart, with names on the left and changes on the right."""
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

    names = segment_attributes(cause.slice) if cause.slice else ()
    by = " & ".join(attribute_name(name, language, drawable_text) for name in names)
    heading = WORDS[language]["panel, mix" if cause.effect == "mix" else "panel"].format(attributes=by)
    heading_at = (0.5 + ROW_HEIGHT * len(bars) + 0.45) * font / height
    figure.text(MARGIN, heading_at, fit_text(heading, width / font * (1 - 2 * MARGIN)), fontsize=font, color=INK)
    for row, bar in enumerate(bars):
        text: dict[str, Any] = {"va": "center", "ha": "right", "fontsize": font, "transform": axes.get_yaxis_transform()}
        text |= {"color": ANOMALY if bar.explains else INK, "fontweight": bar.weight}
        axes.text(-LABEL_GAP * font / ((end - start) * width), row, bar.name, **text)
        axes.text(1 + (right + LABEL_GAP * font) / ((end - start) * width), row, bar.label, **text)
