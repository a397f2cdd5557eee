"""What the study notebooks stand on: a past read from the configured source, what is learned of it said in words and in lines of
metrics.py, a week looked back at, a moment explained, and sliders.
"""

from alerting.studies.executing import execute
from alerting.studies.explaining import explain
from alerting.studies.lines import history_lines, rule_lines, rules_lines, width_lines, written
from alerting.studies.moments import Moment
from alerting.studies.pasts import NUMBERS, judged, known, last_days, local, newest, past, show, views
from alerting.studies.progress import track
from alerting.studies.reviewing import Review, review, week_lines
from alerting.studies.sentences import of_budget, of_history, of_rules, of_week
from alerting.studies.sliders import explore, tune

__all__ = [
    "NUMBERS", "Moment", "Review", "execute", "explain", "explore", "history_lines", "judged", "known", "last_days", "local",
    "newest", "of_budget", "of_history", "of_rules", "of_week", "past", "review", "rule_lines", "rules_lines", "show", "track",
    "tune", "views", "week_lines", "width_lines", "written",
]  # fmt: skip
