"""Decode an answer of a ClickHouse server or of chDB: its rows to a frame, or its error to a text with advice.

Rows come as TSVWithNamesAndTypes: pandas splits them, and pandahouse decodes the escapes. The reader of pandahouse fails on NULL,
nan, DateTime('zone'), LowCardinality, Enum, Decimal and others, so the texts are converted here. A type that cannot be decoded
raises an error with the name of the column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandahouse.utils import decode_escapes

from alerting.model.errors import SourceError

NULL = r"\N"  # a text that consists of the two characters \N is read as NULL, too

_NO_SEPARATORS = bytes(set(range(256)) - set(b"\t\n"))
_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)|SimpleAggregateFunction\(\w+, (.*)\)", re.DOTALL)
_NATIVE = re.compile(r"U?Int(8|16|32|64)")
_UNSET_DATE = re.compile(r"0000-00-00( 00:00:00(\.0+)?)?")  # the form of ClickHouse before 20.1

_KINDS = {  # pattern of types -> how a column of them is read
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
    kind: str  # a key of _KINDS; "" if pandas reads the column without conversion


def decode(body: bytes, zone: Callable[[], str]) -> pd.DataFrame:
    """Return the rows of a TSVWithNamesAndTypes answer. `zone`: returns the time zone of times whose type has none.

    UInt and Int keep their dtype (float64 with NULLs); other numbers become float64, Bool uint8, times datetime64[ns, UTC], dates
    datetime64[ns], everything else text. Raises SourceError; with `passing` if the answer is cut off.
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
    """Return names, types and the bytes of the rows. Raises SourceError if the answer is cut off or has another form."""
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

    # Each row must have as many cells as there are names. Only the separators are compared, which is fast.
    rows, width = head[2], len(names)
    if rows.translate(None, _NO_SEPARATORS) != (b"\t" * (width - 1) + b"\n") * rows.count(b"\n"):
        widths = [row.count(b"\t") + 1 for row in rows.split(b"\n")[:-1]]
        number = next(i for i, found in enumerate(widths) if found != width)
        text = excerpt(rows.split(b"\n")[number])
        raise SourceError(f"row {number + 1} has {widths[number]} columns and not {width}: {text}", passing=True)
    return names, types, rows


def _column(name: str, declared: str) -> TsvColumn:
    """Return the column with its kind. Raises SourceError for a type that is not a number, text or time."""
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
    """Return the rows with the column names 0, 1, 2 ...: native types as numbers, all others as unescaped text."""
    text = rows.decode("utf-8", "replace").encode()  # a String may hold any bytes
    try:
        frame = pd.read_table(
            io.BytesIO(text),
            header=None,
            names=range(len(columns)),
            dtype={i: "object" if column.kind else column.type.lower() for i, column in enumerate(columns)},
            na_values=[],
            keep_default_na=False,
            # The defaults would drop quotes, skip a row that is an empty string, and make an index of columns.
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            index_col=False,
        )
        for i in (i for i, column in enumerate(columns) if column.kind):
            codes, distinct = pd.factorize(frame[i].to_numpy())
            plain = [decode_escapes(cell) for cell in distinct] if b"\\" in rows else distinct
            frame[i] = pd.array(plain, dtype="str").take(codes)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"the answer's whole numbers cannot be read: {str(error)[:200]}", passing=True) from None
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


# Errors

# An error text, alone or at the end of an answer that had begun. 18.16 writes `Code: 60, e.displayText() = DB::...`.
_ERROR = re.compile(r"Code: (\d+)[.,] *(?:e\.displayText\(\) = )?(?:DB::)?\w*Exception: (.*)", re.DOTALL)
# Text after the error sentence: versions, stack traces, and the query.
_DETAILS = re.compile(
    r"(,? e\.what\(\)| \(version |,? context: |Stack trace|: [Ww]hile (executing|processing) |[.:]? [Ii]n (scope|query) ).*",
    re.DOTALL,
)
_CODE_NAME = re.compile(r"\.? \([A-Z_]{4,}\)$")  # (UNKNOWN_TABLE), in newer servers

# Codes of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp after which another try may succeed:
# too slow, quota, too many queries, network, memory, replicas behind, cancelled, cannot schedule, shard or keeper away.
PASSING = {3, 32, 159, 160, 173, 198, 201, 202, 203, 209, 210, 236, 241, 279, 364, 369, 394, 425, 439, 473, 499, 519, 745, 999}

_CREDENTIALS = "it refused the user: check ALERTING_CLICKHOUSE_USER and ALERTING_CLICKHOUSE_PASSWORD"
_COLUMN = "a column is not there: make the query in alerting/sql/ and the table agree"
_MEANING = {
    46: "it does not know a function of the query: this server may be older than the query",
    62: "it cannot read the query: mend its file in alerting/sql/",
    81: "the database was not found: check ALERTING_CLICKHOUSE_DATABASE",
    164: "the user may not do that (read-only)",
    195: "it does not let this host in: have its address allowed for the user",
    291: "the user has no right to the database: grant it, or check ALERTING_CLICKHOUSE_DATABASE",
    497: "the user has no right to read the table: GRANT SELECT on it",
    **dict.fromkeys((192, 193, 194, 516), _CREDENTIALS),
    **dict.fromkeys((8, 10, 16, 47), _COLUMN),
}
_UNKNOWN_TABLE, _MEMORY, _READONLY = 60, 241, 164
_TABLE_SETTING = {"feed_actions": "ALERTING_FEED_TABLE", "message_actions": "ALERTING_MESSAGE_TABLE"}
_SHARD = {32, 209, 210, 279, 519}  # the connection to a shard broke, timed out or was refused; it has no replica
_HOST_AND_PORT = re.compile(r"(?:\(|from |socket \(?)((?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d+)")
_REFUSED_SETTING = {115, _READONLY, 452, 472}  # unknown, read-only, outside its limits


def server_error(text: str, query: str, table: str) -> SourceError | None:
    """Return a SourceError if `text` contains an error of the server, else None. `query`, `table`: for the advice."""
    found = _ERROR.search(text)
    if not found:
        return None
    code, details = int(found[1]), found[2]
    sentence = _CODE_NAME.sub("", " ".join(_DETAILS.sub("", details).split())).rstrip(" .,")[:300]
    meaning, passing = _MEANING.get(code, "it could not run the query"), code in PASSING
    if code == _UNKNOWN_TABLE:
        setting = _TABLE_SETTING.get(query, "the table's setting")
        meaning = f"a table was not found: check {setting} (now {table}), and that the user may read it"
    elif code in _SHARD and (host := _HOST_AND_PORT.search(details)):
        meaning = f"a shard of the cluster does not answer ({host[1]}): see to that server; without it no count would be whole"
    elif code == _MEMORY and re.search(r"for query|[Qq]uery memory", sentence):
        passing = False  # another try would need as much memory
        meaning = "the query needs more memory than it may have: raise ALERTING_CLICKHOUSE_MEMORY, or ask for less"
    return SourceError(f"{meaning}. It said: {sentence} (code {code})", passing)


def refused_settings(text: str, sent: Collection[str]) -> set[str]:
    """Return the settings of a query that the server refuses, from its error text.

    The set is empty if the error is about something else, such as a query that writes (it has the same code, 164).
    """
    found = _ERROR.search(text)
    if not found or int(found[1]) not in _REFUSED_SETTING or "setting" not in found[2].lower():
        return set()
    named = {name for name in sent if re.search(rf"\b{name}\b", found[2])}
    if int(found[1]) == _READONLY and named != {"readonly"}:
        return set(sent)  # a user whose profile is read-only may change none of them
    return named or set(sent)
