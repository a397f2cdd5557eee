"""Score the alerts of a replay: events found, false alerts, delay. An alert is a message about a problem. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median

import numpy as np
import pandas as pd

from alerting.backtest.replay import RECOVERY, WEEK, BacktestData, KnownSpan, Progress, Replay
from alerting.model.metric import Detector
from alerting.model.verdict import EventKind, Status

ALERT_KINDS = (EventKind.OPENED, EventKind.REMINDER, EventKind.NO_DATA)
ALL_METRICS = "all"


@dataclass(frozen=True)
class Score:
    """Counts of a replay: true `events`, how many of them were `found`, `false` alerts, and `weeks` of series with values.

    `delays`: for each found event, the time from its first bucket to the bucket of its first alert. The alert is sent at the end
    of that bucket.
    """

    events: int
    found: int
    false: int
    weeks: float
    delays: tuple[timedelta, ...] = ()

    def __add__(self, other: Score) -> Score:
        """Return the score of both together, as if the two series were one longer series."""
        counts = (self.events + other.events, self.found + other.found, self.false + other.false)
        return Score(*counts, self.weeks + other.weeks, self.delays + other.delays)

    def row(self) -> dict[str, float]:
        """Return column -> value: one row of a table. A value that would be a division by 0 is NaN.

        F1 is 2 found / (2 found + false + missed). "false a week" is per series. "delay, min" is the median in minutes; 0 means
        an alert at the end of the first affected bucket.
        """
        nan, alerts = float("nan"), self.found + self.false
        return {
            "events": self.events,
            "recall": self.found / self.events if self.events else nan,
            "precision": self.found / alerts if alerts else nan,
            "F1": 2 * self.found / (alerts + self.events) if alerts + self.events else nan,
            "false a week": self.false / self.weeks if self.weeks else nan,
            "delay, min": median(delay / timedelta(minutes=1) for delay in self.delays) if self.delays else nan,
        }


EMPTY_SCORE = Score(0, 0, 0, 0.0)


def score_alerts(replay: Replay, events: Sequence[KnownSpan], ignore: Sequence[KnownSpan] = ()) -> Score:
    """Compare the alerts of a replay with the true events. Return one score over all metrics.

    An event of several metrics counts once for each of them. Events that begin outside of the replay do not count. An event is
    found if an alert is in one of its buckets. An alert about a bucket with a value is false, unless it is in an event, in a span
    of `ignore`, or within RECOVERY after one of these.
    """
    total = EMPTY_SCORE
    for metric in replay.metrics:
        alerts = [event for event in replay.events if event.metric == metric.name and event.kind in ALERT_KINDS]
        true = [event for event in events if event.concerns(metric.name) and replay.start <= event.start < replay.end]
        not_false, step = [*true, *(span for span in ignore if span.concerns(metric.name))], metric.step.total_seconds()
        # Span -> the bucket in which it begins
        first = {span: span.start - timedelta(seconds=span.start.timestamp() % step) for span in not_false}
        delays = []
        for event in true:
            found = next((alert.bucket for alert in alerts if first[event] <= alert.bucket < event.end), None)
            if found is not None:
                delays.append(found - first[event])

        excused = [(first[span], span.end + RECOVERY) for span in not_false]
        with_value = [alert.bucket for alert in alerts if alert.verdict.status is not Status.MISSING]
        false = sum(not any(start <= bucket < end for start, end in excused) for bucket in with_value)
        judged = sum(v.metric == metric.name and v.status is not Status.MISSING for v in replay.verdicts)
        total += Score(len(true), len(delays), false, judged * metric.step / WEEK, tuple(delays))
    return total


# Comparison of detectors on the same past.


def sweep_widths(
    past: BacktestData,
    events: Sequence[KnownSpan],
    rules: Mapping[str, Detector],
    widths: Sequence[float],
    track: Progress = iter,
) -> pd.DataFrame:
    """Return scores: one row per detector, metric and width, with the columns of `Score.row`.

    The metric "all" pools the metrics. A width is a factor of the band's half-width. `rules`: name -> detector. Each band is
    computed once for all widths.
    """
    rows: dict[tuple[str, str, float], dict[str, float]] = {}
    for name, rule in track(list(rules.items())):
        pooled = dict.fromkeys(widths, EMPTY_SCORE)
        for metric in past.metrics_with_values:
            tried = replace(metric, rule=rule)
            band = past.band(tried)
            for width in widths:
                score = score_alerts(past.replay(replace(tried, width=width), band), events, past.known)
                rows[name, metric.name, width] = score.row()
                pooled[width] += score
        rows |= {(name, ALL_METRICS, width): score.row() for width, score in pooled.items()}
    index = pd.MultiIndex.from_tuples(list(rows), names=["rule", "metric", "width"])
    return pd.DataFrame(list(rows.values()), index=index)


def best_widths(table: pd.DataFrame, most: float = np.inf) -> pd.DataFrame:
    """Return one row per detector, the best detector first: its row of `sweep_widths` with the best width over all metrics.

    The best width has the highest F1 among the widths with at most `most` false alerts per series and week; of equal ones, the
    narrower one. A detector without such a width is left out.
    """
    pooled = table.xs(ALL_METRICS, level="metric")
    allowed = pooled[pooled["false a week"] <= most]
    ranked = allowed.sort_values(["F1", "recall"], ascending=False, kind="stable").reset_index("width")
    return ranked[~ranked.index.duplicated()]
