"""How wide normal is: interquartile ranges, standard or median deviations, or quantiles of the past that a reference gathers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.grid import Grid
from alerting.detectors.references import Reference, SameSlot
from alerting.detectors.rolling import CHUNK, of_sorted

BAND = ["low", "expected", "high"]
SIGMA = 1.4826  # a median distance times this is a standard deviation, for normal noise


class _Fence:
    """What the fences share: the past is gathered in chunks, and each chunk is reduced once."""

    over: Reference

    @property
    def history(self) -> timedelta:
        return self.over.history

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units) for every bucket of `values`; NaN where the past is too little.

        `values`: float64 on a full grid of aware times. `zone`: IANA name, whose clock the slots follow.
        """
        grid = Grid.of(values, zone)
        rows, n = self.over.gather(grid), grid.length
        out = np.full((3, n), np.nan)
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            out[:, first:last] = self._reduce(rows(first, last))
        return pd.DataFrame(out.T, index=values.index, columns=BAND)

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
class IQR(_Fence):
    """Quartiles -+ k interquartile ranges, around the median (Tukey 1977; k = 1.5 outlier, 3 far out)."""

    k: float = 3.0
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lower, median, upper = (of_sorted(past, count, q) for q in (0.25, 0.5, 0.75))
        reach = self.k * (upper - lower)
        return lower - reach, median, upper + reach


@dataclass(frozen=True)
class Sigma(_Fence):
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
class MAD(_Fence):
    """Median -+ k robust sigmas: 1.4826 times the median distance to the median (Hampel 1974): half of the past may be odd."""

    k: float = 3.0
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        median = of_sorted(past, count, 0.5)
        reach = self.k * SIGMA * of_sorted(np.sort(np.abs(past - median[:, None]), axis=1), count, 0.5)
        return median - reach, median, median + reach


@dataclass(frozen=True)
class Quantile(_Fence):
    """The q and 1 - q quantiles, moved out by `margin` of their distance to the median."""

    q: float = 0.01
    margin: float = 0.5
    over: Reference = field(default_factory=SameSlot)

    def limits(self, past: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, median, high = (of_sorted(past, count, q) for q in (self.q, 0.5, 1 - self.q))
        return low - self.margin * (median - low), median, high + self.margin * (high - median)
