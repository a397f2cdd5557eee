"""What a rule says of many series at once, before it is a frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

Limits = dict[str, np.ndarray | str]  # column of a band -> (series, buckets), or one word for all of them


def framed(limits: Limits, index: pd.Index) -> pd.DataFrame:
    """The band of the first series."""
    return pd.DataFrame({name: _of(column, 0) for name, column in limits.items()}, index=index)


def of(limits: Limits, series: int) -> dict[str, np.ndarray | str]:
    """The columns of one series: (buckets,) each, or the word."""
    return {name: _of(column, series) for name, column in limits.items()}


def _of(column: np.ndarray | str, series: int) -> np.ndarray | str:
    return column if isinstance(column, str) else column[series]
