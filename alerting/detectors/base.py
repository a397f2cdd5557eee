"""Base of the detectors, and the adapter that makes a detector of a rule that has no more than a band."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.grid import Grid
from alerting.detectors.limits import Limits, framed
from alerting.model.metric import BandRule, Rule


class Detector(Rule):
    """A rule that works on many series at once: a subclass adds `history` and `bands`."""

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """The columns of `bands` for every bucket of `values`: float64 on a full grid of aware times. `zone`: IANA name."""
        return framed(self.bands(Grid.of(values, zone)), values.index)

    def reason(self, values: pd.Series, zone: str = "UTC") -> str:
        return ""


@dataclass(frozen=True)
class OneByOne(Detector):
    """A detector made of an analyst's own rule, whose band is made for one series at a time and for all of its buckets."""

    rule: BandRule

    @property
    def history(self) -> timedelta:
        return self.rule.history

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        return self.rule.band(values, zone)

    def bands(self, grid: Grid) -> Limits:
        frames = [self.rule.band(pd.Series(row, grid.index), grid.zone).iloc[grid.since :] for row in grid.values]
        return {str(name): np.stack([frame[name].to_numpy() for frame in frames]) for name in frames[0].columns}
