"""A run, step by step: clock, hear, due, read, reconsider, judge, recall, advance, compose, commit, deliver, finish.

Each step takes values and gives new values. The world is behind `Connections`, which the caller opens (see `wiring`).
"""

from alerting.pipeline.advance import advance, find_changed_buckets, load_state
from alerting.pipeline.compose import compose
from alerting.pipeline.context import clock, due
from alerting.pipeline.deliver import commit, deliver, finish
from alerting.pipeline.digest import daily_summary
from alerting.pipeline.display import (
    by_urgency,
    show_changes,
    show_due,
    show_feedback,
    show_messages,
    show_readings,
    show_receipts,
    show_root_causes,
    show_slow_tables,
    show_verdicts,
)
from alerting.pipeline.explain import explain, follow_up
from alerting.pipeline.feedback import begin_run, read_feedback
from alerting.pipeline.judge import judge, verdicts, warmup_verdicts
from alerting.pipeline.read import SLOW_AFTER, read
from alerting.pipeline.segment_watch import watch_segments
from alerting.pipeline.slow_tables import process_slow_tables

__all__ = [
    "SLOW_AFTER",
    "advance",
    "begin_run",
    "by_urgency",
    "clock",
    "commit",
    "compose",
    "daily_summary",
    "deliver",
    "due",
    "explain",
    "find_changed_buckets",
    "finish",
    "follow_up",
    "judge",
    "load_state",
    "process_slow_tables",
    "read",
    "read_feedback",
    "show_changes",
    "show_due",
    "show_feedback",
    "show_messages",
    "show_readings",
    "show_receipts",
    "show_root_causes",
    "show_slow_tables",
    "show_verdicts",
    "verdicts",
    "warmup_verdicts",
    "watch_segments",
]
