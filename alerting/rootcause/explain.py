"""Explain the change of a count or of a ratio from a table of leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alerting.rootcause.likelihood import count_curves, estimate_noise, expected_rates, ratio_curves
from alerting.rootcause.search import BOTH, ConditionSet, SearchOptions, SearchSpace
from alerting.rootcause.segments import split_effects
from alerting.rootcause.types import Candidate, Conclusion, Explanation, Leaves, make_leaves

COUNT, RATIO = "count", "ratio"
RATIO_COLUMNS = ["part", "whole", "expected_part", "expected_whole"]
MAX_CANDIDATES = 8
DEFAULT_OPTIONS = SearchOptions()
MIN_CAUSE_SHARE = 0.2  # of the total's change: a set that explains less is not its cause


def explain(
    leaves: pd.DataFrame,
    attributes: Sequence[str],
    kind: str = COUNT,
    options: SearchOptions = DEFAULT_OPTIONS,
    direction: str = BOTH,
) -> Explanation:
    """Return the smallest sets of conditions whose leaves changed by one factor while the rest did not.

    `leaves`: one row per combination of `attributes` (others are summed over), and of a count `value`, `expected`; of a
    ratio `part`, `whole`, `expected_part`, `expected_whole`, all of the same length of time. `spread`, optional: the standard
    deviation of the leaf's past errors, of a ratio in rates. `direction`: up or down to search for such a change only.
    Raises ValueError on an unknown kind, a missing column, and numbers that are negative or not finite.
    """
    if kind == COUNT:
        return _explain_count(make_leaves(leaves, attributes, ["value", "expected"]), options, direction)
    if kind == RATIO:
        return _explain_ratio(make_leaves(leaves, attributes, RATIO_COLUMNS, spread=False), options, direction)
    raise ValueError(f"explain: kind={kind!r} must be {COUNT!r} or {RATIO!r}")


@dataclass(frozen=True)
class _Effect:
    """How a set of leaves, given as a mask (n,) bool, is measured: value and expected, and its share of the total's change."""

    name: str  # count | rate | mix
    numbers: Callable[[np.ndarray], tuple[float, float]]
    share: Callable[[np.ndarray], float]
    volume: np.ndarray  # (n,) numbers whose share is the size of a set


def _explain_count(leaves: Leaves, options: SearchOptions, direction: str) -> Explanation:
    value, expected = leaves.numbers["value"], leaves.numbers["expected"]
    space = _count_space(leaves, value, expected, options, direction)
    effect = _Effect("count", lambda mask: (value[mask].sum(), expected[mask].sum()), space.share, expected)
    return _conclude(space, effect, value.sum(), expected.sum())


def _count_space(leaves: Leaves, value: np.ndarray, expected: np.ndarray, options: SearchOptions, direction: str) -> SearchSpace:
    curves = count_curves(value, expected, estimate_noise(value, expected, leaves.numbers.get("spread")))
    return SearchSpace(leaves, curves, value - expected, float(expected.sum()), options, direction)


def _explain_ratio(leaves: Leaves, options: SearchOptions, direction: str) -> Explanation:
    """Explain the mix where more than half of the change is its effect, by some attribute, else the rates."""
    part, whole, expected_part, expected_whole = (leaves.numbers[column] for column in RATIO_COLUMNS)
    value, expected = _sum_ratio(part, whole), _sum_ratio(expected_part, expected_whole)
    attributes = range(leaves.codes.shape[1])
    by_mix = max((_mix_effect(leaves, leaves.codes[:, a]) * np.sign(value - expected) for a in attributes), default=0.0)
    if 2 * by_mix > abs(value - expected):
        explained = _explain_mix(leaves, options, value, expected)
        if explained.answer == Conclusion.CARRIED:
            return explained
    return _explain_rates(leaves, options, direction, value, expected)


def _explain_rates(leaves: Leaves, options: SearchOptions, direction: str, value: float, expected: float) -> Explanation:
    """Explain whose rate changed, given the whole that there is now."""
    there = leaves.numbers["whole"] > 0
    rate = expected_rates(leaves.numbers["expected_part"], leaves.numbers["expected_whole"])[there]
    leaves = leaves.where(there)
    part, whole = leaves.numbers["part"], leaves.numbers["whole"]
    due = whole * rate
    curves = ratio_curves(part, whole, rate, options.correlation)
    space = SearchSpace(leaves, curves, part - due, float(due.sum()), options, direction)

    effect = _Effect(
        "rate", lambda mask: (_sum_ratio(part[mask], whole[mask]), _sum_ratio(due[mask], whole[mask])), space.share, whole
    )
    return _conclude(space, effect, value, expected)


def _explain_mix(leaves: Leaves, options: SearchOptions, value: float, expected: float) -> Explanation:
    """Explain whose share of the whole changed."""
    whole, usual = leaves.numbers["whole"], leaves.numbers["expected_whole"]
    space = _count_space(leaves, whole, usual, options, BOTH)

    effect = _Effect(
        "mix",
        lambda mask: (_sum_ratio(whole * mask, whole), _sum_ratio(usual * mask, usual)),
        lambda mask: _mix_effect(leaves, mask.astype(int)) / (value - expected),
        usual,
    )
    return _conclude(space, effect, value, expected)


def _mix_effect(leaves: Leaves, groups: np.ndarray) -> float:
    """Return the change of the ratio that the shares of the groups, (n,) int, make."""
    return float(split_effects(*(np.bincount(groups, leaves.numbers[column]) for column in RATIO_COLUMNS))[1].sum())


def _conclude(space: SearchSpace, effect: _Effect, value: float, expected: float) -> Explanation:
    """Search, and return the candidates with those among them that are good enough to report."""
    sets, everything = space.sets(), space.everything()
    candidates = tuple(_candidate(space, found, effect) for found in sets[:MAX_CANDIDATES])
    if everything.score > max([0.0, *(c.score for c in candidates[:1])]):
        return Explanation(Conclusion.ALIKE, float(value), float(expected), (), candidates)

    # Where the total differs by no more than is usual, a share of its change means nothing.
    usual = abs(space.deviation.sum()) <= space.options.rest * space.expected
    causes = []
    for i, found in enumerate(candidates):
        by_chance = len(found.conditions) * np.log(max(len(space.lattice), 1))  # multiple comparisons, in nats
        renamed = any((sets[i].mask == better.mask).all() for better in sets[:i])  # the same leaves under another name
        if found.score > by_chance and (usual or found.share >= MIN_CAUSE_SHARE) and not renamed:
            causes.append(found)
    answer = Conclusion.CARRIED if causes else Conclusion.UNCLEAR
    return Explanation(answer, float(value), float(expected), tuple(causes), candidates)


def _candidate(space: SearchSpace, found: ConditionSet, effect: _Effect) -> Candidate:
    conditions = tuple(sorted(space.lattice.condition(row) for row in found.rows))
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
