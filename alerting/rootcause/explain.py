"""From a table of leaves to a cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from alerting.rootcause.likelihood import count_curves, estimate_noise, expected_rates, ratio_curves
from alerting.rootcause.search import BOTH, ElementSet, SearchOptions, SearchSpace
from alerting.rootcause.segments import split_effects
from alerting.rootcause.types import Candidate, Conclusion, Explanation, Leaves, make_leaves

COUNT, RATIO = "count", "ratio"
MAX_CANDIDATES = 8  # candidates kept
DEFAULT = SearchOptions()
CARRIED_SHARE = 0.2  # of the total's change: less is not "the cause"


def explain(
    leaves: pd.DataFrame, attributes: Sequence[str], kind: str = COUNT, search: SearchOptions = DEFAULT, direction: str = BOTH
) -> Explanation:
    """The smallest sets of elements whose leaves changed by one factor while the rest did not.

    `leaves`: one row per combination of `attributes` (others are summed over), and of a count `value`, `expected`; of a
    ratio `part`, `whole`, `expected_part`, `expected_whole`, all of the same length of time. `spread`, optional: the standard
    deviation of the leaf's past errors, of a ratio in rates. `direction`: up or down where only such a change is asked about.
    Raises ValueError on an unknown kind, a missing column, and numbers that are negative or not finite.
    """
    if kind == COUNT:
        return _of_count(make_leaves(leaves, attributes, ["value", "expected"]), search, direction)
    if kind == RATIO:
        columns = ["part", "whole", "expected_part", "expected_whole"]
        return _of_ratio(make_leaves(leaves, attributes, columns, spread=False), search, direction)
    raise ValueError(f"explain: kind={kind!r} must be {COUNT!r} or {RATIO!r}")


def _of_count(leaves: Leaves, search: SearchOptions, direction: str) -> Explanation:
    value, expected = leaves.numbers["value"], leaves.numbers["expected"]
    scan = _count_scan(leaves, value, expected, search, direction)

    def cause(found: ElementSet) -> Candidate:
        inside, rest = found.mask, ~found.mask
        sums = (value[inside].sum(), expected[inside].sum(), value[rest].sum(), expected[rest].sum())
        return _cause(scan, found, "count", sums, _share(scan, found), expected)

    return _answer(scan, cause, value.sum(), expected.sum())


def _count_scan(leaves: Leaves, value: np.ndarray, expected: np.ndarray, search: SearchOptions, direction: str) -> SearchSpace:
    noise = estimate_noise(value, expected, leaves.numbers.get("spread"))
    return SearchSpace(leaves, count_curves(value, expected, noise), value - expected, float(expected.sum()), search, direction)


def _of_ratio(leaves: Leaves, search: SearchOptions, direction: str) -> Explanation:
    value, expected = _over(*_now(leaves)), _over(*_usual(leaves))
    by_mix = max(
        (_mix(leaves, leaves.codes[:, a]) * np.sign(value - expected) for a in range(leaves.codes.shape[1])), default=0.0
    )
    if 2 * by_mix > abs(value - expected):  # more than the change of rates
        told = _of_mix(leaves, search, value, expected)
        if told.answer == Conclusion.CARRIED:
            return told
    return _of_rates(leaves, search, direction, value, expected)


def _of_rates(leaves: Leaves, search: SearchOptions, direction: str, value: float, expected: float) -> Explanation:
    """Whose rate moved, given the whole that there is now."""
    rate = expected_rates(*_usual(leaves))[leaves.numbers["whole"] > 0]
    leaves = leaves.where(leaves.numbers["whole"] > 0)
    part, whole = _now(leaves)
    due = whole * rate
    scan = SearchSpace(leaves, ratio_curves(part, whole, rate, search.unequal), part - due, float(due.sum()), search, direction)

    def cause(found: ElementSet) -> Candidate:
        sides = (found.mask, ~found.mask)
        sums = [_over(x[side], whole[side]) for side in sides for x in (part, due)]
        return _cause(scan, found, "rate", sums, _share(scan, found), whole)

    return _answer(scan, cause, value, expected)


def _of_mix(leaves: Leaves, search: SearchOptions, value: float, expected: float) -> Explanation:
    """Whose share of the whole moved."""
    whole, usual = leaves.numbers["whole"], leaves.numbers["expected_whole"]
    scan = _count_scan(leaves, whole, usual, search, BOTH)

    def cause(found: ElementSet) -> Candidate:
        sides = (found.mask, ~found.mask)
        sums = [_over(x * side, x) for side in sides for x in (whole, usual)]
        return _cause(scan, found, "mix", sums, _mix(leaves, found.mask.astype(int)) / (value - expected), usual)

    return _answer(scan, cause, value, expected)


def _mix(leaves: Leaves, groups: np.ndarray) -> float:
    """Change of the ratio that the shares of the groups (n,) int make."""
    sums = [np.bincount(groups, x) for x in (*_now(leaves), *_usual(leaves))]
    return float(split_effects(*sums)[1].sum())


def _now(leaves: Leaves) -> tuple[np.ndarray, np.ndarray]:
    return leaves.numbers["part"], leaves.numbers["whole"]


def _usual(leaves: Leaves) -> tuple[np.ndarray, np.ndarray]:
    return leaves.numbers["expected_part"], leaves.numbers["expected_whole"]


def _answer(scan: SearchSpace, cause: Callable[[ElementSet], Candidate], value: float, expected: float) -> Explanation:
    sets, everything = scan.sets(), scan.everything()
    candidates = tuple(cause(found) for found in sets[:MAX_CANDIDATES])
    if everything.score > max([0.0, *(c.score for c in candidates[:1])]):
        return Explanation(Conclusion.ALIKE, float(value), float(expected), (), candidates)
    told = tuple(c for c, found in zip(candidates, sets, strict=False) if _tellable(c, scan) and _first_name(found, sets))
    answer = Conclusion.CARRIED if told else Conclusion.UNCLEAR
    return Explanation(answer, float(value), float(expected), told, candidates)


def _tellable(cause: Candidate, scan: SearchSpace) -> bool:
    """Beyond noise, and a fair part of the change; of a total that is off by no more than usual, no share can be asked."""
    calm = abs(scan.deviation.sum()) <= scan.search.rest * scan.expected
    chances = len(cause.elements) * np.log(max(len(scan.lattice), 1))  # so many elements were tried: one is odd by chance
    return cause.score > chances and (calm or cause.share >= CARRIED_SHARE)


def _first_name(found: ElementSet, sets: list[ElementSet]) -> bool:
    """Not the same leaves as a better candidate."""
    better = sets[: next(i for i, other in enumerate(sets) if other is found)]
    return not any((found.mask == other.mask).all() for other in better)


def _share(scan: SearchSpace, found: ElementSet) -> float:
    total = scan.deviation.sum()
    return float(scan.deviation[found.mask].sum() / total) if total else 0.0


def _cause(
    scan: SearchSpace, found: ElementSet, effect: str, sums: Sequence[float], share: float, volume: np.ndarray
) -> Candidate:
    value, expected, rest_value, rest_expected = (float(x) for x in sums)
    elements = tuple(sorted(scan.lattice.element(row) for row in found.rows))
    inside = _over(volume * found.mask, volume)
    return Candidate(
        elements, effect, value, expected, rest_value, rest_expected, float(share), inside, found.factor, found.score
    )


def _over(part: np.ndarray, whole: np.ndarray) -> float:
    """sum(part) / sum(whole), 0 where there is nothing."""
    total = whole.sum()
    return float(part.sum() / total) if total else 0.0
