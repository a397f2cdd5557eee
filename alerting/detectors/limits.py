"""Fixed limits: what is normal is set by hand, from the first bucket on, and no history changes it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from math import inf, isfinite

import numpy as np

from alerting.detectors.bands import BaseDetector
from alerting.detectors.series_grid import BandColumns, SeriesGrid

LIMIT = "limit"


class FixedLimits(BaseDetector):
    """Base of the fixed limits: a band without an expected value. Neither `Metric.width` nor `Policy.min_change` moves it."""

    history = timedelta(0)

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if not isfinite(limit):
                raise ValueError(f"{type(self).__name__}: {name}={limit!r} must be a finite number")

    def bands(self, grid: SeriesGrid) -> BandColumns:
        shape = len(grid.values), len(grid) - grid.since
        low, high = self.limits()
        band = {"low": np.full(shape, low), "expected": np.full(shape, np.nan), "high": np.full(shape, high)}
        return {**band, "low_rule": LIMIT, "high_rule": LIMIT, "gap": np.zeros(shape)}

    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """Return the lowest and the highest normal value, in the metric's units; infinite where there is no limit."""


@dataclass(frozen=True)
class Above(FixedLimits):
    """A value above `limit` is anomalous. Raises ValueError for a limit that is not finite."""

    limit: float

    def limits(self) -> tuple[float, float]:
        return -inf, float(self.limit)


@dataclass(frozen=True)
class Below(FixedLimits):
    """A value below `limit` is anomalous. Raises ValueError for a limit that is not finite."""

    limit: float

    def limits(self) -> tuple[float, float]:
        return float(self.limit), inf


@dataclass(frozen=True)
class Outside(FixedLimits):
    """A value below `low` or above `high` is anomalous. Raises ValueError unless low < high, both finite."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Outside: low={self.low!r} must be less than high={self.high!r}, and both finite numbers")

    def limits(self) -> tuple[float, float]:
        return float(self.low), float(self.high)
