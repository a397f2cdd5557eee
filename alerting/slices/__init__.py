"""What explains a change of a metric: the smallest set of attribute values that carries it.

`explain` takes one row per combination of attributes with actual and expected numbers, of a count or of a ratio, and gives
ranked causes or says that everything moved alike. `effects` tells a change of rates from a change of the mix, exactly.
`arrivals` names values that were never seen and values that are gone. `recent` and `calm` make expectations from a past.
"""

from alerting.slices.causes import Answer, Cause, Element, Explanation
from alerting.slices.effects import Effect, effects
from alerting.slices.expected import calm, recent, unequal
from alerting.slices.explaining import explain
from alerting.slices.presence import Arrival, arrivals
from alerting.slices.search import Search

__all__ = [
    "Answer", "Arrival", "Cause", "Effect", "Element", "Explanation", "Search", "arrivals", "calm", "effects", "explain",
    "recent", "unequal",
]  # fmt: skip
