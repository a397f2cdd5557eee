"""Root causes: the smallest set of conditions that explains the change of a metric.

`explain` takes one row per combination of attributes with actual and expected numbers, of a count or of a ratio, and returns
ranked causes, or that everything changed alike. `mix_and_rate_effects` splits the change of a ratio, exactly.
`new_and_gone_values` finds values that were never seen before and values that are gone.
"""

from alerting.rootcause.explain import Candidate, Conclusion, Explanation, explain
from alerting.rootcause.search import Condition, SearchOptions
from alerting.rootcause.segments import mix_and_rate_effects, new_and_gone_values

__all__ = [
    "Candidate",
    "Conclusion",
    "Condition",
    "Explanation",
    "SearchOptions",
    "explain",
    "mix_and_rate_effects",
    "new_and_gone_values",
]
