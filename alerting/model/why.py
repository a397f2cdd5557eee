"""What is known of an incident beyond its figures: which slice carries it, how unusual it is, what it is like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alerting.model.trouble import Label, Verdict


def spell_segment(elements: Iterable[Iterable[tuple[str, str]]], equals: str = "=", space: str = " ") -> str:
    """os=iOS & source=ads; os=web: each conjunction of attributes and values, one after the other."""
    return f";{space}".join(f"{space}&{space}".join(f"{name}{equals}{value}" for name, value in pairs) for pairs in elements)


@dataclass(frozen=True)
class Slice:
    """One slice of a metric at the time of a trouble: what came and what was expected of it there.

    `elements`: conjunctions of (attribute, value); several where a cause is a set of them. Of a ratio the two numbers are
    ratios; where the mix moved they are shares of what the ratio divides by.
    """

    elements: tuple[tuple[tuple[str, str], ...], ...]
    value: float
    expected: float

    @property
    def change(self) -> float:
        """As a share of expected; infinite where nothing was expected."""
        if self.expected:
            return self.value / self.expected - 1
        return float("inf") if self.value else 0.0


@dataclass(frozen=True)
class Cause:
    """What explains an incident, as far as slices tell.

    `answer`: carried (by `slice`, the smallest set that carries the change), alike (everything moved as much), unclear.
    `others`: the other values of the attribute(s) of the slice, largest first, for what is not affected.
    """

    answer: str  # carried | alike | unclear
    effect: str = "count"  # count | rate | mix: a number of things, a ratio inside the slice, the slice's share of the whole
    slice: Slice | None = None
    share: float = float("nan")  # of the total's change that the slice carries, signed; above 1 the rest went the other way
    rest: Slice | None = None  # everything else
    others: tuple[Slice, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else tells it apart
    imbalance: tuple[Slice, ...] = ()  # experiment groups whose share of the users is not what it was (value, expected: shares)
    new: tuple[Slice, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Slice, ...] = ()  # values that have stopped coming (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were looked at
    overlap: bool = False  # of distinct users: the slices add up to more than all, as some are in several


@dataclass(frozen=True)
class Rarity:
    """How unusual a value is, by the history that was read."""

    same: int = 0  # values at the same time of the same weekday before
    beyond: int = 0  # of those, how many lie on this side of the value: 0 = it is lower (or higher) than all of them
    weeks: float = 0.0  # weeks of judged history behind `times`
    times: int = 0  # troubles at least this far out in it, this one left out


@dataclass(frozen=True)
class Similar:
    """The past incident that is most like this one."""

    at: datetime
    label: Label | None = None
    url: str = ""  # of the run that told of it: web address or path
    off: Verdict | None = None  # its worst verdict
