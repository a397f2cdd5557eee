"""Which sets of elements carry the change: a beam search that prefers few elements of few attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from alerting.rootcause.likelihood import GRID, UNEQUAL, curve_peak
from alerting.rootcause.types import Condition, Leaves

UP, DOWN, BOTH = "up", "down", "both"


@dataclass(frozen=True)
class SearchOptions:
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
class ElementSet:
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
class SearchSpace:
    """Leaves with their curves (n, columns) and signed deviations (n,), ready to be searched."""

    leaves: Leaves
    curves: np.ndarray
    deviation: np.ndarray
    expected: float  # total in the units of `deviation`
    search: SearchOptions
    direction: str = BOTH
    lattice: ElementLattice = field(init=False)
    _alone: np.ndarray = field(init=False, repr=False)  # (m, columns) curves of the elements, once they were summed

    def __post_init__(self) -> None:
        moved = np.abs(self.deviation)
        object.__setattr__(self, "lattice", ElementLattice(self.leaves, self.search.order, moved, self.least))
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

    def everything(self) -> ElementSet:
        """The set of all leaves: one factor for everything is a cause, too, and the shortest to say."""
        total = self.curves.sum(axis=0)
        inside, factor = curve_peak(total[None, : len(GRID)])
        gain = float(inside[0] - curve_peak((total + self.drift)[None])[0][0])
        score = gain * (1 + self.search.pair_cost) - self.search.least_gain
        return ElementSet(frozenset(), np.ones(len(self.leaves), bool), total, 0, False, gain, score, float(factor[0]))

    def sets(self) -> list[ElementSet]:
        """Sets of 1 .. `elements` elements, best score first."""
        beam = [ElementSet(frozenset(), np.zeros(len(self.leaves), bool), np.zeros(self.curves.shape[1]))]
        found: dict[frozenset[int], ElementSet] = {}
        for _ in range(self.search.elements):
            new = {f.rows: f for base in beam for f in self._extensions(base) if f.rows not in found}
            found |= new
            best = max((f.score for f in beam), default=0.0)
            beam = sorted(new.values(), key=lambda f: -round(f.score, 9))[: self.search.beam]
            if not beam or beam[0].score <= best:
                break  # one element more was not worth its price
        return sorted(found.values(), key=lambda f: (-round(f.score, 9), f.pairs, sorted(f.rows)))

    def _extensions(self, base: ElementSet) -> list[ElementSet]:
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
        inside, factor = curve_peak(curves)
        gain = inside + curve_peak(total - curves + self.drift)[0] - curve_peak((total + self.drift)[None])[0]
        size, pairs = len(base.rows) + 1, base.pairs + self.lattice.pairs[near]
        mixed = base.mixed | np.isin(self.lattice.cuboid[near], self.lattice.cuboid[sorted(base.rows)], invert=bool(base.rows))
        price = s.pair_cost * (pairs / size - 1) + s.element_cost * (size - 1) + s.mixed_cost * mixed
        score = gain * (1 - price) - s.least_gain * size
        fits = self._wanted(moved[near], factor) & (gain > base.gain)
        order = np.argsort(-np.where(fits, np.round(score, 9), -np.inf), kind="stable")  # of two names the first, to the bit
        best = [j for j in order[: s.wide] if fits[j]]
        return [
            ElementSet(base.rows | {int(near[j])}, base.mask | self.lattice.mask(near[j]), curves[j], int(pairs[j]),
                       bool(mixed[j]), float(gain[j]), float(score[j]), float(factor[j]))
            for j in best
        ]  # fmt: skip

    def _sums(self, base: ElementSet, near: np.ndarray) -> np.ndarray:
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


# All elements of up to a few attributes, with fast sums over their leaves.


class ElementLattice:
    """Elements (rows 0 .. m-1) of every combination of 1 .. `order` attributes whose leaves moved enough to matter.

    `moved` (n,): |actual - expected| of each leaf; an element is kept where its sum reaches `least`. That bounds its change
    from above, also when some of its leaves are taken out.
    """

    def __init__(self, leaves: Leaves, order: int, moved: np.ndarray, least: float) -> None:
        self._leaves = leaves
        # Few values first: of two names for the same leaves the coarser one, a country and not its only city, is met first.
        coarse = sorted(range(len(leaves.attributes)), key=lambda a: (len(leaves.names[a]), leaves.attributes[a]))
        self._cuboids = [c for size in range(1, order + 1) for c in combinations(coarse, size)]
        found = [_elements(leaves, cuboid, moved, least) for cuboid in self._cuboids]
        self._rows = [rows for rows, _ in found]
        self._starts = [starts for _, starts in found]
        counts = [len(starts) for starts in self._starts]
        self._offsets = np.cumsum([0, *counts])
        self.cuboid = np.repeat(np.arange(len(found)), counts)
        self.pairs = np.repeat([len(c) for c in self._cuboids], counts)

    def __len__(self) -> int:
        return len(self.cuboid)

    def sums(self, numbers: np.ndarray, elements: np.ndarray | None = None) -> np.ndarray:
        """(n, ...) numbers of the leaves -> (m, ...) sums of the elements; of some `elements` (rows), where there is one."""
        if elements is not None:
            return self._sums_of(numbers, elements)
        parts = [np.add.reduceat(numbers[r], s, axis=0) for r, s in zip(self._rows, self._starts, strict=True) if len(s)]
        return np.concatenate(parts) if parts else np.zeros((0, *numbers.shape[1:]))

    def _sums_of(self, numbers: np.ndarray, elements: np.ndarray) -> np.ndarray:
        """Column by column, whose numbers lie together: three times as fast as adding rows."""
        members = [self._members(row) for row in elements]
        rows, starts = np.concatenate(members), np.cumsum([0, *(len(m) for m in members[:-1])])
        return np.stack([np.add.reduceat(column[rows], starts) for column in np.ascontiguousarray(numbers.T)], axis=1)

    def mask(self, row: int) -> np.ndarray:
        """(n,) bool: the leaves of an element."""
        mask = np.zeros(len(self._leaves), bool)
        mask[self._members(row)] = True
        return mask

    def element(self, row: int) -> Condition:
        """The (attribute, value) pairs of an element."""
        codes = self._leaves.codes[self._members(row)[0]]
        cuboid = self._cuboids[self.cuboid[row]]
        return tuple((self._leaves.attributes[a], self._leaves.names[a][codes[a]]) for a in sorted(cuboid))

    def _members(self, row: int) -> np.ndarray:
        cuboid = self.cuboid[row]
        starts, rows = self._starts[cuboid], self._rows[cuboid]
        place = row - self._offsets[cuboid]
        end = starts[place + 1] if place + 1 < len(starts) else len(rows)
        return rows[starts[place] : end]


def _elements(leaves: Leaves, cuboid: tuple[int, ...], moved: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Leaves sorted by element, and where each kept element begins."""
    if not len(leaves):
        return np.zeros(0, int), np.zeros(0, int)
    key = np.zeros(len(leaves), np.int64)
    for attribute in cuboid:
        key = key * len(leaves.names[attribute]) + leaves.codes[:, attribute]
    small = key.max() < 2**16  # then it is sorted by its digits, five times as fast
    rows = np.argsort(key.astype(np.uint16) if small else key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[rows]) != 0])
    sizes = np.diff(np.r_[starts, len(rows)])
    keep = np.add.reduceat(moved[rows], starts) >= least
    return rows[np.repeat(keep, sizes)], np.r_[0, np.cumsum(sizes[keep])][:-1].astype(int)
