"""A run, step by step: clock, hear, due, read, reconsider, judge, recall, advance, compose, commit, deliver, finish.

Each step takes values and gives new values. The world is behind `Connections`, which the caller opens (see `wiring`).
"""

from alerting.pipeline.advancing import Remembered, advance, recall, reconsider
from alerting.pipeline.composing import compose
from alerting.pipeline.daily import daily
from alerting.pipeline.delivering import deliver, send_waiting
from alerting.pipeline.explaining import Explained, explain, follow_up
from alerting.pipeline.hearing import Heard, begin, hear
from alerting.pipeline.judged import Judged, judge
from alerting.pipeline.judging import Advance, earlier, fold, judge_one, verdicts
from alerting.pipeline.reading import PATIENCE, read
from alerting.pipeline.showing import (
    foremost,
    show_causes,
    show_changes,
    show_due,
    show_heard,
    show_messages,
    show_read,
    show_receipts,
    show_slow,
    show_verdicts,
)
from alerting.pipeline.slow import Slow, slow
from alerting.pipeline.telling import commit, finish
from alerting.pipeline.timing import Connections, Due, clock, due, last_closed_bucket
from alerting.pipeline.watching import Watched, stand_ins, watch

__all__ = [
    "PATIENCE",
    "Advance",
    "Connections",
    "Due",
    "Explained",
    "Heard",
    "Judged",
    "Remembered", "Slow",
    "Watched",
    "advance",
    "begin",
    "clock",
    "commit",
    "compose",
    "daily",
    "deliver",
    "due",
    "earlier",
    "explain",
    "finish",
    "fold",
    "follow_up",
    "foremost",
    "hear",
    "judge",
    "judge_one",
    "last_closed_bucket",
    "read",
    "recall",
    "reconsider",
    "send_waiting",
    "show_causes",
    "show_changes",
    "show_due",
    "show_heard",
    "show_messages",
    "show_read",
    "show_receipts", "show_slow",
    "show_verdicts",
    "slow",
    "stand_ins",
    "verdicts",
    "watch",
]  # fmt: skip
