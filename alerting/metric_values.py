"""Functions that make a metric's value of the columns of its query: count, ratio, total, mean, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_COLUMNS_NAMED = 20  # columns named in an error
Value = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Columns:
    """A value made of one column as it is, or of two as part / whole. Segments of the data add up to it."""

    columns: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        return _column_or_ratio(counts, self.columns)


@dataclass(frozen=True)
class Measured:
    """A value made like that of `Columns` which is no sum: its segments do not add up, and explain nothing."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        return _column_or_ratio(counts, self.made_of)


@dataclass(frozen=True)
class Labelled:
    """A value for one combination of labels: `views[os=iOS]`, or two such as part / whole."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        """Raises ValueError where the query gives no labels, or none of these numbers with any labels."""
        if "groups" not in counts:
            raise ValueError(f"no labels: the query gives no column of text, but {column_list(counts.columns)}")
        has_rows = ~np.isnan(counts["groups"].to_numpy())
        part, *rest = (self._column(counts, name, has_rows) for name in self.made_of)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.Series(np.where(rest[0] != 0, part / rest[0], np.nan) if rest else part, counts.index)

    def _column(self, counts: pd.DataFrame, name: str, has_rows: np.ndarray) -> np.ndarray:
        """Return a column, 0 where a bucket has rows and none with these labels."""
        if name in counts:
            values = counts[name].to_numpy(float)
            return np.where(np.isnan(values) & has_rows, 0.0, values)
        number = name.partition("[")[0]
        if not any(str(column).startswith(f"{number}[") for column in counts.columns):
            raise ValueError(f"no column {name}: the query gives {column_list(counts.columns)}")
        return np.where(has_rows, 0.0, np.nan)


def _column_or_ratio(counts: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    """Return the column, or part / whole, NaN where the whole is 0. Raises ValueError that names absent columns."""
    if absent := [name for name in names if name not in counts]:
        raise ValueError(f"no column {', '.join(absent)}: the query gives {column_list(counts.columns)}")
    part, *rest = (counts[name] for name in names)
    return part / rest[0].where(rest[0] != 0) if rest else part


def column_list(columns: Iterable[object]) -> str:
    """Return the names of columns as a text, at most MAX_COLUMNS_NAMED: labels make thousands."""
    names = [str(column) for column in columns]
    more = f" and {len(names) - MAX_COLUMNS_NAMED:,} more" if len(names) > MAX_COLUMNS_NAMED else ""
    return ", ".join(names[:MAX_COLUMNS_NAMED]) + more


# What analysts write in alerting/metrics.py.


def count(column: str, **labels: str) -> Value:
    """Return a column of the query as it is; of a query with columns of text, that for these labels: count("views", os="iOS")."""
    return Labelled(_with_labels(labels, column)) if labels else Columns((column,))


def ratio(part: str, whole: str, **labels: str) -> Value:
    """Return part / whole, divided here and never in SQL; NaN where `whole` is 0. Labels as for `count`."""
    return Labelled(_with_labels(labels, part, whole)) if labels else Columns((part, whole))


def _with_labels(labels: dict[str, str], *columns: str) -> tuple[str, ...]:
    """Return the columns' names as `sources.query.to_counts` writes them."""
    group = ",".join(f"{name}={labels[name]}" for name in sorted(labels))
    return tuple(f"{column}[{group}]" for column in columns)


def total(column: str) -> Value:
    """Return a sum, such as sum(amount) AS revenue: like those of a count, its buckets and segments add up."""
    return Columns((column,))


def mean(sum_of: str, number: str) -> Value:
    """Return sum / number of rows, the mean of what was summed. Its metric has form="number", adds=False."""
    return Measured((sum_of, number))


def measured(column: str) -> Value:
    """Return a column that is neither a count nor a sum: quantile(0.95)(seconds) AS slow. Its metric as for `mean`."""
    return Measured((column,))
