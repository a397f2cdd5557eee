"""Functions that compute a metric's value from the columns of its query: count, ratio, total, mean, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_COLUMNS_NAMED = 20  # columns named in an error
Value = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Columns:
    """A value that is one column, or the ratio part / whole of two. The columns of its segments add up to those of the total."""

    columns: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        """Return the column, or part / whole (NaN where the whole is 0). Raises ValueError, which names the absent columns."""
        if absent := [name for name in self.columns if name not in counts]:
            raise ValueError(f"no column {', '.join(absent)}: the query gives {column_list(counts.columns)}")
        part, *rest = (counts[name] for name in self.columns)
        return part / rest[0].where(rest[0] != 0) if rest else part


@dataclass(frozen=True)
class Measured:
    """A value computed as in `Columns`, of columns that are not sums. Its segments do not add up, so it has no root cause."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        return Columns(self.made_of)(counts)


@dataclass(frozen=True)
class Labelled:
    """A value for one combination of labels, such as `views[os=iOS]`, or the ratio part / whole of two of them."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        """Compute the value. Raises ValueError if the query has no columns of labels, or has no such column of numbers."""
        if "groups" not in counts:
            raise ValueError(f"no labels: the query gives no column of text, but {column_list(counts.columns)}")
        has_rows = ~np.isnan(counts["groups"].to_numpy())
        part, *rest = (self._column(counts, name, has_rows) for name in self.made_of)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.Series(np.where(rest[0] != 0, part / rest[0], np.nan) if rest else part, counts.index)

    def _column(self, counts: pd.DataFrame, name: str, has_rows: np.ndarray) -> np.ndarray:
        """Return a column; 0 where a bucket has rows but none with these labels, NaN where it has no rows."""
        if name in counts:
            values = counts[name].to_numpy(float)
            return np.where(np.isnan(values) & has_rows, 0.0, values)
        number = name.partition("[")[0]
        if not any(str(column).startswith(f"{number}[") for column in counts.columns):
            raise ValueError(f"no column {name}: the query gives {column_list(counts.columns)}")
        return np.where(has_rows, 0.0, np.nan)


def column_list(columns: Iterable[object], limit: int = MAX_COLUMNS_NAMED) -> str:
    """Return the names of columns as a text, at most `limit`, because labels can make thousands of columns."""
    names = [str(column) for column in columns]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


# The functions for alerting/metrics.py.


def count(column: str, **labels: str) -> Value:
    """Return one column of the query as the value. With columns of text in the query, name labels: count("views", os="iOS")."""
    return Labelled(with_labels(labels, column)) if labels else Columns((column,))


def ratio(part: str, whole: str, **labels: str) -> Value:
    """Return the value part / whole, NaN where `whole` is 0. It is divided here, never in SQL. Labels as for `count`."""
    return Labelled(with_labels(labels, part, whole)) if labels else Columns((part, whole))


def with_labels(labels: dict[str, str], *columns: str) -> tuple[str, ...]:
    """Return the names of the columns for these labels, as `sources.base.to_counts` writes them."""
    group = ",".join(f"{name}={labels[name]}" for name in sorted(labels))
    return tuple(f"{column}[{group}]" for column in columns)


def total(column: str) -> Value:
    """Return the value that is a sum, such as sum(amount) AS revenue. Its buckets and segments add up, as those of a count."""
    return Columns((column,))


def mean(sum_of: str, number: str) -> Value:
    """Return the mean: a column of sums / a column of numbers of rows. Its metric has form="number", adds=False."""
    return Measured((sum_of, number))


def measured(column: str) -> Value:
    """Return a column that is no count or sum: quantile(0.95)(seconds) AS slow. Its metric has form="number", adds=False."""
    return Measured((column,))
