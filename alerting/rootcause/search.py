"""Search the sets of conditions that explain a change: a beam search that prefers few conditions of few attributes.

Its input is a checked table of leaves (`make_leaves`), and a curve for each leaf: the log-likelihood of the leaf's numbers if it
changed by a factor, over a grid of factors. The sum of curves is the log-likelihood of a set of leaves that share one factor, so
the search only adds. This is the "ripple effect" of Squeeze (Li et al., ISSRE 2019) as a scan statistic (Kulldorff 1997; Neill,
"Fast subset scan", 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

GRID_STEP = 0.15  # step of the grid of log factors; finer steps change no ranking
GRID = np.exp(GRID_STEP * np.arange(-31, 39))  # 0.01 .. 300, 1 is a point
MAX_LEAF_EVIDENCE = 8.0  # most nats of one leaf of a count against a factor: leaves have bursts of their own
OWN_FACTOR_COST = 2.0  # nats for a leaf of a count that changed by its own factor, as when nearly nothing was expected
UNIT_CORRELATION = 0.03  # correlation of the units of a ratio's leaf; with it the leaves of one fault may change unequally
PRIOR_UNITS = 20.0  # units at the overall rate that are added to the past of a leaf: they stabilize the rates of small leaves

MIN_WOBBLE = 0.003  # squared relative noise: no leaf is steadier than 5 % of its level
WOBBLES = np.linspace(MIN_WOBBLE, 0.2, 41)
NOISE_BINS = 12
TRIM_QUANTILE = 0.95  # larger squared errors of a bin are cut to this quantile
NORMAL_MEDIAN = 0.455  # median of a squared standard normal
MODEL_ERRORS = 4.0  # weight of the common noise model, in past errors ...
SPREAD_ERRORS = 6.0  # ... and of a leaf's own `spread`
MAX_NOISE_RATIO = 25.0  # a larger ratio of a leaf's variance to the model's is cut to this

Condition = tuple[tuple[str, str], ...]  # (attribute, value) pairs that hold together, by attribute: os=ios & country=RU


@dataclass(frozen=True)
class Leaves:
    """A checked, sorted table of leaves without duplicates: results do not depend on the order of the rows.

    `codes` (n, k) int: value of each attribute; `names[k]`: code -> text; `numbers`: column -> (n,) float64.
    """

    attributes: tuple[str, ...]
    codes: np.ndarray
    names: tuple[tuple[str, ...], ...]
    numbers: dict[str, np.ndarray]


def make_leaves(table: pd.DataFrame, attributes: Sequence[str], columns: Sequence[str], spread: bool = True) -> Leaves:
    """Return one leaf per combination of `attributes`, with the sums of the number `columns`.

    A column `spread` is combined as the root of the sum of squares. Write 0 for a leaf that was not expected or did not come.
    Raises ValueError if a column is missing, or a number is negative or not finite.
    """
    attributes, wanted = sorted(attributes), [*columns, *(["spread"] if spread and "spread" in table else [])]
    if missing := [c for c in (*attributes, *columns) if c not in table]:
        raise ValueError(f"leaves: no column {', '.join(missing)}")
    numbers = table[wanted].astype("float64")
    if bad := [c for c in wanted if not (np.isfinite(numbers[c]) & (numbers[c] >= 0)).all()]:
        raise ValueError(f"leaves: {', '.join(bad)} must be finite and not negative; write 0 for a leaf without rows")
    if "spread" in wanted:
        numbers = numbers.assign(spread=numbers["spread"] ** 2)

    codes, names = [], []
    for attribute in attributes:
        own, different = pd.factorize(table[attribute], use_na_sentinel=False)
        texts = ["" if pd.isna(value) else str(value) for value in different]  # each once, however many leaves
        known, position = np.unique(texts, return_inverse=True)
        codes.append(position[own] if len(own) else own)
        names.append(tuple(map(str, known)))

    # Numbers among the keys: sums of floats are then added in the same order, however the rows came.
    order = np.lexsort([*(numbers[c].to_numpy() for c in wanted), *codes[::-1]])
    rows = np.stack(codes, axis=1)[order] if codes else np.zeros((len(table), 0), int)
    first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)]) if len(rows) else np.zeros(0, int)
    summed = {c: np.add.reduceat(numbers[c].to_numpy()[order], first) if len(first) else np.zeros(0) for c in wanted}
    if "spread" in wanted:
        summed["spread"] = np.sqrt(summed["spread"])
    return Leaves(tuple(attributes), rows[first], tuple(names), summed)


@dataclass(frozen=True)
class SearchOptions:
    """The limits of a search, and the costs of a longer cause.

    Costs are shares of the evidence, because the noise of segments is correlated and evidence of thousands of nats would make
    any fixed cost meaningless. `min_gain` is the fixed part.
    """

    order: int = 5  # attributes of a condition
    conditions: int = 5  # conditions of a set
    beam: int = 5  # sets that are extended
    wide: int = 12  # extensions of a set that are kept
    pair_cost: float = 0.04  # a further attribute in the conditions must add 4 % of evidence
    condition_cost: float = 0.15  # each further condition must add 15 %
    mixed_cost: float = 0.1  # conditions of different attributes are probably two separate causes
    min_gain: float = 3.0  # nats per condition: about 20 to 1
    min_change: float = 0.008  # least change of a condition, as a share of the expected total ...
    min_share: float = 0.1  # ... and as a share of the total's change
    correlation: float = UNIT_CORRELATION  # for a ratio, see `ratio_curves`; less if rates are steady, see `overdispersion`
    rest: float = 0.1  # usual error of the expected total, in logs: the rest may have drifted by this much


@dataclass(frozen=True)
class ConditionSet:
    """A set of conditions (rows of the lattice) with the evidence for it. `curve`: sum over its leaves."""

    rows: frozenset[int]
    mask: np.ndarray
    curve: np.ndarray
    pairs: int = 0
    mixed: bool = False
    gain: float = 0.0  # nats over "nothing but a drift of everything"
    score: float = 0.0
    factor: float = 1.0


class SearchSpace:
    """Leaves to search, with their curves (n, columns) and signed deviations (n,).

    `expected`: the expected total in the units of `deviation`. `min_moved`: the least change of a condition.
    """

    def __init__(
        self, leaves: Leaves, curves: np.ndarray, deviation: np.ndarray, expected: float, options: SearchOptions
    ) -> None:
        self.curves, self.deviation, self.expected, self.options = curves, deviation, expected, options
        changed = abs(deviation.sum())
        self.min_moved = max(options.min_change * expected, options.min_share * changed, 1e-9)
        self.lattice = ConditionLattice(leaves, options.order, np.abs(deviation), self.min_moved)
        self._alone = np.empty((self.lattice.size, curves.shape[1]))  # curves of the conditions, once they were summed

        # Log prior of the factor of the rest: the leaves of the rest never change each by their own factor
        self._drift = np.full(curves.shape[1], -np.inf)
        self._drift[: len(GRID)] = -0.5 * (np.log(GRID) / options.rest) ** 2
        self._total = curves.sum(axis=0)
        self._only_drift = curve_peak((self._total + self._drift)[None])[0][0]  # "nothing but a drift of everything"

    def share(self, mask: np.ndarray) -> float:
        """Return the share of the leaves in `mask` (n,) bool in the total deviation; 0 if that is 0."""
        total = self.deviation.sum()
        return float(self.deviation[mask].sum() / total) if total else 0.0

    def everything(self) -> ConditionSet:
        """Return the set of all leaves: everything changed by one factor."""
        inside, factor = curve_peak(self._total[None, : len(GRID)])
        gain = float(inside[0] - self._only_drift)
        score = gain * (1 + self.options.pair_cost) - self.options.min_gain
        mask = np.ones(len(self.deviation), bool)
        return ConditionSet(frozenset(), mask, self._total, 0, False, gain, score, float(factor[0]))

    def sets(self) -> list[ConditionSet]:
        """Return sets of 1 .. `options.conditions` conditions, best score first."""
        beam = [ConditionSet(frozenset(), np.zeros(len(self.deviation), bool), np.zeros(self.curves.shape[1]))]
        found: dict[frozenset[int], ConditionSet] = {}
        for _ in range(self.options.conditions):
            new = {f.rows: f for base in beam for f in self._extensions(base) if f.rows not in found}
            found |= new
            best = max((f.score for f in beam), default=0.0)
            beam = sorted(new.values(), key=lambda f: -round(f.score, 9))[: self.options.beam]
            if not beam or beam[0].score <= best:
                break  # one more condition was not worth its cost
        return sorted(found.values(), key=lambda f: (-round(f.score, 9), f.pairs, sorted(f.rows)))

    def _extensions(self, base: ConditionSet) -> list[ConditionSet]:
        """Return the best sets with one more condition.

        Most conditions changed too little. The curves, which take most of the time, are summed only for the others.
        """
        o, free = self.options, ~base.mask
        moved = self.lattice.sums(self.deviation * free)
        near = np.flatnonzero(np.abs(moved) >= self.min_moved)
        if not len(near):
            return []
        if not base.rows:
            self._alone[near] = self.lattice.sums(self.curves, near)
        added = self._alone[near]  # a condition that shares no leaf with the set was summed before
        shared = self.lattice.sums(base.mask.astype(float))[near] > 0
        if shared.any():
            added[shared] = self.lattice.sums(self.curves * free[:, None], near[shared])
        curves = base.curve + added
        inside, factor = curve_peak(curves)
        gain = inside + curve_peak(self._total - curves + self._drift)[0] - self._only_drift

        size, pairs = len(base.rows) + 1, base.pairs + self.lattice.pairs[near]
        mixed = base.mixed | np.isin(self.lattice.cuboid[near], self.lattice.cuboid[sorted(base.rows)], invert=bool(base.rows))
        price = o.pair_cost * (pairs / size - 1) + o.condition_cost * (size - 1) + o.mixed_cost * mixed
        score = gain * (1 - price) - o.min_gain * size

        # The leaves must have changed in the direction of their common factor.
        fits = np.isinf(factor) | (np.sign(moved[near]) == np.sign(np.round(np.log(factor), 9)))
        fits = fits & (gain > base.gain)
        # Equal scores: the first of two names, on every machine
        order = np.argsort(-np.where(fits, np.round(score, 9), -np.inf), kind="stable")
        best = [j for j in order[: o.wide] if fits[j]]
        return [
            ConditionSet(base.rows | {int(near[j])}, base.mask | self.lattice.mask(near[j]), curves[j], int(pairs[j]),
                         bool(mixed[j]), float(gain[j]), float(score[j]), float(factor[j]))
            for j in best
        ]  # fmt: skip


class ConditionLattice:
    """All conditions of 1 .. `order` attributes (rows 0 .. m-1) whose leaves changed enough, with fast sums over the leaves.

    `moved` (n,): |actual - expected| of each leaf. A condition is kept if its sum of `moved` reaches `min_moved`: the sum is an
    upper bound of its change, also if some of its leaves are taken out.
    """

    def __init__(self, leaves: Leaves, order: int, moved: np.ndarray, min_moved: float) -> None:
        self._leaves = leaves
        # Attributes with few values first: of two names for the same leaves, a country comes before its only city.
        coarse = sorted(range(len(leaves.attributes)), key=lambda a: (len(leaves.names[a]), leaves.attributes[a]))
        self._cuboids = [c for size in range(1, order + 1) for c in combinations(coarse, size)]
        self._parts = [_kept_conditions(leaves, cuboid, moved, min_moved) for cuboid in self._cuboids]
        counts = [len(starts) for _, starts in self._parts]
        self.size = sum(counts)
        self.cuboid = np.repeat(np.arange(len(counts)), counts)
        self.pairs = np.repeat([len(c) for c in self._cuboids], counts)
        self._members = [m for rows, starts in self._parts if len(starts) for m in np.split(rows, starts[1:])]  # views

    def sums(self, numbers: np.ndarray, conditions: np.ndarray | None = None) -> np.ndarray:
        """Return the (m, ...) sums of the leaves' numbers (n, ...) for all conditions, or for some (`conditions`: rows)."""
        if conditions is not None:
            members = [self._members[row] for row in conditions]
            rows, starts = np.concatenate(members), np.cumsum([0, *(len(m) for m in members[:-1])])
            # Column by column, whose numbers lie together: three times as fast as adding rows.
            return np.stack([np.add.reduceat(column[rows], starts) for column in np.ascontiguousarray(numbers.T)], axis=1)
        parts = [np.add.reduceat(numbers[rows], starts, axis=0) for rows, starts in self._parts if len(starts)]
        return np.concatenate(parts) if parts else np.zeros((0, *numbers.shape[1:]))

    def mask(self, row: int) -> np.ndarray:
        """Return (n,) bool: the leaves of a condition."""
        mask = np.zeros(len(self._leaves.codes), bool)
        mask[self._members[row]] = True
        return mask

    def condition(self, row: int) -> Condition:
        """Return the (attribute, value) pairs of a condition."""
        codes = self._leaves.codes[self._members[row][0]]
        cuboid = self._cuboids[self.cuboid[row]]
        return tuple((self._leaves.attributes[a], self._leaves.names[a][codes[a]]) for a in sorted(cuboid))


def _kept_conditions(
    leaves: Leaves, cuboid: tuple[int, ...], moved: np.ndarray, min_moved: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the leaves sorted by condition, and the position at which each condition that changed enough begins."""
    if not len(leaves.codes):
        return np.zeros(0, int), np.zeros(0, int)
    key = np.zeros(len(leaves.codes), np.int64)
    for attribute in cuboid:
        key = key * len(leaves.names[attribute]) + leaves.codes[:, attribute]
    small = key.max() < 2**16  # then numpy sorts by digits, five times as fast
    rows = np.argsort(key.astype(np.uint16) if small else key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[rows]) != 0])
    sizes = np.diff(np.r_[starts, len(rows)])
    keep = np.add.reduceat(moved[rows], starts) >= min_moved
    return rows[np.repeat(keep, sizes)], np.r_[0, np.cumsum(sizes[keep])][:-1].astype(int)


# The likelihood of the numbers of leaves


def count_curves(value: np.ndarray, expected: np.ndarray, noise: Noise) -> np.ndarray:
    """Return log-likelihoods, up to a constant per leaf: float64 (n, len(GRID) + 1). The last column: the leaf's best factor.

    It is the quasi-likelihood (Wedderburn 1974) of a variance of phi * mean + wobble * mean^2, times the leaf's own scale. The
    kernel is that of a negative binomial; its score is unbiased for any mean.
    """
    mean = np.maximum(expected, noise.phi * 0.02)[:, None] * GRID  # a value that was never expected is not impossible
    best = np.maximum(value, 1e-9)[:, None]
    phi, wobble = noise.phi, noise.wobble
    of_best, of_mean = (  # the integral of (value - t) / (phi t + wobble t^2) dt up to `to`
        value[:, None] / phi * np.log(to / (phi + wobble * to)) - np.log(phi + wobble * to) / wobble for to in (best, mean)
    )
    lost = np.maximum(of_best - of_mean, 0.0)
    # As np.logaddexp, which takes four times as long.
    curves = np.log(np.exp(-lost / noise.scale[:, None]) + np.exp(-MAX_LEAF_EVIDENCE))
    return np.c_[curves, np.full(len(curves), -OWN_FACTOR_COST)]


def ratio_curves(part: np.ndarray, whole: np.ndarray, rate: np.ndarray, correlation: float = UNIT_CORRELATION) -> np.ndarray:
    """Return (n, len(GRID)) log-likelihoods of `part` of `whole` units, if the odds of `rate` are multiplied by the factor.

    It is the binomial log-likelihood divided by the design effect 1 + correlation * (whole - 1) of correlated units (Kish 1965).
    """
    odds = np.clip(rate, 1e-5, 1 - 1e-5)[:, None]
    odds = odds / (1 - odds) * GRID
    seen = np.clip(part / np.maximum(whole, 1e-9), 1e-9, 1 - 1e-9)[:, None]
    hits, misses = part[:, None], np.maximum(whole - part, 0.0)[:, None]
    lost = hits * (np.log(seen) - np.log(odds / (1 + odds))) + misses * (np.log1p(-seen) + np.log1p(odds))
    return -np.maximum(lost, 0.0) / (1 + correlation * np.maximum(whole - 1, 0.0))[:, None]


def curve_peak(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (m,) maximum of each row and its factor, interpolated between the points of the grid by a parabola.

    A factor of inf means that each leaf changed by its own factor. Without the parabola, two neighbouring factors of the grid
    would fit better than one, and noise would become a cause.
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
    """The variance of a leaf: scale * (phi * mean + wobble * mean^2). `scale` (n,): how noisy each leaf is against the model."""

    phi: float
    wobble: float
    scale: np.ndarray


def estimate_noise(value: np.ndarray, expected: np.ndarray, spread: np.ndarray | None = None) -> Noise:
    """Return the noise, estimated from `spread` (standard deviation of each leaf's past errors).

    Without `spread` it is estimated from the present errors, which are noise in most leaves. A leaf's own variance is shrunk to
    the model (moderated variance: Smyth 2004).
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
    """Return phi and wobble, fitted to the typical squared error of leaves of each size; Poisson and 10 % for too few leaves."""
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
