"""How the metrics hang together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from alerting.model.metric import Metric


class MetricTree:
    """The catalogue's `parents` as a forest (a metric may have two). A parent that is not watched is no parent."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Raises ValueError when metrics hang on one another in a circle."""
        self.metrics = metrics
        for metric in metrics:
            if metric.name in self._above(metric.name):
                raise ValueError(f"metric {metric.name}: its parents lead back to itself ({', '.join(metric.parents)})")

    def depth(self, name: str) -> int:
        """Steps down from a root; where two ways lead there, the longer one."""
        return max((1 + self.depth(parent) for parent in self._parents(name)), default=0)

    def roots(self, name: str) -> frozenset[str]:
        parents = self._parents(name)
        return frozenset().union(*map(self.roots, parents)) if parents else frozenset({name})

    def related(self, one: str, other: str) -> bool:
        """They hang on the same root."""
        return bool(self.roots(one) & self.roots(other))

    def first(self, names: Iterable[str]) -> str:
        """The one that the others may hang on: highest in the tree, then first in the catalogue."""
        return min(names, key=lambda name: (self.depth(name), self._order[name]))

    def is_platform(self, names: Iterable[str]) -> bool:
        """Whether the roots of all products (two at least) are among them."""
        chosen = set(names)
        down = {metric.product for metric in self.metrics if metric.name in chosen and not self._parents(metric.name)}
        products = {metric.product for metric in self.metrics if metric.product}
        return len(products) > 1 and products <= down

    def metric(self, name: str) -> Metric:
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, Metric]:
        return {metric.name: metric for metric in self.metrics}

    @cached_property
    def _order(self) -> dict[str, int]:
        return {metric.name: place for place, metric in enumerate(self.metrics)}

    def _parents(self, name: str) -> tuple[str, ...]:
        return tuple(parent for parent in self._known[name].parents if parent in self._known)

    def _above(self, name: str) -> set[str]:
        """All that it hangs on, over however many steps."""
        above, todo = set[str](), [*self._parents(name)]
        while todo:
            parent = todo.pop()
            if parent not in above:
                above.add(parent)
                todo += self._parents(parent)
        return above
