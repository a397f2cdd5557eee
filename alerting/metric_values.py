"""Functions for the catalogue: count, ratio, total, mean, measured. Each returns a function of the query's columns.

A value is called with the counts per bucket (a data frame) and returns one float64 per bucket.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

MAX_COLUMNS_NAMED = 20  # columns named in an error
Value = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Columns:
    """A value that is one column, or the ratio part / whole of two columns. The columns of all segments sum to the total's."""

    columns: tuple[str, ...]

    @property
    def whole(self) -> Self | None:
        """The denominator of a ratio; None for one column."""
        return type(self)(self.columns[1:]) if len(self.columns) > 1 else None

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        """Return the column, or part / whole (NaN where the whole is 0). Raises ValueError that names the absent columns."""
        if absent := [name for name in self.columns if name not in counts]:
            raise ValueError(f"no column {', '.join(absent)}: the query gives {column_list(counts.columns)}")
        part, *rest = (counts[name] for name in self.columns)
        return part / rest[0].where(rest[0] != 0) if rest else part


@dataclass(frozen=True)
class Measured:
    """A value that is computed as in `Columns` from columns that are not sums. No root cause of it can be searched."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        return Columns(self.made_of)(counts)


@dataclass(frozen=True)
class Labelled:
    """A value for one combination of labels, such as `views[os=iOS]`, or the ratio part / whole of two of them."""

    made_of: tuple[str, ...]

    @property
    def whole(self) -> Self | None:
        """The denominator of a ratio; None for one column."""
        return type(self)(self.made_of[1:]) if len(self.made_of) > 1 else None

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        """Return the value per bucket. Raises ValueError if the query has no columns of labels, or no such column of numbers."""
        if "groups" not in counts:
            raise ValueError(f"no labels: the query gives no column of text, but {column_list(counts.columns)}")
        has_rows = ~np.isnan(counts["groups"].to_numpy())
        part, *rest = (self._column(counts, name, has_rows) for name in self.made_of)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.Series(np.where(rest[0] != 0, part / rest[0], np.nan) if rest else part, counts.index)

    def _column(self, counts: pd.DataFrame, name: str, has_rows: np.ndarray) -> np.ndarray:
        """Return a column (float64): 0 for a bucket that has rows but none with these labels, NaN for a bucket without rows."""
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


def count(column: str, **labels: str) -> Value:
    """Return the value that is one column of the query. A query with columns of text needs labels: count("views", os="iOS")."""
    return Labelled(with_labels(labels, column)) if labels else Columns((column,))


def ratio(part: str, whole: str, **labels: str) -> Value:
    """Return the value part / whole; NaN where `whole` is 0. Do not divide in SQL. Labels as for `count`."""
    return Labelled(with_labels(labels, part, whole)) if labels else Columns((part, whole))


def with_labels(labels: dict[str, str], *columns: str) -> tuple[str, ...]:
    """Return the names of the columns for these labels, as `sources.base.to_counts` writes them."""
    group = ",".join(f"{name}={labels[name]}" for name in sorted(labels))
    return tuple(f"{column}[{group}]" for column in columns)


def total(column: str) -> Value:
    """Return the value that is a sum, such as sum(amount) AS revenue. Like counts, sums add up over buckets and segments."""
    return Columns((column,))


def mean(sum_of: str, number: str) -> Value:
    """Return the value that is a mean: column of sums / column of row counts. Its metric needs form="number", adds=False."""
    return Measured((sum_of, number))


def measured(column: str) -> Value:
    """Return a value that is no count or sum: quantile(0.95)(seconds) AS slow. Its metric needs form="number", adds=False."""
    return Measured((column,))
