"""How long nothing usually comes: a gap that is there most nights is no news."""

from __future__ import annotations

import numpy as np

from alerting.detectors.references import Grid, slots
from alerting.detectors.rolling import around

DAYS = 14
SHARE = 0.9  # a usual gap is outlasted on one day of ten only
REACH = 7200  # seconds around this time of day


def running(missing: np.ndarray) -> np.ndarray:
    """(n,) bool -> int64: how many buckets in a row are missing up to and with this one."""
    at = np.arange(len(missing))
    return at - np.maximum.accumulate(np.where(missing, -1, at)) if len(at) else at


def usual_gap(grid: Grid) -> np.ndarray:
    """(n,): buckets in a row that are missing around this local time on the days before; 0 where there were no days."""
    missing = np.isnan(grid.values)
    if not missing.any():
        return np.zeros(len(missing))
    usual = slots(grid, around(running(missing).astype(float), grid.within(REACH)), DAYS, SHARE)
    return np.ceil(np.where(np.isnan(usual), 0.0, usual))
