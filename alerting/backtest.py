"""What the rules would have said: the live steps over a long past. There is no second version of a rule here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from alerting.model import Event, Kind, Metric, Verdict
from alerting.pipeline import Due, fold, judge_one, verdicts

WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Replay:
    """What a past would have been told. `start` <= bucket < `end`, aware UTC."""

    metrics: list[Metric]
    judged: dict[str, pd.DataFrame]
    answers: list[Verdict]
    events: list[Event]
    start: datetime
    end: datetime

    def incidents(self) -> pd.DataFrame:
        """One row per episode that was told: when, how long, and how deep (`change`: share of expected at the worst)."""
        rows: dict[tuple[str, object], dict[str, object]] = {}
        for event in self.events:
            since = event.episode.gap if event.kind in (Kind.NO_DATA, Kind.DATA_BACK) else event.episode.since
            row = rows.setdefault((event.metric, since), {"metric": event.metric, "what": event.kind.value, "since": since})
            row |= _facts(event)
        columns = ["metric", "what", "since", "told", "until", "change", "score"]
        return pd.DataFrame(list(rows.values()), columns=columns).sort_values(["told", "metric"], ignore_index=True)

    def budget(self) -> pd.DataFrame:
        """One row per metric: messages (reminders among them), openings a week, and how its buckets were answered."""
        weeks = (self.end - self.start) / WEEK
        rows = {m.name: _counts([e for e in self.events if e.metric == m.name], weeks) for m in self.metrics}
        answered = pd.crosstab([v.metric for v in self.answers], [v.status.value for v in self.answers])
        return pd.DataFrame.from_dict(rows, orient="index").join(answered)


def _facts(event: Event) -> dict[str, object]:
    worst = event.episode.worst or event.verdict
    if event.kind in (Kind.OPENED, Kind.NO_DATA):
        return {"told": event.bucket, "until": pd.NaT, "change": worst.change, "score": worst.score}
    if event.kind is Kind.RESOLVED:
        return {"until": event.episode.calm_since, "change": worst.change, "score": worst.score}
    return {"until": event.bucket} if event.kind is Kind.DATA_BACK else {}


def _counts(events: list[Event], weeks: float) -> dict[str, float]:
    opened = sum(e.kind in (Kind.OPENED, Kind.NO_DATA) for e in events)
    return {"messages": len(events), "incidents": opened, "incidents a week": round(opened / weeks, 2)}


def replay(metrics: list[Metric], series: dict[str, pd.Series], start: datetime, end: datetime, zone: str = "UTC") -> Replay:
    """Judge start <= bucket < end of every series and fold the answers into episodes, exactly as a run does.

    `series`: metric -> float64 values on the full UTC grid; what lies before `start` is history.
    """
    known = [metric for metric in metrics if metric.name in series]
    judged = {metric.name: judge_one(metric, series[metric.name], zone) for metric in known}
    answers = verdicts([Due(metric, start, end - metric.step) for metric in known], judged)
    return Replay(known, judged, answers, fold(known, answers, {})[1], start, end)
