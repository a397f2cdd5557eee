"""Is it further out than it gets? For bursty metrics, where a bucket says nothing about the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND, BandColumns, BaseDetector, band_frame
from alerting.detectors.gaps import usual_gap
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import pick, sorted_quantile, values_before

LEVEL = "level"


@dataclass(frozen=True)
class Level(BaseDetector):
    """Further from the median of four weeks than `width` times the `rank`-th largest distance of those weeks on that side.

    A rank instead of a quantile: the few bursts there are set the limit, however fine the buckets. Refreshed every night.
    """

    days: int = 28
    rank: int = 5
    width: float = 1.5
    small: float = 0.05  # a share of the median: where that distance is smaller, the largest one counts

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 2)

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units); low_rule, high_rule; gap. NaN where the past is too little."""
        return band_frame(self.bands(SeriesGrid.of(values, zone)), values.index)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        """The columns of `band` for the buckets that are asked for: (series, n - since) each."""
        nightly = grid.nightly(repr(self), self.history, self._nightly)
        return {**dict(zip(BAND, nightly, strict=True)), "low_rule": LEVEL, "high_rule": LEVEL, "gap": usual_gap(grid)}

    def _nightly(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """(3, series, nights): low, expected, high."""
        rows = np.sort(values_before(grid.values, nights, self.days * grid.per_day), axis=-1)
        count = np.isfinite(rows).sum(axis=-1)
        median = sorted_quantile(rows, count, 0.5)
        rank, newest = np.minimum(self.rank - 1, count // 20), np.maximum(count - 1, 0)
        lowest, highest = rows[..., 0], pick(rows, newest)
        down = self._reach(median - pick(rows, rank), median - lowest, median)
        up = self._reach(pick(rows, np.maximum(newest - rank, 0)) - median, highest - median, median)
        low = np.where(lowest > 0, np.maximum(median - down, lowest / 2), median - down)  # an outage is seen
        known = count >= 0.3 * rows.shape[-1]
        return np.array([np.where(known, limit, np.nan) for limit in (low, median, median + up)])

    def _reach(self, ranked: np.ndarray, largest: np.ndarray, median: np.ndarray) -> np.ndarray:
        return self.width * np.where(ranked > self.small * np.abs(median), ranked, largest)
