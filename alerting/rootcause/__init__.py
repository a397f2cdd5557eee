"""Root causes: the smallest set of conditions that explains the change of a metric.

`explain` takes one row per combination of attributes, with the actual and the expected numbers of a count or of a ratio. It
returns ranked causes, or says that everything changed alike. `new_and_gone_values` finds values that were never seen before
and values that are gone.
"""

from alerting.rootcause.explain import explain, new_and_gone_values

__all__ = ["explain", "new_and_gone_values"]
