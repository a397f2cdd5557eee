"""What sliders show: a metric's last days in the band of a width, and what that width would have told. No widgets here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pandas as pd

from alerting import detectors
from alerting.backtest import Curve, Past, Span, curves, some_widths
from alerting.backtest.curves import opened
from alerting.backtest.replaying import WEEK
from alerting.model import Event, Kind, Metric
from alerting.plots.pictures import Picture
from alerting.plots.tuned import told

WIDTHS = 12  # of the curve that a budget is looked up in
ENDS = (Kind.RESOLVED, Kind.DATA_BACK)


@dataclass(frozen=True)
class Drawn:
    """What is seen for one setting of the sliders. `spans`: what would have been told in the days shown."""

    judged: pd.DataFrame
    spans: list[Span]
    words: str
    picture: Picture


@dataclass(frozen=True)
class Tuning:
    """A past whose metrics are tried at other widths. A metric's band is made once, when it is first looked at."""

    past: Past
    _curves: dict[str, Curve] = field(default_factory=dict)

    def drawn(self, name: str, k: float, days: int, budget: float) -> Drawn:
        """The metric at width `k` over the last `days`, beside a `budget` of incidents a week for it alone."""
        curve = self.curve(name)
        metric, past = replace(curve.metric, width=k), self.past
        start = max(past.start, past.end - timedelta(days=days))
        judged = detectors.judge(past.series[name].loc[start : past.end - metric.step], curve.band.loc[start:], metric)
        spans = _spans(past.replay(metric, curve.band).events, past, start)
        return Drawn(judged, spans, self._words(metric, len(spans), budget), told(metric, judged, past.zone, spans))

    def curve(self, name: str) -> Curve:
        """What the metric would have told at each width, over all of the past."""
        if name not in self._curves:
            alone = replace(self.past, metrics=[self._metric(name)])
            self._curves.update(curves(alone, some_widths(WIDTHS)))
        return self._curves[name]

    def width_for(self, name: str, budget: float) -> float:
        """The smallest width that keeps the metric to so many incidents a week that are not known to be real."""
        curve = self.curve(name)
        return round(curve.width(budget, self._weeks()), 2) if curve.seen.sum() else curve.metric.width

    def _metric(self, name: str) -> Metric:
        return next(metric for metric in self.past.metrics if metric.name == name)

    def _weeks(self) -> Sequence[int]:
        return range((self.past.end - self.past.start) // WEEK)

    def _words(self, metric: Metric, shown: int, budget: float) -> str:
        curve, weeks = self.curve(metric.name), (self.past.end - self.past.start) / WEEK
        rate = len(opened(self.past, metric, curve.band)) / weeks
        keeps = "within" if rate <= budget else "MORE THAN"
        return (
            f"{metric.name} at width {metric.width:g} (metrics.py has {curve.metric.width:g}): {shown} incidents in the days "
            f"shown; over {weeks:.1f} weeks {rate:.2g} a week that are not known to be real, {keeps} the budget of {budget:g}, "
            f"which width {self.width_for(metric.name, budget):g} keeps to."
        )


def _spans(events: Sequence[Event], past: Past, start: datetime) -> list[Span]:
    """Each trouble that was told, from the bucket that opened it to its end, as far as it lies in the days shown."""
    begun: dict[bool, Event] = {}
    spans = []
    for event in events:
        gap = event.kind in (Kind.NO_DATA, Kind.DATA_BACK)
        if event.kind in (Kind.OPENED, Kind.NO_DATA):
            begun[gap] = event
        elif event.kind in ENDS and gap in begun:
            spans.append(Span(begun.pop(gap).bucket, event.bucket))
    spans += [Span(event.bucket, past.end) for event in begun.values()]
    return sorted((span for span in spans if span.end > start), key=lambda span: span.start)
