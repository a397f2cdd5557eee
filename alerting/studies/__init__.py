"""What the study notebooks share: a past read from the configured source, a review of it, and the execution of the notebooks.

`suggest` writes widths into metrics.py.
"""

from alerting.studies import suggest
from alerting.studies.case import Case, open_case
from alerting.studies.data import history, known_incidents, labelled_past, load_past, rows_read, track
from alerting.studies.execute import execute, execute_incidents
from alerting.studies.review import review

__all__ = [
    "Case",
    "execute",
    "execute_incidents",
    "history",
    "known_incidents",
    "labelled_past",
    "load_past",
    "open_case",
    "review",
    "rows_read",
    "suggest",
    "track",
]
