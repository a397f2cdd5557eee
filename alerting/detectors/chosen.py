"""Which rule suits a metric, by its own history, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.level import LEVEL, Level
from alerting.detectors.references import Grid
from alerting.detectors.rolling import before, held, quantiles
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained

CHANGE = "change"
QUARTER = 900  # seconds: finer buckets are averaged to these before they are compared
MEMORY = 4  # Mondays back whose answer is asked while the newest is undecided


@dataclass(frozen=True)
class Chosen:
    """The change rule (sudden and sustained) or the level rule, chosen again every Monday night from the four weeks before.

    c = spread of the change from bucket to bucket, less the change usual at that time, over the spread of the values (both
    interquartile). Small: a bucket tells the next, so a change is news. Large: the noise of a change is as wide as the metric
    itself, and only its level can tell. Between the two bounds the newest Monday that was clear decides; else the change rule.
    """

    sudden: Sudden = field(default_factory=Sudden)
    sustained: Sustained = field(default_factory=Sustained)
    level: Level = field(default_factory=Level)
    days: int = 28
    to_level: float = 0.36
    to_change: float = 0.30
    same: float = 0.5  # level rule where more than this share of the buckets has one value

    @property
    def history(self) -> timedelta:
        choice = timedelta(days=self.days + 7 * (MEMORY + 1))
        return max(choice, self.sudden.history, self.sustained.history, self.level.history)

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units), low_rule, high_rule (which question set that limit),
        sudden_low, sudden_high (the sudden limits), gap (missing buckets in a row that are usual) and usual (see `Sudden`).

        NaN where the past is too little.
        """
        by_level = self._by_level(values, zone)
        if not by_level.any():
            return self._change(values, zone)
        level = self.level.band(values, zone).assign(sudden_low=np.nan, sudden_high=np.nan, usual=np.nan)
        return level if by_level.all() else level.where(pd.Series(by_level, values.index), self._change(values, zone))

    def reason(self, values: pd.Series, zone: str = "UTC") -> str:
        """Why the newest bucket is judged by the rule it is judged by."""
        figures = self._figures(Grid.of(values, zone))[1]
        name = LEVEL if self._by_level(values, zone)[-1:].any() else CHANGE
        known = [c for c in figures[-MEMORY:] if c == c]
        if not known:
            return f"{name} rule, because there is less than a week of history on a Monday"
        if known[-1] == np.inf:
            return f"{name} rule, because most buckets have one and the same value"
        told = "a bucket tells the next" if known[-1] < self.to_change else "a bucket does not tell the next"
        told = (
            told
            if not self.to_change <= known[-1] <= self.to_level
            else "it was so before, and nothing speaks clearly against it"
        )
        return f"{name} rule, because {told}: c = {known[-1]:.2f}"

    def _by_level(self, values: pd.Series, zone: str) -> np.ndarray:
        """(n,) bool: is this bucket judged by the level rule?"""
        grid = Grid.of(values, zone)
        mondays, figures = self._figures(grid)
        clear = np.where(figures > self.to_level, 1.0, np.where(figures < self.to_change, 0.0, np.nan))
        padded = np.r_[np.full(MEMORY, np.nan), clear]
        answer = np.full(len(clear), np.nan)
        for back in range(MEMORY, -1, -1):  # the newest clear answer is written last
            asked = padded[MEMORY - back : len(padded) - back]
            answer = np.where(np.isnan(asked), answer, asked)
        return held(answer, mondays, len(values)) == 1

    def _figures(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the Mondays' first buckets, and c of the weeks before each; inf for one value, NaN for too little."""
        nights = grid.beginnings()
        mondays = nights[grid.weekday[nights] == 0]
        rows = _by_quarter(before(grid.values, mondays, self.days * grid.per_day), grid)
        return mondays, np.array([self._figure(row, max(1, len(row) // self.days)) for row in rows])

    def _figure(self, row: np.ndarray, per_day: int) -> float:
        known = row[np.isfinite(row)]
        if len(known) < max(0.25 * len(row), 4):
            return np.nan
        low, middle, high = np.percentile(known, [25, 50, 75])
        if high <= low or np.mean(known == middle) > self.same:
            return np.inf
        change = np.diff(row, prepend=np.nan).reshape(-1, per_day)
        change = change - quantiles(change.T, 0.5)[0]
        near, far = np.percentile(change[np.isfinite(change)], [25, 75])
        return float((far - near) / (high - low))

    def _change(self, values: pd.Series, zone: str) -> pd.DataFrame:
        return merged(self.sudden.band(values, zone), self.sustained.band(values, zone))


def _by_quarter(rows: np.ndarray, grid: Grid) -> np.ndarray:
    """The rows (k, buckets) at a quarter of an hour a bucket, where they are finer."""
    fine = QUARTER // grid.step
    if fine < 2 or rows.shape[1] % fine:
        return rows
    parts = rows.reshape(len(rows), rows.shape[1] // fine, fine)
    count = np.isfinite(parts).sum(axis=2)
    return np.where(count > 0, np.nansum(parts, axis=2) / np.maximum(count, 1), np.nan)


def merged(sudden: pd.DataFrame, sustained: pd.DataFrame) -> pd.DataFrame:
    """One band for both questions: outside either is outside, and the nearer limit names the question.

    Where the level just now already lies outside the sustained limits, it is held wrong: then the band is the sustained one,
    so that the way back is no alarm and "still low" stays anomalous.
    """
    low, expected, high = (sudden[c].to_numpy() for c in ("low", "expected", "high"))
    least, usual, most = (sustained[c].to_numpy() for c in ("low", "expected", "high"))
    wrong = (expected < least) | (expected > most)
    nearer_low, nearer_high = wrong | (least > low) | np.isnan(low), wrong | (most < high) | np.isnan(high)
    known = ~np.isnan(least)
    nearer_low, nearer_high = nearer_low & known, nearer_high & known
    return pd.DataFrame(
        {
            "low": np.where(nearer_low, least, low),
            "expected": np.where((wrong | np.isnan(expected)) & known, usual, expected),
            "high": np.where(nearer_high, most, high),
            "low_rule": np.where(nearer_low, "sustained", "sudden"),
            "high_rule": np.where(nearer_high, "sustained", "sudden"),
            "sudden_low": low,
            "sudden_high": high,
            "gap": sudden["gap"],
            "usual": sudden["usual"],
        },
        index=sudden.index,
    )
