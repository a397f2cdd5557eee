"""Is it further out than it gets? For bursty metrics, where a bucket says nothing about the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.fences import BAND
from alerting.detectors.gaps import usual_gap
from alerting.detectors.references import Grid
from alerting.detectors.rolling import before, held, of_sorted

LEVEL = "level"


@dataclass(frozen=True)
class Level:
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
        grid = Grid.of(values, zone)
        nights = grid.beginnings()
        rows = np.sort(before(grid.values, nights, self.days * grid.per_day), axis=1)
        limits = [held(limit, nights, len(values)) for limit in self._limits(rows)]
        frame = pd.DataFrame(dict(zip(BAND, limits, strict=True)), index=values.index)
        return frame.assign(low_rule=LEVEL, high_rule=LEVEL, gap=usual_gap(grid))

    def _limits(self, rows: np.ndarray) -> list[np.ndarray]:
        """low, expected, high after each of the sorted pasts (k, buckets)."""
        count = np.isfinite(rows).sum(axis=1)
        median = of_sorted(rows, count, 0.5)
        rank, every = np.minimum(self.rank - 1, count // 20), np.arange(len(rows))
        down = self._reach(median - rows[every, rank], median - rows[:, 0], median)
        newest = np.maximum(count - 1, 0)
        up = self._reach(rows[every, np.maximum(newest - rank, 0)] - median, rows[every, newest] - median, median)
        low = np.where(rows[:, 0] > 0, np.maximum(median - down, rows[:, 0] / 2), median - down)  # an outage is seen
        known = count >= 0.3 * rows.shape[1]
        return [np.where(known, limit, np.nan) for limit in (low, median, median + up)]

    def _reach(self, ranked: np.ndarray, largest: np.ndarray, median: np.ndarray) -> np.ndarray:
        return self.width * np.where(ranked > self.small * np.abs(median), ranked, largest)
