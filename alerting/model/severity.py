"""The severity of an incident: how much of its metrics is gone, or how far beyond they are, and how many roots are off. Pure.

The distance to the edge of a band says how sure a verdict is, not how bad it is, and has no part in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from alerting.model.incident import RootCause
from alerting.model.metric import Metric
from alerting.model.verdict import Status, Verdict

CRITICAL_SIZE = 0.5  # `Verdict.size`: half of the metric is gone, or it is three times the expected
SEGMENT_GONE = -0.9  # change of a segment that is an outage of its own ...
SEGMENT_PART = -0.25  # ... where the metric has changed by so much because of it
ROOT_SIZE = 0.1  # a root that is less far off does not count as one of several
LEADING_SHARE = 0.5  # of the largest size: a metric that is higher in the tree leads from there on

Roots = Mapping[str, Collection[str]]  # metric -> its root metrics; those of a metric that is not in it are not known


def is_critical(members: Iterable[tuple[Metric, Verdict]], roots: Roots, cause: RootCause | None = None) -> bool:
    """Return whether an incident is critical: an outage, most of a metric gone, or several roots off at once.

    `members`: those that are affected, each with its present verdict. `cause`: of the incident, if it is known.
    """
    off = [(metric, v) for metric, v in members if v.status in (Status.ANOMALOUS, Status.MISSING)]
    judged = [(metric, v) for metric, v in off if v.status is Status.ANOMALOUS]
    if any(not v.size < metric.policy.critical_size for metric, v in judged):  # an unknown size may be anything
        return True
    explained = [v for metric, v in judged if cause and cause.metric in ("", metric.name)]
    if cause is not None and any(v.change * cause.share <= SEGMENT_PART for v in explained) and _is_segment_gone(cause.claim):
        return True
    return _count_apart(roots.get(m.name, ()) for m, v in off if v.status is Status.MISSING or v.size >= ROOT_SIZE) > 1


def leads(sizes: Mapping[str, float]) -> list[str]:
    """Return the metrics that a message may lead with: those that are about as far off as the worst. `sizes`: metric -> size."""
    known = {name: 1.0 if size != size else size for name, size in sizes.items()}
    return [name for name, size in known.items() if size >= LEADING_SHARE * max(known.values())]


def size_of(verdict: Verdict) -> float:
    """Return the size of a verdict, 0 where the value is normal; no data is as bad as half of them gone: they may still come."""
    return {Status.MISSING: CRITICAL_SIZE, Status.ANOMALOUS: verdict.size}.get(verdict.status, 0.0)


def _is_segment_gone(cause: RootCause) -> bool:
    where = cause.slice
    return cause.answer == "carried" and cause.effect != "mix" and where is not None and where.change <= SEGMENT_GONE


def _count_apart(groups: Iterable[Collection[str]]) -> int:
    """Return how many of the groups have nothing in common with one that was counted; empty ones do not count."""
    seen, count = set[str](), 0
    for group in groups:
        count += bool(group) and seen.isdisjoint(group)
        seen |= {*group}
    return count
