"""The catalogue: the metrics that are watched, their detectors, and when they alert. Analysts edit this file only.

A metric is one entry of METRICS: a name, a title per language, the query that counts it (alerting/sql/NAME.sql) and the function
that computes its value from these counts. `python -m alerting new-metric` drafts an entry from a query (docs/metrics.md).
`rule`: the detector, which gives the band of normal values. `policy=Policy(...)`: the verdicts that are worth a message.
`parents`: the metrics it depends on; related metrics that are anomalous at the same time are one incident. `slices`: the reaction
to a segment that is anomalous while the total is normal: off, digest (a line of the daily message) or alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from alerting.detectors.auto import AutoDetector
from alerting.detectors.limits import Above, Below, Outside  # noqa: F401  for the lines that analysts write
from alerting.metric_values import count, mean, measured, ratio, total  # noqa: F401  for the lines that analysts write
from alerting.model.metric import Metric, Policy, names_of_series  # noqa: F401  Policy is for the lines that analysts write

# The default detector. It finds sudden changes and lasting deviations and, in bursty metrics, values beyond their usual bursts.
# To use one fixed detector or another band, write `Sudden()`, `Level()` or `IQR(k=3, over=SameSlot(days=28, near=1))`.
RULE = AutoDetector()

# Every band has the width 1. `make budget` says what that costs on your own history; `width=1.2` makes a metric quieter.
METRICS = [
    Metric(
        "feed_users", {"en": "Feed users", "ru": "Пользователи ленты"}, "feed_actions", count("users"), RULE,
        adds=False, product="feed", slices="alert",
    ),
    Metric(
        "messenger_users", {"en": "Messenger users", "ru": "Пользователи мессенджера"}, "message_actions", count("users"), RULE,
        adds=False, product="messenger", slices="alert",
    ),
    Metric(
        "views", {"en": "Views", "ru": "Просмотры"}, "feed_actions", count("views"), RULE,
        parents=("feed_users",), product="feed", slices="alert",
    ),
    Metric(
        "likes", {"en": "Likes", "ru": "Лайки"}, "feed_actions", count("likes"), RULE,
        parents=("views",), product="feed", slices="alert",
    ),
    Metric(
        "ctr", {"en": "CTR", "ru": "CTR"}, "feed_actions", ratio("likes", "views"), RULE,
        form="ratio", adds=False, parents=("likes", "views"), product="feed",
        slices="alert",
    ),
    Metric(
        "messages", {"en": "Messages", "ru": "Сообщения"}, "message_actions", count("messages"), RULE,
        parents=("messenger_users",), product="messenger", slices="alert",
    ),
]  # fmt: skip


def metrics_of_table(steps: dict[str, timedelta], phases: Mapping[str, timedelta] | None = None) -> list[Metric]:
    """Return a catalogue for a tidy table: one metric per series, at the series' own step, with the default rule and policy.

    `steps`, `phases`: series -> step, and phase (0 where absent). Metrics are named by `names_of_series`.
    """
    names, phases = names_of_series(steps), phases or {}
    return [
        Metric(
            names[series], {"en": series, "ru": series}, series, count("value"), RULE, step=step,
            phase=phases.get(series, timedelta()), form="number",
        )
        for series, step in steps.items()
    ]  # fmt: skip
