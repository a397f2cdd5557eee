"""A table of metrics as a source: CSV or Parquet, one row per value (series, ts, value), or any other columns.

The grid of a series (step and phase) is found from the times of its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alerting.model.clock import DAY, day_phase, iso_text, standard_offset
from alerting.model.errors import SourceError
from alerting.model.metric import MAX_VALUE, STEP, Query
from alerting.sources.base import BaseSource, buckets_within
from alerting.sources.table_rows import read_rows

MIN_GAPS, MIN_GAP_SHARE = 5, 0.01  # no row means zero in a count with at least this many gaps, and this share of gaps
NS = 10**9
MIN_STEP, MAX_STEP = timedelta(minutes=1), DAY  # limits of a metric's step
ALIKE = 0.2  # relative difference up to which two distances of rows may be the same step
REGULAR = 2 / 3  # share of the rows that agree to the nanosecond if the times are exact
ROUND_STEPS = [60 * m for m in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 10080)]  # seconds
ROUND_PHASES = (3600, 1800, 900, 300, 60, 1)  # seconds


class RowGrid(NamedTuple):
    """Buckets of `step` that start `phase` after the epoch. `zone`: the local clock that the rows follow in summer; "": UTC."""

    step: timedelta
    phase: timedelta
    zone: str = ""

    def starts(self, at: np.ndarray) -> np.ndarray:
        """Return the start of the bucket nearest to each row. `at` and the result: int64, ns since 1970 UTC."""
        step, phase = (round(length / timedelta(microseconds=1)) * 1000 for length in (self.step, self.phase))
        moved = _standard_times(at, self.zone) if self.zone else at
        nearest: np.ndarray = (moved - phase + step // 2) // step * step + phase
        return nearest


class TableSeries(NamedTuple):
    """One series, ordered by time. A value is NaN if rows contradict each other."""

    at: np.ndarray  # int64, ns since 1970 UTC, ascending, unique
    values: np.ndarray  # float64
    grid: RowGrid


NO_ROWS = TableSeries(np.empty(0, "int64"), np.empty(0), RowGrid(STEP, timedelta()))


@dataclass
class TableSource(BaseSource):
    """A source (see `model.protocols.Source`): `query.name` is a series, and the counts have one column, `value`.

    A plain date is a day of `zone`. The file is read again only if it has changed. `notes`, after reading: which columns were
    used, and which cells and rows were left out, merged or added.
    """

    path: Path
    zone: str = "UTC"
    columns_setting: str = ""  # see `table_columns.parse_columns`; "": the columns are guessed
    file_zone: str = ""  # zone of times without one
    seen: frozenset[str] = frozenset()  # series that earlier runs saw: one that is gone from the file has no rows
    notes: list[str] = field(default_factory=list, init=False)
    _series: dict[str, TableSeries] = field(default_factory=dict, init=False, repr=False)
    _read_at: tuple[int, int] | None = field(default=None, init=False, repr=False)  # mtime and size

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the mean of the rows of each bucket, float64 (see `model.protocols.Source`). Raises SourceError."""
        series = self._load()
        if query.name not in series and query.name in self.seen:
            return buckets_within(_bucket_means(NO_ROWS, query), start, end)
        if query.name not in series:
            close = get_close_matches(query.name, series, n=1)
            raise SourceError(f"{self.path} has no series {query.name!r}{f': did you mean {close[0]!r}?' if close else ''}")
        grid = series[query.name].grid
        if grid.step > MAX_STEP:
            step = f"{grid.step / timedelta(days=1):.3g} days"
            raise SourceError(f"{self.path.name}: the step of {query.name} is {step}; a minute to a day can be watched")
        return buckets_within(_bucket_means(series[query.name], query), start, end)

    def steps(self) -> dict[str, timedelta]:
        """Return series -> step, at most a day (`fetch` refuses a longer one). Raises SourceError."""
        return {name: min(series.grid.step, MAX_STEP) for name, series in self._load().items()}

    def phases(self) -> dict[str, timedelta]:
        """Return series -> how long after the epoch its buckets begin. Raises SourceError."""
        return {name: series.grid.phase if series.grid.step <= MAX_STEP else timedelta() for name, series in self._load().items()}

    def gone(self) -> frozenset[str]:
        """Return the series that earlier runs saw and that are gone from the file. Raises SourceError."""
        return self.seen - self._load().keys()

    def ends(self) -> dict[str, datetime]:
        """Return series -> end of the bucket of its last row (aware UTC), for series with rows. Raises SourceError."""
        filled = {name: series for name, series in self._load().items() if len(series.at)}
        last = {name: int(each.grid.starts(each.at[-1:])[0]) for name, each in filled.items()}
        return {name: pd.Timestamp(at, tz="UTC").to_pydatetime() + filled[name].grid.step for name, at in last.items()}

    def _load(self) -> dict[str, TableSeries]:
        """Return the series by name; read the file if it is new or has changed. Raises SourceError."""
        try:
            stat = self.path.stat()
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read ({error.strerror}): check ALERTING_SOURCE") from None
        if self._read_at != (stat.st_mtime_ns, stat.st_size):
            try:
                rows, notes = read_rows(self.path, self.zone, self.file_zone, self.columns_setting, self.seen)
                self._series, more = _tidy_series(rows, self.path, self.file_zone or self.zone)
                self.notes = notes + more
            except ImportError:
                raise SourceError(f"{self.path} cannot be read without pyarrow: `make env EXTRAS=app` installs it") from None
            except (OSError, ValueError, TypeError, NotImplementedError) as error:  # what pandas and pyarrow raise
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise SourceError(f"{self.path} cannot be read: {why[:400]}") from None
            self._read_at = (stat.st_mtime_ns, stat.st_size)
        return self._series


def _tidy_series(rows: pd.DataFrame, path: Path, zone: str) -> tuple[dict[str, TableSeries], list[str]]:
    """Return the series by name, and notes about rows that were left out, merged or added.

    Rows without a value are gaps. Identical rows count once; rows that contradict each other become one NaN. Zeros are added to
    counts without zeros (see `_with_zeros`).
    """
    notes = list[str]()

    def note(chosen: pd.Series, among: pd.DataFrame, text: str) -> None:
        if chosen.any():
            first = among[chosen].iloc[0]
            at = iso_text(pd.Timestamp(first["at"], tz="UTC").to_pydatetime(warn=False), zone)
            notes.append(f"{path.name}: {int(chosen.sum())} values {text} (first: {first['series']} at {at})")

    too_large = rows["value"].abs() >= MAX_VALUE
    note(too_large, rows, "that are infinite or far too large left out")
    found = rows[rows["value"].notna() & ~too_large].sort_values(["series", "at"], kind="stable")
    twin = found.duplicated(["series", "at", "value"])
    note(twin, found, "written twice, counted once")
    found = found[~twin]
    clash = found.duplicated(["series", "at"], keep=False)
    note(clash, found, "of one time that contradict each other; their buckets are left out")
    found = found.assign(value=found["value"].mask(clash)).drop_duplicates(["series", "at"])

    columns = {
        str(name): (group["at"].to_numpy(), group["value"].to_numpy()) for name, group in found.groupby("series", observed=True)
    }
    groups = {name: TableSeries(at, values, find_grid(at, zone)) for name, (at, values) in columns.items()}
    series = {name: groups.get(name, NO_ROWS) for name in rows["series"].unique()}
    grids = Counter(one.grid for one in series.values() if len(one.at) > 1 and one.grid.step <= MAX_STEP)
    if grids:  # a series with at most one row shows no step: take the step of the other series
        usual = grids.most_common(1)[0][0]
        series = {name: one if len(one.at) > 1 else one._replace(grid=usual) for name, one in series.items()}
    blanks = {name: set(group["at"]) for name, group in rows[rows["value"].isna()].groupby("series", observed=True)}
    return _with_zeros(series, blanks, path, notes), notes


def _with_zeros(
    series: dict[str, TableSeries], blanks: Mapping[str, set[int]], path: Path, notes: list[str]
) -> dict[str, TableSeries]:
    """Return the series. The counts of a GROUP BY get a zero for each bucket without a row in which another series has one.

    Such a count has whole numbers, a minimum of 1, and many gaps. A row without a value (`blanks`) stays a gap.
    """
    buckets = {name: one.grid.starts(one.at) for name, one in series.items()}
    by_grid: dict[RowGrid, list[np.ndarray]] = {}
    for name, one in series.items():
        by_grid.setdefault(one.grid, []).append(buckets[name])
    # Grid -> buckets in which some series has a row
    filled = {grid: np.unique(np.concatenate(parts)) for grid, parts in by_grid.items()}
    out = dict(series)
    for name, one in series.items():
        if not len(one.at) or one.values.min() != 1 or (one.values % 1 != 0).any():
            continue
        alive = filled[one.grid][filled[one.grid] > buckets[name][0]]
        absent = np.setdiff1d(
            np.setdiff1d(alive, buckets[name]), one.grid.starts(np.array(sorted(blanks.get(name, ())), "int64"))
        )
        gaps = 1 + int((np.diff(np.searchsorted(buckets[name], absent)) > 0).sum()) if len(absent) else 0
        if gaps < MIN_GAPS or gaps < MIN_GAP_SHARE * len(alive):
            continue
        at, values = np.append(one.at, absent), np.append(one.values, np.zeros(len(absent)))
        order = np.argsort(at, kind="stable")
        out[name] = one._replace(at=at[order], values=values[order])
        notes.append(
            f"{path.name}: {name} counts as 0 in {len(absent)} buckets without a row in which other series have one "
            f"(a row with 0 says so, one without a value that it is not known)"
        )
    return out


def _bucket_means(series: TableSeries, query: Query) -> pd.DataFrame:
    """Return the mean of the rows of each bucket, float64. Buckets without rows, or with a NaN among them, are left out."""
    width, phase = (length // timedelta(microseconds=1) * 1000 for length in (query.step, query.phase))
    own = series.grid.step == query.step and series.grid.phase == query.phase
    buckets = series.grid.starts(series.at) if own else (series.at - phase) // width * width + phase
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[:1] - 1))
    sizes = np.diff(np.append(starts, len(buckets)))
    values = np.add.reduceat(series.values, starts) / sizes if len(starts) else series.values
    index = pd.DatetimeIndex(buckets[starts], tz="UTC", name="bucket")
    return pd.DataFrame({"value": values}, index=index).dropna()


# The grid of rows


def find_grid(at: np.ndarray, zone: str = "UTC") -> RowGrid:
    """Return the grid of the rows `at` (ns since 1970 UTC, ascending, unique).

    The step is the most common distance of rows, rounded if rows come early or late. It is at least a minute, and may be longer
    than a day. Steps of hours or days may follow the local clock in summer; days that start at local midnight always do.
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
    """Return the times (ns) at which a clock without summer time would show the same."""
    local: np.ndarray = pd.DatetimeIndex(at, tz="UTC").tz_convert(zone).tz_localize(None).as_unit("ns").asi8
    return local - int(standard_offset(zone).total_seconds()) * NS


def _step(distances: np.ndarray) -> int:
    """Return the step in seconds, at least 1. `distances`: time between neighbouring rows, ns."""
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
    """Return the phase in seconds (0 <= phase < step), and the share of rows within a hundredth of a step of it."""
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
