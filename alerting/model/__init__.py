"""The nouns every room shares, the ports the pipeline is handed, and the errors that cross a room's door.

Times are aware UTC everywhere: `at` is an instant, `bucket` the start of an interval of `Metric.step`.
"""

from alerting.model.metric import STEP, Metric, Policy, Query

__all__ = ["STEP", "Metric", "Policy", "Query"]
