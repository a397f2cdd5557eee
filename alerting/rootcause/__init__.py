"""What explains a change of a metric: the smallest set of attribute values that carries it.

`explain` takes one row per combination of attributes with actual and expected numbers, of a count or of a ratio, and gives
ranked causes or says that everything moved alike. `effects` tells a change of rates from a change of the mix, exactly.
`arrivals` names values that were never seen and values that are gone. `recent` and `calm` make expectations from a past.
"""

from alerting.rootcause.explain import explain
from alerting.rootcause.search import SearchOptions
from alerting.rootcause.segments import mix_and_rate_effects, new_and_gone_values
from alerting.rootcause.types import Candidate, Conclusion, Condition, Explanation

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
