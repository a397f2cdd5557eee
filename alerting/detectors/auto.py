"""Automatic choice of the detector that suits a metric, from its own history; and `Level`, its choice for bursty metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.detectors.bands import BAND, SUSTAINED, BaseDetector
from alerting.detectors.seasonal_level import SeasonalLevel
from alerting.detectors.series_grid import BandColumns, Nightly, SeriesGrid, usual_gap
from alerting.detectors.special_days import widen_on_special_days
from alerting.detectors.sudden import SUDDEN, Sudden
from alerting.detectors.sustained import Sustained
from alerting.detectors.windows import hold_until_next, quantiles, values_before

CHANGE = "change"
LEVEL = "level"
OUTAGE_DAYS = 3  # days so low that they say nothing of what is usual: an outage of two days is seen to its end
QUARTER_HOUR = 900  # seconds: finer buckets are averaged to these before they are compared
MONDAYS_BACK = 4  # earlier Mondays whose choice still counts while the newest is undecided


@dataclass(frozen=True)
class Level(BaseDetector):
    """The median of four weeks, -+ `width` times the `rank`-th largest distance to it on that side. Computed every midnight.

    It finds values further from the median than almost all of those weeks, in bursty metrics, whose buckets are independent. An
    order statistic instead of a quantile: the few bursts of the weeks set the limit, however fine the buckets are (own method;
    parameters chosen in docs/research/detection.md).
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


@dataclass(frozen=True)
class AutoDetector(BaseDetector):
    """Change detectors (`Sudden` and `SeasonalLevel`) or `Level`, chosen again every Monday at local midnight from four weeks.

    c = interquartile range of the change from bucket to bucket, less the change usual at that time, over the interquartile
    range of the values. Small: a bucket predicts the next one, so an unusual change is meaningful. Large: changes are as wide as
    the metric itself, and only its level is meaningful. Between the two bounds the newest Monday with a clear c decides; without
    one, the change detectors. Counts and ratios of counts always have the change detectors, which know the noise of counting.
    """

    sudden: Sudden = field(default_factory=Sudden)
    sustained: BaseDetector = field(default_factory=SeasonalLevel)
    level: Level = field(default_factory=Level)
    days: int = 28
    to_level: float = 0.36
    to_change: float = 0.30
    same: float = 0.5  # level where more than this share of the buckets has one value
    steady: bool = True  # expected is what the sustained detector expects, where it knows
    special_days: bool = True  # what came on this day of the last two months, or on the last two holidays, may come

    @property
    def history(self) -> timedelta:
        choice = timedelta(days=self.days + 7 * (MONDAYS_BACK + 1))
        return max(choice, self.sudden.history, self.sustained.history, self.level.history)

    def bands(self, grid: SeriesGrid) -> BandColumns:
        by_level, numbers = np.zeros((len(grid.values), len(grid) - grid.since), bool), np.flatnonzero(~grid.is_count)
        if len(numbers):
            nightly = Nightly(grid.select(numbers), repr(self), self.history)
            if nightly.absent:
                nightly.add(self._nightly(nightly.grid, nightly.nights))
            by_level[numbers] = nightly.held()[0] == 1
        if by_level.any():
            columns = self._by_level_or_change(grid, by_level)
        else:
            columns = merge_bands(self.sudden.bands(grid), self.sustained.bands(grid), self.steady)
        return widen_on_special_days(grid, columns, replace(self, special_days=False)) if self.special_days else columns

    def _by_level_or_change(self, grid: SeriesGrid, by_level: np.ndarray) -> BandColumns:
        """Return the columns of `Level` where `by_level` (series, buckets) says so, of the change detectors elsewhere."""
        level_series, change_series = np.flatnonzero(by_level.any(axis=1)), np.flatnonzero(~by_level.all(axis=1))
        level = self.level.bands(grid.select(level_series)) | dict.fromkeys(("sudden_low", "sudden_high", "usual"), np.nan)
        part = grid.select(change_series)
        change = merge_bands(self.sudden.bands(part), self.sustained.bands(part), self.steady) if len(change_series) else {}

        # A series may be judged by both, before and after a Monday
        columns: BandColumns = {}
        for name, column in level.items():
            kind = object if isinstance(column, str) else float
            of_level, of_change = np.empty(by_level.shape, dtype=kind), np.empty(by_level.shape, dtype=kind)
            of_level[level_series] = column
            if change:
                of_change[change_series] = change[name]
            columns[name] = np.where(by_level, of_level, of_change)
        return columns

    def reason(self, values: pd.Series, zone: str = "UTC", counted: bool = False) -> str:
        """Return in words which detectors judge the newest bucket, and why."""
        if counted:
            return f"{CHANGE} rule, because it is a count or a ratio of counts"
        grid = SeriesGrid.at(values.index, values.to_numpy(float)[None, :], zone)
        ratios = [c for c in self._mondays(grid)[1][0][-MONDAYS_BACK:] if c == c]
        by_level = self._nightly(grid, grid.starts())[0, 0]
        name = LEVEL if (by_level[-1:] == 1).any() else CHANGE
        if not ratios:
            return f"{name} rule, because there is less than a week of history on a Monday"
        if ratios[-1] == np.inf:
            return f"{name} rule, because most buckets have one and the same value"
        if self.to_change <= ratios[-1] <= self.to_level:
            why = "it was so before, and nothing speaks clearly against it"
        else:
            why = "a bucket tells the next" if ratios[-1] < self.to_change else "a bucket does not tell the next"
        return f"{name} rule, because {why}: c = {ratios[-1]:.2f}"

    def _nightly(self, grid: SeriesGrid, nights: np.ndarray) -> np.ndarray:
        """Return (1, series, nights): 1 for the level detector, 0 or NaN for the change detectors."""
        mondays, ratios = self._mondays(replace(grid, since=int(nights[0]) if len(nights) else 0))
        clear = np.where(ratios > self.to_level, 1.0, np.where(ratios < self.to_change, 0.0, np.nan))
        padded = np.concatenate([np.full((len(clear), MONDAYS_BACK), np.nan), clear], axis=1)
        choice = np.full(clear.shape, np.nan)
        for back in range(MONDAYS_BACK, -1, -1):  # the newest clear choice is written last
            earlier = padded[:, MONDAYS_BACK - back : padded.shape[1] - back]
            choice = np.where(np.isnan(earlier), choice, earlier)
        return hold_until_next(choice, mondays, len(grid))[None, :, nights]

    def _mondays(self, grid: SeriesGrid) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of Mondays' first buckets, and c of the weeks before each (series, Mondays)."""
        mondays = grid.starts(weekday=0, earlier=MONDAYS_BACK)
        rows = values_before(grid.values, mondays, self.days * grid.per_day)
        ratios = [[self._ratio(row, max(1, len(row) // self.days)) for row in _by_quarter_hour(one, grid)] for one in rows]
        return mondays, np.array(ratios).reshape(len(rows), len(mondays))

    def _ratio(self, row: np.ndarray, per_day: int) -> float:
        """Return c of the values of some weeks: inf where most are the same value, NaN where too few are present."""
        present = row[np.isfinite(row)]
        if len(present) < max(0.25 * len(row), 4):
            return np.nan
        low, middle, high = np.percentile(present, [25, 50, 75])
        if high <= low or np.mean(present == middle) > self.same:
            return np.inf
        change = np.diff(row, prepend=np.nan).reshape(-1, per_day)
        change = change - quantiles(change.T, 0.5)[0]
        change = change[np.isfinite(change)]
        if not len(change):
            return np.nan
        change_low, change_high = np.percentile(change, [25, 75])
        return float((change_high - change_low) / (high - low))


@dataclass(frozen=True)
class Chosen(AutoDetector):
    """The default detector of version 1, with `Sustained`. It stays until the next release, for a catalogue that names it."""

    sudden: Sudden = field(default_factory=lambda: Sudden(usual_days=14, by_kind=False))
    sustained: BaseDetector = field(default_factory=Sustained)
    steady: bool = False
    special_days: bool = False

    def bands(self, grid: SeriesGrid) -> BandColumns:
        none = np.zeros(len(grid.values), bool)
        return super().bands(replace(grid, is_count=none, denominators=None))  # a count was judged as any other number

    def reason(self, values: pd.Series, zone: str = "UTC", counted: bool = False) -> str:
        return super().reason(values, zone)


def _by_quarter_hour(rows: np.ndarray, grid: SeriesGrid) -> np.ndarray:
    """Return the rows (k, buckets) averaged to a quarter of an hour a bucket, where they are finer."""
    fine = QUARTER_HOUR // grid.step
    if fine < 2 or rows.shape[1] % fine:
        return rows
    parts = rows.reshape(len(rows), rows.shape[1] // fine, fine)
    count = np.isfinite(parts).sum(axis=2)
    return np.where(count > 0, np.nansum(parts, axis=2) / np.maximum(count, 1), np.nan)


def merge_bands(sudden: BandColumns, sustained: BandColumns, steady: bool) -> BandColumns:
    """Return one band: outside either is outside, and the nearer limit sets the rule.

    Where the recent level already lies outside the sustained limits, the band is the sustained one, so that the return to normal
    is no alarm and a value that is still low stays anomalous. `steady`: expected is always that of the sustained band.
    """
    low, expected, high = (np.asarray(sudden[side]) for side in BAND)
    sustained_low, usual, sustained_high = (np.asarray(sustained[side]) for side in BAND)
    level_wrong, known = (expected < sustained_low) | (expected > sustained_high), ~np.isnan(sustained_low)
    by_sustained_low = (level_wrong | (sustained_low > low) | np.isnan(low)) & known
    by_sustained_high = (level_wrong | (sustained_high < high) | np.isnan(high)) & known
    new_low, new_high = np.where(by_sustained_low, sustained_low, low), np.where(by_sustained_high, sustained_high, high)
    return {
        "low": new_low,
        "expected": np.where((steady | level_wrong | np.isnan(expected)) & known, usual, expected),
        "high": new_high,
        "low_rule": np.where(by_sustained_low, SUSTAINED, SUDDEN),
        "high_rule": np.where(by_sustained_high, SUSTAINED, SUDDEN),
        "sudden_low": low,
        "sudden_high": high,
        "gap": sudden["gap"],
        "usual": sudden["usual"],
    }
