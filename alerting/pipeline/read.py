"""Source -> series: one column per metric on the full UTC grid; gaps are NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.model.metric import Metric, Query
from alerting.model.run import Reading
from alerting.pipeline.completeness import arrivals_now, incomplete_buckets
from alerting.pipeline.context import BAND_SPAN, DueBuckets, RunContext
from alerting.pipeline.segment_watch import request_segments

ARRIVALS_FOR = timedelta(days=14)  # what is looked at to know how late rows usually are
PARALLEL_READS = 4  # tables that are read at the same time
SLOW_AFTER = 20.0  # seconds after which those that have answered are judged without the others

PendingReads = Mapping[str, Future[tuple[pd.DataFrame, float]]]  # scan -> counts and seconds, on their way


def read(
    ctx: RunContext, due: Sequence[DueBuckets], days: int = 0, now: datetime | None = None, patience: float | None = None
) -> Reading:
    """What the source has for the due buckets and `days` (0: as many as the rules need) before them: one scan a table,
    however many metrics. `now`: the moment of the run, to tell a bucket that has only half arrived; None: all have.

    A table that cannot be read, or a value that cannot be made, is a trouble of its metrics; the others go on. So they do
    without a table that has not answered after `patience` seconds: it is `late` (None: all are waited for).
    """
    scans = _scans(ctx, due, days)
    going = _asked(ctx, scans)
    slices = request_segments(ctx, due) if now else {}
    slow = wait(going.values(), patience).not_done if going else set()
    reading = _together(ctx, [scan for scan in scans if going[scan.name] not in slow], going, now)
    return replace(reading, slices=slices, pending={name: future for name, future in going.items() if future in slow})


def read_slow(ctx: RunContext, due: Sequence[DueBuckets], days: int, now: datetime, late: PendingReads) -> Reading:
    """The tables that were late, as soon as they have answered."""
    return _together(ctx, _scans(ctx, due, days), late, now)


def slow_buckets(due: Sequence[DueBuckets], late: PendingReads) -> list[DueBuckets]:
    """The due buckets whose tables are late."""
    return [item for item in due if item.metric.scan in late]


@dataclass(frozen=True)
class _Scan:
    """One question to one table, and the metrics that are made of its answer."""

    name: str
    query: Query
    items: list[DueBuckets]
    grid: pd.DatetimeIndex

    @property
    def end(self) -> datetime:
        return self.grid[-1].to_pydatetime() + self.query.step


def _scans(ctx: RunContext, due: Sequence[DueBuckets], days: int) -> list[_Scan]:
    groups: dict[str, list[DueBuckets]] = {}
    for item in due:
        groups.setdefault(item.metric.scan, []).append(item)
    return [_scan(ctx, name, items, days) for name, items in groups.items()]


def _scan(ctx: RunContext, name: str, items: list[DueBuckets], days: int) -> _Scan:
    metric = items[0].metric
    query = Query(metric.query, ctx.queries[metric.query].sql if metric.query in ctx.queries else "", metric.step)
    history = timedelta(days=days) or max(item.metric.rule.history for item in items) + BAND_SPAN
    first = min(item.first for item in items) - history // query.step * query.step
    return _Scan(name, query, items, pd.date_range(first, max(item.last for item in items), freq=query.step))


def _asked(ctx: RunContext, scans: list[_Scan]) -> dict[str, Future[tuple[pd.DataFrame, float]]]:
    """All tables at once, but for a file: that is read once, for all."""

    def fetched(scan: _Scan) -> tuple[pd.DataFrame, float]:
        began = ctx.timer()
        return ctx.source.fetch(scan.query, scan.grid[0].to_pydatetime(), scan.end), ctx.timer() - began

    pool = ThreadPoolExecutor(PARALLEL_READS if ctx.source.runs_sql else 1, "read")
    going = {scan.name: pool.submit(fetched, scan) for scan in scans if len(scan.grid)}
    pool.shutdown(wait=False)
    return going


def _together(ctx: RunContext, scans: list[_Scan], going: PendingReads, now: datetime | None) -> Reading:
    parts = [_read(scan, going[scan.name]) for scan in scans if scan.name in going]
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


def _read(scan: _Scan, future: Future[tuple[pd.DataFrame, float]]) -> Reading:
    try:
        raw, seconds = future.result()
    except SourceError as error:
        return Reading({}, errors={item.metric.name: str(error) for item in scan.items})
    counts = (raw if raw.index.equals(scan.grid) else raw.reindex(scan.grid)).astype(float).rename_axis("bucket")
    made = {item.metric.name: _seen(item, *_made(item.metric, counts)) for item in scan.items}
    return Reading(
        series={name: series for name, (series, _) in made.items() if series is not None},
        counts={scan.name: counts},
        errors={name: text for name, (series, text) in made.items() if series is None},
        notes=tuple(text for series, text in made.values() if series is not None and text),
        volumes={i.metric.name: i.metric.volume(counts) for i in scan.items if i.metric.volume and i.metric.policy.min_volume},
        seconds={scan.name: seconds},
    )


def _seen(item: DueBuckets, series: pd.Series | None, text: str) -> tuple[pd.Series | None, str]:
    """A metric that never had a value is not one whose data stopped: it was not seen."""
    if series is None or not item.first_look or series.notna().any():
        return series, text
    return None, text or f"no value from {series.index[0]:%Y-%m-%d} on: is the table empty, or are its times elsewhere?"


def _made(metric: Metric, counts: pd.DataFrame) -> tuple[pd.Series | None, str]:
    """The values and a note about odd ones; or None and why there are no values."""
    try:
        raw = _raw(metric, counts)
    except Exception as error:  # noqa: BLE001  an analyst's function: whatever it raises concerns its metric only
        return None, f"its value could not be made: {type(error).__name__}: {error}"
    odd = _impossible(metric, raw.to_numpy())
    return (raw.mask(odd), _note(metric, raw[odd])) if odd.any() else (raw, "")


def _note(metric: Metric, odd: pd.Series) -> str:
    newest = f"{odd.iloc[-1]:g} at {odd.index[-1]:%Y-%m-%dT%H:%MZ}"
    return f"{metric.name}: {len(odd)} impossible values (infinite, or below zero) taken as missing, newest {newest}"


def _raw(metric: Metric, counts: pd.DataFrame) -> pd.Series:
    """float64 on the grid of `counts`. Raises whatever the metric's function raises, and ValueError for any other shape."""
    made = metric.value(counts)
    if not isinstance(made, pd.Series) or not (made.index is counts.index or made.index.equals(counts.index)):
        raise ValueError(f"`value` of {metric.name} must give one number per bucket (a Series on the index of its counts)")
    return made.astype(float).rename(metric.name)


def _impossible(metric: Metric, values: np.ndarray) -> np.ndarray:
    """(n,) bool."""
    with np.errstate(invalid="ignore"):
        return np.isinf(values) | ((values < 0) & (metric.form != "number"))
