"""A run, step by step: clock, due, read, judge, advance, compose, commit, deliver, finish.

Each step takes values and gives new values. The world is behind `Connections`, which the caller opens (see `wiring`).
"""

from alerting.pipeline.judging import Advance, advance, fold, judge, judge_one, verdicts
from alerting.pipeline.reading import read
from alerting.pipeline.showing import show_changes, show_due, show_messages, show_read, show_receipts, show_verdicts
from alerting.pipeline.telling import commit, compose, deliver, finish, send_waiting
from alerting.pipeline.timing import Connections, Due, clock, due, last_closed_bucket

__all__ = [
    "Advance", "Connections", "Due", "advance", "clock", "commit", "compose", "deliver", "due", "finish", "fold",
    "judge", "judge_one", "last_closed_bucket", "read", "send_waiting", "show_changes", "show_due", "show_messages",
    "show_read", "show_receipts", "show_verdicts", "verdicts",
]  # fmt: skip
