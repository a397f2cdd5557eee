"""The table of leaves: checked, duplicates summed, sorted, so that nothing depends on the order it came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

NOTHING = "(none)"  # name of a missing attribute value


@dataclass(frozen=True)
class Leaves:
    """`codes` (n, k) int: value of each attribute; `names[k]`: what a code means; `numbers`: column -> (n,) float64."""

    attributes: tuple[str, ...]
    codes: np.ndarray
    names: tuple[tuple[str, ...], ...]
    numbers: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.codes)

    def where(self, keep: np.ndarray) -> Leaves:
        return Leaves(self.attributes, self.codes[keep], self.names, {c: x[keep] for c, x in self.numbers.items()})


def leaves_of(table: pd.DataFrame, attributes: Sequence[str], columns: Sequence[str], spread: bool = True) -> Leaves:
    """One row per combination of `attributes`; number `columns` are summed, a column `spread` by squares.

    Raises ValueError where a column is missing or a number is negative or not finite: a leaf that was not expected or did
    not come has 0.
    """
    attributes, wanted = sorted(attributes), [*columns, *(["spread"] if spread and "spread" in table else [])]
    if missing := [c for c in (*attributes, *columns) if c not in table]:
        raise ValueError(f"leaves: no column {', '.join(missing)}")
    numbers = table[wanted].astype("float64")
    if bad := [c for c in wanted if not (np.isfinite(numbers[c]) & (numbers[c] >= 0)).all()]:
        raise ValueError(f"leaves: {', '.join(bad)} must be finite and not negative; write 0 for a leaf without rows")
    if "spread" in wanted:
        numbers = numbers.assign(spread=numbers["spread"] ** 2)
    coded = [_coded(table[a]) for a in attributes]
    # Numbers among the keys: sums of floats are then added in the same order, however the rows came.
    keys = [codes for codes, _ in coded]
    order = np.lexsort([*(numbers[c].to_numpy() for c in wanted), *keys[::-1]])
    codes = np.stack(keys, axis=1)[order] if keys else np.zeros((len(table), 0), int)
    first = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]).any(axis=1)]) if len(codes) else np.zeros(0, int)
    summed = {c: np.add.reduceat(numbers[c].to_numpy()[order], first) if len(first) else np.zeros(0) for c in wanted}
    if "spread" in wanted:
        summed["spread"] = np.sqrt(summed["spread"])
    return Leaves(tuple(attributes), codes[first], tuple(tuple(map(str, names)) for _, names in coded), summed)


def _coded(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(n,) codes of the values, and their texts, sorted. Each value is written once, however many leaves have it."""
    codes, different = pd.factorize(values, use_na_sentinel=False)
    names, place = np.unique([NOTHING if pd.isna(value) else str(value) for value in different], return_inverse=True)
    return place[codes] if len(codes) else codes, names
