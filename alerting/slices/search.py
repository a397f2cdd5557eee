"""Which sets of elements carry the change: a beam search that prefers few elements of few attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alerting.slices.curves import GRID, UNEQUAL, peak
from alerting.slices.lattice import Lattice
from alerting.slices.leaves import Leaves

UP, DOWN, BOTH = "up", "down", "both"


@dataclass(frozen=True)
class Search:
    """How far to look, and the price of saying more. Costs are shares of the evidence, since the noise of slices is
    correlated and evidence of thousands of nats would drown any fixed price; `least_gain` is the fixed part."""

    order: int = 5  # attributes of an element
    elements: int = 5  # elements of a set
    beam: int = 5  # sets that are extended
    wide: int = 12  # extensions kept of each
    pair_cost: float = 0.04  # a further attribute in its elements must add 4 % of evidence
    element_cost: float = 0.15  # each further element must add 15 %
    mixed_cost: float = 0.1  # elements of different attributes are two stories
    least_gain: float = 3.0  # nats an element: about 20 to 1
    least_change: float = 0.008  # an element moved by this share of the total: less does not explain an alert on it ...
    least_share: float = 0.1  # ... and by a tenth of the total's change
    unequal: float = UNEQUAL  # of a ratio: see `ratio_curves`; less where rates are steady, as `unequal` measures
    rest: float = 0.1  # usual error of the expectation as a whole, in logs: the rest may have drifted by it


@dataclass(frozen=True)
class Found:
    """A set of elements (rows of the lattice) with the evidence for it. `curve`: sum over its leaves."""

    rows: frozenset[int]
    mask: np.ndarray
    curve: np.ndarray
    pairs: int = 0
    mixed: bool = False
    gain: float = 0.0  # nats over "nothing but a drift of everything"
    score: float = 0.0
    factor: float = 1.0


@dataclass(frozen=True)
class Scan:
    """Leaves with their curves (n, columns) and signed deviations (n,), ready to be searched."""

    leaves: Leaves
    curves: np.ndarray
    deviation: np.ndarray
    expected: float  # total in the units of `deviation`
    search: Search
    direction: str = BOTH
    lattice: Lattice = field(init=False)
    _alone: np.ndarray = field(init=False, repr=False)  # (m, columns) curves of the elements, once they were summed

    def __post_init__(self) -> None:
        moved = np.abs(self.deviation)
        object.__setattr__(self, "lattice", Lattice(self.leaves, self.search.order, moved, self.least))
        object.__setattr__(self, "_alone", np.empty((len(self.lattice), self.curves.shape[1])))

    @property
    def least(self) -> float:
        """The smallest change that an element of an answer may have."""
        s = self.search
        return max(s.least_change * self.expected, s.least_share * abs(self.deviation.sum()), 1e-9)

    @property
    def drift(self) -> np.ndarray:
        """(columns of `curves`,) log prior of the factor of the rest."""
        prior = np.full(self.curves.shape[1], -np.inf)  # the rest never moves each leaf by its own
        prior[: len(GRID)] = -0.5 * (np.log(GRID) / self.search.rest) ** 2
        return prior

    def everything(self) -> Found:
        """The set of all leaves: one factor for everything is a cause, too, and the shortest to say."""
        total = self.curves.sum(axis=0)
        inside, factor = peak(total[None, : len(GRID)])
        gain = float(inside[0] - peak((total + self.drift)[None])[0][0])
        score = gain * (1 + self.search.pair_cost) - self.search.least_gain
        return Found(frozenset(), np.ones(len(self.leaves), bool), total, 0, False, gain, score, float(factor[0]))

    def sets(self) -> list[Found]:
        """Sets of 1 .. `elements` elements, best score first."""
        beam = [Found(frozenset(), np.zeros(len(self.leaves), bool), np.zeros(self.curves.shape[1]))]
        found: dict[frozenset[int], Found] = {}
        for _ in range(self.search.elements):
            new = {f.rows: f for base in beam for f in self._extensions(base) if f.rows not in found}
            found |= new
            best = max((f.score for f in beam), default=0.0)
            beam = sorted(new.values(), key=lambda f: -round(f.score, 9))[: self.search.beam]
            if not beam or beam[0].score <= best:
                break  # one element more was not worth its price
        return sorted(found.values(), key=lambda f: (-round(f.score, 9), f.pairs, sorted(f.rows)))

    def _extensions(self, base: Found) -> list[Found]:
        """The best sets with one element more.

        Most elements did not move enough to be named; the curves, which cost most, are summed for the others only.
        """
        s, free = self.search, ~base.mask
        moved = self.lattice.sums(self.deviation * free)
        near = np.flatnonzero(np.abs(moved) >= self.least)
        if not len(near):
            return []
        curves = base.curve + self._sums(base, near)
        total = self.curves.sum(axis=0)
        inside, factor = peak(curves)
        gain = inside + peak(total - curves + self.drift)[0] - peak((total + self.drift)[None])[0]
        size, pairs = len(base.rows) + 1, base.pairs + self.lattice.pairs[near]
        mixed = base.mixed | np.isin(self.lattice.cuboid[near], self.lattice.cuboid[sorted(base.rows)], invert=bool(base.rows))
        price = s.pair_cost * (pairs / size - 1) + s.element_cost * (size - 1) + s.mixed_cost * mixed
        score = gain * (1 - price) - s.least_gain * size
        fits = self._wanted(moved[near], factor) & (gain > base.gain)
        order = np.argsort(-np.where(fits, np.round(score, 9), -np.inf), kind="stable")  # of two names the first, to the bit
        best = [j for j in order[: s.wide] if fits[j]]
        return [
            Found(base.rows | {int(near[j])}, base.mask | self.lattice.mask(near[j]), curves[j], int(pairs[j]), bool(mixed[j]),
                  float(gain[j]), float(score[j]), float(factor[j]))
            for j in best
        ]  # fmt: skip

    def _sums(self, base: Found, near: np.ndarray) -> np.ndarray:
        """(len(near), columns) curves of those elements, without the leaves of the set; what shares none with it is known."""
        if not base.rows:
            self._alone[near] = self.lattice.sums(self.curves, near)
            return self._alone[near]
        shared = self.lattice.sums(base.mask.astype(float))[near] > 0
        sums = self._alone[near]
        if shared.any():
            sums[shared] = self.lattice.sums(self.curves * ~base.mask[:, None], near[shared])
        return sums

    def _wanted(self, moved: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Leaves that moved the way their common factor says, and the way that was asked for."""
        agrees = np.isinf(factor) | (np.sign(moved) == np.sign(np.round(np.log(factor), 9)))
        return agrees if self.direction == BOTH else agrees & (np.sign(moved) == (1 if self.direction == UP else -1))
