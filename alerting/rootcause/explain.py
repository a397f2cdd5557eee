"""Explain the change of a count or of a ratio from a table of leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from alerting.model.incident import Segment
from alerting.rootcause.search import (
    PRIOR_UNITS,
    Condition,
    ConditionSet,
    Leaves,
    SearchOptions,
    SearchSpace,
    count_curves,
    estimate_noise,
    make_leaves,
    ratio_curves,
)

COUNT, RATIO = "count", "ratio"
RATIO_COLUMNS = ["part", "whole", "expected_part", "expected_whole"]
MAX_CANDIDATES = 8
MIN_EXPECTED_UNITS = 5.0  # below 5 expected, an empty segment may be chance (p ~ 1/150)
DEFAULT_OPTIONS = SearchOptions()
MIN_CAUSE_SHARE = 0.2  # of the total's change: a set that explains less is not its cause


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
        return Segment(self.conditions, self.value, self.expected).change


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


def explain(
    leaves: pd.DataFrame, attributes: Sequence[str], kind: str = COUNT, options: SearchOptions = DEFAULT_OPTIONS
) -> Explanation:
    """Return the smallest sets of conditions whose leaves changed by one factor while the rest did not.

    `leaves`: one row per combination of `attributes` (others are summed over), and of a count `value`, `expected`; of a
    ratio `part`, `whole`, `expected_part`, `expected_whole`, all of the same length of time. `spread`, optional: the standard
    deviation of the leaf's past errors, of a ratio in rates.
    Raises ValueError on an unknown kind, a missing column, and numbers that are negative or not finite.
    """
    if kind == COUNT:
        table = make_leaves(leaves, attributes, ["value", "expected"])
        counts, due = table.numbers["value"], table.numbers["expected"]
        curves = count_curves(counts, due, estimate_noise(counts, due, table.numbers.get("spread")))
        space = SearchSpace(table, curves, counts - due, float(due.sum()), options)
        effect = _Effect(
            "count",
            space,
            space.sets(),
            numbers=lambda mask: (counts[mask].sum(), due[mask].sum()),
            share=space.share,
            volume=due,
        )
        return _conclude(effect, counts.sum(), due.sum())
    if kind != RATIO:
        raise ValueError(f"explain: kind={kind!r} must be {COUNT!r} or {RATIO!r}")

    # The mix where more than half of the change is its effect, by some attribute; else the rates
    table = make_leaves(leaves, attributes, RATIO_COLUMNS, spread=False)
    part, whole, expected_part, expected_whole = (table.numbers[column] for column in RATIO_COLUMNS)
    value, expected = _sum_ratio(part, whole), _sum_ratio(expected_part, expected_whole)
    by_attribute = [_change_by_shares(table, codes) * np.sign(value - expected) for codes in table.codes.T]
    if 2 * max(by_attribute, default=0.0) > abs(value - expected):
        explained = _conclude(_mix_effect(table, options, value - expected), value, expected)
        if explained.answer == Conclusion.CARRIED:
            return explained
    return _conclude(_rate_effect(table, options), value, expected)


@dataclass(frozen=True)
class _Effect:
    """The search space, the sets that were found in it, and the measures of a set of leaves, given as a mask (n,) bool: value
    and expected, its share of the total's change."""

    name: str  # count | rate | mix
    space: SearchSpace
    sets: list[ConditionSet]  # best first
    numbers: Callable[[np.ndarray], tuple[float, float]]
    share: Callable[[np.ndarray], float]
    volume: np.ndarray  # (n,) numbers whose share is the size of a set


def _rate_effect(leaves: Leaves, options: SearchOptions) -> _Effect:
    """Return how the rates changed, given the whole that there is now."""
    there = leaves.numbers["whole"] > 0
    hits, units = leaves.numbers["expected_part"], leaves.numbers["expected_whole"]
    overall = hits.sum() / units.sum() if units.sum() else 0.0
    rate = np.clip((hits + PRIOR_UNITS * overall) / (units + PRIOR_UNITS), 0.0, 1.0)[there]  # shrunk to the overall rate
    leaves = replace(leaves, codes=leaves.codes[there], numbers={name: x[there] for name, x in leaves.numbers.items()})
    part, whole = leaves.numbers["part"], leaves.numbers["whole"]
    due = whole * rate
    curves = ratio_curves(part, whole, rate, options.correlation)
    space = SearchSpace(leaves, curves, part - due, float(due.sum()), options)
    return _Effect(
        "rate",
        space,
        space.sets(),
        numbers=lambda mask: (_sum_ratio(part[mask], whole[mask]), _sum_ratio(due[mask], whole[mask])),
        share=space.share,
        volume=whole,
    )


def _mix_effect(leaves: Leaves, options: SearchOptions, change: float) -> _Effect:
    """Return how the shares of the whole changed. `change`: that of the ratio."""
    whole, usual = leaves.numbers["whole"], leaves.numbers["expected_whole"]
    curves = count_curves(whole, usual, estimate_noise(whole, usual))
    space = SearchSpace(leaves, curves, whole - usual, float(usual.sum()), options)
    return _Effect(
        "mix",
        space,
        space.sets(),
        numbers=lambda mask: (_sum_ratio(whole * mask, whole), _sum_ratio(usual * mask, usual)),
        share=lambda mask: _change_by_shares(leaves, mask.astype(int)) / change,
        volume=usual,
    )


def _change_by_shares(leaves: Leaves, groups: np.ndarray) -> float:
    """Return the change of the ratio that the shares of the groups, (n,) int, make."""
    return float(split_effects(*(np.bincount(groups, leaves.numbers[column]) for column in RATIO_COLUMNS))[1].sum())


def _conclude(effect: _Effect, value: float, expected: float) -> Explanation:
    """Return the sets that were found as candidates, with those among them that are good enough to report."""
    space, sets = effect.space, effect.sets
    everything = space.everything()
    candidates = tuple(_candidate(found, effect) for found in sets[:MAX_CANDIDATES])
    if everything.score > max([0.0, *(c.score for c in candidates[:1])]):
        return Explanation(Conclusion.ALIKE, float(value), float(expected), (), candidates)

    # Where the total differs by no more than is usual, a share of its change means nothing.
    usual = abs(space.deviation.sum()) <= space.options.rest * space.expected
    causes = []
    for i, found in enumerate(candidates):
        by_chance = len(found.conditions) * np.log(max(space.lattice.size, 1))  # multiple comparisons, in nats
        renamed = any((sets[i].mask == better.mask).all() for better in sets[:i])  # the same leaves under another name
        if found.score > by_chance and (usual or found.share >= MIN_CAUSE_SHARE) and not renamed:
            causes.append(found)
    answer = Conclusion.CARRIED if causes else Conclusion.UNCLEAR
    return Explanation(answer, float(value), float(expected), tuple(causes), candidates)


def _candidate(found: ConditionSet, effect: _Effect) -> Candidate:
    conditions = tuple(sorted(effect.space.lattice.condition(row) for row in found.rows))
    value, expected = effect.numbers(found.mask)
    rest_value, rest_expected = effect.numbers(~found.mask)
    return Candidate(
        conditions, effect.name, float(value), float(expected), float(rest_value), float(rest_expected),
        effect.share(found.mask), _sum_ratio(effect.volume * found.mask, effect.volume), found.factor, found.score,
    )  # fmt: skip


def _sum_ratio(part: np.ndarray, whole: np.ndarray) -> float:
    """Return sum(part) / sum(whole), 0 where the whole is nothing."""
    total = whole.sum()
    return float(part.sum() / total) if total else 0.0


def split_effects(
    part: np.ndarray, whole: np.ndarray, expected_part: np.ndarray, expected_whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (k,) rate and (k,) mix effects of k groups on the change of the ratio of the sums; zeros where a side has no whole.

    Exact: all effects add up to the change. Shares and rates are weighed at the middle of before and after (Marshall 1863,
    Bennet 1920), so neither is favoured. A group without whole on one side has no rate there: all of it is mix.
    """
    if not (whole.sum() > 0 and expected_whole.sum() > 0):
        return np.zeros(len(part)), np.zeros(len(part))
    now = part / np.where(whole > 0, whole, 1.0)
    before = expected_part / np.where(expected_whole > 0, expected_whole, 1.0)
    now, before = np.where(whole > 0, now, before), np.where(expected_whole > 0, before, now)
    share, expected_share = whole / whole.sum(), expected_whole / expected_whole.sum()
    middle = (part.sum() / whole.sum() + expected_part.sum() / expected_whole.sum()) / 2
    return (share + expected_share) / 2 * (now - before), (share - expected_share) * ((now + before) / 2 - middle)


def new_and_gone_values(
    leaves: pd.DataFrame, attributes: Sequence[str], min_units: float = MIN_EXPECTED_UNITS, bunch: float = 1.0
) -> tuple[list[Segment], list[Segment]]:
    """Return the values with at least `min_units` of which none were expected, and those that were expected and did not come.

    A value has not come where it should have more than `min_units` of what came at all, and more for each value that is
    looked at (multiple comparisons): that none came is then no chance. `bunch`: units that come together, as those of a user.

    Each is a segment with its share of all now and its share of all that was expected; the largest first. `leaves`: columns
    `value` and `expected` as of a count in `explain`. Raises ValueError as it.
    """
    table = make_leaves(leaves, attributes, ["value", "expected"], spread=False)
    value, expected = table.numbers["value"], table.numbers["expected"]
    new, gone = list[Segment](), list[Segment]()
    came = min(1.0, value.sum() / max(expected.sum(), 1e-9))  # of what was expected: of a total that fell, each value has less
    surprising = min_units + np.log(max(sum(map(len, table.names)), 1))  # no unit of so many expected: 1 in 150 by chance
    for column, attribute in enumerate(table.attributes):
        names, codes = table.names[column], table.codes[:, column]
        now, usual = np.bincount(codes, value, len(names)), np.bincount(codes, expected, len(names))
        for name, x, y in zip(names, now, usual, strict=True):
            if y == 0 and x >= bunch * min_units:
                new.append(Segment((((attribute, name),),), float(x / value.sum()), 0.0))
            if x == 0 and y * came >= bunch * surprising:
                gone.append(Segment((((attribute, name),),), 0.0, float(y / expected.sum())))
    new.sort(key=lambda segment: (-segment.value, segment.elements))
    gone.sort(key=lambda segment: (-segment.expected, segment.elements))
    return new, gone
