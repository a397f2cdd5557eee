"""Puts a run's window and table into a query, and changes nothing else of what the analyst wrote."""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import reduce

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.model.metric import Query

# What must not be searched. Quoted identifiers are matched only to be skipped whole: a `--` inside one is no comment.
_OPAQUE = re.compile(r"--[^\n]*|#[ !][^\n]*|/\*.*?\*/|'(?:\\.|''|[^'\\])*'|(`[^`]*`|\"[^\"]*\")", re.DOTALL)
_MARK = re.compile(r"[(),]|\b(?:WITH|SELECT)\b", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")

TextSpan = tuple[int, int, str]  # from, to, what stands there afterwards


def bind(query: Query, table: str, start: datetime, end: datetime) -> str:
    """The query's SQL for all buckets with start <= bucket < end, read from the table expression `table`.

    Replaced are the expressions before `AS since`, `AS until` (epoch seconds) and `AS step` (seconds) in the WITH block,
    and the name after FROM. Both ends are rounded up to whole buckets, so that no bucket is counted in part.
    Raises SourceError where one of the four pieces is not there exactly once.
    """
    step = int(query.step.total_seconds())
    sql = _single_statement(query)
    text = mask_literals(sql)
    spans = [
        _definition(query, text, "since", _first_bucket(start, step)),
        _definition(query, text, "until", _first_bucket(end, step)),
        _definition(query, text, "step", step),
        _table(query, text, table),
    ]
    for left, right, text in sorted(spans, reverse=True):
        sql = sql[:left] + text + sql[right:]
    return sql


def quoted_table(name: str, database: str) -> str:
    """`database`.`table` for SQL; a database written in `name` goes before `database`. Raises SourceError."""
    full = name if "." in name or not database else f"{database}.{name}"
    if not _NAME.fullmatch(full):
        raise SourceError(f"{full!r} is no table name: letters, digits and '_', with an optional 'database.' before it")
    return ".".join(f"`{part}`" for part in full.split("."))


def _first_bucket(at: datetime, step: int) -> int:
    """Epoch seconds of the first bucket that starts at `at` or later."""
    if at.tzinfo is None:
        raise SourceError(f"a window needs times with a zone: {at} has none")
    return max(0, math.ceil(at.timestamp() / step) * step)


def mask_literals(sql: str) -> str:
    """`sql` with comments and string literals blanked out, every other character in its place."""
    return _OPAQUE.sub(lambda found: found[0] if found[1] else " " * len(found[0]), sql)


def _single_statement(query: Query) -> str:
    """The SQL without what follows its last character that counts (a `;`, a comment)."""
    text = mask_literals(query.sql).rstrip().rstrip(";").rstrip()
    if ";" in text:
        raise _fault(query, "it must be one statement, and there is a ';' in it")
    if not re.match(r"\s*WITH\b", text, re.IGNORECASE):
        raise _fault(query, "it must begin with WITH ... AS since, ... AS until, ... AS step")
    return query.sql[: len(text)]


def _definition(query: Query, text: str, name: str, value: int) -> TextSpan:
    """Where the expression of `... AS name` stands, and the number that replaces it."""
    found = list(re.finditer(rf"(?i:\bAS)\s+{name}\b", text))
    start = _expression_start(text[: found[0].start()]) if len(found) == 1 else None
    if start is None:
        raise _fault(query, f"its WITH block must define `{name}` exactly once, as in `{value} AS {name}`")
    return start, found[0].start(), _keeping_space(text[start : found[0].start()], str(value))


def _expression_start(text: str) -> int | None:
    """Where the last expression of the WITH block that `text` breaks off in begins; None if it is not in one."""
    depth, start, selecting = 0, None, False
    for mark in _MARK.finditer(text):
        if mark[0] in "()":
            depth += 1 if mark[0] == "(" else -1
        elif depth == 0:
            selecting = selecting or mark[0].upper() == "SELECT"
            start = mark.end()
    return start if depth == 0 and not selecting else None


def _table(query: Query, text: str, table: str) -> TextSpan:
    found = list(re.finditer(rf"(?i:\bFROM)\s+(`?{re.escape(query.table)}`?)(?![\w.(`])", text))
    if len(found) != 1:
        raise _fault(query, f"it must read `FROM {query.table}` exactly once; it does so {len(found)} times")
    return found[0].start(1), found[0].end(1), table


def _keeping_space(old: str, new: str) -> str:
    return old[: len(old) - len(old.lstrip())] + new + old[len(old.rstrip()) :]


def _fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be run: {text}")


# What every source promises about the rows it gives (see `model.Source`).

MOST = 10_000  # combinations of labels: more, and a query groups by something like a user


def to_counts(rows: pd.DataFrame, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
    """`rows` with their column `bucket` as the index the port promises: datetime64[ns, UTC], ascending, unique, in the window.

    `bucket` is epoch seconds or an aware time. Columns of text are labels: one row per bucket and combination of them becomes
    one column per number and combination, `views[os=iOS,source=ads]`, beside `newest` and `groups`, how many rows a bucket had.
    Raises SourceError where a promise cannot be kept, naming the column.
    """
    if "bucket" not in rows:
        raise _contract_fault(query, f"it must give a column `bucket`; it gives {', '.join(map(str, rows)) or 'nothing'}")
    buckets = _buckets(rows["bucket"], query)
    values = rows.drop(columns="bucket").set_axis(buckets, axis=0)
    labels = [str(name) for name in values if not pd.api.types.is_numeric_dtype(values[name])]
    numbers = [str(name) for name in values if str(name) not in labels]
    if not numbers or (labels and numbers == ["newest"]):
        raise _contract_fault(query, f"beside `bucket` it must give numbers; {', '.join(labels) or 'it gives nothing else'}")
    if labels:
        values = _by_label(values, sorted(labels), numbers, query)
    elif not buckets.is_unique:
        twice = buckets[buckets.duplicated()][0]
        raise _contract_fault(query, f"it gives bucket {twice:%Y-%m-%d %H:%M}Z twice: GROUP BY bucket, and by columns of text")
    return buckets_within(values.sort_index(), start, end)


def _by_label(values: pd.DataFrame, labels: list[str], numbers: list[str], query: Query) -> pd.DataFrame:
    """One column per number and combination of labels, NaN where a bucket has no such row."""
    written = [f"{label}=" + values[label].fillna("").astype(object) for label in labels]
    codes, groups = pd.factorize(reduce(lambda left, right: left + "," + right, written), sort=True)
    if len(groups) > MOST:
        raise _contract_fault(query, f"it gives {len(groups):,} combinations of {', '.join(labels)}; {MOST:,} can be watched")
    places, index = pd.factorize(values.index, sort=True)
    if len(pairs := pd.Series(places * len(groups) + codes)) != pairs.nunique():
        first = np.flatnonzero(pairs.duplicated())[0]
        what = f"{groups[codes[first]]} of bucket {values.index[first]:%Y-%m-%d %H:%M}Z"
        raise _contract_fault(query, f"it gives {what} twice: GROUP BY bucket, {', '.join(labels)}")
    out: dict[str, np.ndarray] = {}
    for number in numbers:
        matrix = np.full((len(groups), len(index)), np.nan)
        matrix[codes, places] = values[number].to_numpy(float)
        if number == "newest":
            out["newest"] = np.fmax.reduce(matrix, axis=0, initial=np.nan)
        else:
            out |= {f"{number}[{group}]": row for group, row in zip(groups, matrix, strict=True)}
    out["groups"] = np.bincount(places, minlength=len(index)).astype(float)
    return pd.DataFrame(np.array(list(out.values())).T, index.rename("bucket"), list(out))


def buckets_within(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """The buckets with start <= bucket < end. Raises SourceError for times without a zone."""
    if start.tzinfo is None or end.tzinfo is None:
        raise SourceError(f"a window needs times with a zone: {start} to {end}")
    return frame[(frame.index >= start) & (frame.index < end)]


def _buckets(column: pd.Series, query: Query) -> pd.DatetimeIndex:
    """Checked to be starts of `query.step`, each there once."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        nanoseconds = column.astype("int64").to_numpy()  # NaT becomes a negative number
    elif pd.api.types.is_integer_dtype(column):
        nanoseconds = column.to_numpy(dtype=np.int64) * 10**9
    else:
        raise _contract_fault(query, "its column `bucket` must be epoch seconds without NULL, as toUInt32(...) gives them")
    index = pd.DatetimeIndex(nanoseconds, tz="UTC", name="bucket")
    odd = nanoseconds % int(query.step.total_seconds() * 10**9) != 0
    if (odd | (nanoseconds < 0)).any():
        raise _contract_fault(query, f"`bucket` {column[odd].iloc[0] if odd.any() else column.min()} is no start of {query.step}")
    return index


def _contract_fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be used: {text}")
