"""Fault injection: known faults put into a past series, whose own noise stays, to measure recall. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.backtest.replay import RECOVERY, BacktestData, KnownSpan, Progress
from alerting.backtest.score import EMPTY_SCORE, Score, score_alerts
from alerting.model.metric import Detector

FaultSpec = tuple[str, timedelta, float | None]  # kind, length, depth

HOUR = timedelta(hours=1)
DEFAULT_DEPTH = {  # of each kind of fault
    "drop": -0.5,
    "outage": -1.0,
    "spike": 1.0,
    "ramp": -0.4,
    "level shift": -0.3,
    "missing": -1.0,
    "duplicates": 1.0,
}
FIXED_DEPTH = ("outage", "missing", "duplicates")  # kinds that have no other depth
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


@dataclass(frozen=True)
class Fault:
    """A fault in a series, from `start` (aware) on, for `length`.

    `kind`: drop, outage (to zero), spike, ramp (grows evenly to its depth), level shift (stays for ever; finding it counts
    within `length`), missing (no values), duplicates (every row twice). `depth`: the change as a share, -0.3 is 30 % less;
    None is the default of the kind. Raises ValueError for a depth or a length that the kind cannot have.
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
        """The depth, or the default of the kind."""
        return DEFAULT_DEPTH[self.kind] if self.depth is None else self.depth

    @property
    def end(self) -> datetime:
        """Return the end of the fault; for a level shift, the end of the time in which finding it counts."""
        return self.start + self.length

    @property
    def label(self) -> str:
        """Kind, depth and length, such as "drop -30 %, 2 h"."""
        depth = "" if self.kind in ("missing", "outage") else f" {100 * self.change:+.0f} %"
        return f"{self.kind}{depth}, {self.length / HOUR:g} h"

    def span(self, *metrics: str) -> KnownSpan:
        """Return the time it covers, as an event of those metrics."""
        return KnownSpan(self.start, self.end, metrics)


def inject(series: pd.Series, fault: Fault) -> pd.Series:
    """Return a copy of `series` (float64, aware index) with the fault in it.

    The buckets from `start` until before the end are multiplied, so their noise stays and NaN stays NaN. A negative value
    moves in the same direction as a positive one. A ramp is deepest in its last bucket.
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
    """Return the same past, with every fault in every metric."""
    series = dict(past.series)
    for fault in faults:
        series = {name: inject(values, fault) for name, values in series.items()}
    return replace(past, series=series)


def scattered(start: datetime, end: datetime, kinds: Iterable[FaultSpec], seed: int = 0) -> list[Fault]:
    """Place one fault of each (kind, length, depth) at a random moment from `start` to `end`, in random order.

    Each has an equal part of the time to itself, the last quarter of which stays free: faults never overlap.
    Raises ValueError where a fault does not fit into its part.
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
    """Place one of each default fault in every two weeks of the past (at least one of each), away from known incidents.

    A fault lasts at least two buckets of the longest step; faults that are too long for a short past are left out.
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
    """Return the share of faults found: one row per label of a fault, one column per (detector, width), over all metrics."""
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
