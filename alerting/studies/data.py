"""Bars for what takes longer than two seconds: in a notebook, and in a terminal where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd

from alerting import pipeline
from alerting.backtest.replay import BacktestData, KnownSpan, Progress
from alerting.model.errors import SettingsError
from alerting.model.metric import Detector, Metric
from alerting.model.run import Reading
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.judge import judge_series
from alerting.sources.cache import CachedSource

WAIT = 2.0  # seconds before a bar is shown


def progress_bar(items: Any = None, **options: Any) -> Any:
    """tqdm that is seen only when it is worth it, and is gone afterwards; in a log there is none."""
    from tqdm.auto import tqdm

    unseen = False if "ipykernel" in sys.modules else None  # None: unless the stream is a terminal
    return tqdm(items, **{"delay": WAIT, "leave": False, "disable": unseen} | options)


def track(what: str) -> Progress:
    """For the `track` of a study's step: a bar with a name."""
    return partial(progress_bar, desc=what)


@contextmanager
def reading_bars(ctx: RunContext, make: Callable[..., Any] = progress_bar) -> Iterator[None]:
    """A bar per table whose past is read for the first time, instead of lines. `make`: as `bar`."""
    source = ctx.source
    if not isinstance(source, CachedSource):  # a file is read whole, at once
        yield
        return
    bars: dict[str, Any] = {}

    def show(name: str, done: float, whole: float) -> None:
        if name not in bars:
            bars[name] = make(total=round(whole), desc=f"history of {name}", unit="day")
        bars[name].update(round(done) - bars[name].n)

    source.progress = show
    try:
        yield
    finally:
        source.progress = None
        for each in bars.values():
            each.close()


# A past read from the configured source, what there is of it, and its buckets judged as a run would.

NUMBERS = ["step, min", "least", "median", "most", "buckets", "missing", "known to be odd"]  # columns of `show`


def load_past(ctx: RunContext, weeks: float, at: str = "") -> tuple[BacktestData, Reading]:
    """The last `weeks` before `at` (ISO 8601; empty: the newest closed bucket), with the history that the rules need before
    them, and what the source gave. Metrics without a single value are left out; planted incidents are known.

    Raises SettingsError where nothing at all was read.
    """
    now = pipeline.clock(at) if at else newest_moment(ctx)
    end = max(last_closed_bucket(now, ctx.delay, metric.step) + metric.step for metric in ctx.metrics)
    start = end - timedelta(weeks=weeks)
    with reading_bars(ctx):
        reading = pipeline.read(ctx, [DueBuckets(metric, start, end - metric.step) for metric in ctx.metrics])
    series = {name: values for name, values in reading.series.items() if values.loc[start:].notna().any()}
    if not series:
        reasons = "; ".join(dict.fromkeys(reading.errors.values())) or "the tables are empty"
        raise SettingsError(f"there is nothing to study from {start:%Y-%m-%d} to {end:%Y-%m-%d}: {reasons}")
    there = [metric for metric in ctx.metrics if metric.name in series]
    return BacktestData(there, series, start, end, ctx.zone, known_incidents(ctx)), reading


def newest_moment(ctx: RunContext) -> datetime:
    """Now; for a table that ends in the past, its end."""
    ends: list[datetime] = list(ctx.source.ends().values())
    return min([pipeline.clock(), *([max(ends) + ctx.delay] if ends else [])])


def known_incidents(ctx: RunContext) -> tuple[KnownSpan, ...]:
    """Incidents of which the truth is known: those planted into the embedded app."""
    from alerting.sample.folder import planted_truth
    from alerting.sources.embedded import EmbeddedSource

    source = ctx.source.source if isinstance(ctx.source, CachedSource) else ctx.source  # what it reads is held in front of it
    planted = planted_truth(source.folder) if isinstance(source, EmbeddedSource) else []
    return tuple(KnownSpan(each.start, each.end, each.metrics) for each in planted)


def past_table(past: BacktestData) -> pd.DataFrame:
    """One row per metric: what there is of it, and what is known to be odd."""
    rows = {metric.name: _shown(past, metric) for metric in past.metrics}
    return pd.DataFrame.from_dict(rows, orient="index")


def _shown(past: BacktestData, metric: Metric) -> dict[str, object]:
    values = past.series[metric.name].loc[past.start : past.end - metric.step]
    first, last = (f"{at.tz_convert(past.zone):%Y-%m-%d %H:%M}" for at in (values.index[0], values.index[-1]))
    odd = int(past.in_known(metric, values.index).sum())
    facts = {"first bucket": first, "last bucket": last, "step, min": metric.step / timedelta(minutes=1)}
    numbers = {"least": values.min(), "median": values.median(), "most": values.max()}
    return facts | numbers | {"buckets": len(values), "missing": int(values.isna().sum()), "known to be odd": odd}


def detector_views(past: BacktestData, rules: Mapping[str, Detector], metric: Metric) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> the metric and its judged buckets, for each of the rules: what `plots.studies.bands` draws."""
    return {name: (metric, judge_by(past, metric, rule)) for name, rule in rules.items()}


def last_days(past: BacktestData, days: float) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> every metric and its judged buckets of the last days, by its own rule and width."""
    late = replace(past, start=max(past.start, past.end - timedelta(days=days)))
    return {metric.name: (metric, judge_by(late, metric, metric.rule)) for metric in past.metrics}


def local_times(incidents: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Incidents with their times as the zone's clock shows them."""
    times = {name: pd.to_datetime(incidents[name], utc=True).dt.tz_convert(zone) for name in ("since", "told", "until")}
    return incidents.assign(**{name: at.dt.strftime("%a %d %b %H:%M").fillna("") for name, at in times.items()})


def judge_by(past: BacktestData, metric: Metric, rule: Detector) -> pd.DataFrame:
    """The metric's buckets from the start of the past to its end, judged by that rule as a run would."""
    frame = judge_series(replace(metric, rule=rule), past.series[metric.name], past.zone)
    return frame.loc[past.start : past.end - metric.step]
