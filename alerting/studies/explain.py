"""One past bucket of a metric, explained as a run would have explained it: band, rule, rarity, root cause, chart."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from alerting import charts, connections, messages, pipeline
from alerting.backtest.review import group_events
from alerting.incidents.grouping import MetricTree
from alerting.messages.compose import rarity_text, root_cause_lines
from alerting.messages.facts import root_cause_facts
from alerting.messages.format import NumberFormat, change, segment_name
from alerting.model.errors import SettingsError
from alerting.model.incident import Event, RootCause
from alerting.model.metric import Metric, unknown_metrics
from alerting.model.tables import cell_text, html_table, percent_change
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.advance import StateChange, fold_episodes
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.judge import JudgedMetrics, judge_whole, verdicts
from alerting.studies.data import reading_bars
from alerting.studies.suggest import detector_text

FOLDED = timedelta(days=7)  # before the moment: an episode that lasts longer seems to begin later
ISO = "%Y-%m-%dT%H:%MZ"
MAX_WAIT = 300.0  # seconds for the root cause
NO_SLICES = "no slices: this source, or this metric, has none to look at"
NOT_RARE = "nothing to say: it is not rare, or the history is short"
REASONS = {  # of a verdict, by `Verdict.reason`
    "sudden": "a sudden change: against the buckets just before it moved by more than it does at this time",
    "sustained": "a level that is off: it is too far from what is usual at this time",
    "level": "further out than it gets: the changes of so bursty a metric tell nothing",
    "limit": "beyond a limit that is set by hand",
    "too few": "made of less than the policy's smallest volume, so nothing is said of it",
}
STATUSES = {Status.ANOMALOUS: "outside the band", Status.UNKNOWN: "no band, as there is too little history"}


@dataclass(frozen=True)
class ExplainedMoment:
    """One bucket of one metric, explained. A notebook cell shows the facts, the chart and the segments."""

    title: str
    verdict: Verdict
    cause: RootCause | None
    facts: dict[str, str]
    segments: list[dict[str, str]]
    picture: Figure

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("\n".join(f"{name}: {text}" for name, text in self.facts.items()))

    def _repr_html_(self) -> str:
        rows = [{"": name, " ": text} for name, text in self.facts.items()]
        picture = b64encode(charts.to_png(self.picture, 72)).decode()
        image = f'<img style="max-width:540px" alt="{escape(self.title)}" src="data:image/png;base64,{picture}">'
        segments = html_table(self.segments, "Slices") if self.segments else ""
        return html_table(rows, f"{self.title}, explained") + image + segments


def explain(at: str, metric: str, ctx: RunContext | None = None) -> ExplainedMoment:
    """Explain the bucket of the metric that contains the moment (ISO 8601 with a zone), by the code of a run.

    Raises SettingsError for an unknown metric, a moment that is not over yet, and a bucket without a value.
    """
    ctx = ctx or connections.connect(dry_run=True)
    if error := unknown_metrics([metric], [each.name for each in ctx.metrics]):
        raise SettingsError(error)
    found = ctx.metric(metric)
    bucket = _closed_bucket(ctx, found, pipeline.clock(at))
    due = DueBuckets(found, bucket - FOLDED // found.step * found.step, bucket)
    judged = _judge(ctx, due)
    episode, event = _event_of(found, verdicts([due], judged))

    incident = group_events(ctx.metrics, [event])[0]
    opened = StateChange({metric: event.episode}, [replace(event, incident=incident)], incidents=[incident])
    changes, explained = pipeline.explain(ctx, opened, judged, MAX_WAIT)
    event = changes.events[0]
    cause = event.cause
    no_cause = "" if cause else next(iter(explained.errors.values()), NO_SLICES)

    reader = messages.Audience(ctx.language, ctx.zone, bucket + found.step)
    return ExplainedMoment(
        title=found.title_in(ctx.language),
        verdict=event.verdict,
        cause=cause,
        facts={
            **_value_facts(found, event.verdict, reader),
            "answer": _status_text(episode, event, ctx.zone),
            "rule": _rule_text(found, judged[metric]["value"], event.verdict, ctx.zone),
            **_incident_facts(found, event, reader, no_cause),
        },
        segments=_segment_rows(found, cause, reader),
        picture=charts.alert_chart(found, judged[metric], bucket, ctx.zone, ctx.language, ctx.calendar, cause),
    )


def _closed_bucket(ctx: RunContext, metric: Metric, at: datetime) -> datetime:
    """Return the bucket that contains the moment. Raises SettingsError where it is not closed."""
    seconds = metric.step.total_seconds()
    bucket = datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
    last = last_closed_bucket(pipeline.clock(), ctx.delay, metric.step)
    if bucket > last:
        raise SettingsError(f"at={at:{ISO}} is in a bucket that is not over yet: the newest closed one is {last:{ISO}}")
    return bucket


def _judge(ctx: RunContext, due: DueBuckets) -> JudgedMetrics:
    """Read the due buckets of the metric and of related ones, which are evidence, with their history, and judge all of it.

    Raises SettingsError where the last has no value.
    """
    name, tree = due.metric.name, MetricTree(ctx.metrics)
    family = [one for one in ctx.metrics if one.step == due.metric.step and tree.related(one.name, name)]
    with reading_bars(ctx):
        reading = pipeline.read(ctx, [replace(due, metric=one) for one in family])
    if name not in reading.series:
        raise SettingsError(f"{name} cannot be explained: {reading.errors.get(name, 'it was not read')}")
    with_value = reading.series[name].dropna().index
    if due.last not in with_value:
        before = "nor is there one before it"
        if len(with_value):
            before = f"the last bucket before it with one is {with_value[-1]:{ISO}}"
        raise SettingsError(f"{name} has no value in the bucket {due.last:{ISO}}; {before}")
    read = [one for one in family if one.name in reading.series]
    return JudgedMetrics.of_frames(ctx, judge_whole(read, reading.series, ctx.zone, reading.volumes), reading)


def _event_of(metric: Metric, verdicts: list[Verdict]) -> tuple[Episode, Event]:
    """Return the episode after the last bucket, and the event that opened it there; else the event that would open one."""
    episodes, events = fold_episodes([metric], verdicts, {})
    episode, last = episodes[metric.name], verdicts[-1]
    opened = (event for event in reversed(events) if event.bucket == last.bucket and event.kind is EventKind.OPENED)
    return episode, next(opened, Event(EventKind.OPENED, metric.name, last.bucket, last, episode))


def _value_facts(metric: Metric, verdict: Verdict, reader: messages.Audience) -> dict[str, str]:
    """Return bucket, value, band and, where there is one, the deviation."""
    numbers = NumberFormat.of(metric.form, reader.language, verdict)
    score = f"score {verdict.score:+.2f}" if verdict.score == verdict.score else ""
    band, expected = numbers.range(verdict.low, verdict.high), numbers.value(verdict.expected)
    facts = {
        "bucket": f"{cell_text(verdict.bucket, reader.zone)} ({reader.zone})",
        "value": numbers.value(verdict.value),
        "expected (band)": f"{expected} ({band})" if expected else band or "not known",
        "off": ", ".join(filter(None, [change(verdict, reader.language), score])),
    }
    return {name: text for name, text in facts.items() if text}


def _status_text(episode: Episode, event: Event, zone: str) -> str:
    """Say what a run would have made of the bucket."""
    since = f"since {cell_text(episode.since, zone)}" if episode.since else ""
    if event.verdict.status is Status.UNKNOWN:
        return "unknown: there is too little to tell"
    if episode.opened == event.bucket:
        return f"anomalous: an incident opened here, off {since}"
    if episode.state in (EpisodeState.FIRING, EpisodeState.RECOVERING):
        return f"{event.verdict.status.value}: part of a trouble that goes on {since}"
    if event.verdict.status is Status.ANOMALOUS:
        told = "not yet enough of them to open an incident" if event.verdict.is_new else "told before, as of a level that is held"
        return f"anomalous, and nothing was told: {told}"
    return "normal: nothing was told"


def _rule_text(metric: Metric, series: pd.Series, verdict: Verdict, zone: str) -> str:
    """Say which check the bucket failed, if any, by which detector and width."""
    detector = metric.rule.reason(series, zone, metric.counted) or detector_text(metric.rule)
    result = REASONS.get(verdict.reason) or STATUSES.get(verdict.status, "inside the band")
    return f"{result} ({detector}; width {metric.width:g})"


def _incident_facts(metric: Metric, event: Event, reader: messages.Audience, no_cause: str) -> dict[str, str]:
    """Return how rare the incident is, and the segments that explain it, or why there are none."""
    incident = event.incident
    context = messages.MessageContext(metric, reader, rarity=incident.rarity if incident else None)
    segments = no_cause
    if incident and incident.cause:
        cause = root_cause_facts(incident.cause.claim, metric, reader, event.verdict)
        lines = root_cause_lines(cause, reader.language)
        segments = "; ".join(lines if cause["effect"] else ["no slice explains the change", *lines])
    facts = {"how unusual": rarity_text(event, context) or NOT_RARE, "slices": segments}
    return {name: fact for name, fact in facts.items() if fact}


def _segment_rows(metric: Metric, cause: RootCause | None, reader: messages.Audience) -> list[dict[str, str]]:
    """Return the segment that explains the change, the rest, and the other segments of its attribute."""
    if cause is None or cause.slice is None:
        return []
    named = [(segment_name(segment, reader.language, clean=str), segment) for segment in (cause.slice, *cause.others)]
    if cause.rest and len(cause.others) != 1:  # a single other segment is the rest
        named.insert(1, ("the rest", cause.rest))
    form = "ratio" if cause.effect != "count" else metric.form
    rows = []
    for name, segment in named:
        numbers = NumberFormat.of(form, reader.language, (segment.value, segment.expected))
        values = {"value": numbers.value(segment.value), "expected": numbers.value(segment.expected)}
        rows.append({"slice": name, **values, "change": percent_change(segment.change)})
    return rows
