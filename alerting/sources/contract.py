"""What every source promises about the rows it gives (see `model.Source`)."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from alerting.model import Query, SourceError


def counts(rows: pd.DataFrame, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
    """`rows` with their column `bucket` as the index the port promises: datetime64[ns, UTC], ascending, unique, in the window.

    `bucket` is epoch seconds or an aware time. Raises SourceError where a promise cannot be kept, naming the column.
    """
    if "bucket" not in rows:
        raise _fault(query, f"it must give a column `bucket`; it gives {', '.join(map(str, rows)) or 'nothing'}")
    buckets = _buckets(rows["bucket"], query)
    values = rows.drop(columns="bucket")
    texts = [str(name) for name in values if not pd.api.types.is_numeric_dtype(values[name])]
    if texts or values.columns.empty:
        raise _fault(query, f"beside `bucket` it must give numbers; {', '.join(texts) or 'it gives nothing else'}")
    return within(values.set_axis(buckets, axis=0).sort_index(), start, end)


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
    if not index.is_unique:
        raise _fault(query, f"it gives bucket {index[index.duplicated()][0]:%Y-%m-%d %H:%M}Z twice: GROUP BY bucket alone")
    return index


def _fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be used: {text}")
