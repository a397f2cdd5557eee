"""Puts a run's window and table into a query, and changes nothing else of what the analyst wrote."""

from __future__ import annotations

import math
import re
from datetime import datetime

from alerting.model import Query, SourceError

# What must not be searched. Quoted identifiers are matched only to be skipped whole: a `--` inside one is no comment.
_OPAQUE = re.compile(r"--[^\n]*|#[ !][^\n]*|/\*.*?\*/|'(?:\\.|''|[^'\\])*'|(`[^`]*`|\"[^\"]*\")", re.DOTALL)
_MARK = re.compile(r"[(),]|\b(?:WITH|SELECT)\b", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")

Span = tuple[int, int, str]  # from, to, what stands there afterwards


def bind(query: Query, table: str, start: datetime, end: datetime) -> str:
    """The query's SQL for all buckets with start <= bucket < end, read from the table expression `table`.

    Replaced are the expressions before `AS since`, `AS until` (epoch seconds) and `AS step` (seconds) in the WITH block,
    and the name after FROM. Both ends are rounded up to whole buckets, so that no bucket is counted in part.
    Raises SourceError where one of the four pieces is not there exactly once.
    """
    step = int(query.step.total_seconds())
    sql = _single_statement(query)
    text = masked(sql)
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


def masked(sql: str) -> str:
    """`sql` with comments and string literals blanked out, every other character in its place."""
    return _OPAQUE.sub(lambda found: found[0] if found[1] else " " * len(found[0]), sql)


def _single_statement(query: Query) -> str:
    """The SQL without what follows its last character that counts (a `;`, a comment)."""
    text = masked(query.sql).rstrip().rstrip(";").rstrip()
    if ";" in text:
        raise _fault(query, "it must be one statement, and there is a ';' in it")
    if not re.match(r"\s*WITH\b", text, re.IGNORECASE):
        raise _fault(query, "it must begin with WITH ... AS since, ... AS until, ... AS step")
    return query.sql[: len(text)]


def _definition(query: Query, text: str, name: str, value: int) -> Span:
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


def _table(query: Query, text: str, table: str) -> Span:
    found = list(re.finditer(rf"(?i:\bFROM)\s+(`?{re.escape(query.table)}`?)(?![\w.(`])", text))
    if len(found) != 1:
        raise _fault(query, f"it must read `FROM {query.table}` exactly once; it does so {len(found)} times")
    return found[0].start(1), found[0].end(1), table


def _keeping_space(old: str, new: str) -> str:
    return old[: len(old) - len(old.lstrip())] + new + old[len(old.rstrip()) :]


def _fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be run: {text}")
