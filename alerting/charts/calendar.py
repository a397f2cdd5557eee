"""The calendar in a picture: a dashed line where something began, its title at the top; whole days lightly shaded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from alerting.charts.series import HOUR, SOFT, TimeAxis, drawable_text, text_width
from alerting.messages.format import ClockFormat
from alerting.model.metric import CalendarEvent

MOST = 3  # the nearest to the last bucket
TITLE = 22  # characters of a title
DAY = "#F6EFD9"
APART = 0.6  # free font sizes between two titles
LINE = 1.25  # font sizes from one row of titles to the next


def draw_calendar(axes: Axes, chosen: Sequence[CalendarEvent], times: TimeAxis, until: datetime, font: float) -> None:
    """What lies within the drawn span, whose last bucket ends at `until`. `axes` has its limits and its place already."""
    clock = ClockFormat(times.zone, times.language, times.end)
    seen = [o for o in chosen if o.start < until and max(o.start, o.end) >= times.start]
    days = [o for o in seen if clock.days(o.start, max(o.start, o.end))]
    moments = [o for o in seen if o not in days and o.start >= times.start]
    nearest = sorted(moments, key=lambda o: abs(o.start - until))[:MOST]
    _days(axes, days, times)
    places = [(o.start - times.start) / HOUR for o in nearest]
    if places:
        style: dict[str, Any] = {"color": SOFT, "linewidth": font / 12, "linestyle": (0, (4, 3)), "zorder": 3.5}
        axes.vlines(places, 0, 1, transform=axes.get_xaxis_transform(), label="occasions", **style)
    _titles(axes, nearest, places, font)


def _days(axes: Axes, days: Sequence[CalendarEvent], times: TimeAxis) -> None:
    """Lightly, and without a word: the message names them."""
    shapes = []
    for day in days:
        left, right = ((max(times.start, min(times.end, at)) - times.start) / HOUR for at in (day.start, day.end))
        shapes.append([(left, 0), (left, 1), (right, 1), (right, 0)])
    if shapes:
        style: dict[str, Any] = {"facecolor": DAY, "linewidth": 0, "zorder": 0.5, "label": "days"}
        axes.add_collection(PolyCollection(shapes, transform=axes.get_xaxis_transform(), **style), autolim=False)


def _titles(axes: Axes, chosen: Sequence[CalendarEvent], places: Sequence[float], font: float) -> None:
    """At the top, left of their lines (right of them at the left edge), one row lower for each that would touch another."""
    low, high = axes.get_xlim()
    points = axes.get_position().width * axes.figure.bbox.width / axes.figure.dpi * 72 / (high - low)  # per hour
    taken: list[tuple[float, float, int]] = []
    for occasion, place in zip(chosen, places, strict=True):
        title = _short(drawable_text(occasion.title) or drawable_text(occasion.kind))
        size = (text_width(title) + APART) * font / points  # hours
        left = place - size >= low
        start, end = (place - size, place) if left else (place, place + size)
        row = next(row for row in range(MOST) if not any(r == row and start < e and s < end for s, e, r in taken))
        taken.append((start, end, row))
        offset = (-font * APART / 2 if left else font * APART / 2, -font * LINE * row - 2)
        axes.annotate(
            title, (place, 1), xycoords=axes.get_xaxis_transform(), xytext=offset, textcoords="offset points",
            ha="right" if left else "left", va="top", fontsize=font, color=SOFT, zorder=7,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
        )  # fmt: skip
    _make_room(axes, font * LINE * (1 + max((row for _, _, row in taken), default=-1)))


def _make_room(axes: Axes, points: float) -> None:
    """So much above the curves, that no title lies on them."""
    tall = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi * 72
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, bottom + (top - bottom) * tall / (tall - points))


def _short(title: str) -> str:
    return title if len(title) <= TITLE else f"{title[: TITLE - 1].rstrip()}…"
