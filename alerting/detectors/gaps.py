"""How long nothing usually comes: a gap that is there most nights is no news."""

from __future__ import annotations

import numpy as np

from alerting.detectors.grid import Grid
from alerting.detectors.references import day_lags, slots
from alerting.detectors.rolling import around

DAYS = 14
SHARE = 0.9  # a usual gap is outlasted on one day of ten only
REACH = 7200  # seconds around this time of day


def running(missing: np.ndarray) -> np.ndarray:
    """(..., n) bool -> int64: how many buckets in a row are missing up to and with this one."""
    at = np.broadcast_to(np.arange(missing.shape[-1]), missing.shape)
    return at - np.maximum.accumulate(np.where(missing, -1, at), axis=-1) if at.size else at


def usual_gap(grid: Grid) -> np.ndarray:
    """(series, n - since): buckets in a row that are missing around this local time on the days before; 0 where there were no
    days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros((len(missing), len(grid.asked)))
    first = max(0, grid.since - int(day_lags(grid, DAYS)[-1]) - grid.clocks - grid.within(REACH))
    late = grid.cut(first)
    usual = slots(late, around(running(missing)[:, first:].astype(float), grid.within(REACH)), DAYS, SHARE, late.asked)
    return np.ceil(np.nan_to_num(usual[:, late.since :]))
