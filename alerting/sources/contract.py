"""What every source promises about the rows it gives (see `model.Source`)."""

from __future__ import annotations

from datetime import datetime
from functools import reduce

import numpy as np
import pandas as pd

from alerting.model import Query, SourceError

MOST = 10_000  # combinations of labels: more, and a query groups by something like a user


def counts(rows: pd.DataFrame, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
    """`rows` with their column `bucket` as the index the port promises: datetime64[ns, UTC], ascending, unique, in the window.

    `bucket` is epoch seconds or an aware time. Columns of text are labels: one row per bucket and combination of them becomes
    one column per number and combination, `views[os=iOS,source=ads]`, beside `newest` and `groups`, how many rows a bucket had.
    Raises SourceError where a promise cannot be kept, naming the column.
    """
    if "bucket" not in rows:
        raise _fault(query, f"it must give a column `bucket`; it gives {', '.join(map(str, rows)) or 'nothing'}")
    buckets = _buckets(rows["bucket"], query)
    values = rows.drop(columns="bucket").set_axis(buckets, axis=0)
    labels = [str(name) for name in values if not pd.api.types.is_numeric_dtype(values[name])]
    numbers = [str(name) for name in values if str(name) not in labels]
    if not numbers or (labels and numbers == ["newest"]):
        raise _fault(query, f"beside `bucket` it must give numbers; {', '.join(labels) or 'it gives nothing else'}")
    if labels:
        values = _by_label(values, sorted(labels), numbers, query)
    elif not buckets.is_unique:
        twice = buckets[buckets.duplicated()][0]
        raise _fault(query, f"it gives bucket {twice:%Y-%m-%d %H:%M}Z twice: GROUP BY bucket, and by columns of text")
    return within(values.sort_index(), start, end)


def _by_label(values: pd.DataFrame, labels: list[str], numbers: list[str], query: Query) -> pd.DataFrame:
    """One column per number and combination of labels, NaN where a bucket has no such row."""
    written = [f"{label}=" + values[label].fillna("").astype(object) for label in labels]
    codes, groups = pd.factorize(reduce(lambda left, right: left + "," + right, written), sort=True)
    if len(groups) > MOST:
        raise _fault(query, f"it gives {len(groups):,} combinations of {', '.join(labels)}; {MOST:,} can be watched")
    places, index = pd.factorize(values.index, sort=True)
    if len(pairs := pd.Series(places * len(groups) + codes)) != pairs.nunique():
        first = np.flatnonzero(pairs.duplicated())[0]
        what = f"{groups[codes[first]]} of bucket {values.index[first]:%Y-%m-%d %H:%M}Z"
        raise _fault(query, f"it gives {what} twice: GROUP BY bucket, {', '.join(labels)}")
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


def within(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
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
        raise _fault(query, "its column `bucket` must be epoch seconds without NULL, as toUInt32(...) gives them")
    index = pd.DatetimeIndex(nanoseconds, tz="UTC", name="bucket")
    odd = nanoseconds % int(query.step.total_seconds() * 10**9) != 0
    if (odd | (nanoseconds < 0)).any():
        raise _fault(query, f"`bucket` {column[odd].iloc[0] if odd.any() else column.min()} is no start of {query.step}")
    return index


def _fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be used: {text}")
