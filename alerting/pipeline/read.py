"""Read the source: one scan per table, one series per metric on the full UTC grid. Gaps are NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.model.errors import AlertingError, SourceError
from alerting.model.metric import Query
from alerting.model.run import Reading
from alerting.pipeline.completeness import arrivals_now, incomplete_buckets
from alerting.pipeline.context import BAND_SPAN, DueBuckets, RunContext
from alerting.pipeline.segment_watch import request_segments

ARRIVALS_FOR = timedelta(days=14)  # earlier readings that say how late the rows of a table usually are
PARALLEL_READS = 4  # tables that are read at the same time
SLOW_AFTER = 20.0  # seconds after which a run judges the tables that have answered without the others

PendingReads = Mapping[str, Future[tuple[pd.DataFrame, float]]]  # scan -> its counts and the seconds it took


class MetricError(AlertingError):
    """The values of a metric could not be computed."""


@dataclass(frozen=True)
class _Scan:
    """One query of one table over a span, and the due buckets of the metrics that are computed from it."""

    name: str
    query: Query
    items: list[DueBuckets]
    grid: pd.DatetimeIndex

    @property
    def end(self) -> datetime:
        return self.grid[-1].to_pydatetime() + self.query.step


def read(
    ctx: RunContext, due: Sequence[DueBuckets], days: int = 0, now: datetime | None = None, max_wait: float | None = SLOW_AFTER
) -> Reading:
    """Read the due buckets and `days` before them (0: as many as the detectors need), with one scan per table.

    A table that cannot be read, or a value that cannot be computed, is an error of its metrics; the others go on. `now`: the
    moment of a run. Then a table that takes longer than `max_wait` seconds stays in `pending` (None: wait for all), incomplete
    buckets are found, and segments are requested. With None, as in a study, all tables are waited for and taken as they are.
    """
    scans = _scans(ctx, due, days)
    futures = _start(ctx, scans)
    segments = request_segments(ctx, due) if now else {}
    slow = wait(futures.values(), max_wait if now else None).not_done if futures else set()
    reading = _collect(ctx, [scan for scan in scans if futures[scan.name] not in slow], futures, now)
    return replace(reading, slices=segments, pending={name: future for name, future in futures.items() if future in slow})


def read_pending(ctx: RunContext, due: Sequence[DueBuckets], days: int, now: datetime, pending: PendingReads) -> Reading:
    """Wait for the tables that were slow, and read the due buckets of their metrics."""
    return _collect(ctx, _scans(ctx, due, days), pending, now)


def _scans(ctx: RunContext, due: Sequence[DueBuckets], days: int) -> list[_Scan]:
    groups: dict[str, list[DueBuckets]] = {}
    for item in due:
        groups.setdefault(item.metric.scan, []).append(item)
    scans = []
    for name, items in groups.items():
        metric = items[0].metric
        query = Query(metric.query, ctx.queries[metric.query].sql if metric.query in ctx.queries else "", metric.step)
        history = timedelta(days=days) or max(item.metric.rule.history for item in items) + BAND_SPAN
        first = min(item.first for item in items) - history // query.step * query.step
        grid = pd.date_range(first, max(item.last for item in items), freq=query.step)
        scans.append(_Scan(name, query, items, grid))
    return scans


def _start(ctx: RunContext, scans: Sequence[_Scan]) -> dict[str, Future[tuple[pd.DataFrame, float]]]:
    """Start to read all tables; a database reads several at once."""

    def fetch(scan: _Scan) -> tuple[pd.DataFrame, float]:
        began = ctx.timer()
        return ctx.source.fetch(scan.query, scan.grid[0].to_pydatetime(), scan.end), ctx.timer() - began

    pool = ThreadPoolExecutor(PARALLEL_READS if ctx.source.runs_sql else 1, "read")
    futures = {scan.name: pool.submit(fetch, scan) for scan in scans if len(scan.grid)}
    pool.shutdown(wait=False)
    return futures


def _collect(ctx: RunContext, scans: Sequence[_Scan], futures: PendingReads, now: datetime | None) -> Reading:
    """Return what the scans have read, in one reading."""
    parts = [_read_scan(scan, futures[scan.name]) for scan in scans if scan.name in futures]
    counts = {name: frame for part in parts for name, frame in part.counts.items()}
    past = ctx.store.arrivals(now - ARRIVALS_FOR) if now else []
    return Reading(
        series={name: series for part in parts for name, series in part.series.items()},
        counts=counts,
        errors={name: reason for part in parts for name, reason in part.errors.items()},
        notes=(*ctx.notes, *ctx.source.notes, *(note for part in parts for note in part.notes)),
        volumes={name: volume for part in parts for name, volume in part.volumes.items()},
        incomplete=incomplete_buckets(counts, past, now) if now else {},
        arrivals=arrivals_now(counts, now) if now else (),
        seconds={name: seconds for part in parts for name, seconds in part.seconds.items()},
    )


def _read_scan(scan: _Scan, future: Future[tuple[pd.DataFrame, float]]) -> Reading:
    """Wait for the counts of a scan and compute the values of its metrics."""
    try:
        raw, seconds = future.result()
    except SourceError as error:
        return Reading({}, errors={item.metric.name: str(error) for item in scan.items})
    counts = (raw if raw.index.equals(scan.grid) else raw.reindex(scan.grid)).astype(float).rename_axis("bucket")

    series, errors, notes = dict[str, pd.Series](), dict[str, str](), list[str]()
    for item in scan.items:
        try:
            series[item.metric.name], note = metric_values(item, counts)
            notes += [note] if note else []
        except MetricError as error:
            errors[item.metric.name] = str(error)
    volumes = {i.metric.name: i.metric.volume(counts) for i in scan.items if i.metric.volume and i.metric.policy.min_volume}
    return Reading(series, {scan.name: counts}, errors, tuple(notes), volumes, seconds={scan.name: seconds})


def metric_values(item: DueBuckets, counts: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the metric's values (float64 on the grid of `counts`), and a note about values that were ignored, else "".

    Raises MetricError when the metric's function fails or returns another shape, and when a new metric never had a value.
    """
    metric = item.metric
    try:
        values = metric.value(counts)
        if not isinstance(values, pd.Series) or not values.index.equals(counts.index):
            raise ValueError(f"`value` of {metric.name} must give one number per bucket (a Series on the index of its counts)")
        values = values.astype(float).rename(metric.name)
    except Exception as error:  # an analyst's function: whatever it raises concerns its metric only
        raise MetricError(f"its value could not be made: {type(error).__name__}: {error}") from error

    numbers, note = values.to_numpy(), ""
    with np.errstate(invalid="ignore"):
        impossible = np.isinf(numbers) | ((numbers < 0) & (metric.form != "number"))
    if impossible.any():
        ignored = values[impossible]
        newest = f"{ignored.iloc[-1]:g} at {ignored.index[-1]:%Y-%m-%dT%H:%MZ}"
        note = f"{metric.name}: {len(ignored)} impossible values (infinite, or below zero) taken as missing, newest {newest}"
        values = values.mask(impossible)
    if item.first_look and not values.notna().any():
        since = f"{values.index[0]:%Y-%m-%d}"
        raise MetricError(note or f"no value from {since} on: is the table empty, or are its times elsewhere?")
    return values, note
