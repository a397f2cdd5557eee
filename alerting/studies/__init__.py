"""Functions that the study notebooks share: they read a past from the configured source, review it, and execute the notebooks."""

from alerting.catalogue import pinned
from alerting.studies.case import Case, open_case
from alerting.studies.data import history, known_incidents, labelled_past, load_past, rows_read
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
    "pinned",
    "review",
    "rows_read",
]
