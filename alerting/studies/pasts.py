"""A past read from the configured source, what there is of it, and its buckets judged as a run would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from alerting import pipeline
from alerting.backtest import Past, Span
from alerting.model import Metric, Reading, Rule, SettingsError
from alerting.sources.cached import Cached
from alerting.studies import progress

NUMBERS = ["step, min", "least", "median", "most", "buckets", "missing", "known to be odd"]  # columns of `show`


def past(to: pipeline.Connections, weeks: float, at: str = "") -> tuple[Past, Reading]:
    """The last `weeks` before `at` (ISO 8601; empty: the newest closed bucket), with the history that the rules need before
    them, and what the source gave. Metrics without a single value are left out; planted incidents are known.

    Raises SettingsError where nothing at all was read.
    """
    now = pipeline.clock(at) if at else newest(to)
    end = max(pipeline.last_closed_bucket(now, to.delay, metric.step) + metric.step for metric in to.metrics)
    start = end - timedelta(weeks=weeks)
    with progress.reading(to):
        reading = pipeline.read(to, [pipeline.Due(metric, start, end - metric.step) for metric in to.metrics])
    series = {name: values for name, values in reading.series.items() if values.loc[start:].notna().any()}
    if not series:
        reasons = "; ".join(dict.fromkeys(reading.troubles.values())) or "the tables are empty"
        raise SettingsError(f"there is nothing to study from {start:%Y-%m-%d} to {end:%Y-%m-%d}: {reasons}")
    there = [metric for metric in to.metrics if metric.name in series]
    return Past(there, series, start, end, to.zone, known(to)), reading


def newest(to: pipeline.Connections) -> datetime:
    """Now; for a table that ends in the past, its end."""
    ends: list[datetime] = list(to.source.ends().values())
    return min([pipeline.clock(), *([max(ends) + to.delay] if ends else [])])


def known(to: pipeline.Connections) -> tuple[Span, ...]:
    """Incidents of which the truth is known: those planted into the embedded app."""
    from alerting.simulate import truth
    from alerting.sources.embedded import Embedded

    source = to.source.source if isinstance(to.source, Cached) else to.source  # what it reads is held in front of it
    planted = truth(source.folder) if isinstance(source, Embedded) else []
    return tuple(Span(each.start, each.end, each.metrics) for each in planted)


def show(past: Past) -> pd.DataFrame:
    """One row per metric: what there is of it, and what is known to be odd."""
    rows = {metric.name: _shown(past, metric) for metric in past.metrics}
    return pd.DataFrame.from_dict(rows, orient="index")


def _shown(past: Past, metric: Metric) -> dict[str, object]:
    values = past.series[metric.name].loc[past.start : past.end - metric.step]
    first, last = (f"{at.tz_convert(past.zone):%Y-%m-%d %H:%M}" for at in (values.index[0], values.index[-1]))
    odd = int(past.known_to(metric, values.index).sum())
    facts = {"first bucket": first, "last bucket": last, "step, min": metric.step / timedelta(minutes=1)}
    numbers = {"least": values.min(), "median": values.median(), "most": values.max()}
    return facts | numbers | {"buckets": len(values), "missing": int(values.isna().sum()), "known to be odd": odd}


def views(past: Past, rules: Mapping[str, Rule], metric: Metric) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> the metric and its judged buckets, for each of the rules: what `plots.studies.bands` draws."""
    return {name: (metric, judged(past, metric, rule)) for name, rule in rules.items()}


def last_days(past: Past, days: float) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> every metric and its judged buckets of the last days, by its own rule and width."""
    late = replace(past, start=max(past.start, past.end - timedelta(days=days)))
    return {metric.name: (metric, judged(late, metric, metric.rule)) for metric in past.metrics}


def local(incidents: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Incidents with their times as the zone's clock shows them."""
    times = {name: pd.to_datetime(incidents[name], utc=True).dt.tz_convert(zone) for name in ("since", "told", "until")}
    return incidents.assign(**{name: at.dt.strftime("%a %d %b %H:%M").fillna("") for name, at in times.items()})


def judged(past: Past, metric: Metric, rule: Rule) -> pd.DataFrame:
    """The metric's buckets from the start of the past to its end, judged by that rule as a run would."""
    frame = pipeline.judge_one(replace(metric, rule=rule), past.series[metric.name], past.zone)
    return frame.loc[past.start : past.end - metric.step]
