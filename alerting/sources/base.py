"""The base classes of sources, and the analysts' queries: put the time window and the table into a query, and check its rows.

pandas is imported at its first use: `embedded` must be importable without it, to start chDB before pandas is loaded.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING

from alerting.model.clock import day_bounds, day_of, first_bucket
from alerting.model.errors import SourceError
from alerting.model.metric import Query, table_name
from alerting.model.protocols import Source

if TYPE_CHECKING:
    import pandas as pd

WHOLE = 2**32 - 1  # seconds: one step that covers all times of ClickHouse
MAX_LABEL_COMBINATIONS = 10_000  # a query with more groups by something like a user

# Comments and literals, which are not searched. Quoted identifiers are matched only to skip them: a `--` inside one does not
# begin a comment.
_OPAQUE = re.compile(r"--[^\n]*|#[ !][^\n]*|/\*.*?\*/|'(?:\\.|''|[^'\\])*'|(`[^`]*`|\"[^\"]*\")", re.DOTALL)
_MARK = re.compile(r"[(),]|\b(?:WITH|SELECT)\b", re.IGNORECASE)


class BaseSource(Source):
    """A source without SQL and notes, with nothing to close. An adapter adds `fetch`, and overrides other methods if it can."""

    runs_sql = False
    notes: Sequence[str] = ()
    loud: Sequence[str] = ()

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError(f"{query.name} has no rows: this source runs no SQL")

    def now(self) -> datetime:
        return datetime.now(UTC)

    def ends(self) -> dict[str, datetime]:
        return {}

    def gone(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class SqlSource(BaseSource):
    """A source that runs the analysts' SQL. An adapter adds `table` and `run_sql`."""

    runs_sql = True

    @abstractmethod
    def table(self, name: str, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the SQL expression of the table that the query `name` reads, with at least the rows of start <= time < end.

        Without times, only the columns of the table are needed. Raises SourceError.
        """

    @abstractmethod
    def run_sql(self, sql: str, name: str) -> pd.DataFrame:
        """Return the decoded rows of `sql`. `name`: name of the query, for errors. Raises SourceError."""

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return counts per bucket (see `model.protocols.Source`). Raises SourceError."""
        rows = self._rows_of_days(query, start, end) if query.zone not in ("", "UTC") else self.rows(query, start, end)
        return to_counts(rows, query, start, end)

    def _rows_of_days(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the rows of `query` with one bucket per local day. Each day is one query, because days have 23 to 25 hours."""
        import pandas as pd

        parts, bucket = list[pd.DataFrame](), first_bucket(start, query.step, query.phase)
        while bucket < end or not parts:
            since, until = day_bounds(day_of(bucket, query.step, query.zone), query.zone)
            sql = bind(query, self.table(query.name, since, until), since, until, whole=True)
            parts.append(self.run_sql(sql, query.name).assign(bucket=int(bucket.timestamp())))
            bucket += query.step
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return all columns of the query unchanged, texts and times too. Raises SourceError."""
        table = self.table(query.name, start, end + query.step)  # `bind` rounds the end up to a whole bucket
        return self.run_sql(bind(query, table, start, end), query.name)


# A query and its rows


def bind(query: Query, table: str, start: datetime, end: datetime, whole: bool = False) -> str:
    """Return the query's SQL for all buckets with start <= bucket < end, reading from the table expression `table`.

    It replaces the expressions before `AS since`, `AS until` (epoch seconds) and `AS step` (seconds) in the WITH block,
    and the name after FROM; the rest of the query is unchanged. Both ends are rounded up to whole buckets, so that no bucket is
    counted in part. `whole`: the time from start to end is one bucket, with the number 0. Raises SourceError if one of the four
    pieces does not occur exactly once.
    """
    # Blank out comments and literals; every other character keeps its position. Cut a `;` or a comment at the end.
    text = _OPAQUE.sub(lambda found: found[0] if found[1] else " " * len(found[0]), query.sql)
    text = text.rstrip().rstrip(";").rstrip()
    if ";" in text:
        raise _cannot_run(query, "it must be one statement, and there is a ';' in it")
    if not re.match(r"\s*WITH\b", text, re.IGNORECASE):
        raise _cannot_run(query, "it must begin with WITH ... AS since, ... AS until, ... AS step")

    for at in (start, end):
        if at.tzinfo is None:
            raise SourceError(f"a window needs times with a zone: {at} has none")
    since, until = (max(0, int((at if whole else first_bucket(at, query.step)).timestamp())) for at in (start, end))
    values = {"since": since, "until": until, "step": WHOLE if whole else int(query.step.total_seconds())}
    spans = [_definition(query, text, name, value) for name, value in values.items()]
    written = table_name(query.name)
    names = list(re.finditer(rf"(?i:\bFROM)\s+(`?{re.escape(written)}`?)(?![\w.(`])", text))
    if len(names) != 1:
        raise _cannot_run(query, f"it must read `FROM {written}` exactly once; it does so {len(names)} times")
    spans.append((names[0].start(1), names[0].end(1), table))

    sql = query.sql[: len(text)]
    for left, right, replacement in sorted(spans, reverse=True):
        sql = sql[:left] + replacement + sql[right:]
    return sql


def _definition(query: Query, text: str, name: str, value: int) -> tuple[int, int, str]:
    """Return where the expression of `... AS name` starts and ends in the WITH block, and the text that replaces it."""
    found = list(re.finditer(rf"(?i:\bAS)\s+{name}\b", text))
    depth, start, selecting = 0, None, False
    if len(found) == 1:
        for mark in _MARK.finditer(text[: found[0].start()]):
            if mark[0] in "()":
                depth += 1 if mark[0] == "(" else -1
            elif depth == 0:
                selecting = selecting or mark[0].upper() == "SELECT"
                start = mark.end()
    if start is None or depth or selecting:
        raise _cannot_run(query, f"its WITH block must define `{name}` exactly once, as in `{value} AS {name}`")
    old = text[start : found[0].start()]
    spaces_before, spaces_after = old[: len(old) - len(old.lstrip())], old[len(old.rstrip()) :]
    return start, found[0].start(), f"{spaces_before}{value}{spaces_after}"


def to_counts(rows: pd.DataFrame, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
    """Return `rows` in the form of `Source.fetch`: indexed by `bucket`, datetime64[ns, UTC], ascending, unique, in the window.

    The column `bucket` is epoch seconds or an aware time. Text columns are labels: the rows of each combination of labels become
    a column per number, such as `views[os=iOS,source=ads]`, beside `newest` and `groups` (number of rows per bucket). Raises
    SourceError with the name of the column if the rows are no counts.
    """
    import pandas as pd

    if "bucket" not in rows:
        raise _cannot_use(query, f"it must give a column `bucket`; it gives {', '.join(map(str, rows)) or 'nothing'}")
    buckets = _buckets(rows["bucket"], query)
    values = rows.drop(columns="bucket").set_axis(buckets, axis=0)
    labels = [str(name) for name in values if not pd.api.types.is_numeric_dtype(values[name])]
    numbers = [str(name) for name in values if str(name) not in labels]
    if not numbers or (labels and numbers == ["newest"]):
        raise _cannot_use(query, f"beside `bucket` it must give numbers; {', '.join(labels) or 'it gives nothing else'}")
    if labels:
        values = _by_label(values, sorted(labels), numbers, query)
    elif not buckets.is_unique:
        twice = buckets[buckets.duplicated()][0]
        raise _cannot_use(query, f"it gives bucket {twice:%Y-%m-%d %H:%M}Z twice: GROUP BY bucket, and by columns of text")
    return buckets_within(values.sort_index(), start, end)


def _buckets(column: pd.Series, query: Query) -> pd.DatetimeIndex:
    """Return the column `bucket` as an index. Raises SourceError if a value is not the start of a bucket of `query.step`."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        nanoseconds = column.astype("int64").to_numpy()  # NaT becomes a negative number
    elif pd.api.types.is_integer_dtype(column):
        nanoseconds = column.to_numpy("int64") * 10**9
    else:
        raise _cannot_use(query, "its column `bucket` must be epoch seconds without NULL, as toUInt32(...) gives them")
    step, phase = (int(length.total_seconds()) * 10**9 for length in (query.step, query.phase))
    inside = (nanoseconds - phase) % step != 0
    if (inside | (nanoseconds < 0)).any():
        wrong = column[inside].iloc[0] if inside.any() else column.min()
        raise _cannot_use(query, f"`bucket` {wrong} is no start of {query.step}")
    return pd.DatetimeIndex(nanoseconds, tz="UTC", name="bucket")


def _by_label(values: pd.DataFrame, labels: list[str], numbers: list[str], query: Query) -> pd.DataFrame:
    """Return one column per number and combination of labels; NaN if a bucket has no such row."""
    import numpy as np
    import pandas as pd

    written = [f"{label}=" + values[label].fillna("").astype(object) for label in labels]
    codes, groups = pd.factorize(reduce(lambda left, right: left + "," + right, written), sort=True)
    if len(groups) > MAX_LABEL_COMBINATIONS:
        limit = f"{MAX_LABEL_COMBINATIONS:,}"
        raise _cannot_use(query, f"it gives {len(groups):,} combinations of {', '.join(labels)}; {limit} can be watched")
    places, index = pd.factorize(values.index, sort=True)
    if len(pairs := pd.Series(places * len(groups) + codes)) != pairs.nunique():
        first = np.flatnonzero(pairs.duplicated())[0]
        row = f"{groups[codes[first]]} of bucket {values.index[first]:%Y-%m-%d %H:%M}Z"
        same = " (NULL and '' are one label)" if values[labels].isna().any(axis=None) else ""
        raise _cannot_use(query, f"it gives {row} twice: GROUP BY bucket, {', '.join(labels)}{same}")

    out = dict[str, np.ndarray]()
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
    """Return the buckets with start <= bucket < end. Raises SourceError for times without a zone."""
    if start.tzinfo is None or end.tzinfo is None:
        raise SourceError(f"a window needs times with a zone: {start} to {end}")
    return frame[(frame.index >= start) & (frame.index < end)]


def _cannot_run(query: Query, why: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be run: {why}")


def _cannot_use(query: Query, why: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be used: {why}")
