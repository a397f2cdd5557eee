"""Bands: low, expected and high of each bucket. The base of all detectors, and the plain ones: a width rule over a baseline."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import numpy as np
import pandas as pd

from alerting.detectors.baselines import Baseline, SameSlot
from alerting.detectors.series_grid import BandColumns, SeriesGrid, series_columns
from alerting.detectors.windows import CHUNK_ROWS, quantiles
from alerting.model.metric import BandDetector, Detector

BAND = ["low", "expected", "high"]
SPECIAL = "special_expected"  # column: what is expected if the day is as special as such days usually are
SUSTAINED = "sustained"  # rule of a level that is off for hours
OUTAGE_COUNT = 12  # expected number from which a count of zero is an outage: of fewer, none may come by chance
SIGMA = 1.4826  # standard deviation of normal noise in units of its median absolute deviation

Limits = tuple[np.ndarray, np.ndarray, np.ndarray]  # low, expected, high


class BaseDetector(Detector):
    """Base of the detectors: a subclass is a frozen dataclass with `history` and `bands`.

    Write one as a module of this package: the laws in tests/test_detectors.py, test_batches.py and test_rules.py find it by
    themselves, as long as it can be made without arguments. A catalogue may then import it from its module.
    """

    single_bucket: ClassVar[bool] = True  # one bucket alone can be anomalous; False: it needs several

    @abstractmethod
    def bands(self, grid: SeriesGrid) -> BandColumns:
        """Return low, expected and high of the requested buckets: float64 (series, n - since), the values' units.

        NaN where the past is too short. Limits without an expected value (NaN) are fixed: no width scales them, and one that
        does not exist is infinite. Each row is computed from earlier values only (prefix law). Optional columns: `low_rule`,
        `high_rule` (text, what set that limit) together with `gap` (usual length of a gap in buckets); `usual` (the value of the
        same time on the days before); `sudden_low`, `sudden_high` (beyond them the rule is "sudden"); SPECIAL.
        """

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """Return the columns of `bands` for every bucket of `values` (float64 on a full grid of aware times).

        `zone`: IANA name of the local clock. Raises ValueError when the index is not such a grid.
        """
        columns = self.bands(SeriesGrid.at(values.index, values.to_numpy(float)[None, :], zone))
        return pd.DataFrame(series_columns(columns, 0), index=values.index)

    def reason(self, values: pd.Series, zone: str = "UTC", counted: bool = False) -> str:
        """Return why the newest bucket is judged as it is; "" for a detector that does not choose."""
        return ""


@dataclass(frozen=True)
class OneByOne(BaseDetector):
    """Adapter for an analyst's own detector, which gives the band of one series and of all its buckets."""

    rule: BandDetector

    @property
    def history(self) -> timedelta:
        return self.rule.history

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        return self.rule.band(values, zone)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        frames = [self.rule.band(pd.Series(row, grid.index), grid.zone).iloc[grid.since :] for row in grid.values]
        return {str(name): np.stack([frame[name].to_numpy() for frame in frames]) for name in frames[0].columns}


class Fence(BaseDetector):
    """Base of the width rules: a subclass computes the limits of rows of past values, which the baseline `over` gathers."""

    over: Baseline

    @property
    def history(self) -> timedelta:
        return self.over.history

    def bands(self, grid: SeriesGrid) -> BandColumns:
        # Chunks begin at multiples of their size, wherever `since` is, so that sums have the same bits in a live run
        out = np.full((3, len(grid.values), len(grid)), np.nan)
        for series in range(len(grid.values)):
            past = self.over.gather(grid.select(np.array([series])))
            for first in range(grid.since // CHUNK_ROWS * CHUNK_ROWS, len(grid), CHUNK_ROWS):
                last = min(first + CHUNK_ROWS, len(grid))
                rows = past(first, last)
                rows.sort(axis=1)  # NaN goes last
                count, lowest = rows.shape[1] - np.isnan(rows).sum(axis=1), rows[:, 0]
                low, expected, high = self.limits(rows, count)
                # A band that reaches zero never shows an outage: where the past was above zero, it ends at half of its lowest
                low = np.where(lowest > 0, np.maximum(low, lowest / 2), low)
                enough = count >= self.over.min_values
                out[:, series, first:last] = np.where(enough, np.stack([low, expected, high]), np.nan)
        return dict(zip(BAND, out[:, :, grid.since :], strict=True))

    @abstractmethod
    def limits(self, past: np.ndarray, count: np.ndarray) -> Limits:
        """Return low, expected, high (n,) from rows of `past` (n, k), sorted; the first `count` (n,) values are present."""


@dataclass(frozen=True)
class IQR(Fence):
    """Quartiles -+ k interquartile ranges, around the median (Tukey 1977; k = 1.5 is an outlier, 3 far out)."""

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> Limits:
        lower, median, upper = quantiles(past, 0.25, 0.5, 0.75, is_sorted=True)
        reach = self.k * (upper - lower)
        return lower - reach, median, upper + reach


@dataclass(frozen=True)
class Sigma(Fence):
    """Mean -+ k standard deviations (ddof 1), as in a control chart (Shewhart 1931)."""

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> Limits:
        present = np.isfinite(past)
        mean = np.where(present, past, 0).sum(axis=1) / np.maximum(count, 1)
        residual = np.where(present, past - mean[:, None], 0)
        reach = self.k * np.sqrt((residual**2).sum(axis=1) / np.maximum(count - 1, 1))
        return mean - reach, mean, mean + reach


@dataclass(frozen=True)
class MAD(Fence):
    """Median -+ k robust sigmas: 1.4826 times the median absolute deviation (Hampel 1974).

    It stands up to half of the past being outliers.
    """

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> Limits:
        median = quantiles(past, 0.5, is_sorted=True)[0]
        reach = self.k * SIGMA * quantiles(np.abs(past - median[:, None]), 0.5)[0]
        return median - reach, median, median + reach


@dataclass(frozen=True)
class Quantile(Fence):
    """The q and 1 - q quantiles of the past, moved out by `margin` of their distance to the median."""

    q: float = 0.01
    margin: float = 0.5
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> Limits:
        low, median, high = quantiles(past, self.q, 0.5, 1 - self.q, is_sorted=True)
        return low - self.margin * (median - low), median, high + self.margin * (high - median)
