"""The nouns of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from alerting.model.incident import spell_segment

Condition = tuple[tuple[str, str], ...]  # (attribute, value) pairs that hold together, by attribute: os=ios & country=RU


class Conclusion(StrEnum):
    """What can be said about the cause."""

    CARRIED = "carried"  # the first cause carries the change
    ALIKE = "alike"  # everything changed by about the same factor
    UNCLEAR = "unclear"  # nothing stands out of the noise


@dataclass(frozen=True)
class Candidate:
    """A set of elements whose leaves changed by one factor while the rest did not.

    `value` and `expected` are of the leaves of the set, `rest_value` and `rest_expected` of all others: sums of a count,
    or sum(part) / sum(whole) of a ratio; of a `mix` they are shares of the whole.
    """

    elements: tuple[Condition, ...]
    effect: str  # count | rate | mix
    value: float
    expected: float
    rest_value: float
    rest_expected: float
    share: float  # of the total's change that the set carries, signed: 1 = all, above 1 = the rest went the other way
    volume: float  # of what was expected (of a ratio: of the whole), the share that lies in the set
    factor: float  # by which its leaves changed, as fitted (of a rate: its odds); inf: each by its own
    score: float  # nats: evidence against "the set did as the rest", less the price of saying it

    @property
    def change(self) -> float:
        """Relative change inside; infinite where nothing was expected and something came."""
        return relative_change(self.value, self.expected)

    @property
    def rest_change(self) -> float:
        """Relative change of everything else."""
        return relative_change(self.rest_value, self.rest_expected)

    @property
    def text(self) -> str:
        """`os=ios&source=ads;os=web`: pairs by attribute, elements by name."""
        return spell_segment(self.elements, space="")


@dataclass(frozen=True)
class Explanation:
    """`causes`: what may be said, best first, empty unless `answer` is CARRIED. `candidates`: the ranking behind it, which
    may hold the same leaves under two names and sets that explain too little to be told."""

    answer: Conclusion
    value: float  # the total: a sum, or a ratio
    expected: float
    causes: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def change(self) -> float:
        return relative_change(self.value, self.expected)


def relative_change(value: float, expected: float) -> float:
    """value / expected - 1, never NaN."""
    if expected:
        return value / expected - 1
    return float("inf") if value else 0.0


# The table of leaves: checked, duplicates summed, sorted, so that nothing depends on the order it came in.

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


def make_leaves(table: pd.DataFrame, attributes: Sequence[str], columns: Sequence[str], spread: bool = True) -> Leaves:
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
