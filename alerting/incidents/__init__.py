"""Incidents: the episodes of each metric (a state machine), and the grouping of episodes into incidents. Pure.

The grouping, with one thread per incident, follows Alertmanager's notification groups, with two differences: the tree of metrics
decides which episodes belong together, and the end of a group is notified.
"""
