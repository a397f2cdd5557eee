"""Which episodes are one story: the events of the buckets go in, incidents and what is told of them come out. Pure.

Grouping and the one thread follow Alertmanager's notification groups; unlike there, the metrics' own tree says what belongs
together, and a group has an end that is told.
"""

from alerting.incidents.metric_tree import MetricTree

__all__ = ["MetricTree"]
