"""The shared parts of the study notebooks: a past read from the configured source, a week's review, an explained moment, sliders.

`sentences` and `suggest` turn results into conclusions and into lines of metrics.py.
"""

from alerting.studies import sentences, suggest
from alerting.studies.data import detector_views, last_days, load_past, local_times, past_table, track
from alerting.studies.execute import execute
from alerting.studies.explain import explain
from alerting.studies.review import review
from alerting.studies.widgets import explore, tune

__all__ = [
    "detector_views",
    "execute",
    "explain",
    "explore",
    "last_days",
    "load_past",
    "local_times",
    "past_table",
    "review",
    "sentences",
    "suggest",
    "track",
    "tune",
]
