"""Sliders: thin shells over what `tuning` and `plots` draw. Only the lab has what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from alerting import plots
from alerting.backtest import Past
from alerting.model import Rule, SettingsError
from alerting.studies.pasts import judged
from alerting.studies.tuning import Tuning


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


def explore(past: Past, rules: Mapping[str, Rule], days: int = 3) -> object:
    """Sliders over the last `days`: the metric, the rule, and k (half-widths). Alive in Jupyter only."""
    widgets = _widgets()
    named = {metric.name: metric for metric in past.metrics}
    last = replace(past, start=past.end - timedelta(days=days))

    def view(metric: list[str], rule: list[str], k: float) -> object:
        chosen = replace(named[str(metric)], width=k)
        return plots.band(chosen, judged(last, chosen, rules[str(rule)]), past.zone)

    k = widgets.FloatSlider(value=1.0, min=0.25, max=4.0, step=0.05, description="k (x width)", continuous_update=False)
    return widgets.interactive(view, metric=list(named), rule=list(rules), k=k)


def tune(past: Past, days: int = 7, budget: float = 1.0) -> object:
    """Sliders for a metric's width, the days shown and its budget (incidents a week, which moves the width to what keeps to
    it); below them the band, and what would have been told (shaded). Alive in Jupyter only."""
    widgets, tuning = _widgets(), Tuning(past)
    metric, width, shown, weekly = _sliders(widgets, past, days, budget)
    said, picture = widgets.HTML(), widgets.Image(format="png")

    def draw(_: object = None) -> None:
        drawn = tuning.drawn(metric.value, width.value, shown.value, weekly.value)
        said.value, picture.value = drawn.words, plots.png(drawn.picture)

    def chosen(_: object) -> None:
        width.value = next(each.width for each in past.metrics if each.name == metric.value)

    def keep(_: object) -> None:
        width.value = tuning.width_for(metric.value, weekly.value)

    for slider, acts in ((metric, [chosen, draw]), (weekly, [keep, draw]), (width, [draw]), (shown, [draw])):
        for act in acts:
            slider.observe(act, "value")
    draw()
    return widgets.VBox([widgets.HBox([metric, width]), widgets.HBox([shown, weekly]), said, picture])


def _sliders(widgets: Any, past: Past, days: int, budget: float) -> tuple[Any, Any, Any, Any]:
    """Metric, width, days shown, budget a week; they act when they are let go."""
    longest, late = max(1, (past.end - past.start) // timedelta(days=1)), {"continuous_update": False}
    first = past.metrics[0].width
    return (
        widgets.Dropdown(options=[metric.name for metric in past.metrics], description="metric"),
        widgets.FloatSlider(value=first, min=0.05, max=max(4.0, first), step=0.01, description="k (width)", **late),
        widgets.IntSlider(value=min(days, longest), min=1, max=longest, description="days shown", **late),
        widgets.FloatSlider(value=budget, min=0.1, max=10.0, step=0.1, description="budget/week", **late),
    )
