"""Faults injected into a past series, whose noise stays: which faults are found, and how small a drop can be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.backtest.replay import RECOVERY, BacktestData, KnownSpan, Progress, covered_buckets, replay_judged
from alerting.backtest.score import EMPTY_SCORE, Score, score_alerts
from alerting.detectors.series_grid import NightlyCache, SeriesGrid, series_columns
from alerting.model.clock import DAY
from alerting.model.metric import Detector, Metric
from alerting.model.verdict import EventKind

FaultSpec = tuple[str, timedelta, float | None]  # kind, length, depth

HOUR = timedelta(hours=1)
DEFAULT_DEPTH = {  # kind of fault -> change as a share
    "drop": -0.5,
    "outage": -1.0,
    "spike": 1.0,
    "ramp": -0.4,
    "level shift": -0.3,
    "missing": -1.0,
    "duplicates": 1.0,
}
FIXED_DEPTH = ("outage", "missing", "duplicates")  # kinds whose depth cannot be chosen
DEFAULT_FAULTS: tuple[FaultSpec, ...] = (
    ("outage", HOUR, None),
    ("missing", HOUR, None),
    ("duplicates", HOUR, None),
    ("drop", 2 * HOUR, -0.2),
    ("drop", 2 * HOUR, -0.3),
    ("drop", 2 * HOUR, -0.5),
    ("spike", HOUR, 0.5),
    ("ramp", 6 * HOUR, -0.4),
    ("drop", 24 * HOUR, -0.15),
)
DEPTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
HORIZONS = {"within 15 min": timedelta(minutes=15), "within 1 h": timedelta(hours=1)}
PARTS = {"day": range(8, 24), "night": range(0, 8)}  # local hours


@dataclass(frozen=True)
class Fault:
    """A fault in a series that begins at `start` (aware) and lasts `length`.

    `kind`: drop, outage (to zero), spike, ramp (grows evenly to its depth), level shift (never ends; it is found if an alert
    comes within `length`), missing (no values), duplicates (every row twice). `depth`: the change as a share, -0.3 is 30 % less;
    None: DEFAULT_DEPTH of the kind. Raises ValueError for a depth or a length that the kind cannot have.
    """

    kind: str
    start: datetime
    length: timedelta
    depth: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in DEFAULT_DEPTH:
            raise ValueError(f"Fault: kind={self.kind!r} must be one of {', '.join(DEFAULT_DEPTH)}")
        if self.start.tzinfo is None:
            raise ValueError(f"Fault: start={self.start} needs a time zone")
        if self.length <= timedelta():
            raise ValueError(f"Fault: length={self.length} must be above 0")
        if self.kind in FIXED_DEPTH and self.depth not in (None, DEFAULT_DEPTH[self.kind]):
            raise ValueError(f"Fault: a fault of kind {self.kind!r} has no other depth than {DEFAULT_DEPTH[self.kind]:g}")
        if self.change < -1 or (self.kind == "drop" and self.change > 0) or (self.kind == "spike" and self.change < 0):
            raise ValueError(f"Fault: depth={self.depth} is not a {self.kind} (a change as a share: -0.3 is 30 % less)")

    @property
    def change(self) -> float:
        """The change as a share: `depth`, or the default of the kind."""
        return DEFAULT_DEPTH[self.kind] if self.depth is None else self.depth

    @property
    def end(self) -> datetime:
        """The end of the fault; for a level shift, the end of the time in which an alert counts as finding it."""
        return self.start + self.length

    @property
    def label(self) -> str:
        """A text with kind, depth and length, such as "drop -30 %, 2 h"."""
        depth = "" if self.kind in ("missing", "outage") else f" {100 * self.change:+.0f} %"
        return f"{self.kind}{depth}, {self.length / HOUR:g} h"

    def span(self, *metrics: str) -> KnownSpan:
        """Return the time of the fault as a KnownSpan of these metrics; no metrics: all."""
        return KnownSpan(self.start, self.end, metrics)


def inject(series: pd.Series, fault: Fault) -> pd.Series:
    """Return a copy of `series` (float64, aware index) with the fault in it.

    Buckets with fault.start <= bucket < fault.end are multiplied, so their noise stays and NaN stays NaN. A drop also lowers a
    negative value, and a spike also raises it. A ramp reaches its depth in its last bucket.
    """
    progress = ((series.index - fault.start) / fault.length).to_numpy(float)
    hit = (progress >= 0) & ((progress < 1) | (fault.kind == "level shift"))
    factor = np.full(hit.sum(), np.nan if fault.kind == "missing" else 1 + fault.change)
    if fault.kind == "ramp":
        step = (series.index[1] - series.index[0]) / fault.length if len(series) > 1 else 0.0
        factor = 1 + fault.change * np.clip(progress[hit] + step, 0, 1)
    out = series.astype(float).copy()
    before = out.to_numpy()[hit]
    out[hit] = before + np.abs(before) * (factor - 1)
    return out


def inject_all_metrics(past: BacktestData, faults: Sequence[Fault]) -> BacktestData:
    """Return the same past with every fault injected into every metric."""
    series = dict(past.series)
    for fault in faults:
        series = {name: inject(values, fault) for name, values in series.items()}
    return replace(past, series=series)


def scattered(start: datetime, end: datetime, kinds: Iterable[FaultSpec], seed: int = 0) -> list[Fault]:
    """Return one fault for each (kind, length, depth), in random order, at random times between `start` and `end`.

    The time is divided into equal parts, one for each fault. The last quarter of a part stays free, so faults never overlap.
    Raises ValueError if a fault does not fit into its part.
    """
    rng = np.random.default_rng(seed)
    wanted = list(kinds)
    part = (end - start) / max(len(wanted), 1)
    faults = []
    for number, (kind, length, depth) in enumerate(wanted[i] for i in rng.permutation(len(wanted))):
        room = 0.75 * part - length
        if room < timedelta():
            raise ValueError(
                f"{len(wanted)} faults in {end - start}: a {kind} of {length} does not fit, take fewer or more weeks"
            )
        moment = start + number * part + rng.random() * room
        faults.append(Fault(kind, moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0), length, depth))
    return faults


def default_faults(past: BacktestData, seed: int = 0, kinds: Sequence[FaultSpec] = DEFAULT_FAULTS) -> list[Fault]:
    """Return one fault of each of `kinds` for every two weeks of the past, at least one of each, outside of known incidents.

    A fault lasts at least two buckets of the longest step. Faults that are too long for a short past are left out.
    """
    rounds = max(1, round((past.end - past.start) / timedelta(weeks=2)))
    shortest = 2 * max(metric.step for metric in past.metrics)
    longest = (past.end - past.start) / (2 * rounds * len(kinds))
    fit = [(kind, max(length, shortest), depth) for kind, length, depth in kinds if length <= longest]
    return [
        fault
        for fault in scattered(past.start, past.end, fit * rounds, seed)
        if not any(fault.start - RECOVERY < known.end and known.start < fault.end + RECOVERY for known in past.known)
    ]


def recall_by_kind(
    past: BacktestData, faults: Sequence[Fault], rules: Mapping[str, tuple[Detector, float]], track: Progress = iter
) -> pd.DataFrame:
    """Return the share of the faults that are found, over all metrics: one row per fault label, one column per name in `rules`.

    `rules`: name -> (detector, width), used for every metric.
    """
    table = {}
    for name in track(list(rules)):
        rule, width = rules[name]
        scores: dict[str, Score] = dict.fromkeys((fault.label for fault in faults), EMPTY_SCORE)
        for metric in (replace(metric, rule=rule, width=width) for metric in past.metrics):
            alerts = past.replay(metric, past.band(metric))
            for label in scores:
                spans = [fault.span() for fault in faults if fault.label == label]
                scores[label] += score_alerts(alerts, spans)
        table[name] = {label: score.row()["recall"] for label, score in scores.items()}
    return pd.DataFrame(table).rename_axis("fault")


# The power of detection: drops at random times, each judged as a run would have judged it.


def detection_power(
    past: BacktestData, depths: Sequence[float] = DEPTHS, times: int = 40, seed: int = 0, track: Progress = iter
) -> pd.DataFrame:
    """Return the share of drops that are notified in time: one row per metric, part of the day and drop.

    Columns: metric, part (day or night), drop (a share), one column for each of `HORIZONS` (the share of drops that are notified
    within that time), tried (number of drops). Each drop is at a random time outside of known incidents, in this metric alone.
    The band is computed with the drop in the series, as in a run, so it also shows a detector that adapts to the drop. A drop of
    0 gives the share that is notified by chance.
    """
    cells = [(metric, part) for metric in past.metrics_with_values for part in PARTS]
    caches = {metric.name: _known_nights(past, metric) for metric in past.metrics_with_values}
    rows: list[list[object]] = []
    for metric, part in track(cells):
        moments = _moments(past, metric, part, times, seed)
        delays = np.array([_delays(past, metric, at, sorted(depths), caches[metric.name]) for at in moments])
        for depth, delay in zip(sorted(depths), delays.reshape(-1, len(depths)).T, strict=True):
            found = [(delay < limit / metric.step).sum() / max(len(moments), 1) for limit in HORIZONS.values()]
            rows.append([metric.name, part, depth, *found, len(moments)])
    return pd.DataFrame(rows, columns=["metric", "part", "drop", *HORIZONS, "tried"])


def _known_nights(past: BacktestData, metric: Metric) -> NightlyCache:
    """Return the metric's nightly statistics of the past. A drop changes them only after its first midnight."""
    cache: NightlyCache = {}
    values = past.series[metric.name].loc[: past.end - metric.step]
    metric.rule.bands(_grid(past, metric, values, values.to_numpy(float)[None, :], past.start, cache))
    return cache


def _grid(
    past: BacktestData, metric: Metric, like: pd.Series, rows: np.ndarray, since: datetime, cache: NightlyCache
) -> SeriesGrid:
    """Return a grid of variants of the metric's series. `rows`: float64 (variants, buckets of `like`).

    The grid requests the buckets from `since` on.
    """
    first, counts = int(like.index.searchsorted(pd.Timestamp(since))), np.full(len(rows), metric.counted)
    volume = past.volumes.get(metric.name)
    trials = None if volume is None else np.tile(volume.reindex(like.index).to_numpy(float), (len(rows), 1))
    return SeriesGrid.at(like.index, rows, past.zone, first, cache, counts, trials, past.holidays)


def _moments(past: BacktestData, metric: Metric, part: str, times: int, seed: int) -> list[pd.Timestamp]:
    """Return at most `times` random buckets of the part of the day, in time order.

    They have a value, an hour of data after them, and lie outside of known incidents.
    """
    values = past.series[metric.name].loc[past.start : past.end - max(HOUR, metric.step)]
    hours = (values.index + metric.step / 2).tz_convert(past.zone).hour
    in_part = hours.isin(list(PARTS[part])) | (metric.step >= DAY)  # a day is in both
    fit = values.notna() & in_part & ~covered_buckets(values.index, past.known, metric.name, HOUR)
    rng = np.random.default_rng([seed, list(PARTS).index(part)])
    pool = values.index[fit]
    return sorted(rng.choice(pool, min(times, len(pool)), replace=False)) if len(pool) else []


def _delays(
    past: BacktestData, metric: Metric, at: pd.Timestamp, depths: Sequence[float], cache: NightlyCache | None = None
) -> list[float]:
    """Return for each depth the number of buckets from the drop's start to its alert; infinite if none comes within the hour.

    All depths are judged at once, because their past is the same. `cache`: the result of `_known_nights`.
    """
    start = pd.Timestamp(at).to_pydatetime()
    end = start + max(HOUR // metric.step, 1) * metric.step
    values = past.series[metric.name].loc[: end - metric.step]
    after = values.loc[start:]
    dropped = [inject(after, Fault("drop", start, end - start, -depth)) for depth in depths]
    rows = np.tile(values.to_numpy(float), (len(depths), 1))
    rows[:, -len(after) :] = dropped
    bands = metric.rule.bands(_grid(past, metric, values, rows, start, {} if cache is None else cache))
    volume, delays = past.volumes.get(metric.name), []
    for number, series in enumerate(dropped):
        limits = pd.DataFrame(series_columns(bands, number), index=series.index)
        judged = detectors.judge(series, limits, metric, None if volume is None else volume.reindex(series.index))
        events = replay_judged([metric], {metric.name: judged}, start, end).events
        opened = [(event.bucket - start) / metric.step for event in events if event.kind is EventKind.OPENED]
        delays.append(min(opened, default=float("inf")))
    return delays


def smallest_found(table: pd.DataFrame, share: float = 0.9) -> pd.DataFrame:
    """Return the smallest drop of each metric that is found reliably: one row per metric, one column per part and horizon.

    At least `share` of the drops of this depth, and of every deeper one that was tried, are found. NaN: there is none. `table`:
    the result of `detection_power`.
    """
    rows: dict[str, dict[str, float]] = {str(metric): {} for metric in dict.fromkeys(table["metric"])}
    for metric in rows:
        for part in PARTS:
            cell = table[(table["metric"] == metric) & (table["part"] == part)].sort_values("drop")
            for name in HORIZONS:
                found = (cell[name] >= share).to_numpy()
                from_here_on = np.logical_and.accumulate(found[::-1])[::-1]
                smallest = cell["drop"].to_numpy()[from_here_on].min() if from_here_on.any() else np.nan
                rows[metric][f"{part}, {name.removeprefix('within ')}"] = float(smallest)
    return pd.DataFrame.from_dict(rows, orient="index")


def power_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `detection_power` as texts: one row per metric and part of the day, one column per drop.

    A text is the percentage found within 15 min / within 1 h.
    """
    text = [" / ".join(f"{100 * share:.0f}" for share in shares) for shares in table[list(HORIZONS)].to_numpy()]
    shown = table.assign(text=text, drop=[f"-{drop:.0%}" for drop in table["drop"]])
    wide = shown.pivot(index=["metric", "part"], columns="drop", values="text")
    order = shown[["metric", "part"]].drop_duplicates()
    return wide.loc[pd.MultiIndex.from_frame(order), list(dict.fromkeys(shown["drop"]))]
