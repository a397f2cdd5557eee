"""The rows of a table file: one for each value, with its series and time, whatever the columns of the file are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.sources.table_cells import NumberMarks, TimeCells, is_empty, number_marks, to_numbers
from alerting.sources.table_columns import TableColumns, find_columns, parse_columns, read_times
from alerting.sources.table_file import TIDY, read_cells

MAX_NOTES = 10


def read_rows(path: Path, zone: str, file_zone: str, setting: str, seen: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the file's rows as series (categories), at (int64, ns since 1970 UTC) and value (float64, NaN where there is none).

    With notes: which columns were taken, where that is a guess, and cells that cannot be read. Raises SourceError where the
    columns cannot be told, or no cell of one can be read.
    """
    frame, has_semicolons, notes = read_cells(path)
    if not len(frame) and not seen:
        raise SourceError(f"{path} cannot be read: it has no rows below its header")
    if not len(frame):  # all that earlier runs saw has gone
        return pd.DataFrame({"series": pd.Categorical([]), "at": np.empty(0, "int64"), "value": np.empty(0)}), notes
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"])
    if not setting and set(TIDY) <= set(frame):
        columns, guessed = TableColumns(("ts",), ("value",), ("series",)), False
        texts = texts[[name for name in texts if name == "value"]]
        times, marks = read_times(frame, columns), _marks(texts, has_semicolons)
    else:
        marks = _marks(texts, has_semicolons)
        columns, times = find_columns(frame, marks, parse_columns(setting, list(frame)), seen)
        guessed = True
    labels = _labels(frame, columns)
    is_blank = pd.concat([is_empty(frame[name]) for name in (*columns.time, *columns.value)], axis=1).all(axis=1)
    cells = _Cells(path, frame, is_blank, notes)
    unnamed = labels.isna() if columns.series else pd.Series(False, frame.index)
    bad_row = cells.left_out(columns.series, unnamed, "it must name the row's series")
    bad_row |= cells.left_out(columns.time, times.at.isna(), "it must be a time: ISO 8601, or epoch seconds")
    kept = ~(bad_row | is_blank).to_numpy()
    parts = list[np.ndarray]()
    for name in columns.value:
        values, bad = to_numbers(frame[name], marks)
        if bad.any():
            cells.left_out((name,), bad & ~bad_row, "it must be a number, or nothing")
        parts.append(values.to_numpy()[kept])
    at = to_utc(times, labels, zone, file_zone)[kept]
    if guessed:
        naive = not (times.zoned | times.dates)[kept].all() and not file_zone
        notes.insert(0, _said(path, columns, naive))
    if len(notes) > MAX_NOTES:
        notes[MAX_NOTES:] = [f"{path.name}: {len(notes) - MAX_NOTES} more columns have cells that cannot be read"]
    names = labels[kept].astype("category") if columns.series else None
    return _long(names, at.to_numpy(), columns, parts), notes


def _marks(texts: pd.DataFrame, has_semicolons: bool) -> NumberMarks:
    """Return how the numbers among the cells of text are written; the first thousands of different ones show it."""
    some = [pd.Series(texts[name].iloc[:20_000].dropna().astype("str").unique()) for name in texts]
    return number_marks(pd.concat(some) if some else pd.Series(dtype=object), has_semicolons)


def _labels(frame: pd.DataFrame, columns: TableColumns) -> pd.Series:
    """Return the label of each row, several of them with a space between; missing where one is, and where there are none."""
    out = pd.Series(pd.NA, frame.index, dtype="object")
    for n, name in enumerate(columns.series):
        text = frame[name].astype("object").mask(is_empty(frame[name]))
        out = text.map(str, na_action="ignore") if n == 0 else out + " " + text.map(str, na_action="ignore")
    return out


def _said(path: Path, columns: TableColumns, naive: bool) -> str:
    """Return the note that says which columns were taken."""
    left_out = f", without {', '.join(columns.left_out[:12])}" if columns.left_out else ""
    zone = "; its times have no zone and are read as UTC: ALERTING_FILE_ZONE sets another" if naive else ""
    return f"{path.name} is read as ALERTING_COLUMNS={columns}{left_out}{zone}"


def _long(labels: pd.Series | None, at: np.ndarray, columns: TableColumns, parts: list[np.ndarray]) -> pd.DataFrame:
    """Return a row for each value. A series is named by the labels, or by the column, or by both where there are several."""
    count, length = len(parts), len(at)
    names = list(labels.cat.categories) if labels is not None else [""]
    codes = labels.cat.codes.to_numpy() if labels is not None else np.zeros(length, "int64")
    known = [
        name if count == 1 and labels is not None else f"{name} {value}".strip() for value in columns.value for name in names
    ]
    all_codes = np.concatenate([codes + n * len(names) for n in range(count)])
    categories, places = np.unique(np.array(known, dtype=object), return_inverse=True)
    series = pd.Categorical.from_codes(places[all_codes], categories)
    return pd.DataFrame({"series": series, "at": np.tile(at, count), "value": np.concatenate(parts)})


@dataclass
class _Cells:
    """Notes about cells that cannot be read."""

    path: Path
    frame: pd.DataFrame
    is_blank: pd.Series  # rows that have neither a time nor a value, which nobody misses
    notes: list[str]

    def left_out(self, names: tuple[str, ...], bad: pd.Series, text: str) -> pd.Series:
        """Note the bad cells of these columns in rows that are not blank. Return which. Raises SourceError if all are bad."""
        bad = bad & ~self.is_blank
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            cell = " ".join(str(self.frame[name].iloc[row]) for name in names)[:40].replace("nan", "")
            where = f"row {row + 1} below the header: {' + '.join(names)} is {cell!r}"
            if (bad | self.is_blank).all():
                raise SourceError(f"{self.path}, {where}; {text}")
            some = "1 cell" if bad.sum() == 1 else f"{bad.sum()} cells"
            self.notes.append(f"{self.path.name}: {some} of {' + '.join(names)} left out ({where}; {text})")
        return bad


def to_utc(times: TimeCells, series: pd.Series, zone: str, file_zone: str) -> pd.Series:
    """Return the times as int64, ns since 1970 UTC. A time without a zone is one of `file_zone` ("": UTC).

    A series of plain dates has midnights of `file_zone`, or else of `zone`. Of two equal times at the end of summer time the
    first is that of summer.
    """
    at, local_days = times.at, file_zone or zone
    of_days = times.dates
    if of_days.any():
        of_days = of_days & ~series.isin(series[~of_days & at.notna()].unique())
    for clock, chosen in ((file_zone or "UTC", ~times.zoned & ~of_days), (local_days, of_days)):
        if clock != "UTC" and chosen.any():
            some = at[chosen]
            is_first = ~pd.DataFrame({"at": some, "series": series[chosen]}).duplicated().to_numpy()
            local = pd.DatetimeIndex(some).tz_localize(clock, ambiguous=is_first, nonexistent="shift_forward")
            at = at.where(~chosen, pd.Series(local.tz_convert("UTC").tz_localize(None), some.index).reindex(at.index))
    return at.astype("datetime64[ns]").astype("int64")
