"""A past moment of one metric, explained as a run would have explained it: the band, the rule, how unusual it was, the slices."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from alerting import backtest, messages, pipeline, plots, wiring
from alerting.model import Episode, Event, Kind, Metric, Reading, SettingsError, State, Status, Verdict, cells
from alerting.studies import progress
from alerting.studies.lines import written
from alerting.studies.moments import Moment

BEFORE = timedelta(days=7)  # folded before the moment: so long a trouble is known to go on
READY = 300.0  # seconds that an analyst waits for the slices
NO_SLICES = "no slices: this source, or this metric, has none to look at"
RULES = {
    "sudden": "a sudden change: against the buckets just before it moved by more than it does at this time",
    "sustained": "a level held wrong: for hours it has been away from what is usual at this time",
    "level": "further out than it gets: the changes of so bursty a metric tell nothing",
    "too few": "made of less than the policy's smallest volume, so nothing is said of it",
}
PLAIN = {Status.ANOMALOUS: "outside the band", Status.UNKNOWN: "no band, as there is too little history"}


def explain(at: str, metric: str, to: pipeline.Connections | None = None) -> Moment:
    """The bucket of the metric that contains the moment (ISO 8601 with a zone), explained by the code of a run.

    Raises SettingsError for an unknown metric, a moment that is not over yet, and a bucket without a value.
    """
    to = to or wiring.connect(dry_run=True)
    chosen = _metric(to, metric)
    bucket = _bucket(to, chosen, pipeline.clock(at))
    due = pipeline.Due(chosen, bucket - BEFORE // chosen.step * chosen.step, bucket)
    with progress.reading(to):
        reading = pipeline.read(to, [due])
    frame = _judged(to, chosen, bucket, reading)
    return _explained(to, chosen, frame, pipeline.verdicts([due], {metric: frame}))


def _explained(to: pipeline.Connections, metric: Metric, frame: pd.DataFrame, answers: list[Verdict]) -> Moment:
    episode, event = _told(metric, answers)
    changes, explained = pipeline.explain(to, _opened(to, event), {metric.name: frame}, READY)
    event = changes.events[0]
    cause = event.incident.cause if event.incident else None
    reader = messages.Reader(to.language, to.zone, event.bucket + metric.step)
    picture = plots.alert(metric, frame, event.bucket, to.zone, to.language, to.occasions, cause)
    standing, rule = _standing(episode, event, reader), _rule(metric, frame["value"], event.verdict, to.zone)
    why = "" if cause else next(iter(explained.troubles.values()), NO_SLICES)
    return Moment(metric, event.verdict, event, standing, rule, why, picture, reader)


def _metric(to: pipeline.Connections, name: str) -> Metric:
    found = next((metric for metric in to.metrics if metric.name == name), None)
    if found is None:
        raise SettingsError(f"no metric {name!r}: there are {', '.join(metric.name for metric in to.metrics)}")
    return found


def _bucket(to: pipeline.Connections, metric: Metric, at: datetime) -> datetime:
    seconds = metric.step.total_seconds()
    bucket = datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
    last = pipeline.last_closed_bucket(pipeline.clock(), to.delay, metric.step)
    if bucket > last:
        raise SettingsError(f"at={at:%Y-%m-%dT%H:%MZ} is in a bucket that is not over yet: the newest closed one is {_iso(last)}")
    return bucket


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"


def _judged(to: pipeline.Connections, metric: Metric, bucket: datetime, reading: Reading) -> pd.DataFrame:
    """Every bucket that was read, by the metric's rule. Raises SettingsError where the last has no value."""
    if metric.name not in reading.series:
        raise SettingsError(f"{metric.name} cannot be explained: {reading.troubles.get(metric.name, 'it was not read')}")
    known = reading.series[metric.name].dropna().index
    if bucket not in known:
        before = f"the last bucket before it with one is {_iso(known[-1])}" if len(known) else "nor is there one before it"
        raise SettingsError(f"{metric.name} has no value in the bucket {_iso(bucket)}; {before}")
    return pipeline.Judged(to, reading, {}).whole(metric.name)


def _told(metric: Metric, answers: list[Verdict]) -> tuple[Episode, Event]:
    """The episode after the last bucket, and what was told of it; where nothing was, what would open it."""
    after, events = pipeline.fold([metric], answers, {})
    episode, last = after[metric.name], answers[-1]
    told = next((e for e in reversed(events) if e.bucket == last.bucket and e.kind is Kind.OPENED), None)
    return episode, told or Event(Kind.OPENED, metric.name, last.bucket, last, episode)


def _opened(to: pipeline.Connections, event: Event) -> pipeline.Advance:
    """The event as an incident of its own, which is what a run explains."""
    incident = backtest.stories(to.metrics, [event])[0]
    return pipeline.Advance({event.metric: event.episode}, [replace(event, incident=incident)], incidents=[incident])


def _standing(episode: Episode, event: Event, reader: messages.Reader) -> str:
    """What a run would have made of the bucket."""
    since = f"since {cells.text(episode.since, reader.zone)}" if episode.since else ""
    if event.verdict.status is Status.UNKNOWN:
        return "unknown: there is too little to tell"
    if episode.opened == event.bucket:
        return f"anomalous: an incident opened here, off {since}"
    if episode.state in (State.FIRING, State.RECOVERING):
        return f"{event.verdict.status.value}: part of a trouble that goes on {since}"
    if event.verdict.status is Status.ANOMALOUS:
        told = "not yet enough of them to open an incident" if event.verdict.news else "told before, as of a level that is held"
        return f"anomalous, and nothing was told: {told}"
    return "normal: nothing was told"


def _rule(metric: Metric, series: pd.Series, verdict: Verdict, zone: str) -> str:
    """Which question it answers badly, and by which rule it was asked."""
    chosen = metric.rule.reason(series, zone) or written(metric.rule)
    odd = RULES.get(verdict.reason) or PLAIN.get(verdict.status, "inside the band")
    return f"{odd} ({chosen}; width {metric.width:g})"
