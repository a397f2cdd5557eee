"""How wide normal is: interquartile ranges, standard or median deviations, or quantiles of the past that a reference gathers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from alerting.detectors.base import Detector
from alerting.detectors.grid import Grid
from alerting.detectors.limits import Limits
from alerting.detectors.references import Reference, SameSlot
from alerting.detectors.rolling import CHUNK, of_sorted

BAND = ["low", "expected", "high"]
SIGMA = 1.4826  # a median distance times this is a standard deviation, for normal noise


class Fence(Detector):
    """What the fences share: the past is gathered in chunks, and each chunk is reduced once."""

    over: Reference

    @property
    def history(self) -> timedelta:
        return self.over.history

    def bands(self, grid: Grid) -> Limits:
        """low, expected, high (float64, the values' units) of the buckets that are asked for: (series, n - since) each; NaN where
        the past is too little."""
        each = [self._limits(grid.only(np.array([place]))) for place in range(len(grid.values))]
        return dict(zip(BAND, np.stack(each, axis=1), strict=True))

    def _limits(self, grid: Grid) -> np.ndarray:
        """(3, n - since) of a grid of one series. Chunks begin where those of the whole do, so that sums have the same digits."""
        rows, n = self.over.gather(grid), grid.length
        out = np.full((3, n), np.nan)
        for first in range(grid.since // CHUNK * CHUNK, n, CHUNK):
            last = min(first + CHUNK, n)
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
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lower, median, upper = (of_sorted(past, count, q) for q in (0.25, 0.5, 0.75))
        reach = self.k * (upper - lower)
        return lower - reach, median, upper + reach


@dataclass(frozen=True)
class Sigma(Fence):
    """Mean -+ k standard deviations (ddof 1)."""

    k: float = 3.0
    over: Reference = field(default_factory=SameSlot)

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
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        median = of_sorted(past, count, 0.5)
        reach = self.k * SIGMA * of_sorted(np.sort(np.abs(past - median[:, None]), axis=1), count, 0.5)
        return median - reach, median, median + reach


@dataclass(frozen=True)
class Quantile(Fence):
    """The q and 1 - q quantiles, moved out by `margin` of their distance to the median."""

    q: float = 0.01
    margin: float = 0.5
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, median, high = (of_sorted(past, count, q) for q in (self.q, 0.5, 1 - self.q))
        return low - self.margin * (median - low), median, high + self.margin * (high - median)
