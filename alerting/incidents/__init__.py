"""Which episodes are one story: the events of the buckets go in, incidents and what is told of them come out. Pure.

Grouping and the one thread follow Alertmanager's notification groups; unlike there, the metrics' own tree says what belongs
together, and a group has an end that is told.
"""

from alerting.incidents.folding import AGAIN, TIRED, TOGETHER, advance, condensed
from alerting.incidents.keeping import late, opening, withdrawn, without
from alerting.incidents.labels import precision
from alerting.incidents.tree import Tree

__all__ = ["AGAIN", "TIRED", "TOGETHER", "Tree", "advance", "condensed", "late", "opening", "precision", "withdrawn", "without"]
