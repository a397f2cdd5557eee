"""Sliders of the study notebooks. They need ipywidgets, which only the lab environment has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from alerting import charts, detectors
from alerting.backtest.budget import WidthCurve, false_openings, width_curves, width_grid
from alerting.backtest.replay import OPENINGS, WEEK, BacktestData, KnownSpan
from alerting.charts.studies import tuned_chart
from alerting.charts.style import PngFigure
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import Detector
from alerting.model.verdict import EventKind
from alerting.studies.data import judge_by

CURVE_WIDTHS = 12  # points of the curve that a budget is looked up in
ENDS = (EventKind.RESOLVED, EventKind.DATA_BACK)


def _ipywidgets() -> Any:
    """Import ipywidgets. Raises SettingsError where this kernel does not have it."""
    try:
        import ipywidgets
    except ImportError:
        raise SettingsError(
            "sliders need ipywidgets, which this kernel does not have: open the notebook with `make lab`, or install it "
            "beside the kernel (pip install ipywidgets)"
        ) from None
    return ipywidgets


def explore(past: BacktestData, rules: Mapping[str, Detector], days: int = 3) -> object:
    """Show the last `days` with sliders for the metric, the detector and the width. Works in Jupyter only."""
    widgets = _ipywidgets()
    metrics = {metric.name: metric for metric in past.metrics}
    last = replace(past, start=past.end - timedelta(days=days))

    def view(metric: str, rule: str, k: float) -> object:
        chosen = replace(metrics[metric], width=k)
        return charts.band_chart(chosen, judge_by(last, chosen, rules[rule]), past.zone)

    k = widgets.FloatSlider(value=1.0, min=0.25, max=4.0, step=0.05, description="k (x width)", continuous_update=False)
    return widgets.interactive(view, metric=list(metrics), rule=list(rules), k=k)


def tune(past: BacktestData, days: int = 7, budget: float = 1.0) -> object:
    """Show one metric in its band, the incidents shaded, with sliders for its width, the days shown and its budget.

    The budget (incidents a week) moves the width to the smallest one that keeps to it. Works in Jupyter only.
    """
    widgets, tuning = _ipywidgets(), WidthTuning(past)
    longest, first = max(1, (past.end - past.start) // timedelta(days=1)), past.metrics[0].width
    on_release = {"continuous_update": False}
    metric = widgets.Dropdown(options=[metric.name for metric in past.metrics], description="metric")
    width = widgets.FloatSlider(value=first, min=0.05, max=max(4.0, first), step=0.01, description="k (width)", **on_release)
    shown = widgets.IntSlider(value=min(days, longest), min=1, max=longest, description="days shown", **on_release)
    weekly = widgets.FloatSlider(value=budget, min=0.1, max=10.0, step=0.1, description="budget/week", **on_release)
    text, picture = widgets.HTML(), widgets.Image(format="png")

    def draw(_: object = None) -> None:
        view = tuning.drawn(metric.value, width.value, shown.value, weekly.value)
        text.value, picture.value = view.words, charts.to_png(view.picture)

    def reset_width(_: object) -> None:
        width.value = tuning.curve(metric.value).metric.width

    def keep_budget(_: object) -> None:
        width.value = tuning.width_for(metric.value, weekly.value)

    metric.observe(reset_width, "value")
    weekly.observe(keep_budget, "value")
    for slider in (metric, weekly, width, shown):
        slider.observe(draw, "value")
    draw()
    return widgets.VBox([widgets.HBox([metric, width]), widgets.HBox([shown, weekly]), text, picture])


@dataclass(frozen=True)
class TunedView:
    """The picture for one position of the sliders. `spans`: the incidents in the days shown."""

    judged: pd.DataFrame
    spans: list[KnownSpan]
    words: str
    picture: PngFigure


@dataclass(frozen=True)
class WidthTuning:
    """A past whose metrics are tried at other widths. A metric's curve is computed once, when it is first shown."""

    past: BacktestData
    _curves: dict[str, WidthCurve] = field(default_factory=dict)

    def curve(self, name: str) -> WidthCurve:
        """Return the metric's alerts at each width, over all of the past."""
        if name not in self._curves:
            alone = replace(self.past, metrics=[metric for metric in self.past.metrics if metric.name == name])
            self._curves.update(width_curves(alone, width_grid(CURVE_WIDTHS)))
        return self._curves[name]

    def width_for(self, name: str, budget: float) -> float:
        """Return the smallest width that keeps the metric to so many incidents a week that are not known to be real."""
        curve = self.curve(name)
        return round(curve.width(budget, self.past.weeks), 2) if curve.judged.sum() else curve.metric.width

    def drawn(self, name: str, width: float, days: int, budget: float) -> TunedView:
        """Draw the metric at that width over the last `days`, and compare it with a `budget` of incidents a week."""
        curve, past = self.curve(name), self.past
        metric = replace(curve.metric, width=width)
        start = max(past.start, past.end - timedelta(days=days))
        judged = detectors.judge(past.series[name].loc[start : past.end - metric.step], curve.band.loc[start:], metric)
        replay = past.replay(metric, curve.band)
        spans = _episode_spans(replay.events, past.end, start)

        weeks = (past.end - past.start) / WEEK
        rate = len(false_openings(past, replay)) / weeks
        words = (
            f"{name} at width {width:g} (metrics.py has {curve.metric.width:g}): {len(spans)} incidents in the days "
            f"shown; over {weeks:.1f} weeks {rate:.2g} a week that are not known to be real, "
            f"{'within' if rate <= budget else 'MORE THAN'} the budget of {budget:g}, "
            f"which width {self.width_for(name, budget):g} keeps to."
        )
        return TunedView(judged, spans, words, tuned_chart(metric, judged, past.zone, spans))


def _episode_spans(events: Sequence[Event], end: datetime, start: datetime) -> list[KnownSpan]:
    """Return each notified episode from its opening to its end (or `end`), if it ends after `start`."""
    opened: dict[bool, Event] = {}  # an anomaly and a gap may overlap
    spans = []
    for event in events:
        gap = event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK)
        if event.kind in OPENINGS:
            opened[gap] = event
        elif event.kind in ENDS and gap in opened:
            spans.append(KnownSpan(opened.pop(gap).bucket, event.bucket))
    spans += [KnownSpan(event.bucket, end) for event in opened.values()]
    return sorted((span for span in spans if span.end > start), key=lambda span: span.start)
