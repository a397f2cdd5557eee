"""Numbers of segments beside the search: new and vanished values, rate and mix effects, expectations from recent buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alerting.rootcause.likelihood import NORMAL_MEDIAN, UNIT_CORRELATION
from alerting.rootcause.search import make_leaves

MIN_EXPECTED_UNITS = 5.0  # below 5 expected, an empty segment may be chance (p ~ 1/150)
DECAY_BUCKETS = 1.25  # the weight of a past bucket falls by e over so many; best of 0.5 .. 4 for segments of 2 % and more
FORECAST_ERRORS = 6  # past buckets that are forecast to measure each leaf's spread
MIN_CORRELATION = 0.0005


@dataclass(frozen=True)
class ValueChange:
    """A value of an attribute that is new (expected 0) or gone (0 now)."""

    attribute: str
    value: str
    gone: bool
    amount: float  # units now, or units that were expected
    share: float  # of all units now, or of all that were expected


def new_and_gone_values(
    leaves: pd.DataFrame, attributes: Sequence[str], min_units: float = MIN_EXPECTED_UNITS
) -> tuple[ValueChange, ...]:
    """Return values with at least `min_units` of which none were expected, or that were expected and did not come.

    `leaves`: columns `value` and `expected` as of a count in `explain`. Largest share first. Raises ValueError as it.
    """
    table = make_leaves(leaves, attributes, ["value", "expected"], spread=False)
    value, expected = table.numbers["value"], table.numbers["expected"]
    out = []
    for column, attribute in enumerate(table.attributes):
        names, codes = table.names[column], table.codes[:, column]
        now, usual = np.bincount(codes, value, len(names)), np.bincount(codes, expected, len(names))
        for name, x, y in zip(names, now, usual, strict=True):
            if y == 0 and x >= min_units:
                out.append(ValueChange(attribute, name, False, float(x), float(x / value.sum())))
            if x == 0 and y >= min_units:
                out.append(ValueChange(attribute, name, True, float(y), float(y / expected.sum())))
    return tuple(sorted(out, key=lambda change: (-change.share, change.attribute, change.value)))


@dataclass(frozen=True)
class Effect:
    """The part of one value of an attribute in the change of a ratio, in the ratio's units."""

    value: str
    rate: float  # because the ratio inside it changed
    mix: float  # because its share of the whole changed, and its ratio differs from the total's

    @property
    def total(self) -> float:
        return self.rate + self.mix


def mix_and_rate_effects(leaves: pd.DataFrame, attribute: str) -> tuple[Effect, ...]:
    """Split the change of sum(part) / sum(whole) against expectation over the values of `attribute`, largest effect first.

    Exact: the sum of all `total` is the change of the ratio. Shares and rates are weighed at the middle of before and after
    (Marshall 1863, Bennet 1920), so neither is favoured. A value without whole on one side has no rate there: all of it is
    mix. `leaves`: columns as of a ratio in `explain`. Zeros where one side has no whole at all. Raises ValueError as it.
    """
    columns = ["part", "whole", "expected_part", "expected_whole"]
    table = make_leaves(leaves, [attribute], columns, spread=False)
    rate, mix = split_effects(*(table.numbers[column] for column in columns))
    names = [table.names[0][code] for code in table.codes[:, 0]]
    effects = [Effect(name, float(r), float(m)) for name, r, m in zip(names, rate, mix, strict=True)]
    return tuple(sorted(effects, key=lambda effect: (-abs(effect.total), effect.value)))


def split_effects(
    part: np.ndarray, whole: np.ndarray, expected_part: np.ndarray, expected_whole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (k,) rate and (k,) mix effects of k groups on the ratio of the sums; zeros where one side has no whole."""
    if not (whole.sum() > 0 and expected_whole.sum() > 0):
        return np.zeros(len(part)), np.zeros(len(part))
    now = part / np.where(whole > 0, whole, 1.0)
    before = expected_part / np.where(expected_whole > 0, expected_whole, 1.0)
    now, before = np.where(whole > 0, now, before), np.where(expected_whole > 0, before, now)
    share, expected_share = whole / whole.sum(), expected_whole / expected_whole.sum()
    middle = (part.sum() / whole.sum() + expected_part.sum() / expected_whole.sum()) / 2
    return (share + expected_share) / 2 * (now - before), (share - expected_share) * ((now + before) / 2 - middle)


def expected_counts(past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) expected and (n,) spread of the next bucket of counts.

    `past` (n, steps): the buckets before, newest first, 0 where a leaf had none. Each bucket is scaled to the newest one's
    total, then averaged with weights that fall with age; the spread is the root mean square of the same forecast's errors
    of the newest `FORECAST_ERRORS` buckets. Raises ValueError under 2 buckets.
    """
    if past.ndim != 2 or past.shape[1] < 2:
        raise ValueError(f"recent: past must have two buckets or more, has shape {past.shape}")

    def forecast(buckets: np.ndarray, total: float) -> np.ndarray:
        weights = np.exp(-np.arange(buckets.shape[1]) / DECAY_BUCKETS)
        return (buckets * (total / np.maximum(buckets.sum(axis=0), 1e-9))) @ (weights / weights.sum())

    errors = range(min(FORECAST_ERRORS, past.shape[1] - 1))
    squares = [(past[:, i] - forecast(past[:, i + 1 :], past[:, i].sum())) ** 2 for i in errors]
    return forecast(past, past[:, 0].sum()), np.sqrt(np.mean(squares, axis=0))


def expected_ratio(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) expected part and whole of a ratio where higher is worse: the mean of the better half of the past buckets.

    `part`, `whole` (n, steps). The worse half may hold the beginning of this incident, or the last one.
    """
    used = np.flatnonzero(whole.sum(axis=0) > 0)
    if not len(used):
        return np.zeros(len(part)), np.zeros(len(part))
    overall = part[:, used].sum(axis=0) / whole[:, used].sum(axis=0)
    better = used[np.argsort(overall, kind="stable")[: (len(used) + 1) // 2]]
    return part[:, better].mean(axis=1), whole[:, better].mean(axis=1)


def overdispersion(part: np.ndarray, whole: np.ndarray) -> float:
    """Return how correlated the units of a leaf are (0 = binomial), from past buckets (n, steps) of a ratio.

    The value of `SearchOptions.correlation`. By moments: the excess of each leaf's variance over the binomial, brought to a
    common rate in each bucket; leaves of 20 units and more a bucket. Between 0.0005 and the default, which is also the value
    where nothing can be measured.
    """
    big = (whole.mean(axis=1) >= 20) & (part.sum(axis=1) > 0)
    part, whole = part[big], np.maximum(whole[big], 1e-9)
    if not len(part) or part.shape[1] < 2:
        return UNIT_CORRELATION
    rate = part.sum(axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    due = whole * rate * (part.sum(axis=0) / np.maximum((whole * rate).sum(axis=0), 1e-9))
    binomial = np.maximum(due * (1 - np.minimum(due / whole, 1)), 1e-9)
    degrees = part.shape[1] / (part.shape[1] - 1)
    excess = np.median(((part - due) ** 2 * degrees / binomial / NORMAL_MEDIAN - 1) / np.maximum(whole - 1, 1))
    return float(np.clip(excess, MIN_CORRELATION, UNIT_CORRELATION))
