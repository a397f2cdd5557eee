"""Read a table file of any form and columns. The result has one row for each value, with its series and time."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from alerting.model.errors import SourceError
from alerting.sources.table_cells import MISSING, TimeCells, is_empty, looks_like_time, number_marks, to_numbers
from alerting.sources.table_columns import TableColumns, find_columns, parse_columns, read_times

TIDY = ("series", "ts", "value")  # the columns of a table that is read without a guess
SEPARATORS = ";\t|,"  # in order of preference: if another one fits as well, the comma is a mark within numbers
HEAD = 1 << 16  # bytes that are read to find the form of the file
MAX_CELLS_FOR_MARKS = 20_000  # cells of a column that are read to find how its numbers are written
MAX_NOTES, MAX_LEFT_OUT = 10, 12  # notes in all; names of columns in one note


def read_rows(path: Path, zone: str, file_zone: str, setting: str, seen: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the file's rows with the columns series (categories), at (int64, ns since 1970 UTC), value (float64, NaN for none).

    The second value is notes: which columns were used, if they were guessed, and which cells cannot be read. Raises SourceError
    if the columns cannot be found, or no cell of a column can be read.
    """
    frame, has_semicolons, notes = read_cells(path)
    if not len(frame) and not seen:
        raise SourceError(f"{path} cannot be read: it has no rows below its header")
    if not len(frame):  # all series that earlier runs saw are gone
        return pd.DataFrame({"series": pd.Categorical([]), "at": np.empty(0, "int64"), "value": np.empty(0)}), notes
    is_tidy = not setting and set(TIDY) <= set(frame)
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"])
    texts = texts[[name for name in texts if name == "value" or not is_tidy]]
    some = [pd.Series(texts[name].iloc[:MAX_CELLS_FOR_MARKS].dropna().astype("str").unique()) for name in texts]
    marks = number_marks(pd.concat(some) if some else pd.Series(dtype=object), has_semicolons)
    if is_tidy:
        columns = TableColumns(("ts",), ("value",), ("series",))
        times = read_times(frame, columns)
    else:
        columns, times = find_columns(frame, marks, parse_columns(setting, list(frame)), seen)

    labels = _labels(frame, columns)
    cells = _CheckedCells(path, frame, columns, notes)
    unnamed = labels.isna() if columns.series else pd.Series(False, frame.index)
    bad_row = cells.left_out(columns.series, unnamed, "it must name the row's series")
    bad_row |= cells.left_out(columns.time, times.at.isna(), "it must be a time: ISO 8601, or epoch seconds")
    kept = ~(bad_row | cells.is_blank).to_numpy()
    values = list[np.ndarray]()
    for name in columns.value:
        numbers, bad = to_numbers(frame[name], marks)
        cells.left_out((name,), bad & ~bad_row, "it must be a number, or nothing")
        values.append(numbers.to_numpy()[kept])
    if not is_tidy:
        left_out = f", without {', '.join(columns.left_out[:MAX_LEFT_OUT])}" if columns.left_out else ""
        naive = not (times.zoned | times.dates)[kept].all() and not file_zone
        advice = "; its times have no zone and are read as UTC: ALERTING_FILE_ZONE sets another" if naive else ""
        notes.insert(0, f"{path.name} is read as ALERTING_COLUMNS={columns}{left_out}{advice}")
    if len(notes) > MAX_NOTES:
        notes[MAX_NOTES:] = [f"{path.name}: {len(notes) - MAX_NOTES} more columns have cells that cannot be read"]
    return _one_row_per_value(labels[kept], to_utc(times, labels, zone, file_zone)[kept], columns, values), notes


def _labels(frame: pd.DataFrame, columns: TableColumns) -> pd.Series:
    """Return the label of each row: its label columns with a space between; missing if one is missing or there are none."""
    out = pd.Series(pd.NA, frame.index, dtype="object")
    for n, name in enumerate(columns.series):
        text = frame[name].astype("object").mask(is_empty(frame[name])).map(str, na_action="ignore")
        out = text if n == 0 else out + " " + text
    return out


@dataclass
class _CheckedCells:
    """The cells of a table, and notes about those that cannot be read."""

    path: Path
    frame: pd.DataFrame
    columns: TableColumns
    notes: list[str]

    def __post_init__(self) -> None:
        """Find the rows that have neither a time nor a value: they are left out without a note."""
        names = (*self.columns.time, *self.columns.value)
        self.is_blank = pd.concat([is_empty(self.frame[name]) for name in names], axis=1).all(axis=1)

    def left_out(self, names: tuple[str, ...], bad: pd.Series, text: str) -> pd.Series:
        """Add a note about the bad cells of these columns, in rows that are not blank. Return these rows (bool).

        Raises SourceError if all are bad.
        """
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


def _one_row_per_value(labels: pd.Series, at: pd.Series, columns: TableColumns, values: list[np.ndarray]) -> pd.DataFrame:
    """Return a row for each value. The name of a series is its label, or its value column, or both if there are several."""
    if not columns.series:
        series = [pd.Categorical.from_codes(np.zeros(len(at), "int8"), [name.strip()]) for name in columns.value]
    else:
        series = [pd.Categorical(labels)]
        codes, categories = series[0].codes, series[0].categories
        if len(values) > 1:
            series = [pd.Categorical((categories + f" {name}").str.strip().take(codes)) for name in columns.value]
    all_series = union_categoricals(series, sort_categories=True)
    return pd.DataFrame({"series": all_series, "at": np.tile(at.to_numpy(), len(values)), "value": np.concatenate(values)})


def to_utc(times: TimeCells, series: pd.Series, zone: str, file_zone: str) -> pd.Series:
    """Return the times as int64, ns since 1970 UTC. A time without a zone is local time of `file_zone` ("": UTC).

    Plain dates are midnights of `file_zone` or, without one, of `zone`. Of two equal times at the end of summer time, the first
    is in summer time.
    """
    at, of_days = times.at, times.dates
    if of_days.any():
        of_days = of_days & ~series.isin(series[~of_days & at.notna()].unique())
    for clock, chosen in ((file_zone or "UTC", ~times.zoned & ~of_days), (file_zone or zone, of_days)):
        if clock != "UTC" and chosen.any():
            some = at[chosen]
            is_first = ~pd.DataFrame({"at": some, "series": series[chosen]}).duplicated().to_numpy()
            local = pd.DatetimeIndex(some).tz_localize(clock, ambiguous=is_first, nonexistent="shift_forward")
            at = at.where(~chosen, pd.Series(local.tz_convert("UTC").tz_localize(None), some.index).reindex(at.index))
    return at.astype("datetime64[ns]").astype("int64")


# The form of a file: encoding, separator, lines above the header, compression


def read_cells(path: Path) -> tuple[pd.DataFrame, bool, list[str]]:
    """Return the cells of a .csv, .tsv (also .gz) or .parquet file, whether semicolons separate its columns, and notes.

    Raises SourceError, or any error of pandas.
    """
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        frame = frame.reset_index(drop=pd.api.types.is_integer_dtype(frame.index) and frame.index.name is None)
        return frame.rename(columns=str), False, []
    encoding, separator, skipped, names = _form(path)
    options: dict[str, Any] = {"na_values": [""], "dtype": "str" if separator in ";\t" else None}
    if set(TIDY) <= set(names) and separator == ",":  # only `value` may be missing: NA may be the name of a series
        options = {"na_values": {"value": MISSING}, "dtype": {"series": "str", "ts": "str"}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path, sep=separator, encoding=encoding, skiprows=skipped, keep_default_na=False,
            on_bad_lines="warn", low_memory=False, **options,
        )  # fmt: skip
    bad_lines = [line for warning in caught for line in re.findall(r"Skipping line.*", str(warning.message))]
    count = "1 line" if len(bad_lines) == 1 else f"{len(bad_lines)} lines"
    lines = f"{count} with too many cells left out (first: {bad_lines[0]})" if bad_lines else ""
    if len(bad_lines) > len(frame):
        raise SourceError(f"{path} cannot be read: {lines}")
    if not isinstance(frame.index, pd.RangeIndex):  # rows begin with a number that the header does not name
        frame = frame.reset_index(drop=True)
    frame.columns = [name.removeprefix("#").strip() for name in map(str, frame)]
    for name in frame if separator in ";\t" else ():  # whole numbers; a text with a leading zero is a code
        if frame[name].str.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", na=False).all():
            frame[name] = pd.to_numeric(frame[name])
    return frame, separator == ";", [f"{path.name}: {lines}"] if lines else []


def _form(path: Path) -> tuple[str, str, int, list[str]]:
    """Return encoding, separator, number of lines above the header, and the header's names."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head: bytes = file.read(HEAD)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        raise SourceError(f"{path} cannot be read: its text is not UTF-8; save it as 'CSV UTF-8'") from None
    lines = text.splitlines()[: -1 if len(head) == HEAD else None]
    filled = [n for n, line in enumerate(lines) if line.strip(" ,;\t\0") and not line.startswith(("#", "sep="))]
    if not filled:
        raise SourceError(f"{path} cannot be read: it is empty")

    separator, rows = _split([lines[n] for n in filled])
    usual = Counter(map(len, rows)).most_common(1)[0][0]
    titles = {n for n, row in enumerate(rows) if row[0].strip() and not any(cell.strip() for cell in row[1:])}
    at = next((n for n, row in enumerate(rows) if len(row) == usual - 1 > 1 or (len(row) == usual and n not in titles)), 0)
    line, names = filled[at], rows[at]
    if _is_data(names):  # the header may be a comment: `# time,value`
        line -= 1
        names = next(csv.reader([lines[line].lstrip("# ")], delimiter=separator)) if line >= 0 else []
        if len(names) != usual or _is_data(names):
            raise SourceError(f"{path} needs a first line with the names of its columns: it begins with {rows[at][:4]}")
    return encoding, separator, line, [name.strip() for name in names]


def _split(lines: list[str]) -> tuple[str, list[list[str]]]:
    """Return the separator with which the most lines have the same number of cells, and the rows of cells."""
    split = {separator: list(csv.reader(lines, delimiter=separator)) for separator in SEPARATORS}
    fits = dict[str, tuple[bool, float, int]]()
    for separator, rows in split.items():
        usual, count = Counter(map(len, rows)).most_common(1)[0]
        fits[separator] = (usual > 1, round(count / len(rows), 1), usual)
    best = max(SEPARATORS, key=fits.__getitem__)
    return best, split[best]


def _is_data(row: list[str]) -> bool:
    """Return whether the cells are data, not names of columns."""
    return any(looks_like_time(cell) for cell in row) or all(re.fullmatch(r"[-+\d.,]+", cell.strip()) for cell in row)
