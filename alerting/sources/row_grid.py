"""The grid of a series' rows: the step and the phase that their times show, and the bucket of each row."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from alerting.model.clock import DAY, day_phase, standard_offset
from alerting.model.metric import STEP

NS = 10**9
MIN_STEP, MAX_STEP = timedelta(minutes=1), DAY  # what a metric's step may be
ALIKE = 0.2  # relative difference up to which two distances of rows may be the same step
REGULAR = 2 / 3  # share of the rows that agree to the nanosecond where nothing jitters
ROUND_STEPS = [60 * m for m in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 10080)]  # seconds
ROUND_PHASES = (3600, 1800, 900, 300, 60, 1)  # seconds


class RowGrid(NamedTuple):
    """Buckets of `step` that start `phase` after the epoch. `zone`: the clock that the rows follow over summer time; "": UTC."""

    step: timedelta
    phase: timedelta
    zone: str = ""

    def starts(self, at: np.ndarray) -> np.ndarray:
        """Return the start of the bucket nearest to each row, both in ns since 1970 UTC."""
        step, phase = (round(length / timedelta(microseconds=1)) * 1000 for length in (self.step, self.phase))
        moved = _standard_times(at, self.zone) if self.zone else at
        nearest: np.ndarray = (moved - phase + step // 2) // step * step + phase
        return nearest


def find_grid(at: np.ndarray, zone: str = "UTC") -> RowGrid:
    """Return the grid of the rows `at` (ns since 1970 UTC, ascending, unique).

    The step is the most common distance, a round one where rows come early or late. It is at least a minute, and may be longer
    than a day. Rows of a day or of hours may follow the local clock over summer time; days that start at local midnight do.
    """
    step = timedelta(seconds=_step(np.diff(at)))
    if step < MIN_STEP or not len(at):
        return RowGrid(max(step, MIN_STEP), timedelta())
    seconds = round(step.total_seconds())
    phase, share = _phase(at, seconds)
    if seconds > 3600:
        local = _standard_times(at, zone)
        local_phase, local_share = _phase(local, seconds)
        midnight = (
            step == MAX_STEP
            and local_phase == day_phase(zone).total_seconds()
            and (local % (seconds * NS) == local_phase * NS).mean() >= REGULAR
        )
        if local_share > share or midnight:
            return RowGrid(step, timedelta(seconds=local_phase), zone)
    return RowGrid(step, timedelta(seconds=phase))


def _standard_times(at: np.ndarray, zone: str) -> np.ndarray:
    """Return the times in ns at which the clock would show the same without summer time."""
    local: np.ndarray = pd.DatetimeIndex(at, tz="UTC").tz_convert(zone).tz_localize(None).as_unit("ns").asi8
    return local - int(standard_offset(zone).total_seconds()) * NS


def _step(distances: np.ndarray) -> int:
    """Return the step in seconds, at least 1; `distances` of rows in ns."""
    if not len(distances):
        return round(STEP.total_seconds())
    lengths, counts = np.unique(distances, return_counts=True)
    until = np.concatenate([[0], np.cumsum(counts)])
    alike = until[np.searchsorted(lengths, lengths * (1 + ALIKE))] - until[np.searchsorted(lengths, lengths * (1 - ALIKE))]
    around = lengths[alike.argmax()]
    if alike.max() == 1 and around > MAX_STEP.total_seconds() * NS:  # two rows far apart show no step
        return round(MAX_STEP.total_seconds())
    is_step = np.abs(distances - around) <= ALIKE * around
    inside = np.abs(lengths - around) <= ALIKE * around
    commonest = int(lengths[inside][counts[inside].argmax()])
    if counts[inside].max() >= REGULAR * is_step.sum() and commonest % NS == 0:
        return commonest // NS
    mean = float(distances[is_step].mean()) / NS
    spread = float(np.quantile(np.abs(distances[is_step] / NS - mean), 0.9))
    runs = int(is_step[0]) + int((np.diff(is_step.astype(int)) == 1).sum())
    nearest = min(ROUND_STEPS, key=lambda length: abs(length - mean))
    return nearest if abs(nearest - mean) <= 2 * spread * runs / is_step.sum() else max(1, round(mean))


def _phase(at: np.ndarray, step: int) -> tuple[int, float]:
    """Return the phase in seconds (0 <= phase < step), and the share of rows that are at most a hundredth of a step from it."""
    width = step * NS
    rests, counts = np.unique(at % width, return_counts=True)
    commonest = int(rests[counts.argmax()])
    if counts.max() < REGULAR * len(at) or commonest % NS:
        angle = float(np.angle(np.exp(2j * np.pi * rests / width) @ counts))
        middle = round(angle / (2 * np.pi) * width)
        off = np.repeat((rests - middle + width // 2) % width - width // 2, counts)
        middle += int(np.median(off))
        spread = float(np.quantile(np.abs(off - np.median(off)), 0.9))
        units = (unit * NS for unit in (step, *ROUND_PHASES))
        near = (round(middle / unit) * unit for unit in units)
        commonest = next((phase for phase in near if abs(phase - middle) <= 2 * spread), round(middle / NS) * NS) % width
    apart = np.abs((at - commonest + width // 2) % width - width // 2)
    return commonest // NS, float((apart <= width // 100).mean())
