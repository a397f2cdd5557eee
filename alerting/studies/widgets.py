"""Sliders: thin shells over what `tuning` and `plots` draw. Only the lab has what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from alerting import charts, detectors
from alerting.backtest.budget import WidthCurve, false_openings, width_curves, width_grid
from alerting.backtest.replay import WEEK, BacktestData, KnownSpan
from alerting.charts.studies import tuned_chart
from alerting.charts.style import PngFigure
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import Detector, Metric
from alerting.model.verdict import EventKind
from alerting.studies.data import judge_by


def _widgets() -> Any:
    """ipywidgets. Raises SettingsError where this kernel has none."""
    try:
        import ipywidgets
    except ImportError:
        raise SettingsError(
            "sliders need ipywidgets, which this kernel does not have: open the notebook with `make lab`, or install it "
            "beside the kernel (pip install ipywidgets)"
        ) from None
    return ipywidgets


def explore(past: BacktestData, rules: Mapping[str, Detector], days: int = 3) -> object:
    """Sliders over the last `days`: the metric, the rule, and k (half-widths). Alive in Jupyter only."""
    widgets = _widgets()
    named = {metric.name: metric for metric in past.metrics}
    last = replace(past, start=past.end - timedelta(days=days))

    def view(metric: list[str], rule: list[str], k: float) -> object:
        chosen = replace(named[str(metric)], width=k)
        return charts.band_chart(chosen, judge_by(last, chosen, rules[str(rule)]), past.zone)

    k = widgets.FloatSlider(value=1.0, min=0.25, max=4.0, step=0.05, description="k (x width)", continuous_update=False)
    return widgets.interactive(view, metric=list(named), rule=list(rules), k=k)


def tune(past: BacktestData, days: int = 7, budget: float = 1.0) -> object:
    """Sliders for a metric's width, the days shown and its budget (incidents a week, which moves the width to what keeps to
    it); below them the band, and what would have been told (shaded). Alive in Jupyter only."""
    widgets, tuning = _widgets(), WidthTuning(past)
    metric, width, shown, weekly = _sliders(widgets, past, days, budget)
    said, picture = widgets.HTML(), widgets.Image(format="png")

    def draw(_: object = None) -> None:
        drawn = tuning.drawn(metric.value, width.value, shown.value, weekly.value)
        said.value, picture.value = drawn.words, charts.to_png(drawn.picture)

    def chosen(_: object) -> None:
        width.value = next(each.width for each in past.metrics if each.name == metric.value)

    def keep(_: object) -> None:
        width.value = tuning.width_for(metric.value, weekly.value)

    for slider, acts in ((metric, [chosen, draw]), (weekly, [keep, draw]), (width, [draw]), (shown, [draw])):
        for act in acts:
            slider.observe(act, "value")
    draw()
    return widgets.VBox([widgets.HBox([metric, width]), widgets.HBox([shown, weekly]), said, picture])


def _sliders(widgets: Any, past: BacktestData, days: int, budget: float) -> tuple[Any, Any, Any, Any]:
    """Metric, width, days shown, budget a week; they act when they are let go."""
    longest, late = max(1, (past.end - past.start) // timedelta(days=1)), {"continuous_update": False}
    first = past.metrics[0].width
    return (
        widgets.Dropdown(options=[metric.name for metric in past.metrics], description="metric"),
        widgets.FloatSlider(value=first, min=0.05, max=max(4.0, first), step=0.01, description="k (width)", **late),
        widgets.IntSlider(value=min(days, longest), min=1, max=longest, description="days shown", **late),
        widgets.FloatSlider(value=budget, min=0.1, max=10.0, step=0.1, description="budget/week", **late),
    )


# What sliders show: a metric's last days in the band of a width, and what that width would have told. No widgets here.

WIDTHS = 12  # of the curve that a budget is looked up in
ENDS = (EventKind.RESOLVED, EventKind.DATA_BACK)


@dataclass(frozen=True)
class TunedView:
    """What is seen for one setting of the sliders. `spans`: what would have been told in the days shown."""

    judged: pd.DataFrame
    spans: list[KnownSpan]
    words: str
    picture: PngFigure


@dataclass(frozen=True)
class WidthTuning:
    """A past whose metrics are tried at other widths. A metric's band is made once, when it is first looked at."""

    past: BacktestData
    _curves: dict[str, WidthCurve] = field(default_factory=dict)

    def drawn(self, name: str, k: float, days: int, budget: float) -> TunedView:
        """The metric at width `k` over the last `days`, beside a `budget` of incidents a week for it alone."""
        curve = self.curve(name)
        metric, past = replace(curve.metric, width=k), self.past
        start = max(past.start, past.end - timedelta(days=days))
        judged = detectors.judge(past.series[name].loc[start : past.end - metric.step], curve.band.loc[start:], metric)
        spans = _spans(past.replay(metric, curve.band).events, past, start)
        return TunedView(judged, spans, self._words(metric, len(spans), budget), tuned_chart(metric, judged, past.zone, spans))

    def curve(self, name: str) -> WidthCurve:
        """What the metric would have told at each width, over all of the past."""
        if name not in self._curves:
            alone = replace(self.past, metrics=[self._metric(name)])
            self._curves.update(width_curves(alone, width_grid(WIDTHS)))
        return self._curves[name]

    def width_for(self, name: str, budget: float) -> float:
        """The smallest width that keeps the metric to so many incidents a week that are not known to be real."""
        curve = self.curve(name)
        return round(curve.width(budget, self._weeks()), 2) if curve.judged.sum() else curve.metric.width

    def _metric(self, name: str) -> Metric:
        return next(metric for metric in self.past.metrics if metric.name == name)

    def _weeks(self) -> Sequence[int]:
        return range((self.past.end - self.past.start) // WEEK)

    def _words(self, metric: Metric, shown: int, budget: float) -> str:
        curve, weeks = self.curve(metric.name), (self.past.end - self.past.start) / WEEK
        rate = len(false_openings(self.past, metric, curve.band)) / weeks
        keeps = "within" if rate <= budget else "MORE THAN"
        return (
            f"{metric.name} at width {metric.width:g} (metrics.py has {curve.metric.width:g}): {shown} incidents in the days "
            f"shown; over {weeks:.1f} weeks {rate:.2g} a week that are not known to be real, {keeps} the budget of {budget:g}, "
            f"which width {self.width_for(metric.name, budget):g} keeps to."
        )


def _spans(events: Sequence[Event], past: BacktestData, start: datetime) -> list[KnownSpan]:
    """Each trouble that was told, from the bucket that opened it to its end, as far as it lies in the days shown."""
    begun: dict[bool, Event] = {}
    spans = []
    for event in events:
        gap = event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK)
        if event.kind in (EventKind.OPENED, EventKind.NO_DATA):
            begun[gap] = event
        elif event.kind in ENDS and gap in begun:
            spans.append(KnownSpan(begun.pop(gap).bucket, event.bucket))
    spans += [KnownSpan(event.bucket, past.end) for event in begun.values()]
    return sorted((span for span in spans if span.end > start), key=lambda span: span.start)
