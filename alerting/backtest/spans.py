"""A stretch of time of some metrics: what an incident, a label or a fault covers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd


class Covers(Protocol):
    """What a simulated incident, a label and a span have in common."""

    @property
    def start(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Span:
    """`start` <= bucket < `end` (aware UTC) of `metrics`; of all metrics where none is named."""

    start: datetime
    end: datetime
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"Span {self.start} .. {self.end}: give aware times")
        if not self.start < self.end:
            raise ValueError(f"Span {self.start} .. {self.end}: it ends before it begins")


def concerns(span: Covers, metric: str) -> bool:
    """Whether a span is about that metric."""
    return not span.metrics or metric in span.metrics


def covered(index: pd.DatetimeIndex, spans: Iterable[Covers], metric: str, after: timedelta = timedelta()) -> np.ndarray:
    """Which buckets (bool) of `index` lie in a span of that metric, or no more than `after` behind one.

    A bucket that a span only touches is in it: `start` need not be the beginning of a bucket.
    """
    inside = np.zeros(len(index), dtype=bool)
    step = index[1] - index[0] if len(index) > 1 else pd.Timedelta(0)
    for span in spans:
        if concerns(span, metric):
            inside |= np.asarray((index > span.start - step) & (index < span.end + after))
    return inside
