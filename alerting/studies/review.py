"""A week looked back at: what was told, what people said of it, what nearly was, and what other widths would have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from alerting.backtest.replay import RECOVERY, WEEK, BacktestData, KnownSpan, Progress, Replay, concerns
from alerting.backtest.review import at_widths, group_events, near_misses
from alerting.connections import STATE_FILE
from alerting.incidents import labels
from alerting.model.incident import Incident
from alerting.model.tables import DisplayList
from alerting.model.verdict import Label, Verdict
from alerting.settings import Settings, load_settings
from alerting.store.readonly import ReadOnlyState as Memory
from alerting.studies.suggest import width_lines

REAL = (Label.REAL, Label.EXPECTED, Label.NEW_TREND)  # something was there


@dataclass(frozen=True)
class Review:
    """A past beside what was told of it. `remembered`: the incidents of runs; `replayed`: those of the rules as they stand now.
    `truths`: what is known to have been there, by labels or because it was planted."""

    past: BacktestData
    replay: Replay
    remembered: DisplayList[Incident]
    replayed: DisplayList[Incident]
    truths: Sequence[KnownSpan]

    @property
    def incidents(self) -> DisplayList[Incident]:
        """As runs have told them; where no run has, as a replay would have."""
        return self.remembered or self.replayed

    def words(self) -> str:
        """Where the incidents are from."""
        span = f"From {self._local(self.past.start)} to {self._local(self.past.end)}"
        made = f"a replay of the rules as they stand now makes {incident_count(self.replayed)}"
        if self.remembered:
            return f"{span} runs have remembered {incident_count(self.remembered)}; {made}."
        return f"{span} no run has remembered an incident; {made}."

    def _local(self, at: datetime) -> str:
        return f"{pd.Timestamp(at).tz_convert(self.past.zone):%a %d %b %H:%M}"

    def by_metric(self) -> pd.DataFrame:
        """One row per metric, the noisiest first: incidents, the labels, precision; what the replay tells a week."""
        said = labels.precision(self.incidents, by=["metric"])
        weeks = (self.past.end - self.past.start) / WEEK
        told = self.replay.budget()[["incidents a week", "messages"]]
        told = told.assign(messages=told["messages"] / weeks).rename(columns={"messages": "messages a week"})
        counts = said.drop(columns="precision").reindex(told.index, fill_value=0).astype(int)
        table = counts.assign(precision=said["precision"].reindex(told.index).astype(float)).join(told)
        return table.sort_values(["incidents", "incidents a week", "messages a week"], ascending=False, kind="stable")

    def near_misses(self, most: int = 10) -> DisplayList[Verdict]:
        """The highest scores that opened nothing, times by the clock of the zone."""
        return DisplayList(near_misses(self.replay, most), "near misses", self.past.zone)

    def at_widths(self, track: Progress = iter) -> pd.DataFrame:
        """Times the widths as they are -> incidents a week, truths found and lost."""
        return at_widths(self.past, self.truths, track=track)

    @property
    def moment(self) -> dict[str, str]:
        """`at` and `metric` of the worst bucket of what was told; of the nearest miss where nothing was."""
        told = [member.worst or member.first for incident in self.incidents for member in incident.members[:1]]
        known = [v for v in told if v.value == v.value and v.expected == v.expected]
        verdicts = known or self.near_misses(1) or [v for v in self.replay.verdicts if v.value == v.value][-1:]
        worst = max(verdicts, key=lambda verdict: np.nan_to_num(abs(verdict.score)))
        return {"at": f"{worst.bucket:%Y-%m-%dT%H:%MZ}", "metric": worst.metric}


def incident_count(incidents: Sequence[Incident]) -> str:
    """1 incident, 2 incidents"""
    return f"{len(incidents)} incident{'' if len(incidents) == 1 else 's'}"


def review(past: BacktestData, track: Progress = iter, given: Settings | None = None) -> Review:
    """The past as it was told, or would have been. Raises StoreError where the memory cannot be read."""
    remembered = _remembered(past, given or load_settings())
    truths = _truths(past, remembered)
    replay = past.replay_all(track)
    replayed = [_labelled(past, incident, remembered) for incident in group_events(replay.metrics, replay.events)]
    mine = [_labelled(past, incident, remembered) for incident in remembered]
    told, made = (DisplayList(found, "incidents", past.zone) for found in (mine, replayed))
    return Review(past, replay, told, made, truths)


def _remembered(past: BacktestData, given: Settings) -> list[Incident]:
    """What runs have told of the past's metrics: the memory may know others, of another source."""
    path = given.data / STATE_FILE
    if not path.exists():
        return []
    memory = Memory(path)
    try:
        found = memory.all_incidents(past.start, past.end)
    finally:
        memory.close()
    names = {metric.name for metric in past.metrics}
    return [i for i in found if i.root.metric in names and not i.corrected]


def _truths(past: BacktestData, remembered: Sequence[Incident]) -> list[KnownSpan]:
    """What people confirmed, and what was planted and nobody has labelled."""
    said = [_span(past, incident) for incident in remembered if incident.label in REAL]
    week = KnownSpan(past.start, past.end, tuple(metric.name for metric in past.metrics))
    known = [truth for truth in past.known if _meet(truth, week) and not any(_meet(truth, other) for other in said)]
    return [*said, *known]


def _span(past: BacktestData, incident: Incident) -> KnownSpan:
    """From its first odd bucket to its end; of one that goes on, to the end of the past."""
    until = max(incident.closed or past.end, incident.opened + past.metrics[0].step)
    return KnownSpan(incident.root.since, until, tuple(member.metric for member in incident.members))


def _labelled(past: BacktestData, incident: Incident, remembered: Sequence[Incident]) -> Incident:
    """What people said of it, or of the remembered one at that time; else whether something was planted there."""
    mine = _span(past, incident)
    said = next((other.label for other in remembered if other.label and _meet(_span(past, other), mine)), None)
    label = incident.label or said
    if label or not past.known or incident.root.gap:
        return replace(incident, label=label)
    planted = any(_meet(truth, mine) for truth in past.known)
    return replace(incident, label=Label.REAL if planted else Label.FALSE_ALARM)


def _meet(one: KnownSpan, other: KnownSpan) -> bool:
    """At one time, with the way back, and of one metric."""
    shared = any(concerns(one, name) for name in other.metrics) or not other.metrics
    return shared and one.start < other.end + RECOVERY and other.start < one.end + RECOVERY


def widest_harmless(widths: pd.DataFrame) -> float:
    """The factor that tells least and still finds all that is found now, 1 where none tells less; of equals the smallest."""
    now = widths.loc[1.0]
    fine = widths[(widths.index >= 1) & (widths["found"] >= now["found"])]
    return float(fine["incidents a week"].astype(float).idxmin()) if len(fine) and now["found"] else 1.0


def week_lines(past: BacktestData, widths: pd.DataFrame) -> str:
    """The lines of metrics.py that 2.1 changes. A week is little: only what loses nothing that is known is proposed."""
    factor = widest_harmless(widths)
    if factor == 1.0:
        return "no line: every width stays as it is; notebook 1.2 chooses widths from more weeks"
    moved: Mapping[str, float] = {metric.name: round(metric.width * factor, 2) for metric in past.metrics}
    return f"{width_lines(moved)}\n# from these weeks only: let notebook 1.2 confirm the widths on more of them"
