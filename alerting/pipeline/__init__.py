"""A run, step by step: clock, due, read, judge, advance, compose, commit, deliver, finish.

Each step takes values and gives new values. The world is behind `Connections`, which the caller opens (see `wiring`).
"""

from alerting.pipeline.judging import Advance, advance, judge, judge_one, verdicts
from alerting.pipeline.reading import DAYS, read
from alerting.pipeline.telling import commit, deliver, finish
from alerting.pipeline.timing import Connections, Due, clock, due, last_closed_bucket

__all__ = [
    "DAYS", "Advance", "Connections", "Due", "advance", "clock", "commit", "deliver", "due", "finish", "judge", "judge_one",
    "last_closed_bucket", "read", "verdicts",
]  # fmt: skip
