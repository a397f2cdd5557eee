"""ClickHouse's TSVWithNamesAndTypes to a frame, for every type there is: decoded, or refused by the column's name.

The rows go through pandahouse's decoder, which reads whole numbers and strings well and fails on much else (DESIGN.md
lists it). So it is told `String` for the rest, and the text is converted here.
"""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandahouse.convert import to_dataframe

from alerting.model.errors import SourceError

_NO_SEPARATORS = bytes(set(range(256)) - set(b"\t\n"))
NULL = r"\N"  # also what the two characters \N look like once unescaped: not told apart

_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)|SimpleAggregateFunction\(\w+, (.*)\)", re.DOTALL)
_NATIVE = re.compile(r"U?Int(8|16|32|64)")
_ZERO = re.compile(r"0000-00-00( 00:00:00(\.0+)?)?")  # how ClickHouse before 20.1 writes an unset date


class TsvColumn(NamedTuple):
    name: str
    declared: str  # the type as ClickHouse writes it
    type: str  # without LowCardinality, Nullable and the like
    zone: Callable[[], str]

    @property
    def native(self) -> bool:
        """pandahouse's decoder reads it as it is."""
        return self.type == self.declared and bool(_NATIVE.fullmatch(self.type))


def decode(body: bytes, zone: Callable[[], str]) -> pd.DataFrame:
    """Rows of a TSVWithNamesAndTypes answer. `zone` gives the time zone of times whose type names none.

    UInt and Int keep their dtype (float64 where there are NULLs); other numbers become float64, Bool uint8, times
    datetime64[ns, UTC], dates datetime64[ns], all else text. Raises SourceError, passing where the answer broke off.
    """
    names, types, rows = _split(body)
    columns = [TsvColumn(name, declared, _unwrapped(declared), zone) for name, declared in zip(names, types, strict=True)]
    converters = [_converter(column) for column in columns]
    texts = _texts(columns, rows)
    return pd.DataFrame(
        {column.name: convert(texts[i], column) for i, (column, convert) in enumerate(zip(columns, converters, strict=True))}
    )


def _split(body: bytes) -> tuple[list[str], list[str], bytes]:
    """Names, types and the rows' bytes, after a look at whether all of it arrived."""
    if not body.strip():
        raise SourceError("the answer is empty, without so much as a header", passing=True)
    if not body.endswith(b"\n"):
        lines = body.count(b"\n") + 1
        raise SourceError(f"the answer breaks off in the middle of its line {lines} (two are header)", passing=True)
    head = body.split(b"\n", 2)
    if len(head) < 3 or head[0].count(b"\t") != head[1].count(b"\t"):
        raise SourceError(f"the answer has no names and types but {_glimpse(body)}: a FORMAT in the SQL, or no ClickHouse")
    names, types = ([_unescaped(cell) for cell in line.decode("utf-8", "replace").split("\t")] for line in head[:2])
    if len(set(names)) < len(names):
        raise SourceError(f"the answer has two columns of one name: {', '.join(names)}. Give each its own with AS")
    if not _even(head[2], len(names)):
        raise _uneven(head[2], len(names))
    return names, types, head[2]


def _even(rows: bytes, width: int) -> bool:
    """Whether each row has `width` cells: of all bytes the separators are left, and compared with those of such rows."""
    return rows.translate(None, _NO_SEPARATORS) == (b"\t" * (width - 1) + b"\n") * rows.count(b"\n")


def _uneven(rows: bytes, width: int) -> SourceError:
    cells = [row.count(b"\t") + 1 for row in rows.split(b"\n")[:-1]]
    number = next(i for i, found in enumerate(cells) if found != width)
    shown = _glimpse(rows.split(b"\n")[number])
    return SourceError(f"row {number + 1} has {cells[number]} columns and not {width}: {shown}", passing=True)


def _glimpse(body: bytes) -> str:
    return repr(" ".join(body[:200].decode("utf-8", "replace").split())[:80])


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell)


def _unwrapped(declared: str) -> str:
    while found := _WRAPPED.fullmatch(declared):
        declared = found[1] or found[2]
    return declared


def _texts(columns: list[TsvColumn], rows: bytes) -> pd.DataFrame:
    """The rows under the names 0, 1, 2 ... : native types as numbers, all others as unescaped text.

    pandahouse unescapes cell by cell, half the time of a large answer; most have nothing to unescape.
    """
    # read_table's defaults would eat a quote, skip an empty string that is a whole row, and shift columns into an index
    options: dict[str, Any] = {"quoting": csv.QUOTE_NONE, "skip_blank_lines": False, "index_col": False}
    text = rows.decode("utf-8", "replace").encode()  # a String may hold any bytes, and the decoder's converters want UTF-8
    read = _by_pandahouse if b"\\" in rows or all(column.native for column in columns) else _as_it_is
    try:
        frame = read(columns, text, options)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"the answer's whole numbers cannot be read: {str(error)[:200]}", passing=True) from None
    return frame.set_axis(range(len(columns)), axis=1)


def _by_pandahouse(columns: list[TsvColumn], text: bytes, options: dict[str, Any]) -> pd.DataFrame:
    header = "\t".join(str(i) for i in range(len(columns)))
    types = "\t".join(column.type if column.native else "String" for column in columns)
    return to_dataframe(io.BytesIO(f"{header}\n{types}\n".encode() + text), **options)


def _as_it_is(columns: list[TsvColumn], text: bytes, options: dict[str, Any]) -> pd.DataFrame:
    """As pandahouse reads it, without unescaping, and each text made once, however many rows have it."""
    types = {i: column.type.lower() if column.native else "object" for i, column in enumerate(columns)}
    more: dict[str, Any] = {"header": None, "names": list(types), "dtype": types, "na_values": [], "keep_default_na": False}
    frame = pd.read_table(io.BytesIO(text), **more, **options)
    for i, column in enumerate(columns):
        if not column.native:
            codes, different = pd.factorize(frame[i].to_numpy())
            frame[i] = pd.array(different, dtype="str").take(codes)
    return frame


def _converter(column: TsvColumn) -> Callable[[pd.Series, TsvColumn], pd.Series]:
    """How the column's text becomes values. Raises SourceError for types that are no single value."""
    if column.native:
        return lambda values, _: values
    for pattern, convert in _CONVERTERS.items():
        if re.fullmatch(pattern, column.type, re.DOTALL):
            return functools.partial(_checked, convert)
    raise SourceError(
        f"column `{column.name}` has the type {column.declared}, which is no number, text or time: "
        f"make one of it in the SQL, for example with length(), toString() or finalizeAggregation()"
    )


def _checked(convert: Callable[[pd.Series, TsvColumn], pd.Series], text: pd.Series, column: TsvColumn) -> pd.Series:
    try:
        return convert(text, column)
    except (ValueError, TypeError, OverflowError, KeyError) as error:  # zoneinfo raises KeyError
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"column `{column.name}` ({column.declared}) cannot be read: {why[:120]}") from None


def _floats(text: pd.Series, column: TsvColumn) -> pd.Series:
    """float() knows inf, -inf and nan as ClickHouse writes them."""
    return pd.Series([np.nan if cell == NULL else float(cell) for cell in text], dtype="float64")


def _integers(text: pd.Series, column: TsvColumn) -> pd.Series:
    if (text == NULL).any():
        return _floats(text, column)
    dtype = column.type.lower() if _NATIVE.fullmatch(column.type) else "int64"
    return pd.Series(np.array([int(cell) for cell in text], dtype=dtype))


def _flags(text: pd.Series, column: TsvColumn) -> pd.Series:
    if (text == NULL).any():
        return text.map({"true": 1.0, "false": 0.0, NULL: np.nan})
    return pd.Series(np.array([("false", "true").index(cell) for cell in text], dtype="uint8"))


def _words(text: pd.Series, column: TsvColumn) -> pd.Series:
    """FixedString is padded with NUL bytes."""
    words = text.str.rstrip("\0") if column.type.startswith("FixedString") and len(text) else text
    return words.where(text != NULL, None).astype("str")


def _days(text: pd.Series, column: TsvColumn) -> pd.Series:
    known = text.where((text != NULL) & ~text.astype("str").str.fullmatch(_ZERO), None)
    return pd.to_datetime(known, format="ISO8601").astype("datetime64[ns]")


def _instants(text: pd.Series, column: TsvColumn) -> pd.Series:
    """Local times as ClickHouse writes them. The hour that DST repeats cannot be told apart, and is refused."""
    named = re.search(r"'([^']+)'", column.type)
    try:
        local = _days(text, column).dt.tz_localize(named[1] if named else column.zone(), ambiguous="raise")
    except ValueError as error:
        raise ValueError(f"{error}; ask for toUInt32({column.name}) instead") from None
    return local.dt.tz_convert("UTC")


_CONVERTERS: dict[str, Callable[[pd.Series, TsvColumn], pd.Series]] = {
    r"U?Int(8|16|32|64)|Interval\w+": _integers,
    r"Float(32|64)|BFloat16|U?Int(128|256)|Decimal\d*(\(.*\))?|Nothing": _floats,
    r"Bool": _flags,
    r"String|FixedString\(\d+\)|UUID|IPv[46]|Enum(8|16)\(.*\)": _words,
    r"Date(32)?": _days,
    r"DateTime(\(.*\)|64\(.*\))?": _instants,
}
