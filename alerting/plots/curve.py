"""What is drawn of one metric: the band, the value, its anomalous buckets, its gaps, the same time of earlier days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import is_color_like
from matplotlib.lines import Line2D

from alerting.model import Metric, Status
from alerting.plots.scales import HOUR, Look, Times

# Okabe and Ito's colours: blue, sky blue, vermilion, bluish green, reddish purple. Colour-blind people can tell them apart.
VALUE, BAND, ODD, YESTERDAY, WEEK = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7"
GAP = "#9A9A9A"


@dataclass(frozen=True)
class Curve:
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
    def of(cls, metric: Metric, judged: pd.DataFrame, times: Times) -> Curve:
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


def draw(axes: Axes, curve: Curve, look: Look) -> None:
    """Gaps, band, expected, value, anomalous buckets: few artists, from back to front."""
    _gaps(axes, curve)
    _band(axes, curve)
    line(axes, curve.x, curve.expected, color=curve.color, linewidth=look.line * 0.4, alpha=0.9, zorder=3)
    line(axes, curve.x, curve.value, color=curve.color, linewidth=look.line, zorder=4, label="value")
    alone = runs(~np.isnan(curve.value), 1)  # a line needs two neighbours
    if alone:
        at = [first for first, _ in alone]
        style = {"linestyle": "", "marker": "o", "markersize": look.line * 1.5}
        line(axes, curve.x[at], curve.value[at], color=curve.color, zorder=4, label="alone", **style)
    if curve.odd.any():
        odd = np.where(curve.odd, curve.value, np.nan)
        dots = {"marker": "o", "markersize": look.dot / 2, "markeredgewidth": 0}
        line(axes, curve.x, odd, color=ODD, linewidth=look.line, zorder=5, label="odd", **dots)


def line(axes: Axes, x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    axes.add_artist(Line2D(x, y, solid_capstyle="round", solid_joinstyle="round", **style))


def runs(mask: np.ndarray, longest: int = 0) -> list[tuple[int, int]]:
    """First and last position of each stretch of True (of those no longer than `longest`)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    pairs = [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return [(first, last) for first, last in pairs if not longest or last - first < longest]


def _band(axes: Axes, curve: Curve) -> None:
    shapes = []
    for first, last in runs(~np.isnan(curve.low) & ~np.isnan(curve.high)):
        x, low, high = (array[first : last + 1] for array in (curve.x, curve.low, curve.high))
        shapes.append(np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])]))
    if shapes:
        axes.add_collection(PolyCollection(shapes, facecolor=BAND, alpha=0.3, linewidth=0, zorder=2, label="band"), autolim=False)


def _gaps(axes: Axes, curve: Curve) -> None:
    """Hatched from the last drawn point before a gap to the first after it."""
    shapes = []
    for first, last in runs(np.isnan(curve.value)):
        left, right = curve.x[first] - curve.step * 0.75, curve.x[last] + curve.step * 0.75
        shapes.append([(left, 0), (left, 1), (right, 1), (right, 0)])
    if shapes:
        style: dict[str, Any] = {"facecolor": "#F1F1F1", "edgecolor": GAP, "hatch": "////", "linewidth": 0, "zorder": 1.5}
        gaps = PolyCollection(shapes, transform=axes.get_xaxis_transform(), label="gap", **style)
        axes.add_collection(gaps, autolim=False)
