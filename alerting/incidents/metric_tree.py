"""The tree of metrics, defined by `parents` in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alerting.model.metric import Metric


class MetricTree:
    """A forest of metrics; a metric may have two parents. Parents that are not in the catalogue are ignored."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Build the tree. Raises ValueError if the parents of a metric lead back to itself."""
        self.metrics = metrics
        self._by_name = {metric.name: metric for metric in metrics}
        self._order = {metric.name: position for position, metric in enumerate(metrics)}
        for metric in metrics:
            ancestors, todo = set[str](), [*self._parents(metric.name)]
            while todo:
                parent = todo.pop()
                if parent not in ancestors:
                    ancestors.add(parent)
                    todo += self._parents(parent)
            if metric.name in ancestors:
                raise ValueError(f"metric {metric.name}: its parents lead back to itself ({', '.join(metric.parents)})")

    def metric(self, name: str) -> Metric:
        """Return the metric of that name. Raises KeyError."""
        return self._by_name[name]

    def depth(self, name: str) -> int:
        """Return the length of the longest path from a root metric; 0 for a root metric."""
        return max((1 + self.depth(parent) for parent in self._parents(name)), default=0)

    def roots(self, name: str) -> frozenset[str]:
        """Return the root metrics (those without parents) above this metric; the metric itself if it is a root."""
        parents = self._parents(name)
        return frozenset().union(*map(self.roots, parents)) if parents else frozenset({name})

    def related(self, one: str, other: str) -> bool:
        """Return whether two metrics have a root in common."""
        return bool(self.roots(one) & self.roots(other))

    def first(self, names: Iterable[str]) -> str:
        """Return the metric that is highest in the tree; of several, the first in the catalogue. The others may depend on it."""
        return min(names, key=lambda name: (self.depth(name), self._order[name]))

    def is_platform(self, names: Iterable[str]) -> bool:
        """Return whether the root metrics of all products (two at least) are among `names`."""
        chosen = set(names)
        down = {metric.product for metric in self.metrics if metric.name in chosen and not self._parents(metric.name)}
        products = {metric.product for metric in self.metrics if metric.product}
        return len(products) > 1 and products <= down

    def _parents(self, name: str) -> tuple[str, ...]:
        return tuple(parent for parent in self._by_name[name].parents if parent in self._by_name)
