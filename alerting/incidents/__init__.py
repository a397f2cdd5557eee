"""Incidents: episodes of one metric each (a state machine), and which episodes belong together. Pure.

Grouping and the one thread follow Alertmanager's notification groups. Two differences: the metrics' own tree says what belongs
together, and the end of a group is notified.
"""

from alerting.incidents.metric_tree import MetricTree

__all__ = ["MetricTree"]
