"""Values that are there for the first time, and values that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alerting.rootcause.likelihood import MEDIAN, UNEQUAL
from alerting.rootcause.types import make_leaves

MIN_EXPECTED_UNITS = 5.0  # units: of so many expected, none by chance happens once in 150


@dataclass(frozen=True)
class ValueChange:
    """A value of an attribute that is new (expected 0) or gone (0 now)."""

    attribute: str
    value: str
    gone: bool
    amount: float  # units now, or units that were expected
    share: float  # of all units now, or of all that were expected


def new_and_gone_values(
    leaves: pd.DataFrame, attributes: Sequence[str], least: float = MIN_EXPECTED_UNITS
) -> tuple[ValueChange, ...]:
    """Single values never expected that came with `least` units, or that were expected with as many and did not come.

    `leaves`: columns `value` and `expected` as of a count in `explain`. Largest share first. Raises ValueError as it.
    """
    found = make_leaves(leaves, attributes, ["value", "expected"], spread=False)
    value, expected = found.numbers["value"], found.numbers["expected"]
    told = []
    for place, attribute in enumerate(found.attributes):
        names, codes = found.names[place], found.codes[:, place]
        now = np.bincount(codes, value, len(names))
        then = np.bincount(codes, expected, len(names))
        told += [ValueChange(attribute, n, False, float(x), float(x / value.sum()))
                 for n, x, y in zip(names, now, then, strict=True) if y == 0 and x >= least]  # fmt: skip
        told += [ValueChange(attribute, n, True, float(y), float(y / expected.sum()))
                 for n, x, y in zip(names, now, then, strict=True) if x == 0 and y >= least]  # fmt: skip
    return tuple(sorted(told, key=lambda a: (-a.share, a.attribute, a.value)))


# Rate and mix: why a ratio moved although its parts did not, or did.


@dataclass(frozen=True)
class Effect:
    """What one value of an attribute adds to the change of a ratio, in the ratio's units."""

    value: str
    rate: float  # because the ratio inside it changed
    mix: float  # because its share of the whole changed, and its ratio differs from the total's

    @property
    def total(self) -> float:
        return self.rate + self.mix


def mix_and_rate_effects(leaves: pd.DataFrame, attribute: str) -> tuple[Effect, ...]:
    """The change of sum(part) / sum(whole) against expectation, split over the values of `attribute`, largest first.

    Exact: the sum of all `total` is the change of the ratio. Shares and rates are weighed at the middle of before and after
    (Marshall 1863, Bennet 1920), so neither is favoured. A value without whole on one side has no rate there: all of it is
    mix. `leaves`: columns as of a ratio in `explain`. Zeros where one side has no whole at all. Raises ValueError as it.
    """
    found = make_leaves(leaves, [attribute], ["part", "whole", "expected_part", "expected_whole"], spread=False)
    part, whole, usual_part, usual_whole = (found.numbers[c] for c in ("part", "whole", "expected_part", "expected_whole"))
    rate, mix = split_effects(part, whole, usual_part, usual_whole)
    names = [found.names[0][code] for code in found.codes[:, 0]]
    told = [Effect(name, float(r), float(m)) for name, r, m in zip(names, rate, mix, strict=True)]
    return tuple(sorted(told, key=lambda e: (-abs(e.total), e.value)))


def split_effects(
    part: np.ndarray, whole: np.ndarray, usual_part: np.ndarray, usual_whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(k,) rate and (k,) mix effects of k groups on the ratio of the sums; zeros where one side has no whole."""
    if not (whole.sum() > 0 and usual_whole.sum() > 0):
        return np.zeros(len(part)), np.zeros(len(part))
    now, then = _rate(part, whole), _rate(usual_part, usual_whole)
    now, then = np.where(whole > 0, now, then), np.where(usual_whole > 0, then, now)
    share, usual_share = whole / whole.sum(), usual_whole / usual_whole.sum()
    middle = (part.sum() / whole.sum() + usual_part.sum() / usual_whole.sum()) / 2
    return (share + usual_share) / 2 * (now - then), (share - usual_share) * ((now + then) / 2 - middle)


def _rate(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.where(whole > 0, whole, 1.0)


# Expectations of leaves from their recent past, for callers that have a matrix of it.

MEMORY_BUCKETS = 1.25  # buckets: weight of the past falls by e; best of 0.5 .. 4 for the error of slices of 2 % and more
LEAST_UNEQUAL = 0.0005
ERRORS = 6  # past buckets that are forecast to learn each leaf's spread


def expected_counts(past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) expected and (n,) spread of the next bucket of counts.

    `past` (n, steps): the buckets before, newest first, 0 where a leaf had none. Each bucket is brought to the newest one's
    total, then averaged with weights that fall with age; the spread is the root mean square of the same forecast's errors
    of the newest `ERRORS` buckets. Raises ValueError under 2 buckets.
    """
    if past.ndim != 2 or past.shape[1] < 2:
        raise ValueError(f"recent: past must have two buckets or more, has shape {past.shape}")
    tries = range(min(ERRORS, past.shape[1] - 1))
    squares = [(past[:, i] - _level(past[:, i + 1 :], past[:, i].sum())) ** 2 for i in tries]
    return _level(past, past[:, 0].sum()), np.sqrt(np.mean(squares, axis=0))


def _level(past: np.ndarray, total: float) -> np.ndarray:
    """(n,) weighted mean of the buckets, each scaled to `total`."""
    weights = np.exp(-np.arange(past.shape[1]) / MEMORY_BUCKETS)
    return (past * (total / np.maximum(past.sum(axis=0), 1e-9))) @ (weights / weights.sum())


def expected_ratio(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) expected part and whole of a ratio where higher is worse: the mean of the better half of the past buckets.

    `part`, `whole` (n, steps). The worse half may hold the beginning of the trouble, or the last one.
    """
    used = np.flatnonzero(whole.sum(axis=0) > 0)
    if not len(used):
        return np.zeros(len(part)), np.zeros(len(part))
    overall = part[:, used].sum(axis=0) / whole[:, used].sum(axis=0)
    better = used[np.argsort(overall, kind="stable")[: (len(used) + 1) // 2]]
    return part[:, better].mean(axis=1), whole[:, better].mean(axis=1)


def overdispersion(part: np.ndarray, whole: np.ndarray) -> float:
    """How correlated the units of a leaf are (0 = binomial), from past buckets (n, steps) of a ratio: `Search.unequal`.

    Moments: the excess of each leaf's variance over the binomial, brought to a common rate in each bucket; leaves of 20 units
    and more a bucket. At least 0.0005; the default of `Search` where nothing can be measured.
    """
    big = (whole.mean(axis=1) >= 20) & (part.sum(axis=1) > 0)
    part, whole = part[big], np.maximum(whole[big], 1e-9)
    if not len(part) or part.shape[1] < 2:
        return UNEQUAL
    rate = part.sum(axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    due = whole * rate * (part.sum(axis=0) / np.maximum((whole * rate).sum(axis=0), 1e-9))
    usual = np.maximum(due * (1 - np.minimum(due / whole, 1)), 1e-9)
    degrees = part.shape[1] / (part.shape[1] - 1)
    excess = np.median(((part - due) ** 2 * degrees / usual / MEDIAN - 1) / np.maximum(whole - 1, 1))
    return float(np.clip(excess, LEAST_UNEQUAL, UNEQUAL))
