"""Rate and mix: why a ratio moved although its parts did not, or did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alerting.slices.leaves import leaves_of


@dataclass(frozen=True)
class Effect:
    """What one value of an attribute adds to the change of a ratio, in the ratio's units."""

    value: str
    rate: float  # because the ratio inside it changed
    mix: float  # because its share of the whole changed, and its ratio differs from the total's

    @property
    def total(self) -> float:
        return self.rate + self.mix


def effects(leaves: pd.DataFrame, attribute: str) -> tuple[Effect, ...]:
    """The change of sum(part) / sum(whole) against expectation, split over the values of `attribute`, largest first.

    Exact: the sum of all `total` is the change of the ratio. Shares and rates are weighed at the middle of before and after
    (Marshall 1863, Bennet 1920), so neither is favoured. A value without whole on one side has no rate there: all of it is
    mix. `leaves`: columns as of a ratio in `explain`. Zeros where one side has no whole at all. Raises ValueError as it.
    """
    found = leaves_of(leaves, [attribute], ["part", "whole", "expected_part", "expected_whole"], spread=False)
    part, whole, usual_part, usual_whole = (found.numbers[c] for c in ("part", "whole", "expected_part", "expected_whole"))
    rate, mix = split(part, whole, usual_part, usual_whole)
    names = [found.names[0][code] for code in found.codes[:, 0]]
    told = [Effect(name, float(r), float(m)) for name, r, m in zip(names, rate, mix, strict=True)]
    return tuple(sorted(told, key=lambda e: (-abs(e.total), e.value)))


def split(part: np.ndarray, whole: np.ndarray, usual_part: np.ndarray, usual_whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
