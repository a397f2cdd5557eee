"""How long gaps usually are: a gap that comes most nights is expected and not reported."""

from __future__ import annotations

import numpy as np

from alerting.detectors.baselines import day_lags, slot_quantile
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.windows import max_around

GAP_DAYS = 14
GAP_QUANTILE = 0.9  # one day of ten may have a longer gap than the usual one
GAP_WINDOW = 7200  # seconds before and after this time of day


def run_lengths(missing: np.ndarray) -> np.ndarray:
    """Return (..., n) int64: how many buckets in a row are missing, this one included. `missing`: bool, time last."""
    at = np.broadcast_to(np.arange(missing.shape[-1]), missing.shape)
    return at - np.maximum.accumulate(np.where(missing, -1, at), axis=-1) if at.size else at


def usual_gap(grid: SeriesGrid) -> np.ndarray:
    """Return (series, n - since): the length in buckets of a usual gap around this local time; 0 without earlier days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros((len(missing), len(grid) - grid.since))
    reach = grid.within(GAP_WINDOW)
    first = max(0, grid.since - int(day_lags(grid, GAP_DAYS)[-1]) - grid.clock_change - reach)
    recent = grid.cut(first)
    longest = max_around(run_lengths(missing)[:, first:].astype(float), reach)
    usual = slot_quantile(recent, longest, GAP_DAYS, GAP_QUANTILE)
    return np.ceil(np.nan_to_num(usual[:, recent.since :]))
