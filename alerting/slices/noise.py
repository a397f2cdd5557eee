"""How far leaves stray when nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEAST_WOBBLE = 0.003  # 5 % of its own level: no leaf is steadier than that
WOBBLES = np.linspace(LEAST_WOBBLE, 0.2, 41)
BINS = 12
TRIM = 0.95  # the wildest leaves of a bin do not count in the mean
MEDIAN = 0.455  # of a squared standard normal
ASSUMED = 4.0  # past errors that the common model counts for against a leaf's own
SEEN = 6.0  # past errors behind a `spread`
WILD = 25.0  # times the model's variance: more is not believed of a leaf


@dataclass(frozen=True)
class Noise:
    """Variance of a leaf: scale * (phi * mean + wobble * mean^2). `scale` (n,): how much wilder than the others it is."""

    phi: float
    wobble: float
    scale: np.ndarray


def noise_of(value: np.ndarray, expected: np.ndarray, spread: np.ndarray | None = None) -> Noise:
    """From each leaf's `spread` (standard deviation of past errors) or, without, from how far most leaves are off now.

    The leaf's own variance is shrunk to the model (moderated variance: Smyth 2004).
    """
    if spread is None:
        phi, wobble = _fitted(expected, _off(value, expected), least=5.0, typical=_median)
        return Noise(phi, wobble, np.ones(len(value)))
    phi, wobble = _fitted(expected, spread**2, least=1.0, typical=_trimmed)
    model = phi * np.maximum(expected, phi * 0.02) + wobble * expected**2
    scale = (ASSUMED + SEEN * np.minimum(spread**2 / model, WILD)) / (ASSUMED + SEEN)
    return Noise(phi, wobble, np.maximum(scale, max(0.25, 1 / phi)))  # never below Poisson


def _off(value: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Squared errors around the factor of the middle leaf."""
    big = expected >= 5
    factor = float(np.median(value[big] / expected[big])) if big.any() else 1.0
    return (value - factor * expected) ** 2 / max(factor, 0.05)


def _fitted(
    expected: np.ndarray, squares: np.ndarray, least: float, typical: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """phi and wobble by the usual squared error of leaves of each size; Poisson and 10 % where they are too few."""
    big = expected > least
    if big.sum() < BINS:
        return 1.0, 0.01  # Poisson and 10 %
    mean, relative = expected[big], squares[big] / expected[big] ** 2
    edges = np.unique(np.quantile(mean, np.linspace(0, 1, BINS + 1)))
    place = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, max(len(edges) - 2, 0))
    level = np.array([mean[place == i].mean() for i in np.unique(place)])
    usual = np.maximum([typical(relative[place == i]) for i in np.unique(place)], 1e-9)
    phis = np.maximum(np.median((usual - WOBBLES[:, None]) * level, axis=1), 1.0)
    misfit = ((np.log(phis[:, None] / level + WOBBLES[:, None]) - np.log(usual)) ** 2).sum(axis=1)
    return float(phis[misfit.argmin()]), float(WOBBLES[misfit.argmin()])


def _trimmed(x: np.ndarray) -> float:
    return float(np.minimum(x, np.quantile(x, TRIM)).mean())


def _median(x: np.ndarray) -> float:
    return float(np.median(x)) / MEDIAN
