"""A run, step by step: begin_run, due, read, read_feedback, judge, advance, explain, compose, commit, deliver,
process_slow_tables, finish.

Each step takes values and returns new values. Connections and settings are in `RunContext`, which `connections` opens;
what a cell shows comes from `pipeline.display`.
"""

from alerting.pipeline.advance import advance
from alerting.pipeline.compose import compose
from alerting.pipeline.context import begin_run, clock, due
from alerting.pipeline.deliver import commit, deliver
from alerting.pipeline.explain import explain
from alerting.pipeline.feedback import read_feedback
from alerting.pipeline.finish import finish, process_slow_tables
from alerting.pipeline.judge import judge
from alerting.pipeline.read import read

__all__ = [
    "advance",
    "begin_run",
    "clock",
    "commit",
    "compose",
    "deliver",
    "due",
    "explain",
    "finish",
    "judge",
    "process_slow_tables",
    "read",
    "read_feedback",
]
