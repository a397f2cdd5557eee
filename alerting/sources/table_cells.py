"""Read cells of a table as numbers and as times, in the forms in which tools and people write them."""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

MISSING = [  # how tools write a missing value
    "", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "\\N", "<NA>", "NaT", "-", "–", "—",
    "#N/A", "#NA", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!", "н/д",
]  # fmt: skip
_EPOCHS = (946_684_800, 4_102_444_800)  # 2000 to 2100 in seconds
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # digits -> form
_TIME = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}([-/.T\s]|$)|\d{1,2}([-/.])\d{1,2}\3\d{2,4}\b"
    r"|(\w{3,9},? )?\d{1,2}[-/\s][^\W\d]{3,9}\.?[-/,\s]+\d{2,4}\b"
    r"|(\w{3,9},? )?[^\W\d]{3,9}\.? \d{1,2},? \d{4}|[^\W\d]{3,9}[- ]\d{4}\b)"
)
_YEAR_FIRST = r"\d\d-\d\d-\d\d(?!\d)"
_ZONED = r"(?:\d[Zz]|:\d{2}(?:[.,]\d+)?\s*[+-]\d{2}(?::?\d{2})?|T\d{2}[+-]\d{2}(?::?\d{2})?|\s(?:UTC|GMT))\s*$"
_DAY_AND_MONTH = r"^\s*(\d{1,2})([-/.])(\d{1,2})\2\d{2,4}"
_BETWEEN_THOUSANDS = r"(?<=\d)[\s'’](?=\d{3}(?!\d))"
_NUMBER = re.compile(r"[-+]?\d[\d.,]*")
_DOTTED_THOUSANDS = r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+"


def looks_like_time(text: str) -> bool:
    """Return whether the text begins with a date of a form that `to_times` may read."""
    return bool(_TIME.match(text))


def is_empty(cells: pd.Series) -> pd.Series:
    """Return which cells (bool) are empty."""
    return cells.isna() if pd.api.types.is_numeric_dtype(cells) else cells.isna() | (cells == "")


class NumberMarks(NamedTuple):
    """The decimal mark of a file's numbers, and the mark between thousands ("": none).

    If both are dots, each column is checked for which of the two its dots are.
    """

    decimal: str
    thousands: str


def number_marks(texts: pd.Series, has_semicolons: bool = False) -> NumberMarks:
    """Return how the numbers among these texts are written.

    In a text with both marks, the last one is the decimal mark. A single comma before three digits separates thousands, unless
    the columns of the file are separated by semicolons (`has_semicolons`): then commas are decimal marks.
    """
    numbers = [text for text in map(_plain, texts) if _NUMBER.fullmatch(text) and not looks_like_time(text)]
    commas, dots = ([text for text in numbers if mark in text] for mark in ",.")
    both = [text for text in commas if "." in text]
    if both:
        decimal = max(",.", key=lambda mark: sum(text.rindex(mark) > text.index("." if mark == "," else ",") for text in both))
        return NumberMarks(decimal, "." if decimal == "," else ",")
    if not commas:
        return NumberMarks(".", "." if any(has_semicolons or text.count(".") > 1 for text in dots) else "")
    if any(text.count(",") > 1 for text in commas):
        return NumberMarks(".", ",")
    if has_semicolons or not all(re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", text) for text in commas):
        in_thousands = all(re.fullmatch(_DOTTED_THOUSANDS, text) for text in dots)
        return NumberMarks(",", "." if dots and in_thousands else "")
    return NumberMarks(".", ",")


def to_numbers(cells: pd.Series, marks: NumberMarks) -> tuple[pd.Series, pd.Series]:
    """Return the cells as float64 (NaN if there is no number), and which cells (bool) are neither a number nor missing."""
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        return cells.astype("float64"), pd.Series(False, cells.index)
    text = cells.astype("object").astype("str").map(_plain)
    missing = cells.isna() | text.isin(MISSING)
    if marks.thousands and (marks.decimal != marks.thousands or _are_thousands(text)):
        text = text.str.replace(marks.thousands, "", regex=False)
    elif marks.thousands:  # 1.234.567 beside 0.5
        text = text.where(text.str.count(r"\.") < 2, text.str.replace(".", "", regex=False))
    if marks.decimal == ",":
        text = text.str.replace(",", ".", regex=False)
    values = pd.to_numeric(text.where(~missing), errors="coerce").astype("float64")
    return values, values.isna() & ~missing


def _are_thousands(text: pd.Series) -> bool:
    """Return whether dots separate thousands: "1.234.567" beside "700.007", or "1.318" beside "700" but no "1318"."""
    has_dot = text.str.contains(".", regex=False)
    dotted, others = text[has_dot], pd.to_numeric(text[~has_dot], errors="coerce").abs()
    is_sure = dotted.str.count(r"\.").max() > 1 or (others.max() > 0 and others.max() < 1000)
    return bool(is_sure and dotted.str.fullmatch(_DOTTED_THOUSANDS).all())


def _plain(text: object) -> str:
    """Return the text without percent and currency signs, and without spaces between thousands."""
    plain = str(text).strip().strip("%$€£₽¥ ").replace("−", "-")
    return re.sub(_BETWEEN_THOUSANDS, "", plain) if len(plain) > 3 and not plain.isdigit() else plain


class TimeCells(NamedTuple):
    """Cells as times. `at`: datetime64[ns], NaT without a time; in UTC if `zoned` (bool), otherwise local time of the file.

    `dates` (bool): plain dates. `unclear`: a cell in which day and month cannot be told apart; "" if there is none.
    """

    at: pd.Series
    zoned: pd.Series
    dates: pd.Series
    unclear: str = ""


def to_times(cells: pd.Series, order: str = "") -> TimeCells:
    """Return the cells as times: ISO 8601, epoch seconds to nanoseconds, 20261120, 20.11.2026, 11/20/2026, 20 Nov 2026 ...

    `order`: dmy (day first) or mdy (month first); "": as the cells show.
    """
    never, always = pd.Series(False, cells.index), pd.Series(True, cells.index)
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return TimeCells(cells.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]"), always, never)
    if pd.api.types.is_datetime64_any_dtype(cells):
        return TimeCells(cells.astype("datetime64[ns]"), never, never)
    codes, written = pd.factorize(cells.astype("object"))
    numbers = pd.to_numeric(pd.Series(written, dtype="object"), errors="coerce").astype("float64")
    if len(written) and numbers.notna().sum() * 2 >= len(written):
        return _numeric_times(numbers.reindex(codes).set_axis(cells.index))
    text = pd.Series(written, dtype="object").astype("str").str.strip()
    parts = text[text.str.match(_YEAR_FIRST)].str.split("-|[ T]", expand=True)
    if not order and len(parts) * 2 > len(text) and (parts[0] > "12").all() and parts[0].nunique() < parts[2].nunique():
        text = "20" + text  # dates such as 26-11-20: the first part is not a month, and changes less than the last part
    at = _naive(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))
    unclear, other = "", at.isna() & text.str.contains(r"\d")
    if other.any():
        at[other], unclear = _written_times(text[other], order)
    found = (at, text.str.contains(_ZONED), at.notna() & ~text.str.contains(r":|\dT\d"))
    at, zoned, dates = (each.reindex(codes).set_axis(cells.index) for each in found)  # a code of -1 is a missing cell
    return TimeCells(at, zoned.fillna(False).astype(bool), dates.fillna(False).astype(bool), unclear)


def _naive(at: pd.Series) -> pd.Series:
    return at.dt.tz_localize(None).astype("datetime64[ns]")


def _numeric_times(numbers: pd.Series) -> TimeCells:
    """Return times from epoch numbers (their size shows the unit) or from the digits of a date such as 20261120."""
    never, usual = pd.Series(False, numbers.index), float(numbers.median())
    form = _COMPACT.get(len(str(int(usual)))) if np.isfinite(usual) else None
    if form:
        digits = numbers.where(numbers % 1 == 0).astype("Int64").astype("str")
        at = pd.to_datetime(digits, format=form, errors="coerce").astype("datetime64[ns]")
        if at.dt.year.between(1900, 2100).sum() * 2 >= numbers.notna().sum():
            return TimeCells(at, never, at.notna() & (form == _COMPACT[8]))
    first, last = _EPOCHS
    unit = next((unit for unit, size in _UNITS.items() if first * size <= usual < last * size), "s")
    inside = numbers.between(first * _UNITS[unit], last * _UNITS[unit])
    at = _naive(pd.to_datetime(numbers.where(inside), unit=unit, utc=True))
    return TimeCells(at, at.notna(), never)


def _written_times(text: pd.Series, order: str) -> tuple[pd.Series, str]:
    """Return times that are not in ISO 8601 (NaT if a cell has none), and a cell with an unclear order of day and month."""
    parts = text.str.extract(_DAY_AND_MONTH)
    first, second = (pd.to_numeric(parts[n]) for n in (0, 2))
    day_first = order == "dmy" if order else bool((first > 12).sum() > (second > 12).sum())
    unclear = ""
    if not order and first.notna().any() and not (first > 12).any() and not (second > 12).any():
        day_first = bool((parts[1] == ".").any())  # nobody writes months first with dots
        unclear = "" if day_first else str(text[first.notna()].iloc[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas warns about cells that contradict the order
        form = guess_datetime_format(str(text.iloc[0]), dayfirst=day_first)
        at = pd.Series(pd.NaT, text.index, dtype="datetime64[ns]")
        if form:
            at = _naive(pd.to_datetime(text, format=form, utc=True, errors="coerce"))
        rest = text[at.isna() & text.map(looks_like_time)]
        if len(rest):
            at[rest.index] = _naive(pd.to_datetime(rest, format="mixed", dayfirst=day_first, utc=True, errors="coerce"))
    return at, unclear


def time_of_day(cells: pd.Series) -> pd.Series:
    """Return texts such as 9:30, 23:15:00 or 1 PM as timedelta64[ns]; NaT for any other text."""
    text = cells.astype("object").astype("str").str.strip()
    at = pd.to_datetime("2000-01-01 " + text, format="mixed", errors="coerce").where(text.str.contains(r":|\d ?[AaPp][Mm]$"))
    return at - pd.Timestamp(2000, 1, 1)
