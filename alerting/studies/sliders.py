"""Sliders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from alerting import plots
from alerting.backtest import Past
from alerting.model import Rule
from alerting.studies.pasts import judged


def explore(past: Past, rules: Mapping[str, Rule], days: int = 3) -> object:
    """Sliders over the last `days`: the metric, the rule, and k (half-widths). Alive in Jupyter only."""
    from ipywidgets import FloatSlider, interactive

    named = {metric.name: metric for metric in past.metrics}
    last = replace(past, start=past.end - timedelta(days=days))

    def view(metric: list[str], rule: list[str], k: float) -> object:
        chosen = replace(named[str(metric)], width=k)
        return plots.band(chosen, judged(last, chosen, rules[str(rule)]), past.zone)

    k = FloatSlider(value=1.0, min=0.25, max=4.0, step=0.05, description="k (x width)", continuous_update=False)
    return interactive(view, metric=list(named), rule=list(rules), k=k)
