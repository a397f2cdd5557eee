"""ClickHouse's TSVWithNamesAndTypes as a frame: every type is either decoded, or refused by the column's name.

The rows go through pandahouse's decoder. It reads whole numbers and strings well, and fails on NULL, nan, DateTime('zone'),
LowCardinality, Enum, Decimal and others. So it is told `String` for all other types, and their texts are converted here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandahouse.convert import to_dataframe

from alerting.model.errors import SourceError

NULL = r"\N"  # also what the two characters \N look like once unescaped: not told apart

_NO_SEPARATORS = bytes(set(range(256)) - set(b"\t\n"))
_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)|SimpleAggregateFunction\(\w+, (.*)\)", re.DOTALL)
_NATIVE = re.compile(r"U?Int(8|16|32|64)")
_UNSET_DATE = re.compile(r"0000-00-00( 00:00:00(\.0+)?)?")  # as ClickHouse before 20.1 writes it

_KINDS = {  # types -> how a column of them is read
    r"U?Int(8|16|32|64)|Interval\w+": "integer",
    r"Float(32|64)|BFloat16|U?Int(128|256)|Decimal\d*(\(.*\))?|Nothing": "float",
    r"Bool": "boolean",
    r"String|FixedString\(\d+\)|UUID|IPv[46]|Enum(8|16)\(.*\)": "text",
    r"Date(32)?": "date",
    r"DateTime(\(.*\)|64\(.*\))?": "time",
}


class TsvColumn(NamedTuple):
    """A column of an answer."""

    name: str
    declared: str  # the type as ClickHouse writes it
    type: str  # without LowCardinality, Nullable and the like
    kind: str  # as in _KINDS; "" where pandahouse's decoder reads the column as it is


def decode(body: bytes, zone: Callable[[], str]) -> pd.DataFrame:
    """Return the rows of a TSVWithNamesAndTypes answer. `zone` gives the time zone of times whose type names none.

    UInt and Int keep their dtype (float64 where there are NULLs); other numbers become float64, Bool uint8, times
    datetime64[ns, UTC], dates datetime64[ns], all else text. Raises SourceError, passing where the answer broke off.
    """
    names, types, rows = _split(body)
    columns = [_column(name, declared) for name, declared in zip(names, types, strict=True)]
    cells = _cells(columns, rows)
    out: dict[str, pd.Series] = {}
    for i, column in enumerate(columns):
        try:
            out[column.name] = _converted(cells[i], column, zone) if column.kind else cells[i]
        except (ValueError, TypeError, OverflowError, KeyError) as error:  # zoneinfo raises KeyError
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise SourceError(f"column `{column.name}` ({column.declared}) cannot be read: {why[:120]}") from None
    return pd.DataFrame(out)


def _split(body: bytes) -> tuple[list[str], list[str], bytes]:
    """Return names, types and the bytes of the rows, checked to have arrived whole."""
    if not body.strip():
        raise SourceError("the answer is empty, without so much as a header", passing=True)
    if not body.endswith(b"\n"):
        lines = body.count(b"\n") + 1
        raise SourceError(f"the answer breaks off in the middle of its line {lines} (two are header)", passing=True)

    def excerpt(part: bytes) -> str:
        return repr(" ".join(part[:200].decode("utf-8", "replace").split())[:80])

    head = body.split(b"\n", 2)
    if len(head) < 3 or head[0].count(b"\t") != head[1].count(b"\t"):
        raise SourceError(f"the answer has no names and types but {excerpt(body)}: a FORMAT in the SQL, or no ClickHouse")
    lines_of_cells = (line.decode("utf-8", "replace").split("\t") for line in head[:2])
    names, types = ([re.sub(r"\\(.)", r"\1", cell) for cell in cells] for cells in lines_of_cells)
    if len(set(names)) < len(names):
        raise SourceError(f"the answer has two columns of one name: {', '.join(names)}. Give each its own with AS")

    # Each row must have as many cells as there are names: the separators alone are compared with those of such rows.
    rows, width = head[2], len(names)
    if rows.translate(None, _NO_SEPARATORS) != (b"\t" * (width - 1) + b"\n") * rows.count(b"\n"):
        widths = [row.count(b"\t") + 1 for row in rows.split(b"\n")[:-1]]
        number = next(i for i, found in enumerate(widths) if found != width)
        text = excerpt(rows.split(b"\n")[number])
        raise SourceError(f"row {number + 1} has {widths[number]} columns and not {width}: {text}", passing=True)
    return names, types, rows


def _column(name: str, declared: str) -> TsvColumn:
    """Return the column with its kind. Raises SourceError for types that are no single value."""
    if _NATIVE.fullmatch(declared):
        return TsvColumn(name, declared, declared, "")
    inner = declared
    while found := _WRAPPED.fullmatch(inner):
        inner = found[1] or found[2]
    for pattern, kind in _KINDS.items():
        if re.fullmatch(pattern, inner, re.DOTALL):
            return TsvColumn(name, declared, inner, kind)
    raise SourceError(
        f"column `{name}` has the type {declared}, which is no number, text or time: "
        f"make one of it in the SQL, for example with length(), toString() or finalizeAggregation()"
    )


def _cells(columns: list[TsvColumn], rows: bytes) -> pd.DataFrame:
    """Return the rows under the names 0, 1, 2 ... : native types as numbers, all others as unescaped text.

    pandahouse unescapes cell by cell, which takes half the time of a large answer. Most answers have nothing to unescape:
    pandas reads those in the same way, and makes each distinct text once.
    """
    # read_table's defaults would eat a quote, skip an empty string that is a whole row, and shift columns into an index
    options: dict[str, Any] = {"quoting": csv.QUOTE_NONE, "skip_blank_lines": False, "index_col": False}
    text = rows.decode("utf-8", "replace").encode()  # a String may hold any bytes, and the decoder's converters want UTF-8
    numbers = range(len(columns))
    try:
        if b"\\" in rows or not any(column.kind for column in columns):
            types = ("String" if column.kind else column.type for column in columns)
            header = "\t".join(map(str, numbers)) + "\n" + "\t".join(types) + "\n"
            return to_dataframe(io.BytesIO(header.encode() + text), **options).set_axis(numbers, axis=1)
        dtypes: Any = {i: "object" if column.kind else column.type.lower() for i, column in enumerate(columns)}
        options |= {"header": None, "names": numbers, "dtype": dtypes, "na_values": [], "keep_default_na": False}
        frame = pd.read_table(io.BytesIO(text), **options)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"the answer's whole numbers cannot be read: {str(error)[:200]}", passing=True) from None
    for i, column in enumerate(columns):
        if column.kind:
            codes, distinct = pd.factorize(frame[i].to_numpy())
            frame[i] = pd.array(distinct, dtype="str").take(codes)
    return frame


def _converted(cells: pd.Series, column: TsvColumn, zone: Callable[[], str]) -> pd.Series:
    """Return the texts of a column as values of its type (see `decode`)."""
    null = cells == NULL
    if column.kind == "text":
        texts = cells.str.rstrip("\0") if column.type.startswith("FixedString") and len(cells) else cells  # it is padded
        return texts.where(~null, None).astype("str")
    if column.kind == "boolean":
        numbers = cells.map({"true": 1, "false": 0})
        return numbers.astype("float64" if null.any() else "uint8")
    if column.kind == "integer" and not null.any():
        dtype = column.type.lower() if _NATIVE.fullmatch(column.type) else "int64"
        return pd.Series(np.array([int(cell) for cell in cells], dtype=dtype))
    if column.kind in ("integer", "float"):  # float() reads inf, -inf and nan as ClickHouse writes them
        return pd.Series([np.nan if cell == NULL else float(cell) for cell in cells], dtype="float64")

    unset = cells.astype("str").str.fullmatch(_UNSET_DATE)
    advice = f"; ask for toUInt32({column.name}) instead" if column.kind == "time" else ""
    try:
        written = pd.to_datetime(cells.where(~null & ~unset, None), format="ISO8601").astype("datetime64[ns]")
        if column.kind == "date":
            return written
        # ClickHouse writes local times. The hour that DST repeats is ambiguous, and is refused.
        named = re.search(r"'([^']+)'", column.type)
        return written.dt.tz_localize(named[1] if named else zone(), ambiguous="raise").dt.tz_convert("UTC")
    except ValueError as error:
        raise ValueError(f"{error}{advice}") from None
