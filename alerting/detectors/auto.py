"""Which rule suits a metric, by its own history, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND, BandColumns, BaseDetector, band_frame
from alerting.detectors.level import LEVEL, Level
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained
from alerting.detectors.windows import hold_until_next, quantiles, values_before

CHANGE = "change"
QUARTER_HOUR = 900  # seconds: finer buckets are averaged to these before they are compared
MONDAYS_BACK = 4  # Mondays back whose answer is asked while the newest is undecided


@dataclass(frozen=True)
class AutoDetector(BaseDetector):
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
        choice = timedelta(days=self.days + 7 * (MONDAYS_BACK + 1))
        return max(choice, self.sudden.history, self.sustained.history, self.level.history)

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high (float64, the values' units), low_rule, high_rule (which question set that limit),
        sudden_low, sudden_high (the sudden limits), gap (missing buckets in a row that are usual) and usual (see `Sudden`).

        NaN where the past is too little.
        """
        return band_frame(self.bands(SeriesGrid.of(values, zone)), values.index)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        """The columns of `band` for the buckets that are asked for: (series, n - since) each."""
        by_level = grid.nightly(repr(self), self.history, self._nightly)[0] == 1
        at_times, always = np.flatnonzero(by_level.any(axis=1)), np.flatnonzero(by_level.all(axis=1))
        if not len(at_times):
            return self._change(grid)
        level = {**self.level.bands(grid.only(at_times)), **dict.fromkeys(("sudden_low", "sudden_high", "usual"), np.nan)}
        rest = np.setdiff1d(np.arange(len(by_level)), always)
        change = self._change(grid.only(rest)) if len(rest) else {}
        return {name: _either(by_level, (at_times, column), (rest, change.get(name))) for name, column in level.items()}

    def reason(self, values: pd.Series, zone: str = "UTC") -> str:
        """Why the newest bucket is judged by the rule it is judged by."""
        grid = SeriesGrid.of(values, zone)
        figures = self._figures(grid)[1][0]
        by_level = grid.nightly("", self.history, self._nightly)[0, 0]
        name = LEVEL if (by_level[-1:] == 1).any() else CHANGE
        known = [c for c in figures[-MONDAYS_BACK:] if c == c]
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

    def _nightly(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """(1, series, nights): 1 for the level rule."""
        late = replace(grid, since=int(nights[0]) if len(nights) else 0)
        mondays, figures = self._figures(late)
        clear = np.where(figures > self.to_level, 1.0, np.where(figures < self.to_change, 0.0, np.nan))
        padded = np.concatenate([np.full((len(clear), MONDAYS_BACK), np.nan), clear], axis=1)
        answer = np.full(clear.shape, np.nan)
        for back in range(MONDAYS_BACK, -1, -1):  # the newest clear answer is written last
            asked = padded[:, MONDAYS_BACK - back : padded.shape[1] - back]
            answer = np.where(np.isnan(asked), answer, asked)
        return hold_until_next(answer, mondays, grid.length)[None, :, nights]

    def _figures(self, grid: SeriesGrid) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the Mondays' first buckets, and c of the weeks before each (series, Mondays); inf for one value, NaN for
        too little."""
        nights = grid.beginnings()
        mondays = grid.due(nights[grid.weekday[nights] == 0], MONDAYS_BACK)
        rows = values_before(grid.values, mondays, self.days * grid.per_day)
        figures = [[self._figure(row, max(1, len(row) // self.days)) for row in _by_quarter(one, grid)] for one in rows]
        return mondays, np.array(figures).reshape(len(rows), len(mondays))

    def _figure(self, row: np.ndarray, per_day: int) -> float:
        known = row[np.isfinite(row)]
        if len(known) < max(0.25 * len(row), 4):
            return np.nan
        low, middle, high = np.percentile(known, [25, 50, 75])
        if high <= low or np.mean(known == middle) > self.same:
            return np.inf
        change = np.diff(row, prepend=np.nan).reshape(-1, per_day)
        change = change - quantiles(change.T, 0.5)[0]
        change = change[np.isfinite(change)]
        if not len(change):
            return np.nan
        near, far = np.percentile(change, [25, 75])
        return float((far - near) / (high - low))

    def _change(self, grid: SeriesGrid) -> BandColumns:
        return merge_bands(self.sudden.bands(grid), self.sustained.bands(grid))


Chosen = AutoDetector  # its name in catalogues written before

SeriesPart = tuple[np.ndarray, np.ndarray | str | float | None]  # which series, and their column; None where there are no series


def _either(which: np.ndarray, one: SeriesPart, other: SeriesPart) -> np.ndarray:
    """(series, buckets): `one` where `which`, else `other`."""
    shape = which.shape
    parts = [np.empty(shape, dtype=object if isinstance(one[1], str) else float) for _ in range(2)]
    for part, (series, column) in zip(parts, (one, other), strict=True):
        if column is not None:
            part[series] = column
    return np.where(which, *parts)


def _by_quarter(rows: np.ndarray, grid: SeriesGrid) -> np.ndarray:
    """The rows (k, buckets) at a quarter of an hour a bucket, where they are finer."""
    fine = QUARTER_HOUR // grid.step
    if fine < 2 or rows.shape[1] % fine:
        return rows
    parts = rows.reshape(len(rows), rows.shape[1] // fine, fine)
    count = np.isfinite(parts).sum(axis=2)
    return np.where(count > 0, np.nansum(parts, axis=2) / np.maximum(count, 1), np.nan)


def merge_bands(sudden: BandColumns, sustained: BandColumns) -> BandColumns:
    """One band for both questions: outside either is outside, and the nearer limit names the question.

    Where the level just now already lies outside the sustained limits, it is held wrong: then the band is the sustained one,
    so that the way back is no alarm and "still low" stays anomalous.
    """
    low, expected, high = (np.asarray(sudden[side]) for side in BAND)
    least, usual, most = (np.asarray(sustained[side]) for side in BAND)
    wrong = (expected < least) | (expected > most)
    nearer_low, nearer_high = wrong | (least > low) | np.isnan(low), wrong | (most < high) | np.isnan(high)
    known = ~np.isnan(least)
    nearer_low, nearer_high = nearer_low & known, nearer_high & known
    return {
        "low": np.where(nearer_low, least, low),
        "expected": np.where((wrong | np.isnan(expected)) & known, usual, expected),
        "high": np.where(nearer_high, most, high),
        "low_rule": np.where(nearer_low, "sustained", "sudden"),
        "high_rule": np.where(nearer_high, "sustained", "sudden"),
        "sudden_low": low,
        "sudden_high": high,
        "gap": sudden["gap"],
        "usual": sudden["usual"],
    }
