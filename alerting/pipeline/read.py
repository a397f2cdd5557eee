"""Read the source: one scan per table, one series per metric on the full UTC grid. Gaps are NaN.

Two signs say that rows of a table's newest bucket have not arrived yet: the rows end unusually long before the bucket does, or
buckets of this table are usually not full at this age. Such a bucket is incomplete: it is not judged and stays due. If the next
bucket is closed and no more rows have come, the table has stopped, and the bucket is judged by the rows that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pandas as pd

from alerting.metric_values import Labelled
from alerting.model.clock import DAY, day_of, iso_text
from alerting.model.errors import AlertingError
from alerting.model.metric import MAX_VALUE, Metric, Query
from alerting.model.run import Arrival, Reading, caught
from alerting.pipeline.context import BAND_SPAN, DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.segment_watch import request_segments

ARRIVALS_FOR = timedelta(days=14)  # earlier readings that say how late the rows of a table usually are
MIN_DELIVERIES = 2  # days with the same wait, until it is a schedule
MIN_WAIT_STEPS = 2  # a shorter wait is no schedule of deliveries
AROUND = timedelta(hours=1)  # readings so near to this time of another day show how long rows wait at this time
MAX_NAMED = 3  # tables in a note
PARALLEL_READS = 4  # tables that are read at the same time
SLOW_AFTER = 20.0  # seconds after which a run judges the tables that have answered without the others
USUAL_DAYS = 14  # days of history from which the usual arrival of rows is computed
TAIL_QUANTILE = 0.995  # quantile of the time from a bucket's newest row to its end; longer times were outages
TAIL_FACTOR = 2.0  # a tail this many times the quantile is unusual
MIN_SILENCE = timedelta(seconds=60)  # a shorter time without rows before the end of a bucket is ignored
MIN_READINGS = 8  # earlier readings of buckets of this age that are needed to compute a usual number of rows
MAX_SECONDS = 4e9  # epoch seconds of the year 2096: a later time is not valid
FULL_SHARE = 0.9  # a table that usually has less than this share of its rows at this age is incomplete

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


def read(
    ctx: RunContext, due: Sequence[DueBuckets], days: int = 0, now: datetime | None = None, max_wait: float | None = SLOW_AFTER
) -> Reading:
    """Read the due buckets and `days` before them (0: as many as the detectors need), with one scan per table.

    A table that cannot be read, or a value that cannot be computed, is an error of its metrics; the others go on. `now`: the
    moment of a run. A run leaves a table that takes longer than `max_wait` seconds in `pending` (None: wait for all; 0: for
    none), finds incomplete buckets and requests segments. Without `now`, as in a study, all tables are waited for and taken as
    they are.
    """
    scans = _scans(ctx, due, days)

    def fetch(scan: _Scan) -> tuple[pd.DataFrame, float]:
        began, first, last = ctx.timer(), scan.grid[0].to_pydatetime(), scan.grid[-1].to_pydatetime()
        return ctx.source.fetch(scan.query, first, last + scan.query.step), ctx.timer() - began

    pool = ThreadPoolExecutor(PARALLEL_READS if ctx.source.runs_sql else 1, "read")  # a database reads several tables at once
    futures = {scan.name: pool.submit(fetch, scan) for scan in scans if len(scan.grid)}
    pool.shutdown(wait=False)
    segments = request_segments(ctx, due) if now else {}
    slow = set(futures.values()) if now and max_wait == 0 else wait(futures.values(), max_wait if now else None).not_done
    reading = _collect(ctx, [scan for scan in scans if futures[scan.name] not in slow], futures, now)
    return replace(reading, slices=segments, pending={name: future for name, future in futures.items() if future in slow})


def read_pending(ctx: RunContext, due: Sequence[DueBuckets], days: int, now: datetime, pending: PendingReads) -> Reading:
    """Wait for the tables that were slow, and read the due buckets of their metrics."""
    return _collect(ctx, _scans(ctx, due, days), pending, now)


def _scans(ctx: RunContext, due: Sequence[DueBuckets], days: int) -> list[_Scan]:
    groups: dict[str, list[DueBuckets]] = {}
    histories: dict[str, timedelta] = {}
    for item in due:
        with caught(ctx.faults["judged"], item.metric.name):
            histories[item.metric.name] = item.metric.rule.history
            groups.setdefault(item.metric.scan, []).append(item)
    scans = []
    for name, items in groups.items():
        metric = items[0].metric
        sql = ctx.queries[metric.query].sql if metric.query in ctx.queries else ""
        query = metric.scan_query(sql, ctx.zone)
        history = timedelta(days=days) or max(histories[item.metric.name] for item in items) + BAND_SPAN
        first = min(item.first for item in items) - history // query.step * query.step
        grid = pd.date_range(first, max(item.last for item in items), freq=query.step)
        scans.append(_Scan(name, query, items, grid))
    return scans


def _collect(ctx: RunContext, scans: Sequence[_Scan], futures: PendingReads, now: datetime | None) -> Reading:
    """Return what the scans have read, in one reading."""
    reading = merged([_read_scan(ctx, scan, futures[scan.name]) for scan in scans if scan.name in futures])
    reading = replace(reading, notes=(*ctx.notes, *ctx.source.notes, *reading.notes))
    if now is None:
        return reading
    past = ctx.store.arrivals(now - ARRIVALS_FOR)
    incomplete = incomplete_buckets(reading.counts, past, now)
    waiting = [
        f"{scan}: rows of {iso_text(at, ctx.zone)} are still arriving, it is judged later" for scan, at in incomplete.items()
    ]
    notes, arrivals = (*reading.notes, *waiting), arrivals_now(reading.counts, now)
    reading = replace(reading, incomplete=incomplete, arrivals=arrivals, notes=notes)
    steps = {scan.name: scan.query.step for scan in scans}
    ends = {arrival.query: arrival.bucket + steps[arrival.query] for arrival in reading.arrivals}
    return _cut(ctx, reading, {scan: end for scan, end in ends.items() if is_usual_wait(scan, end, steps[scan], past, now)})


def _cut(ctx: RunContext, reading: Reading, ends: Mapping[str, datetime]) -> Reading:
    """Return the reading with the series of some scans cut, because their rows are delivered later, and with notes about it.

    `ends`: scan -> the end of its rows (aware UTC).
    """
    series, scans = dict(reading.series), dict[datetime, list[str]]()
    for name, values in reading.series.items():
        if end := ends.get(ctx.metric(name).scan):
            series[name] = values[values.index < end]
    for scan, end in ends.items():
        scans.setdefault(end, []).append(scan)
    notes = []
    for end, waiting in scans.items():
        more = f" and {len(waiting) - MAX_NAMED} more" if len(waiting) > MAX_NAMED else ""
        notes.append(
            f"{', '.join(waiting[:MAX_NAMED])}{more}: the rows end at {iso_text(end, ctx.zone)}, as usual at this time; "
            f"later buckets are judged when their rows are delivered"
        )
    return replace(reading, series=series, notes=(*reading.notes, *notes))


def is_usual_wait(query: str, end: datetime, step: timedelta, past: Sequence[Arrival], now: datetime) -> bool:
    """Return whether the rows of a table usually end as long before this time of day as they do now: they are delivered later.

    The wait is usual if it was as long on most of the earlier days, or both one and two weeks before. At least two earlier days
    are needed, because one may have been an outage. Readings within an hour of this time of day are compared.
    """
    wait = now - end
    if wait < MIN_WAIT_STEPS * step + MIN_SILENCE:
        return False
    longest: dict[int, timedelta] = {}  # days ago -> wait at this time
    for arrival in past:
        days = round((now - arrival.at) / DAY)
        if arrival.query == query and days and abs(now - arrival.at - days * DAY) <= AROUND:
            longest[days] = max(longest.get(days, timedelta()), arrival.at - arrival.bucket - step)
    as_long = {days: length + step >= wait for days, length in longest.items()}
    often = sum(as_long.values())
    return (often >= MIN_DELIVERIES and 2 * often > len(as_long)) or all(as_long.get(days, False) for days in (7, 14))


def merged(readings: Sequence[Reading]) -> Reading:
    """Return one reading of several of different tables, with each note once; nothing is pending."""
    return Reading(
        series={name: series for one in readings for name, series in one.series.items()},
        counts={scan: counts for one in readings for scan, counts in one.counts.items()},
        errors={name: reason for one in readings for name, reason in one.errors.items()},
        notes=tuple(dict.fromkeys(note for one in readings for note in one.notes)),
        volumes={name: volume for one in readings for name, volume in one.volumes.items()},
        incomplete={scan: bucket for one in readings for scan, bucket in one.incomplete.items()},
        arrivals=tuple(arrival for one in readings for arrival in one.arrivals),
        gone=frozenset().union(*(one.gone for one in readings)),
        slices={query: rows for one in readings for query, rows in one.slices.items()},
        seconds={scan: seconds for one in readings for scan, seconds in one.seconds.items()},
    )


def _read_scan(ctx: RunContext, scan: _Scan, future: Future[tuple[pd.DataFrame, float]]) -> Reading:
    """Wait for the counts of a scan and compute the values of its metrics.

    A metric that is gone from the source keeps the values that were judged; its new buckets are missing.
    """
    series, volumes, errors, notes = dict[str, pd.Series](), dict[str, pd.Series](), dict[str, str](), list[str]()
    gone = set[str]()
    with caught(errors, scan.name):
        raw, seconds = future.result()
        counts = (raw if raw.index.equals(scan.grid) else raw.reindex(scan.grid)).astype(float).rename_axis("bucket")
    if errors:
        return Reading({}, errors={item.metric.name: errors[scan.name] for item in scan.items})
    for item in scan.items:
        metric = item.metric
        with caught(errors, metric.name):
            values, note = metric_values(item, counts, ctx.zone)
            if (judged := _judged_values(ctx, item, counts)) is not None:
                values, note = judged, f"{metric.name} has gone from the source; it is watched as missing"
                gone.add(metric.name)
            if metric.volume:
                volumes[metric.name] = metric.volume(counts)
            series[metric.name] = values
            notes += [note] if note else []
    return Reading(series, {scan.name: counts}, errors, tuple(notes), volumes, gone=frozenset(gone), seconds={scan.name: seconds})


def _judged_values(ctx: RunContext, item: DueBuckets, counts: pd.DataFrame) -> pd.Series | None:
    """Return the judged values of a metric whose series or labels are gone from the source; None for any other metric."""
    metric = item.metric
    has_labels = not isinstance(metric.value, Labelled) or metric.value.made_of[-1] in counts
    if item.first_look or (has_labels and metric.query not in ctx.source.gone()):
        return None
    judged = {verdict.bucket: verdict.value for verdict in ctx.store.judged(metric.name, counts.index[0])}
    if not has_labels and not any(value > 0 for value in judged.values()):
        return None  # no row ever had the labels: that is zero
    return pd.Series(judged, counts.index, float)


def metric_values(item: DueBuckets, counts: pd.DataFrame, zone: str = "UTC") -> tuple[pd.Series, str]:
    """Return the metric's values (float64 on the grid of `counts`), and a note about values that were ignored, else "".

    `zone`: of the times in the note.

    Raises MetricError when the metric's function fails or returns another shape, and when a new metric never had a value.
    """
    metric = item.metric
    try:
        values = metric.value(counts)
        if not isinstance(values, pd.Series) or not values.index.equals(counts.index):
            raise ValueError(f"`value` of {metric.name} must give one number per bucket (a Series on the index of its counts)")
        floats = values if values.dtype == np.float64 else values.astype(float)
        numbers, note = floats.to_numpy() + 0.0, ""  # no negative zero
    except Exception as error:  # an error of an analyst's function affects only its metric
        raise MetricError(f"its value could not be made: {type(error).__name__}: {error}") from error

    with np.errstate(invalid="ignore"):
        impossible = (np.abs(numbers) >= MAX_VALUE) | ((numbers < 0) & (metric.form != "number"))
    if impossible.any():
        at = np.flatnonzero(impossible)
        newest = f"{numbers[at[-1]]:g} at {iso_text(counts.index[at[-1]].to_pydatetime(), zone)}"
        what = "impossible values (infinite, far too large, or below zero) taken as missing"
        note = f"{metric.name}: {len(at)} {what}, newest {newest}"
        numbers = np.where(impossible, np.nan, numbers)
    if item.first_look and np.isnan(numbers).all():
        since = day_of(counts.index[0].to_pydatetime(), metric.step, zone)
        raise MetricError(note or f"no value from {since} on: is the table empty, or are its times elsewhere?")
    return pd.Series(numbers, counts.index, name=metric.name), note


def incomplete_buckets(counts: Mapping[str, pd.DataFrame], past: Sequence[Arrival], now: datetime) -> dict[str, datetime]:
    """Return query -> start of its newest bucket with rows (aware UTC), for queries whose newest bucket is incomplete at `now`.

    A bucket whose rows end early is incomplete until the next bucket is closed. A bucket of a table that is usually late is
    incomplete for as long as is usual.

    `counts`: query -> counts per bucket on the full UTC grid, float64, NaN where there are no rows, with the optional column
    `newest` (epoch seconds). `past`: what the tables had at earlier readings.
    """
    return {
        query: last.to_pydatetime()
        for query, frame, rows, last in _newest_buckets(counts)
        if (last == frame.index[-1] and early_ends(frame.loc[last - timedelta(days=USUAL_DAYS) :]).iloc[-1])
        or _usually_incomplete(query, rows, last, past, now)
    }


def arrivals_now(counts: Mapping[str, pd.DataFrame], now: datetime) -> tuple[Arrival, ...]:
    """Return for each table how many rows of its newest bucket have arrived by `now`."""
    out = []
    for query, frame, rows, last in _newest_buckets(counts):
        out.append(Arrival(query, now, last.to_pydatetime(), float(rows[last]), newest_row(frame)))
    return tuple(out)


def newest_row(counts: pd.DataFrame) -> datetime | None:
    """Return the instant of the newest row; None where the query does not give it, or gives no possible time."""
    seconds = float(counts["newest"].max()) if "newest" in counts else float("nan")
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < MAX_SECONDS else None


def usual_delay(query: str, past: Sequence[Arrival]) -> timedelta | None:
    """Return the median age of the table's newest row at the time it is read; None with too few earlier readings."""
    ages = [(arrival.at - arrival.newest).total_seconds() for arrival in past if arrival.query == query and arrival.newest]
    return timedelta(seconds=median(ages)) if len(ages) >= MIN_READINGS else None


def _newest_buckets(counts: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame, pd.Series, pd.Timestamp]]:
    """Yield query, counts, rows per bucket of the last days (the sum of counts, NaN for none), and the newest bucket with any."""
    for query, frame in counts.items():
        recent = frame.loc[frame.index[-1] - timedelta(days=USUAL_DAYS + 1) :] if len(frame) else frame
        counted = [position for position, name in enumerate(recent.columns) if name not in ("newest", "groups")]
        values = recent.to_numpy(float)[:, counted] if len(counted) < recent.shape[1] else recent.to_numpy(float)
        rows = pd.Series(np.where(np.isnan(values).all(axis=1), np.nan, np.nansum(values, axis=1)), recent.index)
        last = rows.last_valid_index()
        if last is not None:
            yield query, frame, rows, last


def early_ends(frame: pd.DataFrame) -> pd.Series:
    """Return for each bucket (bool) whether its rows end longer before it does than in nearly all buckets of the weeks before."""
    if "newest" not in frame or len(frame) < 2:
        return pd.Series(False, frame.index)
    step = (frame.index[1] - frame.index[0]).total_seconds()
    tails = pd.Series(frame.index.as_unit("ns").asi8 / 1e9 + step, frame.index) - frame["newest"]
    before = tails.rolling(timedelta(days=USUAL_DAYS), min_periods=MIN_READINGS, closed="left").quantile(TAIL_QUANTILE)
    return before.notna() & (tails > np.maximum(TAIL_FACTOR * before, MIN_SILENCE.total_seconds()))


def _usually_incomplete(query: str, rows: pd.Series, last: pd.Timestamp, past: Sequence[Arrival], now: datetime) -> bool:
    """Return whether earlier buckets of the table had only a part of their rows at the age of this bucket."""
    age = now - last
    shares = [
        arrival.rows / rows[arrival.bucket]
        for arrival in past
        if arrival.query == query and arrival.bucket < last and rows.get(arrival.bucket, 0) > 0
        if abs(arrival.at - arrival.bucket - age) <= max(age / 10, MIN_SILENCE)
    ]
    return len(shares) >= MIN_READINGS and median(shares) < FULL_SHARE


# What a message says of a table


def table_newest_row(ctx: RunContext, metric: Metric, until: datetime, reading: Reading, now: datetime) -> datetime | None:
    """Return the instant of the newest row of the metric's table, None if it is unknown.

    Of the metric's own scan it is that of the buckets up to `until`. Scans of other steps may have newer buckets that are over at
    `now`: an hour without a value does not say that the table is silent.
    """
    found = list[datetime | None]()
    for it in {it.scan: it for it in ctx.metrics if it.table == metric.table and it.scan in reading.counts}.values():
        last = until if it.scan == metric.scan else last_closed_bucket(now, ctx.delay, it.step, it.phase)
        found.append(newest_row(reading.counts[it.scan].loc[:last]))
    return max((at for at in found if at), default=None)


def table_usual_delay(ctx: RunContext, table: str, now: datetime) -> timedelta | None:
    """Return how old the newest row of a table usually is when it is read; None with too few earlier readings."""
    past, scans = ctx.store.arrivals(now - ARRIVALS_FOR), {metric.scan for metric in ctx.metrics if metric.table == table}
    return min((age for scan in scans if (age := usual_delay(scan, past)) is not None), default=None)


def complete_tables(due: Sequence[DueBuckets], table: str, reading: Reading) -> tuple[str, ...]:
    """Return the other tables whose newest due bucket has rows and is not incomplete."""
    last = {item.metric.scan: (item.metric.table, item.last) for item in due if item.metric.table != table}
    complete = [
        last[scan][0]
        for scan, counts in reading.counts.items()
        if scan in last and scan not in reading.incomplete
        if counts.loc[last[scan][1] : last[scan][1]].notna().any(axis=None)
    ]
    return tuple(dict.fromkeys(complete))
