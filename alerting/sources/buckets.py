"""Frames of counts by bucket, and times on their grid. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAME = 1e-9  # relative difference of two numbers that are one


def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One after the other, float64."""
    known = [part for part in parts if len(part)] or parts[-1:]
    return (known[0] if len(known) == 1 else pd.concat(known)).astype(float)


def newest(frame: pd.DataFrame, none: datetime) -> datetime:
    """The newest bucket with rows: more may come."""
    return frame.index[-1].to_pydatetime() if len(frame) else none


def difference(held: pd.DataFrame, now: pd.DataFrame) -> str:
    """The first count that is another one now; buckets that the source does not have any more are left out."""
    then = held.reindex(index=now.index, columns=held.columns.union(now.columns)).to_numpy(float)
    new = now.reindex(columns=held.columns.union(now.columns)).to_numpy(float)
    same = np.isclose(then, new, rtol=SAME, atol=0, equal_nan=True)
    if same.all():
        return ""
    row, column = np.argwhere(~same)[0]
    name = held.columns.union(now.columns)[column]
    return f"{name} at {now.index[row]:%Y-%m-%dT%H:%MZ} was {then[row, column]:.15g} and is {new[row, column]:.15g}"


def up(at: datetime, step: timedelta) -> datetime:
    """Start of the first bucket at `at` or later."""
    return down(at + step - timedelta(microseconds=1), step)


def down(at: datetime, step: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // step * step


def up_to(length: timedelta, step: timedelta) -> timedelta:
    return -(-length // step) * step
