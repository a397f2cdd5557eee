"""Source -> series: one column per metric on the full UTC grid; gaps are NaN."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from alerting.model import Metric, Query, Reading, SourceError
from alerting.pipeline import completeness
from alerting.pipeline.timing import Connections, Due
from alerting.pipeline.watching import asked

SHOWN = timedelta(days=3)  # more than the rules need: a picture's two days have bands of their own


ARRIVALS = timedelta(days=14)  # what is looked at to know how late rows usually are


def read(to: Connections, todo: list[Due], days: int = 0, now: datetime | None = None) -> Reading:
    """What the source has for the due buckets and `days` (0: as many as the rules need) before them: one scan a table,
    however many metrics. `now`: the moment of the run, to tell a bucket that has only half arrived; None: all have.

    A table that cannot be read, or a value that cannot be made, is a trouble of its metrics; the others go on.
    """
    scans: dict[tuple[str, timedelta], list[Due]] = {}
    for item in todo:
        scans.setdefault((item.metric.query, item.metric.step), []).append(item)
    parts = [_scan(to, Query(name, _sql(to, name), step), items, days) for (name, step), items in scans.items()]
    counts = {name: frame for part in parts for name, frame in part.counts.items()}
    past = to.store.arrivals(now - ARRIVALS) if now else []
    return Reading(
        series={name: series for part in parts for name, series in part.series.items()},
        counts=counts,
        troubles={name: reason for part in parts for name, reason in part.troubles.items()},
        notes=(*to.notes, *getattr(to.source, "notes", ()), *(note for part in parts for note in part.notes)),
        volumes={name: volume for part in parts for name, volume in part.volumes.items()},
        waiting=completeness.waiting(counts, past, now) if now else {},
        arrivals=completeness.arrived(counts, now) if now else (),
        slices=asked(to, todo) if now else {},
    )


def _sql(to: Connections, name: str) -> str:
    return to.queries[name].sql if name in to.queries else ""


def _scan(to: Connections, query: Query, items: list[Due], days: int) -> Reading:
    history = timedelta(days=days) or max(item.metric.rule.history for item in items) + SHOWN
    first = min(item.first for item in items) - history // query.step * query.step
    grid = pd.date_range(first, max(item.last for item in items), freq=query.step)
    try:
        raw = to.source.fetch(query, first, grid[-1].to_pydatetime() + query.step)
    except SourceError as error:
        return Reading({}, troubles={item.metric.name: str(error) for item in items})
    counts = raw.reindex(grid).astype(float).rename_axis("bucket")
    made = {item.metric.name: _seen(item, *_made(item.metric, counts)) for item in items}
    return Reading(
        series={name: series for name, (series, _) in made.items() if series is not None},
        counts={query.name: counts},
        troubles={name: text for name, (series, text) in made.items() if series is None},
        notes=tuple(text for series, text in made.values() if series is not None and text),
        volumes={i.metric.name: i.metric.volume(counts) for i in items if i.metric.volume and i.metric.policy.min_volume},
    )


def _seen(item: Due, series: pd.Series | None, text: str) -> tuple[pd.Series | None, str]:
    """A metric that never had a value is not one whose data stopped: it was not seen."""
    if series is None or not item.fresh or series.notna().any():
        return series, text
    return None, text or f"no value from {series.index[0]:%Y-%m-%d} on: is the table empty, or are its times elsewhere?"


def _made(metric: Metric, counts: pd.DataFrame) -> tuple[pd.Series | None, str]:
    """The values and a note about odd ones; or None and why there are no values."""
    try:
        raw = _raw(metric, counts)
    except Exception as error:  # noqa: BLE001  an analyst's function: whatever it raises concerns its metric only
        return None, f"its value could not be made: {type(error).__name__}: {error}"
    series = raw.where(_possible(metric, raw))
    return series, _note(metric, raw[raw.notna() & series.isna()])


def _note(metric: Metric, odd: pd.Series) -> str:
    if odd.empty:
        return ""
    newest = f"{odd.iloc[-1]:g} at {odd.index[-1]:%Y-%m-%dT%H:%MZ}"
    return f"{metric.name}: {len(odd)} impossible values (infinite, or below zero) taken as missing, newest {newest}"


def _raw(metric: Metric, counts: pd.DataFrame) -> pd.Series:
    """float64 on the grid of `counts`. Raises whatever the metric's function raises, and ValueError for any other shape."""
    made = metric.value(counts)
    if not isinstance(made, pd.Series) or not made.index.equals(counts.index):
        raise ValueError(f"`value` of {metric.name} must give one number per bucket (a Series on the index of its counts)")
    return made.astype(float).rename(metric.name)


def _possible(metric: Metric, raw: pd.Series) -> pd.Series:
    return raw.abs().lt(float("inf")) & (raw.ge(0) | (metric.form == "number"))
