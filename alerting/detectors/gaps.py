"""How long nothing usually comes: a gap that is there most nights is no news."""

from __future__ import annotations

import numpy as np

from alerting.detectors.baselines import day_lags, slot_quantile
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import max_around

GAP_DAYS = 14
GAP_QUANTILE = 0.9  # a usual gap is outlasted on one day of ten only
GAP_WINDOW = 7200  # seconds around this time of day


def run_lengths(missing: np.ndarray) -> np.ndarray:
    """(..., n) bool -> int64: how many buckets in a row are missing up to and with this one."""
    at = np.broadcast_to(np.arange(missing.shape[-1]), missing.shape)
    return at - np.maximum.accumulate(np.where(missing, -1, at), axis=-1) if at.size else at


def usual_gap(grid: SeriesGrid) -> np.ndarray:
    """(series, n - since): buckets in a row that are missing around this local time on the days before; 0 where there were no
    days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros((len(missing), len(grid.asked)))
    first = max(0, grid.since - int(day_lags(grid, GAP_DAYS)[-1]) - grid.clocks - grid.within(GAP_WINDOW))
    late = grid.cut(first)
    usual = slot_quantile(
        late,
        max_around(run_lengths(missing)[:, first:].astype(float), grid.within(GAP_WINDOW)),
        GAP_DAYS,
        GAP_QUANTILE,
        late.asked,
    )
    return np.ceil(np.nan_to_num(usual[:, late.since :]))
