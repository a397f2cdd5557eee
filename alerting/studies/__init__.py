"""What the study notebooks stand on: a past read from the configured source, what is learned of it said in words and in lines of
metrics.py, a week looked back at, a moment explained, and sliders.
"""

from alerting.studies.data import (
    NUMBERS,
    detector_views,
    judge_by,
    known_incidents,
    last_days,
    load_past,
    local_times,
    past_table,
    track,
)
from alerting.studies.execute import execute
from alerting.studies.explain import explain
from alerting.studies.review import review, week_lines
from alerting.studies.sentences import of_budget, of_history, of_rules, of_week
from alerting.studies.suggest import detector_text, history_lines, rule_lines, rules_lines, width_lines
from alerting.studies.widgets import explore, tune

__all__ = [
    "NUMBERS",
    "detector_text",
    "detector_views",
    "execute",
    "explain",
    "explore",
    "history_lines",
    "judge_by",
    "known_incidents",
    "last_days",
    "load_past",
    "local_times",
    "of_budget",
    "of_history",
    "of_rules",
    "of_week",
    "past_table",
    "review",
    "rule_lines",
    "rules_lines",
    "track",
    "tune",
    "week_lines",
    "width_lines",
]
