"""A past moment of one metric, explained as a run would have explained it: the band, the rule, how unusual it was, the slices."""

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
from alerting.messages.compose import rarity_text
from alerting.messages.format import NumberFormat, change
from alerting.messages.root_cause import root_cause_facts, root_cause_lines, segment_name
from alerting.model.errors import SettingsError
from alerting.model.incident import Event, RootCause, Segment
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.tables import cell_text, html_table, percent_change
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.judge import JudgedMetrics, StateChange, fold_episodes
from alerting.studies.data import reading_bars
from alerting.studies.suggest import detector_text

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


def explain(at: str, metric: str, ctx: RunContext | None = None) -> ExplainedMoment:
    """The bucket of the metric that contains the moment (ISO 8601 with a zone), explained by the code of a run.

    Raises SettingsError for an unknown metric, a moment that is not over yet, and a bucket without a value.
    """
    ctx = ctx or connections.connect(dry_run=True)
    chosen = _metric(ctx, metric)
    bucket = _bucket(ctx, chosen, pipeline.clock(at))
    due = DueBuckets(chosen, bucket - BEFORE // chosen.step * chosen.step, bucket)
    with reading_bars(ctx):
        reading = pipeline.read(ctx, [due])
    frame = _judged(ctx, chosen, bucket, reading)
    return _explained(ctx, chosen, frame, pipeline.verdicts([due], {metric: frame}))


def _explained(ctx: RunContext, metric: Metric, frame: pd.DataFrame, answers: list[Verdict]) -> ExplainedMoment:
    episode, event = _told(metric, answers)
    changes, explained = pipeline.explain(ctx, _opened(ctx, event), {metric.name: frame}, READY)
    event = changes.events[0]
    cause = event.incident.cause if event.incident else None
    reader = messages.Audience(ctx.language, ctx.zone, event.bucket + metric.step)
    picture = charts.alert_chart(metric, frame, event.bucket, ctx.zone, ctx.language, ctx.calendar, cause)
    standing, rule = _standing(episode, event, reader), _rule(metric, frame["value"], event.verdict, ctx.zone)
    why = "" if cause else next(iter(explained.errors.values()), NO_SLICES)
    return ExplainedMoment(metric, event.verdict, event, standing, rule, why, picture, reader)


def _metric(ctx: RunContext, name: str) -> Metric:
    found = next((metric for metric in ctx.metrics if metric.name == name), None)
    if found is None:
        raise SettingsError(f"no metric {name!r}: there are {', '.join(metric.name for metric in ctx.metrics)}")
    return found


def _bucket(ctx: RunContext, metric: Metric, at: datetime) -> datetime:
    seconds = metric.step.total_seconds()
    bucket = datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
    last = last_closed_bucket(pipeline.clock(), ctx.delay, metric.step)
    if bucket > last:
        raise SettingsError(f"at={at:%Y-%m-%dT%H:%MZ} is in a bucket that is not over yet: the newest closed one is {_iso(last)}")
    return bucket


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"


def _judged(ctx: RunContext, metric: Metric, bucket: datetime, reading: Reading) -> pd.DataFrame:
    """Every bucket that was read, by the metric's rule. Raises SettingsError where the last has no value."""
    if metric.name not in reading.series:
        raise SettingsError(f"{metric.name} cannot be explained: {reading.errors.get(metric.name, 'it was not read')}")
    known = reading.series[metric.name].dropna().index
    if bucket not in known:
        before = f"the last bucket before it with one is {_iso(known[-1])}" if len(known) else "nor is there one before it"
        raise SettingsError(f"{metric.name} has no value in the bucket {_iso(bucket)}; {before}")
    return JudgedMetrics(ctx, reading, {}).whole(metric.name)


def _told(metric: Metric, answers: list[Verdict]) -> tuple[Episode, Event]:
    """The episode after the last bucket, and what was told of it; where nothing was, what would open it."""
    after, events = fold_episodes([metric], answers, {})
    episode, last = after[metric.name], answers[-1]
    told = next((e for e in reversed(events) if e.bucket == last.bucket and e.kind is EventKind.OPENED), None)
    return episode, told or Event(EventKind.OPENED, metric.name, last.bucket, last, episode)


def _opened(ctx: RunContext, event: Event) -> StateChange:
    """The event as an incident of its own, which is what a run explains."""
    incident = group_events(ctx.metrics, [event])[0]
    return StateChange({event.metric: event.episode}, [replace(event, incident=incident)], incidents=[incident])


def _standing(episode: Episode, event: Event, reader: messages.Audience) -> str:
    """What a run would have made of the bucket."""
    since = f"since {cell_text(episode.since, reader.zone)}" if episode.since else ""
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


def _rule(metric: Metric, series: pd.Series, verdict: Verdict, zone: str) -> str:
    """Which question it answers badly, and by which rule it was asked."""
    chosen = metric.rule.reason(series, zone) or detector_text(metric.rule)
    odd = RULES.get(verdict.reason) or PLAIN.get(verdict.status, "inside the band")
    return f"{odd} ({chosen}; width {metric.width:g})"


# A past moment of one metric as a notebook's cell shows it: figures, rule, how unusual it was, slices, picture.


@dataclass(frozen=True)
class ExplainedMoment:
    """One bucket of one metric: what was judged, why, and what explains it. In a cell it shows itself."""

    metric: Metric
    verdict: Verdict
    event: Event  # with the incident, its rarity and its cause
    standing: str  # what a run would have made of it
    rule: str  # which question it answers how
    trouble: str  # why there is no cause
    picture: Figure
    reader: messages.Audience

    @property
    def cause(self) -> RootCause | None:
        return self.event.incident.cause if self.event.incident else None

    def facts(self) -> dict[str, str]:
        """What there is to say, by what it is about."""
        numbers, v = NumberFormat.of(self.metric.form, self.reader.language, self.verdict), self.verdict
        expected = f"{numbers.value(v.expected)} ({numbers.range(v.low, v.high)})" if v.expected == v.expected else "not known"
        off = ", ".join(filter(None, [change(v, self.reader.language), f"score {v.score:+.2f}" if v.score == v.score else ""]))
        said = {
            "bucket": f"{cell_text(v.bucket, self.reader.zone)} ({self.reader.zone})",
            "value": numbers.value(v.value), "expected (band)": expected, "off": off, "answer": self.standing,
            "rule": self.rule, "how unusual": self._unusual(), "slices": self.slices_said(),
        }  # fmt: skip
        return {name: text for name, text in said.items() if text}

    def _unusual(self) -> str:
        incident = self.event.incident
        context = messages.MessageContext(self.metric, self.reader, rarity=incident.rarity if incident else None)
        return rarity_text(self.event, context) or "nothing to say: it is not rare, or the history is short"

    def slices_said(self) -> str:
        """Which slices carry the change; or why nothing can be said."""
        if self.cause is None or self.event.incident is None:
            return self.trouble
        facts = root_cause_facts(self.event.incident, self.metric, self.reader)
        lines = root_cause_lines(facts, self.reader.language)
        return "; ".join(lines if facts.effect else ["no slice carries the change", *lines])

    def slices(self) -> list[dict[str, str]]:
        """The slice that carries the change, the rest, and the others of its kind."""
        cause = self.cause
        if cause is None or cause.slice is None:
            return []
        rest = [("the rest", cause.rest)] if cause.rest and len(cause.others) != 1 else []  # else it is the other
        rows = [(self._name(cause.slice), cause.slice), *rest, *((self._name(other), other) for other in cause.others)]
        return [self._slice(name, item, "ratio" if cause.effect != "count" else self.metric.form) for name, item in rows]

    def _name(self, item: Segment) -> str:
        return segment_name(item, self.reader.language, clean=str)

    def _slice(self, name: str, item: Segment, form: str) -> dict[str, str]:
        numbers = NumberFormat.fitting(form, self.reader.language, item.value, item.expected)
        facts = {"value": numbers.value(item.value), "expected": numbers.value(item.expected)}
        return {"slice": name, **facts, "change": percent_change(item.change)}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("\n".join(f"{name}: {text}" for name, text in self.facts().items()))

    def _repr_html_(self) -> str:
        title = self.metric.title.get(self.reader.language) or self.metric.name
        rows = [{"": name, " ": text} for name, text in self.facts().items()]
        picture = b64encode(charts.to_png(self.picture, 72)).decode()
        image = f'<img style="max-width:540px" alt="{escape(title)}" src="data:image/png;base64,{picture}">'
        slices = self.slices()
        return html_table(rows, f"{title}, explained") + image + (html_table(slices, "Slices") if slices else "")
