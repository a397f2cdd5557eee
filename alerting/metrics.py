"""The catalogue: what is watched, by which rule, and who is told. The one file that analysts edit.

A metric is one line of METRICS: a name, a title per language, the SQL file that counts it (alerting/sql/NAME.sql) and how
its value is made of those counts; `python -m alerting new-metric` drafts one from a query (docs/metrics.md). A
`policy=Policy(...)` says when a verdict is worth a message, `rule` how wide normal is, `parents` what it hangs on (metrics of
one family that are off together are one incident), and `slices` what is done about a slice that breaks while the total is
calm: off, digest (a line of the daily message) or alert.
"""

from __future__ import annotations

import re
from datetime import timedelta

from alerting.detectors.auto import AutoDetector
from alerting.metric_values import count, mean, measured, ratio, total  # noqa: F401  for the lines that analysts write
from alerting.model.metric import Metric, Policy  # noqa: F401  Policy is for the lines that analysts write

# The rule of every metric that names no other: did it just change, is it held wrong; for bursty metrics, is it further out
# than it gets. An analyst may pin one of them, or a fence: `Sudden()`, `Level()`, `IQR(k=3, over=SameSlot(days=28, near=1))`.
RULE = AutoDetector()

# The widths are what two false alerts a week buy on the sample app; `make budget` says what they are on your own history.
METRICS = [
    Metric(
        "feed_users", {"en": "Feed users", "ru": "Люди в ленте"}, "feed_actions", count("users"), RULE,
        width=0.5, adds=False, product="feed",
    ),
    Metric(
        "messenger_users", {"en": "Messenger users", "ru": "Люди в мессенджере"}, "message_actions", count("users"), RULE,
        width=0.5, adds=False, product="messenger",
    ),
    Metric(
        "views", {"en": "Views", "ru": "Просмотры"}, "feed_actions", count("views"), RULE,
        width=0.45, parents=("feed_users",), product="feed", slices="alert",
    ),
    Metric(
        "likes", {"en": "Likes", "ru": "Лайки"}, "feed_actions", count("likes"), RULE,
        width=0.55, parents=("views",), product="feed",
    ),
    Metric(
        "ctr", {"en": "CTR", "ru": "CTR"}, "feed_actions", ratio("likes", "views"), RULE,
        form="ratio", width=0.85, adds=False, volume=count("views"), parents=("likes", "views"), product="feed",
    ),
    Metric(
        "messages", {"en": "Messages", "ru": "Сообщения"}, "message_actions", count("messages"), RULE,
        width=0.6, parents=("messenger_users",), product="messenger", slices="alert",
    ),
]  # fmt: skip


def metrics_of_table(steps: dict[str, timedelta]) -> list[Metric]:
    """A catalogue for a tidy table: one metric per series, at the series' own step, by the default rule and policy."""
    return [
        Metric(name, {"en": series, "ru": series}, series, count("value"), RULE, step=steps[series], form="number")
        for series, name in zip(steps, _identifiers(list(steps)), strict=True)
    ]


def _identifiers(texts: list[str]) -> list[str]:
    """Plain names for series of any name, told apart by a number where two would become one."""
    plain = [re.sub(r"[^\w.-]", "_", text).strip("_") or "series" for text in texts]
    return [name if plain.index(name) == i else f"{name}-{i}" for i, name in enumerate(plain)]
