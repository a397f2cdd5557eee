"""Faults put into a past series: what an incident would have looked like on it, with the series' own noise kept. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.backtest.spans import Span

Shape = Callable[[np.ndarray, float], np.ndarray]  # share of the fault that is over (0 to 1) and depth -> factor


def _whole(progress: np.ndarray, depth: float) -> np.ndarray:
    return np.full(progress.shape, 1 + depth)


def _growing(progress: np.ndarray, depth: float) -> np.ndarray:
    return 1 + depth * progress


def _gone(progress: np.ndarray, depth: float) -> np.ndarray:
    return np.full(progress.shape, np.nan)


SHAPES: dict[str, Shape] = {
    "drop": _whole,
    "outage": _whole,
    "spike": _whole,
    "ramp": _growing,
    "level shift": _whole,
    "missing": _gone,
    "duplicates": _whole,
}
USUAL = {"drop": -0.5, "outage": -1.0, "spike": 1.0, "ramp": -0.4, "level shift": -0.3, "missing": -1.0, "duplicates": 1.0}
FIXED = ("outage", "missing", "duplicates")  # how deep these are is in their name


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
        if self.kind not in SHAPES:
            raise ValueError(f"Fault: kind={self.kind!r} must be one of {', '.join(SHAPES)}")
        if self.start.tzinfo is None:
            raise ValueError(f"Fault: start={self.start} needs a time zone")
        if self.length <= timedelta():
            raise ValueError(f"Fault: length={self.length} must be above 0")
        if self.kind in FIXED and self.depth not in (None, USUAL[self.kind]):
            raise ValueError(f"Fault: a fault of kind {self.kind!r} has no other depth than {USUAL[self.kind]:g}")
        if self.change < -1 or (self.kind == "drop" and self.change > 0) or (self.kind == "spike" and self.change < 0):
            raise ValueError(f"Fault: depth={self.depth} is not a {self.kind} (a change as a share: -0.3 is 30 % less)")

    @property
    def change(self) -> float:
        """The depth, or what is usual for the kind."""
        return USUAL[self.kind] if self.depth is None else self.depth

    @property
    def end(self) -> datetime:
        """Instant at which it is over (for a level shift: until when finding it counts)."""
        return self.start + self.length

    def span(self, *metrics: str) -> Span:
        """The time it covers, as an event of those metrics."""
        return Span(self.start, self.end, metrics)


def inject(series: pd.Series, fault: Fault) -> pd.Series:
    """`series` (float64, aware index) with the fault in it; values are multiplied, so their noise stays. NaN stays NaN.

    Buckets from `start` until before the end are hit. A negative value moves the same way as a positive one.
    """
    progress = ((series.index - fault.start) / fault.length).to_numpy(float)
    step = (series.index[1] - series.index[0]) / fault.length if len(series) > 1 else 0.0
    hit = (progress >= 0) & ((progress < 1) | (fault.kind == "level shift"))
    factor = SHAPES[fault.kind](np.clip(progress[hit] + step, 0, 1), fault.change)  # a ramp is deepest in its last bucket
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
