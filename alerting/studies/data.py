"""The data of the study notebooks: a past read from the configured source, the incidents of runs, and progress bars."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from alerting import connections, pipeline
from alerting.backtest.replay import BacktestData, KnownSpan, Progress
from alerting.metrics import metrics_of_table
from alerting.model.clock import DAY, EPOCH
from alerting.model.errors import SettingsError
from alerting.model.incident import Incident
from alerting.model.run import Reading
from alerting.model.tables import cell_text
from alerting.pipeline.context import RunContext, buckets_between, end_of_rows, newest_end
from alerting.settings import Settings, load_settings
from alerting.sources.cache import CachedSource
from alerting.store.state import ReadOnlyState

BAR_DELAY = 2.0  # seconds after which a progress bar is shown
LINE_EVERY = 10.0  # seconds between the lines that a log gets instead of a bar


def progress_bar(items: Any = None, **options: Any) -> Any:
    """Return a tqdm bar that is removed at its end. It is shown in a notebook or a terminal, but not in a log."""
    from tqdm.auto import tqdm

    disable = False if "ipykernel" in sys.modules else None  # None: unless the stream is a terminal
    return tqdm(items, **{"delay": BAR_DELAY, "leave": False, "disable": disable} | options)


def track(name: str) -> Progress:
    """Return a named progress bar for a parameter `track`. A log gets lines on stderr, at most one every LINE_EVERY seconds."""

    def shown(items: Sequence[Any]) -> Iterator[Any]:
        if sys.stderr.isatty():
            yield from progress_bar(items, desc=name)
            return
        written = float("-inf")
        for number, item in enumerate(items):
            if (now := time.monotonic()) - written >= LINE_EVERY:
                sys.stderr.write(f"{name}: {number} of {len(items)}\n")
                sys.stderr.flush()
                written = now
            yield item

    return shown


@contextmanager
def reading_bars(ctx: RunContext, make: Callable[..., Any] = progress_bar) -> Iterator[None]:
    """Inside the block, show a bar, which `make` makes, for each table whose history is read for the first time."""
    source = ctx.source
    if not isinstance(source, CachedSource):  # a file is read in one step
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


def recorded_incidents(since: datetime, until: datetime, given: Settings | None = None) -> list[Incident]:
    """Return the incidents of runs with since <= opened < until, oldest first, without corrected ones. Raises StoreError."""
    path = (given or load_settings()).state_file
    if not path.exists():
        return []
    with closing(ReadOnlyState(path)) as state:
        return [incident for incident in state.all_incidents(since, until) if not incident.corrected]


def read_span(ctx: RunContext, start: datetime, end: datetime) -> Reading:
    """Read start <= bucket < end and the history before. Raises SettingsError if no metric has a value in that time."""
    with reading_bars(ctx):
        reading = pipeline.read(ctx, [buckets_between(metric, start, end) for metric in ctx.metrics])
    if not any(values.loc[start:].notna().any() for values in reading.series.values()):
        reasons = "; ".join(dict.fromkeys(reading.errors.values())) or "the tables are empty"
        span = f"from {cell_text(start, ctx.zone)} to {cell_text(end, ctx.zone)} ({ctx.zone})"
        raise SettingsError(f"there is nothing to study {span}: {reasons}")
    return reading


def load_past(weeks: float, at: str = "", ctx: RunContext | None = None) -> tuple[BacktestData, Reading]:
    """Read the `weeks` before `at` (ISO 8601; "": the end of the newest closed bucket) and the history that detectors need.

    Return the past to replay and all that was read. Metrics without a value are left out. Planted incidents are its known ones.
    Raises SettingsError if no metric has a value.
    """
    ctx = ctx or connections.connect(dry_run=True)
    now = pipeline.clock(at) if at else end_of_rows(ctx, ctx.metrics, pipeline.clock())
    end = newest_end(ctx, ctx.metrics, now)
    start = end - timedelta(weeks=weeks)
    reading = read_span(ctx, start, end)
    series = {name: values for name, values in reading.series.items() if values.loc[start:].notna().any()}
    metrics = [metric for metric in ctx.metrics if metric.name in series]
    return BacktestData(metrics, series, start, end, ctx.zone, _known_incidents(ctx), reading.volumes, ctx.holidays), reading


def _known_incidents(ctx: RunContext) -> tuple[KnownSpan, ...]:
    """Return the spans of the incidents planted into the sample app; empty for other sources."""
    from alerting.sample.folder import planted_truth
    from alerting.sources.embedded import EmbeddedSource

    source = ctx.source.source if isinstance(ctx.source, CachedSource) else ctx.source
    planted = planted_truth(source.folder) if isinstance(source, EmbeddedSource) else []
    return tuple(KnownSpan(incident.start, incident.end, incident.metrics) for incident in planted)


def history(weeks: float = 8, at: str = "", ctx: RunContext | None = None) -> pd.DataFrame:
    """Return the values of the last `weeks` as one table: one row per bucket, one column (float64) per metric.

    Index: start of the bucket in local time; midnight for a day. NaN if a bucket has no value. Metrics whose buckets have
    another length or begin at another time than those of most metrics are left out, and a printed line names them. `at` and
    errors: as `load_past`.
    """
    past, _ = load_past(weeks, at, ctx)
    grids = [(metric.step, metric.phase) for metric in past.metrics]
    step, phase = max(grids, key=lambda each: (grids.count(each), -each[0]))
    alike = [metric.name for metric in past.metrics if (metric.step, metric.phase) == (step, phase)]
    left = [(metric.step, metric.name) for metric in past.metrics if metric.name not in alike]
    if other_step := [name for own, name in left if own != step]:
        sys.stdout.write(f"left out, as their step is not {step}: {', '.join(other_step)}\n")
    if other_phase := [name for own, name in left if own == step]:
        sys.stdout.write(f"left out, as their buckets begin at another time: {', '.join(other_phase)}\n")
    values = past.values()
    table = pd.DataFrame({name: values[name] for name in alike}).tz_convert(past.zone)
    if step == DAY:  # in summer the bucket begins an hour after midnight
        days = (table.index + step / 2).tz_localize(None).normalize()
        table.index = days.tz_localize(past.zone, ambiguous=np.ones(len(days), bool), nonexistent="shift_forward")
    return table.rename_axis("bucket").rename_axis(columns="metric")


def known_incidents(ctx: RunContext | None = None) -> pd.DataFrame:
    """Return the incidents planted into the sample app: start, end (local time), metrics (a tuple; empty: all)."""
    ctx = ctx or connections.connect(dry_run=True)
    table = pd.DataFrame([asdict(span) for span in _known_incidents(ctx)], columns=["start", "end", "metrics"])
    return local_times(table, ("start", "end"), ctx.zone)


def local_times(table: pd.DataFrame, columns: Sequence[str], zone: str) -> pd.DataFrame:
    """Return the table with the instants in these columns (aware, or text in ISO 8601) as local times of `zone`."""
    return table.assign(**{name: pd.to_datetime(table[name], utc=True).dt.tz_convert(zone) for name in columns})


def rows_read(weeks: float = 8, at: str = "", ctx: RunContext | None = None) -> pd.DataFrame:
    """Return one row per table and bucket: table, bucket, newest (its newest row), in local time. Empty if no times are known."""
    past, reading = load_past(weeks, at, ctx)
    tables = [
        pd.DataFrame({"table": name, "bucket": counts.index, "newest": pd.to_datetime(counts["newest"], unit="s", utc=True)})
        for name, counts in reading.counts.items()
        if "newest" in counts
    ]
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["table", "bucket", "newest"])
    found = local_times(found, ("bucket", "newest"), past.zone)
    return found[found["bucket"] >= past.start]


def labelled_past(table: pd.DataFrame, warm_up: timedelta = timedelta(days=28)) -> tuple[BacktestData, list[KnownSpan]]:
    """Return labelled series as a past to replay, and the incidents in it: one for each unbroken row of labelled buckets.

    `table`: columns series (text), ts (start of the bucket; naive times are UTC), value (float64) and label (1: part of an
    incident). The first `warm_up` of each series is history: no alert in it is false, and its incidents are left out.
    """
    frames, steps, phases = {}, dict[str, timedelta](), dict[str, timedelta]()
    for title, rows in table.groupby("series", sort=False):
        times = pd.DatetimeIndex(rows["ts"])
        times = times.tz_convert("UTC") if times.tz else times.tz_localize("UTC")
        steps[str(title)] = step = pd.Series(times).diff().mode()[0].to_pytimedelta()
        frames[str(title)] = frame = rows.set_index(times)[["value", "label"]].asfreq(step)
        phases[str(title)] = (frame.index[0].to_pydatetime() - EPOCH) % step
    metrics = metrics_of_table(steps, phases)

    series, incidents, known = {}, [], []
    for name, step, frame in ((metric.name, metric.step, frames[metric.query]) for metric in metrics):
        series[name] = frame["value"].astype(float)
        begins = frame.index[0] + warm_up
        known.append(KnownSpan(frame.index[0].to_pydatetime(), begins.to_pydatetime(), (name,)))
        odd = frame["label"] == 1
        for _, run in frame[odd].groupby((odd != odd.shift()).cumsum()[odd]):
            if run.index[0] >= begins:
                incidents.append(KnownSpan(run.index[0].to_pydatetime(), (run.index[-1] + step).to_pydatetime(), (name,)))
    start = min(values.index[0] for values in series.values()).to_pydatetime()
    end = max(values.index[-1] for values in series.values()).to_pydatetime() + max(steps.values())
    return BacktestData(metrics, series, start, end, known=known), incidents
