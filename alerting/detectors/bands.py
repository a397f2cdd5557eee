"""What a rule says of many series at once, before it is a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.baselines import Baseline, SameSlot
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import CHUNK_ROWS, sorted_quantile
from alerting.model.metric import BandDetector, Detector

BandColumns = dict[str, np.ndarray | str]  # column of a band -> (series, buckets), or one word for all of them


def band_frame(limits: BandColumns, index: pd.Index) -> pd.DataFrame:
    """The band of the first series."""
    return pd.DataFrame({name: _of(column, 0) for name, column in limits.items()}, index=index)


def series_columns(limits: BandColumns, series: int) -> dict[str, np.ndarray | str]:
    """The columns of one series: (buckets,) each, or the word."""
    return {name: _of(column, series) for name, column in limits.items()}


def _of(column: np.ndarray | str, series: int) -> np.ndarray | str:
    return column if isinstance(column, str) else column[series]


# Base of the detectors, and the adapter that makes a detector of a rule that has no more than a band.


class BaseDetector(Detector):
    """A rule that works on many series at once: a subclass adds `history` and `bands`."""

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """The columns of `bands` for every bucket of `values`: float64 on a full grid of aware times. `zone`: IANA name."""
        return band_frame(self.bands(SeriesGrid.of(values, zone)), values.index)

    def reason(self, values: pd.Series, zone: str = "UTC") -> str:
        return ""


@dataclass(frozen=True)
class OneByOne(BaseDetector):
    """A detector made of an analyst's own rule, whose band is made for one series at a time and for all of its buckets."""

    rule: BandDetector

    @property
    def history(self) -> timedelta:
        return self.rule.history

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        return self.rule.band(values, zone)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        frames = [self.rule.band(pd.Series(row, grid.index), grid.zone).iloc[grid.since :] for row in grid.values]
        return {str(name): np.stack([frame[name].to_numpy() for frame in frames]) for name in frames[0].columns}


# How wide normal is: interquartile ranges, standard or median deviations, or quantiles of the past that a reference gathers.

BAND = ["low", "expected", "high"]
SIGMA = 1.4826  # a median distance times this is a standard deviation, for normal noise


class Fence(BaseDetector):
    """What the fences share: the past is gathered in chunks, and each chunk is reduced once."""

    over: Baseline

    @property
    def history(self) -> timedelta:
        return self.over.history

    def bands(self, grid: SeriesGrid) -> BandColumns:
        """low, expected, high (float64, the values' units) of the buckets that are asked for: (series, n - since) each; NaN where
        the past is too little."""
        each = [self._limits(grid.only(np.array([place]))) for place in range(len(grid.values))]
        return dict(zip(BAND, np.stack(each, axis=1), strict=True))

    def _limits(self, grid: SeriesGrid) -> np.ndarray:
        """(3, n - since) of a grid of one series. Chunks begin where those of the whole do, so that sums have the same digits."""
        rows, n = self.over.gather(grid), grid.length
        out = np.full((3, n), np.nan)
        for first in range(grid.since // CHUNK_ROWS * CHUNK_ROWS, n, CHUNK_ROWS):
            last = min(first + CHUNK_ROWS, n)
            out[:, first:last] = self._reduce(rows(first, last))
        return out[:, grid.since :]

    def _reduce(self, past: np.ndarray) -> np.ndarray:
        past.sort(axis=1)  # NaN goes last
        count = past.shape[1] - np.isnan(past).sum(axis=1)
        low, expected, high = self.limits(past, count)
        low = _above_half_the_lowest(past[:, 0], low)
        return np.where(count >= self.over.least, np.stack([low, expected, high]), np.nan)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """low, expected, high of each row of `past` (n, k), sorted, whose first `count` (n,) values are there."""
        raise TypeError(f"{type(self).__name__} is not a fence: use IQR, Sigma, MAD or Quantile")


def _above_half_the_lowest(lowest: np.ndarray, low: np.ndarray) -> np.ndarray:
    """A band that reaches zero could never see an outage: where the past was always above zero, it ends at half of its lowest."""
    return np.where(lowest > 0, np.maximum(low, lowest / 2), low)


@dataclass(frozen=True)
class IQR(Fence):
    """Quartiles -+ k interquartile ranges, around the median (Tukey 1977; k = 1.5 outlier, 3 far out)."""

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lower, median, upper = (sorted_quantile(past, count, q) for q in (0.25, 0.5, 0.75))
        reach = self.k * (upper - lower)
        return lower - reach, median, upper + reach


@dataclass(frozen=True)
class Sigma(Fence):
    """Mean -+ k standard deviations (ddof 1)."""

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        known = np.isfinite(past)
        mean = np.where(known, past, 0).sum(axis=1) / np.maximum(count, 1)
        off = np.where(known, past - mean[:, None], 0)
        reach = self.k * np.sqrt((off**2).sum(axis=1) / np.maximum(count - 1, 1))
        return mean - reach, mean, mean + reach


@dataclass(frozen=True)
class MAD(Fence):
    """Median -+ k robust sigmas: 1.4826 times the median distance to the median (Hampel 1974): half of the past may be odd."""

    k: float = 3.0
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        median = sorted_quantile(past, count, 0.5)
        reach = self.k * SIGMA * sorted_quantile(np.sort(np.abs(past - median[:, None]), axis=1), count, 0.5)
        return median - reach, median, median + reach


@dataclass(frozen=True)
class Quantile(Fence):
    """The q and 1 - q quantiles, moved out by `margin` of their distance to the median."""

    q: float = 0.01
    margin: float = 0.5
    over: Baseline = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, median, high = (sorted_quantile(past, count, q) for q in (self.q, 0.5, 1 - self.q))
        return low - self.margin * (median - low), median, high + self.margin * (high - median)
