"""Faults put into a past series: what an incident would have looked like on it, with the series' own noise kept. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.backtest.replay import RECOVERY, BacktestData, KnownInterval, KnownSpan, Progress
from alerting.backtest.score import EMPTY_SCORE, FAULT_TOLERANCE, Score, score_alerts
from alerting.model.metric import Detector

FaultShape = Callable[[np.ndarray, float], np.ndarray]  # share of the fault that is over (0 to 1) and depth -> factor


def _whole(progress: np.ndarray, depth: float) -> np.ndarray:
    return np.full(progress.shape, 1 + depth)


def _growing(progress: np.ndarray, depth: float) -> np.ndarray:
    return 1 + depth * progress


def _gone(progress: np.ndarray, depth: float) -> np.ndarray:
    return np.full(progress.shape, np.nan)


FAULT_SHAPES: dict[str, FaultShape] = {
    "drop": _whole,
    "outage": _whole,
    "spike": _whole,
    "ramp": _growing,
    "level shift": _whole,
    "missing": _gone,
    "duplicates": _whole,
}
DEFAULT_DEPTH = {
    "drop": -0.5,
    "outage": -1.0,
    "spike": 1.0,
    "ramp": -0.4,
    "level shift": -0.3,
    "missing": -1.0,
    "duplicates": 1.0,
}
FIXED_DEPTH = ("outage", "missing", "duplicates")  # how deep these are is in their name


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a series from `start` (aware) on, for `length`.

    `kind`: drop, outage (to zero), spike, ramp (grows evenly to its depth), level shift (never comes back; it counts as a
    fault for `length`), missing (no values), duplicates (every row is there twice). `depth`: the change as a share, -0.3 is
    30 % less; None is what is usual for the kind.
    """

    kind: str
    start: datetime
    length: timedelta
    depth: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in FAULT_SHAPES:
            raise ValueError(f"Fault: kind={self.kind!r} must be one of {', '.join(FAULT_SHAPES)}")
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
        """The depth, or what is usual for the kind."""
        return DEFAULT_DEPTH[self.kind] if self.depth is None else self.depth

    @property
    def end(self) -> datetime:
        """Instant at which it is over (for a level shift: until when finding it counts)."""
        return self.start + self.length

    def span(self, *metrics: str) -> KnownSpan:
        """The time it covers, as an event of those metrics."""
        return KnownSpan(self.start, self.end, metrics)


def inject(series: pd.Series, fault: Fault) -> pd.Series:
    """`series` (float64, aware index) with the fault in it; values are multiplied, so their noise stays. NaN stays NaN.

    Buckets from `start` until before the end are hit. A negative value moves the same way as a positive one.
    """
    progress = ((series.index - fault.start) / fault.length).to_numpy(float)
    step = (series.index[1] - series.index[0]) / fault.length if len(series) > 1 else 0.0
    hit = (progress >= 0) & ((progress < 1) | (fault.kind == "level shift"))
    factor = FAULT_SHAPES[fault.kind](np.clip(progress[hit] + step, 0, 1), fault.change)  # a ramp is deepest in its last bucket
    out = series.astype(float).copy()
    before = out.to_numpy()[hit]
    out[hit] = before + np.abs(before) * (factor - 1)
    return out


def inject_all(series: pd.Series, faults: Iterable[Fault]) -> pd.Series:
    """`series` with every fault in it, one after the other."""
    for fault in faults:
        series = inject(series, fault)
    return series


def scattered(start: datetime, end: datetime, kinds: Iterable[tuple[str, timedelta, float | None]], seed: int = 0) -> list[Fault]:
    """One fault of each (kind, length, depth) at random moments from `start` to `end`, in random order, never overlapping:
    each has an equal part of the time to itself, and the last quarter of that part stays calm.

    Raises ValueError where a fault does not fit into its part.
    """
    rng = np.random.default_rng(seed)
    wanted = list(kinds)
    part = (end - start) / max(len(wanted), 1)
    faults = []
    for place, (kind, length, depth) in enumerate(wanted[i] for i in rng.permutation(len(wanted))):
        room = 0.75 * part - length
        if room < timedelta():
            raise ValueError(
                f"{len(wanted)} faults in {end - start}: a {kind} of {length} does not fit, take fewer or more weeks"
            )
        moment = start + place * part + rng.random() * room
        faults.append(Fault(kind, moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0), length, depth))
    return faults


# A past with faults put in, to try rules on; and what each of them finds by kind of fault. Pure.

HOUR = timedelta(hours=1)
KINDS: tuple[tuple[str, timedelta, float | None], ...] = (
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


def default_faults(
    past: BacktestData, seed: int = 0, kinds: Sequence[tuple[str, timedelta, float | None]] = KINDS
) -> list[Fault]:
    """One of each usual fault in every two weeks of the past (at least one of each), at random moments, none near anything
    known. None is shorter than two of the longest buckets; those too long for so short a past are left out."""
    rounds = max(1, round((past.end - past.start) / timedelta(weeks=2)))
    shortest = 2 * max(metric.step for metric in past.metrics)
    longest = (past.end - past.start) / (2 * rounds * len(kinds))
    fit = [(kind, max(length, shortest), depth) for kind, length, depth in kinds if length <= longest]
    faults = scattered(past.start, past.end, fit * rounds, seed)
    return [fault for fault in faults if not any(_near(fault, each) for each in past.known)]


def _near(fault: Fault, known: KnownInterval) -> bool:
    return fault.start - RECOVERY < known.end and known.start < fault.end + RECOVERY


def inject_all_metrics(past: BacktestData, faults: Sequence[Fault]) -> BacktestData:
    """The same past, every metric with the faults in it."""
    return replace(past, series={name: inject_all(values, faults) for name, values in past.series.items()})


def label_buckets(fault: Fault) -> str:
    """Its kind, depth and length, such as "drop -30 %, 2 h"."""
    depth = "" if fault.kind in ("missing", "outage") else f" {100 * fault.change:+.0f} %"
    return f"{fault.kind}{depth}, {fault.length / HOUR:g} h"


def faults_table(faults: Sequence[Fault], zone: str) -> pd.DataFrame:
    """One row per fault, in local time."""
    local = [pd.Timestamp(fault.start).tz_convert(zone) for fault in faults]
    rows = {"fault": [label_buckets(fault) for fault in faults], "from": [f"{at:%a %Y-%m-%d %H:%M}" for at in local]}
    return pd.DataFrame(rows)


def around_fault(past: BacktestData, faults: Sequence[Fault], hours: float) -> BacktestData:
    """The past cut to some hours around its deepest drop (or else its first fault): a view to draw."""
    drops = [fault for fault in faults if fault.kind == "drop"] or list(faults[:1])
    middle = min(drops, key=lambda fault: fault.change).start if drops else past.end
    start = max(past.start, min(middle - hours / 2 * HOUR, past.end - hours * HOUR))
    return replace(past, start=start, end=min(past.end, start + hours * HOUR))


def best_detectors(leading: pd.DataFrame, rules: Mapping[str, Detector]) -> dict[str, tuple[Detector, float]]:
    """Of the rules of `best`, the first of each fence (and every rule that is no "fence, past"), with its width."""
    first = {name.split(", ")[0]: name for name in reversed(leading.index)}
    return {name: (rules[name], float(leading.loc[name, "width"])) for name in leading.index if name in first.values()}


def recall_by_kind(
    past: BacktestData, faults: Sequence[Fault], rules: Mapping[str, tuple[Detector, float]], track: Progress = iter
) -> pd.DataFrame:
    """Share of the faults found, one row per kind of fault and one column per rule (with its width), over all metrics."""
    tables = {name: _by_kind(past, faults, *rules[name]) for name in track(list(rules))}
    return pd.DataFrame(tables).rename_axis("fault")


def _by_kind(past: BacktestData, faults: Sequence[Fault], rule: Detector, width: float) -> dict[str, float]:
    found: dict[str, Score] = dict.fromkeys(map(label_buckets, faults), EMPTY_SCORE)
    for metric in (replace(metric, rule=rule, width=width) for metric in past.metrics):
        alerts = past.replay(metric, past.band(metric))
        for name in found:
            found[name] += score_alerts(
                alerts, [fault.span() for fault in faults if label_buckets(fault) == name], FAULT_TOLERANCE
            )
    return {name: each.recall for name, each in found.items()}
