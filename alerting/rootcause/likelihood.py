"""The likelihood of each leaf's numbers if it changed by a factor: a row of log-likelihoods over a grid of factors.

Sums of rows are the log-likelihood of a set of leaves that share one factor (the generative "ripple effect" of Squeeze, Li
et al., ISSRE 2019, as a scan statistic: Kulldorff 1997; Neill, "Fast subset scan", 2012), so a search only adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

GRID_STEP = 0.15  # of log factor: finer steps change no ranking
GRID = np.exp(GRID_STEP * np.arange(-31, 39))  # 0.01 .. 300, 1 is a point
MAX_LEAF_EVIDENCE = 8.0  # nats of one leaf of a count against a factor: leaves burst for reasons of their own
OWN_FACTOR_COST = 2.0  # nats for a leaf of a count that changed by a factor of its own, as when nearly nothing was expected
UNIT_CORRELATION = 0.03  # of the units of a leaf of a ratio, so that the leaves of one fault may change unequally
PRIOR_UNITS = 20.0  # units at the overall rate, added to the past of a leaf: rates of small leaves lean on the others

MIN_WOBBLE = 0.003  # 5 % of its own level: no leaf is steadier than that
WOBBLES = np.linspace(MIN_WOBBLE, 0.2, 41)
NOISE_BINS = 12
TRIM_QUANTILE = 0.95  # squared errors of a bin beyond it are cut to it
NORMAL_MEDIAN = 0.455  # median of a squared standard normal
MODEL_ERRORS = 4.0  # past errors that the common model counts for, against a leaf's own
SPREAD_ERRORS = 6.0  # past errors behind a `spread`
MAX_NOISE_RATIO = 25.0  # of a leaf's variance to that of the model: more is not believed


def count_curves(value: np.ndarray, expected: np.ndarray, noise: Noise) -> np.ndarray:
    """Return (n, len(GRID) + 1) log-likelihoods, up to a constant per leaf; the last column: changed by any factor.

    Quasi-likelihood (Wedderburn 1974) of a variance of phi * mean + wobble * mean^2, times the leaf's own scale; the kernel
    is that of a negative binomial, with its score unbiased for any mean.
    """
    mean = np.maximum(expected, noise.phi * 0.02)[:, None] * GRID  # a value that was never expected is not impossible
    best = np.maximum(value, 1e-9)[:, None]
    lost = np.maximum(_quasi_likelihood(value[:, None], best, noise) - _quasi_likelihood(value[:, None], mean, noise), 0.0)
    # As np.logaddexp, which takes four times as long.
    curves = np.log(np.exp(-lost / noise.scale[:, None]) + np.exp(-MAX_LEAF_EVIDENCE))
    return np.c_[curves, np.full(len(curves), -OWN_FACTOR_COST)]


def _quasi_likelihood(value: np.ndarray, mean: np.ndarray, noise: Noise) -> np.ndarray:
    """Return the integral of (value - t) / (phi t + wobble t^2) dt up to `mean`."""
    phi, wobble = noise.phi, noise.wobble
    return value / phi * np.log(mean / (phi + wobble * mean)) - np.log(phi + wobble * mean) / wobble


def ratio_curves(part: np.ndarray, whole: np.ndarray, rate: np.ndarray, correlation: float = UNIT_CORRELATION) -> np.ndarray:
    """Return (n, len(GRID)) log-likelihoods of `part` of `whole` units, if the odds are those of `rate` times the factor.

    Binomial, over the design effect 1 + correlation * (whole - 1) of correlated units (Kish 1965).
    """
    odds = np.clip(rate, 1e-5, 1 - 1e-5)[:, None]
    odds = odds / (1 - odds) * GRID
    seen = np.clip(part / np.maximum(whole, 1e-9), 1e-9, 1 - 1e-9)[:, None]
    hits, misses = part[:, None], np.maximum(whole - part, 0.0)[:, None]
    lost = hits * (np.log(seen) - np.log(odds / (1 + odds))) + misses * (np.log1p(-seen) + np.log1p(odds))
    return -np.maximum(lost, 0.0) / (1 + correlation * np.maximum(whole - 1, 0.0))[:, None]


def curve_peak(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (m,) maximum of each row and its factor, between the points of the grid by a parabola.

    A factor of inf: each leaf changed by its own factor. Without the parabola two neighbouring factors fit
    what one between them explains, and every noise becomes a cause.
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


@dataclass(frozen=True)
class Noise:
    """The variance of a leaf: scale * (phi * mean + wobble * mean^2). `scale` (n,): how much noisier than the others it is."""

    phi: float
    wobble: float
    scale: np.ndarray


def estimate_noise(value: np.ndarray, expected: np.ndarray, spread: np.ndarray | None = None) -> Noise:
    """Estimate the noise from each leaf's `spread` (standard deviation of past errors) if it is given.

    Otherwise from the present errors, which are noise for most leaves. The leaf's own variance
    is shrunk to the model (moderated variance: Smyth 2004).
    """
    if spread is None:
        big = expected >= 5
        factor = float(np.median(value[big] / expected[big])) if big.any() else 1.0
        squares = (value - factor * expected) ** 2 / max(factor, 0.05)  # errors around the factor of the middle leaf
        phi, wobble = _fit_noise(expected, squares, min_expected=5.0, typical=lambda x: float(np.median(x)) / NORMAL_MEDIAN)
        return Noise(phi, wobble, np.ones(len(value)))
    phi, wobble = _fit_noise(
        expected, spread**2, min_expected=1.0, typical=lambda x: float(np.minimum(x, np.quantile(x, TRIM_QUANTILE)).mean())
    )
    model = phi * np.maximum(expected, phi * 0.02) + wobble * expected**2
    own = SPREAD_ERRORS * np.minimum(spread**2 / model, MAX_NOISE_RATIO)
    scale = (MODEL_ERRORS + own) / (MODEL_ERRORS + SPREAD_ERRORS)
    return Noise(phi, wobble, np.maximum(scale, max(0.25, 1 / phi)))  # never below Poisson


def _fit_noise(
    expected: np.ndarray, squares: np.ndarray, min_expected: float, typical: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """Fit phi and wobble to the typical squared error of leaves of each size; Poisson and 10 % with too few leaves."""
    big = expected > min_expected
    if big.sum() < NOISE_BINS:
        return 1.0, 0.01  # Poisson and 10 %
    mean, relative = expected[big], squares[big] / expected[big] ** 2
    edges = np.unique(np.quantile(mean, np.linspace(0, 1, NOISE_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, max(len(edges) - 2, 0))
    level = np.array([mean[bins == i].mean() for i in np.unique(bins)])
    usual = np.maximum([typical(relative[bins == i]) for i in np.unique(bins)], 1e-9)
    phis = np.maximum(np.median((usual - WOBBLES[:, None]) * level, axis=1), 1.0)
    misfit = ((np.log(phis[:, None] / level + WOBBLES[:, None]) - np.log(usual)) ** 2).sum(axis=1)
    return float(phis[misfit.argmin()]), float(WOBBLES[misfit.argmin()])
