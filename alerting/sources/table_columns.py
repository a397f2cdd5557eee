"""The columns of a table: which hold the time, the labels of series and the values, by the setting or by the cells."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_integer_dtype, is_numeric_dtype

from alerting.metric_values import column_list
from alerting.sources.table_cells import NumberMarks, TimeCells, is_empty, looks_like_time, time_of_day, to_numbers, to_times

SAMPLE = 200  # number of cells from which the kind of a column is guessed
READABLE = 0.8  # share of them that must be times or numbers
TIME_NAMES = {
    "ts", "t", "time", "timestamp", "datetime", "date_time", "date", "ds", "dt", "at", "epoch", "unixtime", "unix_time",
    "время", "дата", "datum",
}  # fmt: skip
HOUR_NAMES = {"hr", "hour", "hours", "час"}
SERIES_NAMES = {"series", "series_id", "unique_id", "metric", "metric_name", "kpi", "indicator", "метрика", "показатель", "ряд"}
PARTS = ("year", "month", "day", "hour", "minute")
REPEATED = 0.02  # if more rows than this share have the time of an earlier row, label columns are looked for
MOST_REPEATED = 0.5  # from this share on, the series of a label need not have a row in most buckets
FILLED = 0.5  # least share of the buckets in which the series of a label have a row
MAX_SPELLED = 12  # values that a note lists
FORM = "time=...,value=...,series=... (several columns of one kind: a+b)"


@dataclass(frozen=True)
class TableColumns:
    """Names of a table's columns, by their contents. `dates`: order of day and month, dmy or mdy; "" if the cells show it.

    Several time columns are a date and a time of day, or year, month, day and so on. `left_out`: columns that are not read.
    """

    time: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    dates: str = ""
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """Return the columns in the form of the setting."""
        value = self.value[:MAX_SPELLED]
        parts = {"time": self.time, "value": value, "series": self.series, "dates": (self.dates,) if self.dates else ()}
        text = ",".join(f"{kind}={'+'.join(names)}" for kind, names in parts.items() if names)
        more = len(self.value) - len(value)
        return text.replace("+".join(value), "+".join(value) + f"+ {more} more") if more else text


def parse_columns(text: str, present: Collection[str]) -> TableColumns:
    """Return the columns that a setting names, such as time=ts,value=a+b,series=city. `present`: columns of the table.

    Raises ValueError for a column that is absent.
    """
    parts = dict(part.split("=", 1) for part in re.split(r"\s*,\s*(?=(?:time|value|series|dates)=)", text) if part)
    found = dict[str, tuple[str, ...]]()
    for kind in ("time", "value", "series"):
        written = parts.get(kind, "").strip()
        names = (written,) if written in present else tuple(name.strip() for name in written.split("+") if name.strip())
        for name in names:
            if name not in present:
                close = get_close_matches(name, present, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {column_list(present, MAX_SPELLED)}"
                raise ValueError(f"ALERTING_COLUMNS names {name!r}, which is no column: {hint}")
        found[kind] = names
    return TableColumns(**found, dates=parts.get("dates", "").strip())


def find_columns(
    frame: pd.DataFrame, marks: NumberMarks, given: TableColumns, kept: Collection[str] = ()
) -> tuple[TableColumns, TimeCells]:
    """Return the columns and the times of the rows. Columns of `given` are not changed. `kept`: values that were watched before.

    Raises ValueError if the cells do not show which column is the time or the value.
    """
    columns = replace(given, time=given.time or _time_columns(frame))
    times = read_times(frame, columns)
    used = {*columns.time, *columns.value, *columns.series}
    counters = {name for name in frame if name not in kept and _numbers_rows(frame[name])}
    free = [name for name in frame if name not in used]
    numeric = [name for name in free if name not in counters and _are_numbers(frame[name], marks)]
    if not columns.series and not (columns.value and len(columns.value) == 1 and not times.at.duplicated().any()):
        texts = [name for name in free if name not in numeric and name not in counters]
        columns = replace(columns, series=_label_columns(frame, times.at, texts, [] if columns.value else numeric))
    if not columns.value:
        numeric = [name for name in numeric if name not in columns.series] or [*counters - {*columns.time, *columns.series}]
        clocked = _clock_columns(frame[numeric], times.at)
        value = tuple(name for name in numeric if name not in clocked or name in kept) or tuple(numeric)
        columns = replace(columns, value=value)
    if not columns.value:
        among = column_list(frame, MAX_SPELLED)
        raise ValueError(f"no column of numbers among {among}: name them in ALERTING_COLUMNS, as in {FORM}")
    used = {*columns.time, *columns.value, *columns.series}
    return replace(columns, left_out=tuple(name for name in frame if name not in used)), times


def read_times(frame: pd.DataFrame, columns: TableColumns) -> TimeCells:
    """Return the times of the rows, from one column, from a date and a time of day, or from year, month, day and so on.

    Raises ValueError if day and month cannot be told apart.
    """
    first, *others = columns.time
    years = pd.to_numeric(frame[first], errors="coerce") if others else pd.Series(dtype=float)
    if len(others) > 1 and years.between(1900, 2100).mean() >= READABLE:
        parts = {part: pd.to_numeric(frame[name], errors="coerce") for part, name in zip(PARTS, columns.time, strict=False)}
        at = pd.to_datetime(pd.DataFrame(parts), errors="coerce").astype("datetime64[ns]")
        return TimeCells(at, pd.Series(False, frame.index), pd.Series(len(others) == 2, frame.index))
    times = to_times(frame[first], columns.dates)
    if times.unclear:
        advice = "say which by ALERTING_COLUMNS=dates=dmy or dates=mdy"
        raise ValueError(f"{first} {times.unclear!r} may begin with the day or with the month: {advice}")
    if not others:
        return times
    at = times.at
    for name, unit in zip(others, ("hours", "minutes"), strict=False):
        numbers = pd.to_numeric(frame[name], errors="coerce")
        at = at + (time_of_day(frame[name]) if numbers.isna().all() else pd.to_timedelta(numbers, unit=unit))
    return TimeCells(at.astype("datetime64[ns]"), times.zoned, pd.Series(False, frame.index))


def _sample(cells: pd.Series) -> pd.Series:
    """Return about SAMPLE cells that are not empty, spread over the column."""
    filled = np.flatnonzero(~is_empty(cells).to_numpy())
    return cells.iloc[filled[:: max(1, len(filled) // SAMPLE)]]


def _are_numbers(cells: pd.Series, marks: NumberMarks) -> bool:
    """Return whether the column has numbers; some cells may be missing."""
    if is_numeric_dtype(cells) and not is_bool_dtype(cells):
        return bool(cells.notna().any())
    values, bad = to_numbers(_sample(cells), marks)
    return bool(values.notna().any() and values.notna().sum() >= READABLE * (values.notna() | bad).sum())


def _time_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the time columns. Raises ValueError if there is none, or more than one column may be the time."""
    lower = {name.lower(): name for name in frame}
    found = [name for name in frame if _may_be_time(frame[name], name)]
    if not found and {"year", "month", "day"} <= lower.keys():
        return tuple(lower[part] for part in PARTS if part in lower)
    if not found:
        raise ValueError(f"no column of times among {column_list(frame, MAX_SPELLED)}: name it in ALERTING_COLUMNS, as in {FORM}")
    for better in (
        [name for name in found if not is_numeric_dtype(frame[name])],
        [name for name in found if not to_times(_sample(frame[name]), "mdy").dates.all()],  # a date and a time: the time
        [name for name in found if name.lower() in TIME_NAMES],
    ):
        found = [name for name in found if name in better] or found
    if len(found) > 1:
        raise ValueError(f"the time may be {' or '.join(found)}: say which by ALERTING_COLUMNS=time={found[0]}")
    (time,) = found
    if not to_times(_sample(frame[time]), "mdy").dates.all() or not frame[time].duplicated().any():
        return (time,)
    texts = [name for name in frame if name != time and not is_numeric_dtype(frame[name])]
    of_day = [name for name in texts if time_of_day(_sample(frame[name])).notna().mean() == 1]
    hours = [
        name for name in frame if name.lower() in HOUR_NAMES and pd.to_numeric(frame[name], errors="coerce").between(0, 24).all()
    ]
    return (time, *(of_day or hours)[:1])


def _may_be_time(cells: pd.Series, name: str) -> bool:
    some = _sample(cells)
    if is_datetime64_any_dtype(cells):
        return True
    if is_bool_dtype(cells) or not len(some):
        return False
    if is_numeric_dtype(some) and some.median() < 1e7 and name.lower() not in TIME_NAMES:  # no epoch, no 20261120
        return False
    numbers = pd.to_numeric(some, errors="coerce")
    if numbers.notna().mean() >= READABLE:
        steps = numbers.diff().dropna()
        in_order = bool(
            max((steps >= 0).mean(), (steps <= 0).mean()) >= READABLE and numbers.nunique() * 2 > min(len(numbers), 3)
        )
        is_whole = bool((numbers % 1 == 0).all())
        is_likely = name.lower() in TIME_NAMES or (is_whole and (in_order or not 1e8 < numbers.median() < 1e12))
        return is_likely and bool(to_times(some).at.notna().mean() >= READABLE)
    is_like = some.astype("str").map(looks_like_time)
    return bool(is_like.mean() >= READABLE) and bool(to_times(some, "mdy").at.notna().mean() >= READABLE)


def _numbers_rows(cells: pd.Series) -> bool:
    """Return whether the cells are row numbers: each is one more than the cell before."""
    if not is_integer_dtype(cells) or len(cells) < 3 or cells.iloc[2] - cells.iloc[0] != 2:
        return False
    return bool((np.diff(cells.to_numpy()) == 1).all())


def _label_columns(frame: pd.DataFrame, at: pd.Series, texts: list[str], numbers: list[str]) -> tuple[str, ...]:
    """Return the columns by which rows with the same time differ; none if hardly any two rows have the same time.

    Raises ValueError if most rows have the time of another row and no column makes them differ.
    """
    named = tuple(name for name in texts if name.lower() in SERIES_NAMES)[:1]
    repeated = float(at.duplicated().mean())
    if repeated < REPEATED:
        return named
    chosen, left = _telling_apart(frame, at, [*named], [name for name in texts if name not in named])
    per_time = int(at.value_counts().iloc[0])
    if left > REPEATED * len(at):  # shops and the like have numbers
        few = [name for name in numbers if frame[name].nunique() <= 2 * per_time]
        more, left = _telling_apart(frame, at, chosen, few)
        chosen = more if left <= REPEATED * len(at) else chosen
    rows_of_each = len(at) / max(1, len(frame[chosen].drop_duplicates()))
    is_apart = left <= REPEATED * len(at) and (rows_of_each >= 3 or len(at) < SAMPLE)  # not ids of single events
    if named or (is_apart and (repeated >= MOST_REPEATED or _filled(frame, at, chosen) >= FILLED)):
        return tuple(chosen)
    if repeated >= MOST_REPEATED:
        raise ValueError(
            f"{repeated:.0%} of the rows have the time of another row, and no column tells them apart: "
            f"name the columns in ALERTING_COLUMNS, as in {FORM}"
        )
    return ()


def _telling_apart(frame: pd.DataFrame, at: pd.Series, chosen: list[str], others: list[str]) -> tuple[list[str], int]:
    """Return `chosen` and the columns of `others` by which rows of the same time differ, and the number of rows still alike."""
    codes = pd.DataFrame({name: pd.factorize(frame[name])[0] for name in [*chosen, *others]}, index=at.index).assign(**{"": at})
    left = int(codes[["", *chosen]].duplicated().sum())
    while left and others:
        alike = {name: int(codes[["", *chosen, name]].duplicated().sum()) for name in others}
        best = min(alike, key=lambda name: alike[name])
        if alike[best] == left:
            break
        chosen, others, left = [*chosen, best], [name for name in others if name != best], alike[best]
    return chosen, left


def _filled(frame: pd.DataFrame, at: pd.Series, labels: list[str]) -> float:
    """Return the mean share of the table's times, from a series' first row to its last, in which the series has a row."""
    if not labels:
        return 0.0
    numbers = pd.Series(at.rank(method="dense").to_numpy())
    found = numbers.groupby([frame[name].to_numpy() for name in labels]).agg(["min", "max", "nunique"])
    return float(found["nunique"].sum() / (found["max"] - found["min"] + 1).sum())


def _clock_columns(numbers: pd.DataFrame, at: pd.Series) -> set[str]:
    """Return the columns that only repeat the time: hour, weekday, month, year, or one number for each day."""
    few = [name for name in numbers if numbers[name].iloc[:1000].nunique() <= 60 and is_integer_dtype(numbers[name])]
    few = [name for name in few if numbers[name].nunique() > 1]
    found = set[str]()
    for key in (at.dt.hour * 60 + at.dt.minute, at.dt.day_of_week, at.dt.month, at.dt.year, at.dt.normalize()):
        if 1 < key.nunique() <= len(at) / 3 and few:
            groups = numbers[few].groupby(key.to_numpy())
            same = (groups.max() == groups.min()).all()
            found |= {name for name in few if same[name]}
    return found
