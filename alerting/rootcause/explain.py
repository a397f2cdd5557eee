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
MIN_CAUSE_SHARE = 0.2  # share of the total's change; a set that explains less is not reported as its cause


class Conclusion(StrEnum):
    """The kinds of answer that an explanation can give."""

    CARRIED = "carried"  # the first cause explains the change
    ALIKE = "alike"  # everything changed by about the same factor
    UNCLEAR = "unclear"  # no set stands out of the noise


@dataclass(frozen=True)
class Candidate:
    """A set of conditions whose leaves changed by one factor while the others did not.

    `value` and `expected` belong to the leaves of the set, `rest_value` and `rest_expected` to all others. They are sums for a
    count and sum(part) / sum(whole) for a ratio; with the effect `mix` they are shares of the whole.
    """

    conditions: tuple[Condition, ...]
    effect: str  # count | rate | mix
    value: float
    expected: float
    rest_value: float
    rest_expected: float
    share: float  # contribution to the total's change, signed: 1 is all of it, above 1 the rest changed the other way
    volume: float  # share of the expected total (for a ratio: of the whole) that lies in the set
    factor: float  # fitted factor by which its leaves changed (for a rate: their odds); inf: each leaf by its own factor
    score: float  # nats: evidence against "the set changed like the rest", minus the cost of its conditions

    @property
    def change(self) -> float:
        """The relative change of the set; infinite if nothing was expected and something came."""
        return Segment(self.conditions, self.value, self.expected).change


@dataclass(frozen=True)
class Explanation:
    """The result of a search. `causes`: the candidates to report, best first; empty unless `answer` is CARRIED.

    `candidates`: the ranking. It may contain the same leaves under two names, and sets that explain too little.
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

    `leaves`: one row per combination of `attributes` (other attributes are summed over). The number columns, float64, are
    `value` and `expected` for a count; `part`, `whole`, `expected_part` and `expected_whole` for a ratio; all for the same length
    of time. `spread` is optional: the standard deviation of the leaf's past errors. `kind`: COUNT or RATIO.
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

    # The mix, if for some attribute it makes more than half of the change; otherwise the rates
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
    """One kind of change: its search space, the sets found in it, and how to measure a set of leaves (a mask (n,) bool).

    `numbers`: mask -> value, expected. `share`: mask -> contribution to the total's change.
    """

    name: str  # count | rate | mix
    space: SearchSpace
    sets: list[ConditionSet]  # best first
    numbers: Callable[[np.ndarray], tuple[float, float]]
    share: Callable[[np.ndarray], float]
    volume: np.ndarray  # (n,) numbers; their share in a set is its size


def _rate_effect(leaves: Leaves, options: SearchOptions) -> _Effect:
    """Return the effect of the rates: the part is compared with the usual rate times the present whole."""
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
    """Return the effect of the mix: the shares of the whole are compared. `change`: the change of the ratio."""
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
    """Return the part of the ratio's change that comes from the shares of the groups. `groups`: (n,) int, group of each leaf."""
    return float(split_effects(*(np.bincount(groups, leaves.numbers[column]) for column in RATIO_COLUMNS))[1].sum())


def _conclude(effect: _Effect, value: float, expected: float) -> Explanation:
    """Return the sets of an effect as candidates, and as causes those that are good enough to report."""
    space, sets = effect.space, effect.sets
    everything = space.everything()
    candidates = tuple(_candidate(found, effect) for found in sets[:MAX_CANDIDATES])
    if everything.score > max([0.0, *(c.score for c in candidates[:1])]):
        return Explanation(Conclusion.ALIKE, float(value), float(expected), (), candidates)

    # If the total differs by no more than usual, a share of its change means nothing.
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
    """Return sum(part) / sum(whole); 0 if the whole is 0."""
    total = whole.sum()
    return float(part.sum() / total) if total else 0.0


def split_effects(
    part: np.ndarray, whole: np.ndarray, expected_part: np.ndarray, expected_whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (k,) rate effects and (k,) mix effects of k groups on the change of the ratio of the sums.

    The effects add up to the change exactly. Shares and rates are weighted at the mean of before and after (Marshall 1863,
    Bennet 1920), so neither is favoured. A group without whole before or now has no rate there: all of its effect is mix. All
    effects are 0 if there is no whole at all before or now.
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
    """Return the new values (at least `min_units` came, none was expected) and the gone values (expected, none came).

    A value is gone only if its expected units, scaled to the present total, exceed `min_units` plus the logarithm of the number
    of values (multiple comparisons). `bunch`: units that come together, such as those of one user.

    Each value is a segment with its share of all now and its share of all expected; the largest first. `leaves`: as for a count
    in `explain`. Raises ValueError as `explain` does.
    """
    table = make_leaves(leaves, attributes, ["value", "expected"], spread=False)
    value, expected = table.numbers["value"], table.numbers["expected"]
    new, gone = list[Segment](), list[Segment]()
    came = min(1.0, value.sum() / max(expected.sum(), 1e-9))  # share of the expected total: if that fell, each value has less
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
