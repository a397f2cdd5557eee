"""Types of an explanation: conditions, candidates, the conclusion, and the table of leaves that is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from alerting.model.incident import spell_segment

Condition = tuple[tuple[str, str], ...]  # (attribute, value) pairs that hold together, by attribute: os=ios & country=RU
MISSING_VALUE = "(none)"  # name of a missing attribute value


class Conclusion(StrEnum):
    """The kinds of answer that an explanation can give."""

    CARRIED = "carried"  # the first cause explains the change
    ALIKE = "alike"  # everything changed by about the same factor
    UNCLEAR = "unclear"  # nothing stands out of the noise


@dataclass(frozen=True)
class Candidate:
    """A set of conditions whose leaves changed by one factor while the others did not.

    `value` and `expected` are of the leaves of the set, `rest_value` and `rest_expected` of all others: sums of a count,
    or sum(part) / sum(whole) of a ratio; with the effect `mix` they are shares of the whole.
    """

    conditions: tuple[Condition, ...]
    effect: str  # count | rate | mix
    value: float
    expected: float
    rest_value: float
    rest_expected: float
    share: float  # of the total's change that the set explains, signed: 1 = all, above 1 = the rest changed the other way
    volume: float  # share of what was expected (of a ratio: of the whole) that lies in the set
    factor: float  # by which its leaves changed, as fitted (of a rate: its odds); inf: each by its own
    score: float  # nats: evidence against "the set changed as the rest", less the price of its conditions

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
        """The set as `os=ios&source=ads;os=web`: pairs by attribute, conditions by name."""
        return spell_segment(self.conditions, space="")


@dataclass(frozen=True)
class Explanation:
    """`causes`: the candidates that are good enough to report, best first, empty unless `answer` is CARRIED.

    `candidates`: the whole ranking; it may hold the same leaves under two names, and sets that explain too little.
    """

    answer: Conclusion
    value: float  # the total: a sum, or a ratio
    expected: float
    causes: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def change(self) -> float:
        return relative_change(self.value, self.expected)


def relative_change(value: float, expected: float) -> float:
    """Return value / expected - 1, never NaN: infinite where nothing was expected and something came."""
    if expected:
        return value / expected - 1
    return float("inf") if value else 0.0


@dataclass(frozen=True)
class Leaves:
    """A checked table of leaves without duplicates, sorted, so that nothing depends on the order of the rows.

    `codes` (n, k) int: value of each attribute; `names[k]`: what a code means; `numbers`: column -> (n,) float64.
    """

    attributes: tuple[str, ...]
    codes: np.ndarray
    names: tuple[tuple[str, ...], ...]
    numbers: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.codes)

    def where(self, keep: np.ndarray) -> Leaves:
        return Leaves(self.attributes, self.codes[keep], self.names, {c: x[keep] for c, x in self.numbers.items()})


def make_leaves(table: pd.DataFrame, attributes: Sequence[str], columns: Sequence[str], spread: bool = True) -> Leaves:
    """Return one leaf per combination of `attributes`; number `columns` are summed, a column `spread` by squares.

    Raises ValueError where a column is missing or a number is negative or not finite. A leaf that was not expected, or did
    not come, has 0.
    """
    attributes, wanted = sorted(attributes), [*columns, *(["spread"] if spread and "spread" in table else [])]
    if missing := [c for c in (*attributes, *columns) if c not in table]:
        raise ValueError(f"leaves: no column {', '.join(missing)}")
    numbers = table[wanted].astype("float64")
    if bad := [c for c in wanted if not (np.isfinite(numbers[c]) & (numbers[c] >= 0)).all()]:
        raise ValueError(f"leaves: {', '.join(bad)} must be finite and not negative; write 0 for a leaf without rows")
    if "spread" in wanted:
        numbers = numbers.assign(spread=numbers["spread"] ** 2)

    codes, names = [], []
    for attribute in attributes:
        own, different = pd.factorize(table[attribute], use_na_sentinel=False)
        texts = [MISSING_VALUE if pd.isna(value) else str(value) for value in different]  # each once, however many leaves
        known, position = np.unique(texts, return_inverse=True)
        codes.append(position[own] if len(own) else own)
        names.append(tuple(map(str, known)))

    # Numbers among the keys: sums of floats are then added in the same order, however the rows came.
    order = np.lexsort([*(numbers[c].to_numpy() for c in wanted), *codes[::-1]])
    rows = np.stack(codes, axis=1)[order] if codes else np.zeros((len(table), 0), int)
    first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)]) if len(rows) else np.zeros(0, int)
    summed = {c: np.add.reduceat(numbers[c].to_numpy()[order], first) if len(first) else np.zeros(0) for c in wanted}
    if "spread" in wanted:
        summed["spread"] = np.sqrt(summed["spread"])
    return Leaves(tuple(attributes), rows[first], tuple(names), summed)
