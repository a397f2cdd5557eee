"""An upgrade of the detector in review: what the default of version 1 and the present catalogue would have told, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from alerting import connections, detectors
from alerting.backtest.replay import WEEK, BacktestData, Progress, Replay, replay_judged
from alerting.backtest.review import is_found
from alerting.detectors.auto import AutoDetector, Chosen
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Incident
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.verdict import Label
from alerting.pipeline.context import RunContext
from alerting.settings import Settings
from alerting.studies.data import load_past
from alerting.studies.review import Review, review

OLD, NEW, BOTH = "old", "new", "both"
WIDTHS_OF_VERSION_1 = {  # query -> metric -> the width that its shipped entry had
    "feed_actions": {"feed_users": 0.5, "views": 0.45, "likes": 0.55, "ctr": 0.85},
    "message_actions": {"messenger_users": 0.5, "messages": 0.6},
}
SAME_MOMENT = timedelta(hours=1)  # incidents are one moment where no more than this lies between them
NIGHT_ENDS = 6  # local hour
KNOWN_COLUMNS = ["found", "missed", "false"]
MOMENT_COLUMNS = ["from", "until", "metrics", "change", "told by", OLD, NEW, "old openings", "new openings"]


def old_metric(metric: Metric) -> Metric:
    """Return the metric as version 1 watched it: with its default detector, and the width that it shipped.

    A detector or a width of the metric's own stays.
    """
    if metric.rule != AutoDetector():
        return metric
    shipped = WIDTHS_OF_VERSION_1.get(metric.query, {}).get(metric.name, 1.0)
    return replace(metric, rule=Chosen(), width=shipped if metric.width == 1 else metric.width)


def load_past_of_both(weeks: float, at: str = "", ctx: RunContext | None = None) -> tuple[BacktestData, Reading]:
    """Read as `studies.load_past`, with the longer history of what both detectors need. Raises SettingsError where it does."""
    ctx = ctx or connections.connect(dry_run=True)
    patient = [max(metric, old_metric(metric), key=lambda one: one.rule.history) for metric in ctx.metrics]
    past, reading = load_past(weeks, at, replace(ctx, metrics=patient))
    return replace(past, metrics=[metric for metric in ctx.metrics if metric.name in past.series]), reading


@dataclass(frozen=True)
class Comparison:
    """The same past replayed by the catalogue of version 1 (`old`) and by the present one (`new`)."""

    old: Review
    new: Review

    @property
    def pinned(self) -> dict[str, list[str]]:
        """What the catalogue sets itself, so that both sides have it -> names of the metrics: "rule", "width"."""
        metrics = self.new.past.metrics
        rules = [metric.name for metric in metrics if metric.rule != AutoDetector()]
        return {"rule": rules, "width": [metric.name for metric in metrics if metric.width != 1]}

    @property
    def judged(self) -> bool:
        """Whether anything is known about the past: incidents planted, or labelled by people."""
        labelled = any(incident.label for incident in (*self.old.replayed, *self.new.replayed))
        return labelled or bool(self.new.truths)

    def moments(self) -> pd.DataFrame:
        """Return one row per moment, oldest first.

        `from`, `until`: aware local times of its first opening and last end (NaT: it goes on); `metrics`: names, that of `change`
        first; `change`: share of expected in its worst bucket (float64, NaN: a gap); `told by`: old, new or both; `old`, `new`:
        the first opening of each (NaT: none); `old openings`, `new openings`: their number (int). With labels or planted
        incidents also `known`: real, false alarm or "".
        """
        rows = [self._moment(group) for group in _groups(self._incidents(), self.new.past.end)]
        columns = [*MOMENT_COLUMNS, *(["known"] if self.judged else [])]
        return pd.DataFrame(rows, columns=columns)

    def totals(self) -> pd.DataFrame:
        """Return one row per side. Columns: messages a week (float64), openings, and those between 0:00 and 6:00 (int).

        With labels or planted incidents also how many of the known incidents were `found` and `missed`, and how many openings
        were `false` (int).
        """
        table = pd.DataFrame.from_dict({OLD: _totals(self.old), NEW: _totals(self.new)}, orient="index")
        return table if self.judged else table.drop(columns=KNOWN_COLUMNS)

    def _incidents(self) -> list[tuple[str, Incident]]:
        told = [(side, incident) for side, one in ((OLD, self.old), (NEW, self.new)) for incident in one.replayed]
        return sorted(told, key=lambda pair: pair[1].opened)

    def _moment(self, group: Sequence[tuple[str, Incident]]) -> dict[str, object]:
        """Return the row of incidents that are one moment. The new side's worst incident leads, else the old one's."""
        zone = self.new.past.zone
        by_side = {side: [incident for told, incident in group if told == side] for side in (OLD, NEW)}
        lead = max(by_side[NEW] or by_side[OLD], key=lambda incident: abs(_worst_score(incident)))
        members = [lead.root, *(member for incident in (lead, *(it for _, it in group)) for member in incident.members)]
        first = {side: _local(ours[0].opened, zone) if ours else pd.NaT for side, ours in by_side.items()}
        ends = [incident.closed for _, incident in group]
        told = BOTH if by_side[OLD] and by_side[NEW] else OLD if by_side[OLD] else NEW
        labels = {incident.label for _, incident in group if incident.label}
        real = labels - {Label.FALSE_ALARM}
        return {
            "from": _local(min(incident.opened for _, incident in group), zone),
            "until": _local(max(end for end in ends if end), zone) if all(ends) else pd.NaT,
            "metrics": ", ".join(dict.fromkeys(member.metric for member in members)),
            "change": float("nan") if lead.root.gap else (lead.root.worst or lead.root.first).change,
            "told by": told,
            OLD: first[OLD],
            NEW: first[NEW],
            "old openings": len(by_side[OLD]),
            "new openings": len(by_side[NEW]),
            "known": Label.REAL.value if real else Label.FALSE_ALARM.value if labels else "",
        }


@dataclass(frozen=True)
class PastOfVersion1(BacktestData):
    """A past judged as version 1 did: each metric by itself, and its default detector does not know which metrics are counts."""

    def replay_all(self, track: Progress = iter) -> Replay:
        """Judge every metric that has values, and fold the verdicts into episodes as this version does."""
        judged, metrics = dict[str, pd.DataFrame](), self.metrics_with_values
        for metric in track(metrics):
            values, volume = self.series[metric.name], self.volumes.get(metric.name)
            band = metric.rule.band(values, self.zone) if metric.rule == Chosen() else self.band(metric)
            judged[metric.name] = detectors.judge(values, band, metric, volume)
        return replace(replay_judged(metrics, judged, self.start, self.end), zone=self.zone)


def compare(
    past: BacktestData, track: Callable[[str], Progress] = lambda side: iter, given: Settings | None = None
) -> Comparison:
    """Replay the past by both; `track` gives the progress bar of a side, old or new, over its metrics.

    `given`: the settings whose state holds people's labels (None: the configured ones). Raises StoreError.
    """
    old = PastOfVersion1(**vars(past) | {"metrics": [old_metric(metric) for metric in past.metrics]})
    return Comparison(review(old, track(OLD), given), review(past, track(NEW), given))


def _groups(told: Sequence[tuple[str, Incident]], end: datetime) -> Iterator[list[tuple[str, Incident]]]:
    """Yield the incidents (ordered by opening) with no more than SAME_MOMENT between them; open ones last to `end`."""
    group, over = list[tuple[str, Incident]](), end
    for side, incident in told:
        if group and incident.opened > over + SAME_MOMENT:
            yield group
            group = []
        until = incident.closed or end
        over = max(over, until) if group else until
        group.append((side, incident))
    if group:
        yield group


def _totals(one: Review) -> dict[str, float]:
    """Return the row of one side."""
    metrics, events, zone = one.replay.metrics, one.replay.events, ZoneInfo(one.past.zone)
    messages = update_incidents([], events, metrics, lambda metric, bucket: False)[1]
    steps = {metric.name: metric.step for metric in metrics}
    found = sum(any(is_found(event, truth, steps[event.metric]) for event in events) for truth in one.truths)
    return {
        "messages a week": len(messages) / ((one.past.end - one.past.start) / WEEK),
        "openings": len(one.replayed),
        "openings 0:00 to 6:00": sum(incident.opened.astimezone(zone).hour < NIGHT_ENDS for incident in one.replayed),
        "found": found,
        "missed": len(one.truths) - found,
        "false": sum(incident.label is Label.FALSE_ALARM for incident in one.replayed),
    }


def _worst_score(incident: Incident) -> float:
    """Return the score in the root's worst bucket; 0 for a gap, which has none."""
    score = (incident.root.worst or incident.root.first).score
    return score if score == score else 0.0


def _local(at: datetime, zone: str) -> pd.Timestamp:
    return pd.Timestamp(at).tz_convert(zone)
