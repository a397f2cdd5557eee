"""What the study notebooks stand on: a past read from the configured source, and what is learned said in words and in lines
of metrics.py.
"""

from alerting.studies.executing import execute
from alerting.studies.lines import history_lines, rule_lines, rules_lines, width_lines, written
from alerting.studies.pasts import NUMBERS, judged, known, last_days, local, newest, past, show, views
from alerting.studies.sentences import of_budget, of_history, of_rules
from alerting.studies.sliders import explore

__all__ = [
    "NUMBERS", "execute", "explore", "history_lines", "judged", "known", "last_days", "local", "newest", "of_budget",
    "of_history", "of_rules", "past", "rule_lines", "rules_lines", "show", "views", "width_lines", "written",
]  # fmt: skip
