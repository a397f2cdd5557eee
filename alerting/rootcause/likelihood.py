"""How likely each leaf is, were it changed by a factor: one row of log-likelihoods per leaf, over a grid of factors.

Sums of rows are the log-likelihood of a set of leaves that share one factor (the generative "ripple effect" of Squeeze, Li
et al., ISSRE 2019, as a scan statistic: Kulldorff 1997; Neill, "Fast subset scan", 2012), so a search only adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

GRID_STEP = 0.15  # of log factor: finer changes no ranking
GRID = np.exp(GRID_STEP * np.arange(-31, 39))  # 0.01 .. 300, 1 is a point
CAP = 8.0  # nats one leaf of a count can say against a factor: leaves burst for reasons of their own
OWN = 2.0  # nats a leaf of a count costs that changed by a factor of its own, as in a surge of what there was hardly any of
UNEQUAL = 0.03  # of a ratio: correlation of the units of a leaf, so the leaves of one fault may be hit unequally
PRIOR = 20.0  # units at the overall rate, added to the past of a leaf: rates of small leaves lean on the rest


def count_curves(value: np.ndarray, expected: np.ndarray, noise: Noise) -> np.ndarray:
    """(n, len(GRID) + 1) log-likelihoods, up to a constant per leaf; the last column: changed, by whatever factor.

    Quasi-likelihood (Wedderburn 1974) of a variance of phi * mean + wobble * mean^2, times the leaf's own scale; the kernel
    is that of a negative binomial, with its score unbiased for any mean.
    """
    mean = np.maximum(expected, noise.phi * 0.02)[:, None] * GRID  # what was never seen is not impossible
    best = np.maximum(value, 1e-9)[:, None]
    missed = np.maximum(_quasi(value[:, None], best, noise) - _quasi(value[:, None], mean, noise), 0.0)
    curves = np.log(np.exp(-missed / noise.scale[:, None]) + np.exp(-CAP))  # as np.logaddexp, which takes four times as long
    return np.c_[curves, np.full(len(curves), -OWN)]


def _quasi(value: np.ndarray, mean: np.ndarray, noise: Noise) -> np.ndarray:
    """Integral of (value - t) / (phi t + wobble t^2) dt up to `mean`."""
    phi, wobble = noise.phi, noise.wobble
    return value / phi * np.log(mean / (phi + wobble * mean)) - np.log(phi + wobble * mean) / wobble


def expected_rates(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(n,) expected rate of each leaf, of an expected `part` of an expected `whole`, shrunk to the overall rate."""
    overall = part.sum() / whole.sum() if whole.sum() else 0.0
    return np.clip((part + PRIOR * overall) / (whole + PRIOR), 0.0, 1.0)


def ratio_curves(part: np.ndarray, whole: np.ndarray, rate: np.ndarray, unequal: float = UNEQUAL) -> np.ndarray:
    """(n, len(GRID)) log-likelihoods of `part` of `whole` units, were the odds of `rate` times the factor.

    Binomial, over the design effect 1 + unequal * (whole - 1) of correlated units (Kish 1965).
    """
    odds = np.clip(rate, 1e-5, 1 - 1e-5)[:, None]
    odds = odds / (1 - odds) * GRID
    seen = np.clip(part / np.maximum(whole, 1e-9), 1e-9, 1 - 1e-9)[:, None]
    hit, miss = part[:, None], np.maximum(whole - part, 0.0)[:, None]
    missed = hit * (np.log(seen) - np.log(odds / (1 + odds))) + miss * (np.log1p(-seen) + np.log1p(odds))
    return -np.maximum(missed, 0.0) / (1 + unequal * np.maximum(whole - 1, 0.0))[:, None]


def curve_peak(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) maximum of each row and the factor it is at, between the points of the grid by a parabola; inf: by its own.

    Without it two neighbouring factors fit what one between them explains, and every noise becomes a cause.
    """
    grid = curves[:, : len(GRID)]
    at = np.clip(grid.argmax(axis=1), 1, len(GRID) - 2)
    left, middle, right = (grid[np.arange(len(grid)), at + step] for step in (-1, 0, 1))
    slope, bend = (right - left) / 2, np.minimum(right - 2 * middle + left, -1e-12)
    shift = np.clip(-slope / bend, -1.0, 1.0)
    top, factor = middle + slope * shift + bend * shift**2 / 2, np.exp(np.log(GRID[at]) + GRID_STEP * shift)
    if curves.shape[1] == len(GRID):
        return top, factor
    own = curves[:, len(GRID)]
    return np.maximum(top, own), np.where(own > top, np.inf, factor)


# How far leaves stray when nothing is wrong.

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


def estimate_noise(value: np.ndarray, expected: np.ndarray, spread: np.ndarray | None = None) -> Noise:
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
