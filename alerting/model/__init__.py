"""The data types that all packages share, the protocols of source, store and notifier, and the errors. Pure.

All times are aware UTC: `at` is an instant, `bucket` is the start of an interval of `Metric.step`.
"""

from alerting.model.metric import STEP, Metric, Policy, Query

__all__ = ["STEP", "Metric", "Policy", "Query"]
