"""The nouns of an explanation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alerting.model.why import spell_segment

Element = tuple[tuple[str, str], ...]  # (attribute, value) pairs that hold together, by attribute: os=ios & country=RU


class Answer(StrEnum):
    """What can be said about the cause."""

    CARRIED = "carried"  # the first cause carries the change
    ALIKE = "alike"  # everything changed by about the same factor
    UNCLEAR = "unclear"  # nothing stands out of the noise


@dataclass(frozen=True)
class Cause:
    """A set of elements whose leaves changed by one factor while the rest did not.

    `value` and `expected` are of the leaves of the set, `rest_value` and `rest_expected` of all others: sums of a count,
    or sum(part) / sum(whole) of a ratio; of a `mix` they are shares of the whole.
    """

    elements: tuple[Element, ...]
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
        return relative(self.value, self.expected)

    @property
    def rest_change(self) -> float:
        """Relative change of everything else."""
        return relative(self.rest_value, self.rest_expected)

    @property
    def text(self) -> str:
        """`os=ios&source=ads;os=web`: pairs by attribute, elements by name."""
        return spell_segment(self.elements, space="")


@dataclass(frozen=True)
class Explanation:
    """`causes`: what may be said, best first, empty unless `answer` is CARRIED. `candidates`: the ranking behind it, which
    may hold the same leaves under two names and sets that explain too little to be told."""

    answer: Answer
    value: float  # the total: a sum, or a ratio
    expected: float
    causes: tuple[Cause, ...] = ()
    candidates: tuple[Cause, ...] = ()

    @property
    def change(self) -> float:
        return relative(self.value, self.expected)


def relative(value: float, expected: float) -> float:
    """value / expected - 1, never NaN."""
    if expected:
        return value / expected - 1
    return float("inf") if value else 0.0
