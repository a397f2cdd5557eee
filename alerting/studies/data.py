"""The data of a study notebook: a past read from the configured source, its buckets judged, and progress bars."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd

from alerting import connections, pipeline
from alerting.backtest.replay import BacktestData, KnownSpan, Progress
from alerting.model.errors import SettingsError
from alerting.model.metric import Detector, Metric
from alerting.model.run import Reading
from alerting.model.tables import bucket_text, cell_text
from alerting.pipeline.context import RunContext, buckets_between, end_of_rows, newest_end
from alerting.pipeline.judge import judge_series
from alerting.sources.cache import CachedSource

BAR_DELAY = 2.0  # seconds before a bar is shown
LINE_EVERY = 10.0  # seconds between the lines that a log gets in place of a bar


def progress_bar(items: Any = None, **options: Any) -> Any:
    """Return a tqdm bar that is removed when done; in a notebook and in a terminal, but not in a log."""
    from tqdm.auto import tqdm

    disable = False if "ipykernel" in sys.modules else None  # None: unless the stream is a terminal
    return tqdm(items, **{"delay": BAR_DELAY, "leave": False, "disable": disable} | options)


def track(name: str) -> Progress:
    """Return a bar with a name, for the parameter `track` of a study's step; in a log, lines on stderr."""

    def shown(items: Sequence[Any]) -> Iterable[Any]:
        bars = "ipykernel" in sys.modules or sys.stderr.isatty()
        tracked: Iterable[Any] = progress_bar(items, desc=name) if bars else _lines(items, name)
        return tracked

    return shown


def _lines(items: Sequence[Any], name: str) -> Iterator[Any]:
    """Yield the items, and write a line when the first begins and at most every `LINE_EVERY` seconds after it."""
    written = float("-inf")
    for number, item in enumerate(items):
        if (now := time.monotonic()) - written >= LINE_EVERY:
            sys.stderr.write(f"{name}: {number} of {len(items)}\n")
            sys.stderr.flush()
            written = now
        yield item


@contextmanager
def reading_bars(ctx: RunContext, make: Callable[..., Any] = progress_bar) -> Iterator[None]:
    """Show a bar per table whose history is read for the first time, instead of lines. `make`: as `progress_bar`."""
    source = ctx.source
    if not isinstance(source, CachedSource):  # a file is read as a whole, at once
        yield
        return
    bars: dict[str, Any] = {}

    def show(name: str, done: float, total: float) -> None:
        if name not in bars:
            bars[name] = make(total=round(total), desc=f"history of {name}", unit="day")
        bars[name].update(round(done) - bars[name].n)

    source.progress = show
    try:
        yield
    finally:
        source.progress = None
        for bar in bars.values():
            bar.close()


def load_past(weeks: float, at: str = "", ctx: RunContext | None = None) -> tuple[BacktestData, Reading]:
    """Read the last `weeks` before `at` (ISO 8601; empty: the newest closed bucket), and the history that detectors need.

    Metrics without a single value are left out; planted incidents are known. Raises SettingsError where there is no value.
    """
    ctx = ctx or connections.connect(dry_run=True)
    now = pipeline.clock(at) if at else end_of_rows(ctx, ctx.metrics, pipeline.clock())
    end = newest_end(ctx, ctx.metrics, now)
    start = end - timedelta(weeks=weeks)
    with reading_bars(ctx):
        reading = pipeline.read(ctx, [buckets_between(metric, start, end) for metric in ctx.metrics])
    series = {name: values for name, values in reading.series.items() if values.loc[start:].notna().any()}
    if not series:
        reasons = "; ".join(dict.fromkeys(reading.errors.values())) or "the tables are empty"
        span = f"from {cell_text(start, ctx.zone)} to {cell_text(end, ctx.zone)} ({ctx.zone})"
        raise SettingsError(f"there is nothing to study {span}: {reasons}")
    metrics = [metric for metric in ctx.metrics if metric.name in series]
    return BacktestData(metrics, series, start, end, ctx.zone, _known_incidents(ctx), reading.volumes), reading


def _known_incidents(ctx: RunContext) -> tuple[KnownSpan, ...]:
    """Return the incidents planted into the sample app; there are none for other sources."""
    from alerting.sample.folder import planted_truth
    from alerting.sources.embedded import EmbeddedSource

    source = ctx.source.source if isinstance(ctx.source, CachedSource) else ctx.source
    planted = planted_truth(source.folder) if isinstance(source, EmbeddedSource) else []
    return tuple(KnownSpan(incident.start, incident.end, incident.metrics) for incident in planted)


def past_table(past: BacktestData) -> pd.DataFrame:
    """Return one row per metric: two columns of text (its span in local time), then columns of numbers."""
    rows = {}
    for metric in past.metrics:
        values = past.values()[metric.name]
        first, last = (bucket_text(at, metric.step, past.zone) for at in (values.index[0], values.index[-1]))
        rows[metric.name] = {
            "first bucket": first,
            "last bucket": last,
            "step, min": metric.step / timedelta(minutes=1),
            "least": values.min(),
            "median": values.median(),
            "most": values.max(),
            "buckets": len(values),
            "missing": int(values.isna().sum()),
            "known to be odd": int(past.in_known(metric, values.index).sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def judge_by(past: BacktestData, metric: Metric, rule: Detector) -> pd.DataFrame:
    """Judge the metric's buckets from the start of the past to its end by that detector, as a run would."""
    frame = judge_series(replace(metric, rule=rule), past.series[metric.name], past.zone, past.volumes.get(metric.name))
    return frame.loc[past.start : past.end - metric.step]


def detector_views(past: BacktestData, rules: Mapping[str, Detector], metric: Metric) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """Return name -> the metric and its judged buckets for each detector, as `charts.studies.bands_chart` draws them."""
    return {name: (metric, judge_by(past, metric, rule)) for name, rule in rules.items()}


def last_days(past: BacktestData, days: float) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """Return name -> metric and its judged buckets of the last days, for every metric with its own detector and width."""
    late = replace(past, start=max(past.start, past.end - timedelta(days=days)))
    return {metric.name: (metric, judge_by(late, metric, metric.rule)) for metric in past.metrics}


def local_times(incidents: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Return the incidents (`Replay.incidents`) with their times as text in local time."""
    times = {name: pd.to_datetime(incidents[name], utc=True).dt.tz_convert(zone) for name in ("since", "told", "until")}
    return incidents.assign(**{name: at.dt.strftime("%a %d %b %H:%M").fillna("") for name, at in times.items()})
