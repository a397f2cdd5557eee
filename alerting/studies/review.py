"""The review of a week: its incidents, people's labels, and near misses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from alerting.backtest.replay import RECOVERY, WEEK, BacktestData, KnownSpan, Progress, Replay, group_events, near_misses
from alerting.incidents import labels
from alerting.model.incident import Incident
from alerting.model.tables import DisplayList
from alerting.model.verdict import Label, Verdict
from alerting.settings import Settings
from alerting.studies.data import recorded_incidents

REAL = (Label.REAL, Label.EXPECTED, Label.NEW_TREND)  # labels which say that the metric really changed


@dataclass(frozen=True)
class Review:
    """A past and its incidents.

    `recorded`: the incidents of runs. `replayed`: the incidents of a replay with the present catalogue. `truths`: the incidents
    that are known to be real, because a person labelled them or they were planted.
    """

    past: BacktestData
    replay: Replay
    recorded: DisplayList[Incident]
    replayed: DisplayList[Incident]
    truths: Sequence[KnownSpan]

    @property
    def incidents(self) -> DisplayList[Incident]:
        """The incidents of runs; if runs recorded none, the incidents of the replay."""
        return self.recorded or self.replayed

    def words(self) -> str:
        """Return a sentence with the span of time and the numbers of recorded and replayed incidents."""
        start, end = (pd.Timestamp(at).tz_convert(self.past.zone) for at in (self.past.start, self.past.end))
        span = f"From {start:%a %d %b %H:%M} to {end:%a %d %b %H:%M} ({self.past.zone})"
        recorded, replayed = (f"{len(it)} incident{'' if len(it) == 1 else 's'}" for it in (self.recorded, self.replayed))
        remembered = f"runs have remembered {recorded}" if self.recorded else "no run has remembered an incident"
        return f"{span} {remembered}; a replay of the rules as they stand now makes {replayed}."

    def by_metric(self) -> pd.DataFrame:
        """Return one row per metric: incidents, counts of labels, precision; incidents and messages a week in the replay."""
        counted = labels.precision(self.incidents, by=["metric"])
        cost, weeks = self.replay.budget(), (self.past.end - self.past.start) / WEEK
        weekly = cost[["incidents a week"]].assign(**{"messages a week": cost["messages"] / weeks})
        counts = counted.drop(columns="precision").reindex(weekly.index, fill_value=0).astype(int)
        precision = counted["precision"].reindex(weekly.index).astype(float)
        table = counts.assign(precision=precision).join(weekly)
        return table.sort_values(["incidents", "incidents a week", "messages a week"], ascending=False, kind="stable")

    def near_misses(self, most: int = 10) -> DisplayList[Verdict]:
        """Return the `most` verdicts with the highest scores that opened no incident. The table shows local times."""
        return DisplayList(near_misses(self.replay, most), "near misses", self.past.zone)


def review(past: BacktestData, track: Progress = iter, given: Settings | None = None) -> Review:
    """Review a past: the incidents of runs, and the incidents of a replay. Raises StoreError if the state cannot be read."""
    names = {metric.name for metric in past.metrics}  # the state may hold incidents of another source
    recorded = [one for one in recorded_incidents(past.start, past.end, given) if one.root.metric in names]
    labelled = [_span(past, incident) for incident in recorded if incident.label in REAL]
    week = KnownSpan(past.start, past.end, tuple(metric.name for metric in past.metrics))
    planted = [span for span in past.known if _meet(span, week) and not any(_meet(span, other) for other in labelled)]

    replay = past.replay_all(track)
    ours = [_with_label(past, incident, recorded) for incident in recorded]
    replayed = [_with_label(past, incident, recorded) for incident in group_events(replay.metrics, replay.events)]
    shown, made = (DisplayList(incidents, "incidents", past.zone) for incidents in (ours, replayed))
    return Review(past, replay, shown, made, [*labelled, *planted])


def _span(past: BacktestData, incident: Incident) -> KnownSpan:
    """Return the incident's span, from its first anomalous bucket to its closing. The span of an open one ends with the past."""
    until = max(incident.closed or past.end, incident.opened + past.metrics[0].step)
    return KnownSpan(incident.root.since, until, tuple(member.metric for member in incident.members))


def _with_label(past: BacktestData, incident: Incident, recorded: Sequence[Incident]) -> Incident:
    """Return the incident with a label, if one is known.

    It is the incident's own label, else the label of a recorded incident at that time. If the past has planted incidents, it is
    else "real" if one was planted there, and "false alarm" if not.
    """
    span = _span(past, incident)
    of_recorded = (other.label for other in recorded if other.label and _meet(_span(past, other), span))
    label = incident.label or next(of_recorded, None)
    if label is None and past.known and not incident.root.gap:
        label = Label.REAL if any(_meet(known, span) for known in past.known) else Label.FALSE_ALARM
    return replace(incident, label=label)


def _meet(one: KnownSpan, other: KnownSpan) -> bool:
    """Return whether both spans have a metric in common and overlap. RECOVERY after each belongs to it."""
    shared = any(one.concerns(name) for name in other.metrics) or not other.metrics
    return shared and one.start < other.end + RECOVERY and other.start < one.end + RECOVERY
