"""How a metric's value is made of the columns of its query: count, ratio, total, mean, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_COLUMNS_NAMED = 20  # columns named in an error
Value = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Columns:
    """A value made of one column as it is, or of two as part / whole; `columns` tells the slices what to count."""

    columns: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        part, *rest = _of(counts, self.columns)
        return part / rest[0].where(rest[0] != 0) if rest else part


@dataclass(frozen=True)
class Measured:
    """A value that is no sum over the parts of a whole, so its slices do not add up and explain nothing."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        part, *rest = _of(counts, self.made_of)
        return part / rest[0].where(rest[0] != 0) if rest else part


@dataclass(frozen=True)
class Labelled:
    """As `Columns`, of one combination of labels: `views[os=iOS]`. Where the table has rows and none of these, they count 0."""

    made_of: tuple[str, ...]

    def __call__(self, counts: pd.DataFrame) -> pd.Series:
        if "groups" not in counts:
            raise ValueError(f"no labels: the query gives no column of text, but {column_list(counts.columns)}")
        there = ~np.isnan(counts["groups"].to_numpy())
        part, *rest = (self._counted(counts, column, there) for column in self.made_of)
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.Series(np.where(rest[0] != 0, part / rest[0], np.nan) if rest else part, counts.index)

    def _counted(self, counts: pd.DataFrame, column: str, there: np.ndarray) -> np.ndarray:
        """Raises ValueError where the query gives no such number with any labels."""
        if column in counts:
            values = counts[column].to_numpy(float)
            return np.where(np.isnan(values) & there, 0.0, values)
        number = column.partition("[")[0]
        if not any(str(name).startswith(f"{number}[") for name in counts.columns):
            raise ValueError(f"no column {column}: the query gives {column_list(counts.columns)}")
        return np.where(there, 0.0, np.nan)


def _of(counts: pd.DataFrame, columns: tuple[str, ...]) -> list[pd.Series]:
    """Raises ValueError naming the columns that the query does not give."""
    absent = [column for column in columns if column not in counts]
    if absent:
        raise ValueError(f"no column {', '.join(absent)}: the query gives {column_list(counts.columns)}")
    return [counts[column] for column in columns]


def _named(column: str, labels: dict[str, str]) -> str:
    """As a query whose columns of text are these labels gives the column."""
    return f"{column}[{','.join(f'{name}={labels[name]}' for name in sorted(labels))}]"


def column_list(columns: Iterable[object]) -> str:
    """Names of columns; of very many, as labels make them, the first."""
    names = [str(column) for column in columns]
    more = f" and {len(names) - MAX_COLUMNS_NAMED:,} more" if len(names) > MAX_COLUMNS_NAMED else ""
    return ", ".join(names[:MAX_COLUMNS_NAMED]) + more


def count(column: str, **labels: str) -> Value:
    """A column of the query as it is; of a query that has columns of text, at these labels: `count("views", os="iOS")`."""
    return Labelled((_named(column, labels),)) if labels else Columns((column,))


def ratio(part: str, whole: str, **labels: str) -> Value:
    """part / whole, divided here and never in SQL; NaN where `whole` is 0. Labels as for `count`."""
    return Labelled((_named(part, labels), _named(whole, labels))) if labels else Columns((part, whole))


def total(column: str) -> Value:
    """A sum, such as sum(amount) AS revenue: its buckets and slices add up, as a count's do."""
    return Columns((column,))


def mean(sum_of: str, number: str) -> Value:
    """sum / number of rows: the mean of what was summed. Its metric says form="number", adds=False."""
    return Measured((sum_of, number))


def measured(column: str) -> Value:
    """A column as it is that is neither a count nor a sum: quantile(0.95)(seconds) AS slow. form="number", adds=False."""
    return Measured((column,))
