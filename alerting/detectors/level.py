"""The level detector finds values further from the median than almost all of the last four weeks.

It is for bursty metrics, whose buckets are independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from alerting.detectors.bands import BAND, BaseDetector
from alerting.detectors.series_grid import BandColumns, Nightly, SeriesGrid, usual_gap
from alerting.detectors.windows import quantiles, values_before

LEVEL = "level"
OUTAGE_DAYS = 3  # days so low that they say nothing of what is usual: an outage of two days is seen to its end


@dataclass(frozen=True)
class Level(BaseDetector):
    """The median of four weeks, -+ `width` times the `rank`-th largest distance to it on that side. Computed every midnight.

    An order statistic instead of a quantile: the few bursts of the weeks set the limit, however fine the buckets are (own
    method; parameters chosen in docs/research/detection.md).
    """

    days: int = 28
    rank: int = 5
    width: float = 1.5
    small: float = 0.05  # share of the median: where the distance is smaller than that, the largest distance is used

    @property
    def history(self) -> timedelta:
        return timedelta(days=self.days + 2)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        nightly = Nightly(grid, repr(self), self.history)
        if nightly.absent:
            nightly.add(self._nightly(nightly.grid, nightly.nights))
        return {**dict(zip(BAND, nightly.held(), strict=True)), "low_rule": LEVEL, "high_rule": LEVEL, "gap": usual_gap(grid)}

    def _nightly(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """Return (3, series, nights): low, expected, high."""
        past = values_before(grid.values, nights, self.days * grid.per_day)
        by_day = np.fmin.reduce(past.reshape(*past.shape[:-1], self.days, grid.per_day), axis=-1)
        usual_lowest = np.sort(by_day, axis=-1)[..., min(OUTAGE_DAYS, self.days - 1)]  # NaN, which never counts, goes last
        rows = np.sort(past, axis=-1)
        count = np.isfinite(rows).sum(axis=-1)
        median = quantiles(rows, 0.5, is_sorted=True)[0]

        # Distances to the median on both sides: of that rank (counted from the outside), and the largest
        rank, last = np.minimum(self.rank - 1, count // 20), np.maximum(count - 1, 0)
        positions = np.stack([rank, np.maximum(last - rank, 0), last], axis=-1)
        low_rank, high_rank, highest = np.moveaxis(np.take_along_axis(rows, positions, axis=-1), -1, 0)
        lowest = rows[..., 0]
        sides = (median - low_rank, median - lowest), (high_rank - median, highest - median)
        small = self.small * np.abs(median)
        down, up = (self.width * np.where(ranked > small, ranked, largest) for ranked, largest in sides)

        low = np.where(usual_lowest > 0, np.maximum(median - down, usual_lowest / 2), median - down)  # an outage is outside
        enough = count >= 0.3 * rows.shape[-1]
        return np.array([np.where(enough, limit, np.nan) for limit in (low, median, median + up)])
