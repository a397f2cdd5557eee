"""Explain the change of a count or of a ratio from a table of leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

Sums = tuple[float, float, float, float]  # value, expected, rest_value, rest_expected


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
    deviation of the leaf's past errors, of a ratio in rates. `direction`: up or down where only such a change is asked about.
    Raises ValueError on an unknown kind, a missing column, and numbers that are negative or not finite.
    """
    if kind == COUNT:
        return _explain_count(make_leaves(leaves, attributes, ["value", "expected"]), options, direction)
    if kind == RATIO:
        return _explain_ratio(make_leaves(leaves, attributes, RATIO_COLUMNS, spread=False), options, direction)
    raise ValueError(f"explain: kind={kind!r} must be {COUNT!r} or {RATIO!r}")


def _explain_count(leaves: Leaves, options: SearchOptions, direction: str) -> Explanation:
    value, expected = leaves.numbers["value"], leaves.numbers["expected"]
    space = _count_space(leaves, value, expected, options, direction)

    def candidate(found: ConditionSet) -> Candidate:
        inside, rest = found.mask, ~found.mask
        sums = value[inside].sum(), expected[inside].sum(), value[rest].sum(), expected[rest].sum()
        return _candidate(space, found, "count", sums, expected)

    return _conclude(space, candidate, value.sum(), expected.sum())


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

    def candidate(found: ConditionSet) -> Candidate:
        inside, rest = found.mask, ~found.mask
        sums = (
            _sum_ratio(part[inside], whole[inside]), _sum_ratio(due[inside], whole[inside]),
            _sum_ratio(part[rest], whole[rest]), _sum_ratio(due[rest], whole[rest]),
        )  # fmt: skip
        return _candidate(space, found, "rate", sums, whole)

    return _conclude(space, candidate, value, expected)


def _explain_mix(leaves: Leaves, options: SearchOptions, value: float, expected: float) -> Explanation:
    """Explain whose share of the whole changed."""
    whole, usual = leaves.numbers["whole"], leaves.numbers["expected_whole"]
    space = _count_space(leaves, whole, usual, options, BOTH)

    def candidate(found: ConditionSet) -> Candidate:
        inside, rest = found.mask, ~found.mask
        sums = (
            _sum_ratio(whole * inside, whole), _sum_ratio(usual * inside, usual),
            _sum_ratio(whole * rest, whole), _sum_ratio(usual * rest, usual),
        )  # fmt: skip
        share = _mix_effect(leaves, inside.astype(int)) / (value - expected)
        return _candidate(space, found, "mix", sums, usual, share)

    return _conclude(space, candidate, value, expected)


def _mix_effect(leaves: Leaves, groups: np.ndarray) -> float:
    """Return the change of the ratio that the shares of the groups, (n,) int, make."""
    return float(split_effects(*(np.bincount(groups, leaves.numbers[column]) for column in RATIO_COLUMNS))[1].sum())


def _conclude(space: SearchSpace, candidate: Callable[[ConditionSet], Candidate], value: float, expected: float) -> Explanation:
    """Search, and return the candidates with those among them that are good enough to report."""
    sets, everything = space.sets(), space.everything()
    candidates = tuple(candidate(found) for found in sets[:MAX_CANDIDATES])
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


def _candidate(
    space: SearchSpace, found: ConditionSet, effect: str, sums: Sums, volume: np.ndarray, share: float | None = None
) -> Candidate:
    """Return the set as a candidate. `share`: of the total's change; None: that of the deviation."""
    if share is None:
        total = space.deviation.sum()
        share = space.deviation[found.mask].sum() / total if total else 0.0
    conditions = tuple(sorted(space.lattice.condition(row) for row in found.rows))
    value, expected, rest_value, rest_expected = (float(x) for x in sums)
    inside = _sum_ratio(volume * found.mask, volume)
    return Candidate(
        conditions, effect, value, expected, rest_value, rest_expected, float(share), inside, found.factor, found.score
    )


def _sum_ratio(part: np.ndarray, whole: np.ndarray) -> float:
    """Return sum(part) / sum(whole), 0 where the whole is nothing."""
    total = whole.sum()
    return float(part.sum() / total) if total else 0.0
