"""A tidy table of other people's KPIs: CSV or Parquet with the columns series, ts and value."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.model.metric import STEP, Query
from alerting.sources.base import BaseSource
from alerting.sources.query import buckets_within

COLUMNS = ["series", "ts", "value"]
MISSING = ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "None", "\\N"]  # how tools write a value that is not there
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=1)  # what a metric's step may be
_EPOCHS = (946_684_800, 4_102_444_800)  # 2000 to 2100: outside lie milliseconds and dates such as 20261120


class TableSeries(NamedTuple):
    """One series in order. A value is NaN where rows contradict each other."""

    at: np.ndarray  # int64, ns since 1970 UTC, ascending, unique
    values: np.ndarray  # float64


@dataclass
class TableSource(BaseSource):
    """A source (see `model.Source`): `query.name` is a series, the result has one column `value`.

    `ts`: ISO 8601 or epoch seconds, UTC where no zone is given. The file is read once until it changes.
    `notes`: what was odd in it and put aside, known after the first fetch.
    """

    path: Path
    notes: list[str] = field(default_factory=list, init=False)
    _series: dict[str, TableSeries] = field(default_factory=dict, init=False, repr=False)
    _read_at: tuple[int, int] | None = field(default=None, init=False, repr=False)  # mtime and size

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Mean of the rows of each bucket, float64 (see `model.Source`). Raises SourceError."""
        known = self._load()
        if query.name not in known:
            close = get_close_matches(query.name, known, n=1)
            raise SourceError(f"{self.path} has no series {query.name!r}{f': did you mean {close[0]!r}?' if close else ''}")
        return buckets_within(_means(known[query.name], query.step), start, end)

    def steps(self) -> dict[str, timedelta]:
        """Series -> its own step: the most common distance of two rows, between a minute and a day. Raises SourceError."""
        return {name: _step(series) for name, series in self._load().items()}

    def ends(self) -> dict[str, datetime]:
        """Series -> the instant at which its last row's bucket is over; series without rows are left out. Raises SourceError."""
        known = {name: series for name, series in self._load().items() if len(series.at)}
        return {name: _instant(series) + _step(series) for name, series in known.items()}

    def _load(self) -> dict[str, TableSeries]:
        try:
            stat = self.path.stat()
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read ({error.strerror}): check ALERTING_SOURCE") from None
        if self._read_at != (stat.st_mtime_ns, stat.st_size):
            try:
                self._series, self.notes = _tidied(_parsed(_raw(self.path), self.path), self.path)
            except (OSError, ValueError, TypeError, NotImplementedError, ImportError) as error:  # what pandas and pyarrow raise
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise SourceError(f"{self.path} cannot be read: {why[:200]}") from None
            self._read_at = (stat.st_mtime_ns, stat.st_size)
        return self._series


def _raw(path: Path) -> pd.DataFrame:
    """The file as it is, `series` and `ts` of a CSV as text."""
    if path.suffix == ".parquet":
        raw = pd.read_parquet(path)
    else:  # only `value` may be missing: a series called NA or null is a series
        options = {"keep_default_na": False, "na_values": {"value": MISSING}, "low_memory": False}
        raw = pd.read_csv(path, encoding="utf-8-sig", dtype={"series": "str", "ts": "str"}, **options)
    if absent := [name for name in COLUMNS if name not in raw]:
        has = ", ".join(map(str, raw)) or "no columns"
        raise SourceError(f"{path} needs the columns {', '.join(COLUMNS)}: there is no {' and no '.join(absent)} in {has}")
    return raw


def _parsed(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """series (str), at (int64 ns since 1970 UTC), value (float64, NaN where there is none). Raises SourceError by row."""
    at = _instants(raw["ts"])
    value = pd.to_numeric(raw["value"], errors="coerce").astype("float64")
    _refuse(raw["series"].isna() | (raw["series"] == ""), raw["series"], path, "it must name the row's series")
    _refuse(at.isna(), raw["ts"], path, "it must be a time: ISO 8601, or epoch seconds")
    _refuse(value.isna() & raw["value"].notna(), raw["value"], path, "it must be a number, or nothing")
    return pd.DataFrame({"series": raw["series"].astype("str"), "at": at.astype("int64"), "value": value})


def _instants(ts: pd.Series) -> pd.Series:
    """datetime64[ns, UTC], NaT where a time cannot be read."""
    if pd.api.types.is_datetime64_any_dtype(ts):
        return pd.to_datetime(ts, utc=True).astype("datetime64[ns, UTC]")
    epoch = pd.to_numeric(ts, errors="coerce").astype("float64")
    if epoch.notna().any():
        whole = epoch.where(epoch.between(*_EPOCHS))
        return pd.to_datetime(whole, unit="s", utc=True).astype("datetime64[ns, UTC]")
    return pd.to_datetime(ts, format="ISO8601", utc=True, errors="coerce").astype("datetime64[ns, UTC]")


def _refuse(bad: pd.Series, column: pd.Series, path: Path, text: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SourceError(f"{path}, row {row + 1} below the header: {column.name} is {str(column.iloc[row])[:40]!r}; {text}")


def _tidied(rows: pd.DataFrame, path: Path) -> tuple[dict[str, TableSeries], list[str]]:
    """Rows without a value are gaps; identical ones count once; those that contradict each other become one NaN."""
    notes = _Notes(path)
    notes.add(np.isinf(rows["value"]), rows, "with an infinite value left out")
    found = rows[np.isfinite(rows["value"])].sort_values(["series", "at"], kind="stable")
    twin = found.duplicated(["series", "at", "value"])
    notes.add(twin, found, "written twice, counted once")
    found = found[~twin]
    clash = found.duplicated(["series", "at"], keep=False)
    notes.add(clash, found, "that contradict each other; their buckets are left out")
    found = found.assign(value=found["value"].mask(clash)).drop_duplicates(["series", "at"])
    none = TableSeries(np.empty(0, "int64"), np.empty(0))
    groups = {str(name): TableSeries(g["at"].to_numpy(), g["value"].to_numpy()) for name, g in found.groupby("series")}
    return {name: groups.get(name, none) for name in rows["series"].unique()}, notes.texts


class _Notes:
    """One text per kind of oddity, with its first case."""

    def __init__(self, path: Path) -> None:
        self.path, self.texts = path, list[str]()

    def add(self, odd: pd.Series, rows: pd.DataFrame, what: str) -> None:
        if odd.any():
            first = rows[odd].iloc[0]
            at = f"{pd.Timestamp(first['at'], tz='UTC'):%Y-%m-%dT%H:%MZ}"
            self.texts.append(f"{self.path.name}: {int(odd.sum())} rows {what} (first: {first['series']} at {at})")


def _instant(series: TableSeries) -> datetime:
    return pd.Timestamp(series.at[-1], tz="UTC").to_pydatetime()


def _means(series: TableSeries, step: timedelta) -> pd.DataFrame:
    """One row per bucket that has rows; none for a bucket with a NaN among its rows."""
    width = step // timedelta(microseconds=1) * 1000
    buckets = series.at // width
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[:1] - 1))
    sizes = np.diff(np.append(starts, len(buckets)))
    values = np.add.reduceat(series.values, starts) / sizes if len(starts) else series.values
    index = pd.DatetimeIndex(buckets[starts] * width, tz="UTC", name="bucket")
    return pd.DataFrame({"value": values}, index=index).dropna()


def _step(series: TableSeries) -> timedelta:
    distances, times = np.unique(np.diff(series.at), return_counts=True)
    if not len(distances):
        return STEP
    return min(max(timedelta(microseconds=int(distances[times.argmax()]) // 1000), SHORTEST), LONGEST)
