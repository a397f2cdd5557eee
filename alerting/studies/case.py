"""One incident and the data to look into it: bands of its metrics, its segments with their pasts, similar incidents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from alerting import connections, pipeline
from alerting.backtest.replay import BacktestData, Replay, group_events
from alerting.model.clock import DAY, iso_text
from alerting.model.errors import SettingsError
from alerting.model.incident import Incident, Member, RootCause
from alerting.model.metric import Metric, unknown_metrics
from alerting.model.run import Reading
from alerting.model.verdict import Verdict
from alerting.pipeline.context import RunContext
from alerting.pipeline.explain import YEAR
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause
from alerting.sources.base import SqlSource, bind
from alerting.sources.cache import CachedSource
from alerting.studies.data import load_past, recorded_incidents

HOUR = timedelta(hours=1)
BEFORE, AFTER = 7 * DAY, 6 * HOUR  # what a case shows around its incident
MAX_WINDOW = HOUR  # of the segments: more rows than in the one bucket that a run searches


@dataclass(frozen=True)
class Case:
    """An incident, with the week before it and some hours after it, judged as a run judges them.

    `since` <= bucket < `until`: the buckets of its root metric that were off (aware UTC; one that goes on ends with the data).
    """

    ctx: RunContext
    past: BacktestData
    replay: Replay
    incident: Incident
    metric: Metric
    since: datetime
    until: datetime

    @property
    def bands(self) -> dict[str, pd.DataFrame]:
        """Metric -> value, low, expected, high, score and status of each bucket, in local time. Its own metric is first."""
        names = sorted(self.replay.judged, key=lambda name: name != self.metric.name)
        return {name: self.replay.judged[name].loc[self.past.start :].tz_convert(self.past.zone) for name in names}

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst bucket."""
        return self.incident.root.worst or self.incident.root.first

    def segments(self, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        """Return the counts of the metric's query per combination of attributes, in a window now and on the 28 days before.

        Columns: days_ago (0 is now), attributes (text), counts. The window is `since` <= time < `until`, by default `window`.
        Empty where the source or the metric has no query of segments (`sql/slices`).
        """
        if self.metric.query not in self.ctx.slices or not self.ctx.source.runs_sql:
            return pd.DataFrame()
        start, end = self.window() if since is None or until is None else (since, until)
        return self.ctx.source.rows(self.ctx.slices[self.metric.query], start - HISTORY_DAYS * DAY, end)

    def window(self) -> tuple[datetime, datetime]:
        """Return start and end of the incident's worst hour, or less where it is shorter."""
        end = self.verdict.bucket + self.metric.step
        return max(self.since, end - max(MAX_WINDOW, self.metric.step)), end

    def sql(self) -> str:
        """Return the SQL of `segments`, with the window and the table put in; empty where there is none."""
        source = self.ctx.source.source if isinstance(self.ctx.source, CachedSource) else self.ctx.source
        query = self.ctx.slices.get(self.metric.query)
        if query is None or not isinstance(source, SqlSource):
            return ""
        start, end = self.window()
        return bind(query, source.table(query.name, start - HISTORY_DAYS * DAY, end), start - HISTORY_DAYS * DAY, end)

    def root_cause(self, rows: pd.DataFrame) -> RootCause | None:
        """Return what the search of a run finds in the rows of `segments`; None where there are none."""
        return find_root_cause(self.metric, rows, self.verdict) if len(rows) else None

    def earlier(self) -> pd.DataFrame:
        """Return the recorded incidents of the same metric in the year before: opened (local time), change and label."""
        found = [one for one in recorded_incidents(self.since - YEAR, self.since) if not one.root.gap]
        same = [one for one in found if one.root.metric == self.metric.name and one.id != self.incident.id]
        opened = pd.DatetimeIndex([one.opened for one in same], tz="UTC").tz_convert(self.past.zone)
        worst = [(one.root.worst or one.root.first).change for one in same]
        labels = [one.label.value if one.label else "" for one in same]
        return pd.DataFrame({"opened": opened, "change": worst, "label": labels})

    def calendar(self) -> pd.DataFrame:
        """Return the calendar events of the metric from a week before the incident to its end, in local time."""
        rows = [
            {"start": event.start, "end": event.end, "kind": event.kind, "title": event.title}
            for event in self.ctx.calendar
            if event.end >= self.past.start
            and event.start < self.until
            and self.metric.name in (event.metrics or [self.metric.name])
        ]
        table = pd.DataFrame(rows, columns=["start", "end", "kind", "title"])
        for column in ("start", "end"):
            table[column] = pd.to_datetime(table[column], utc=True).dt.tz_convert(self.past.zone)
        return table


def open_case(incident: str = "", metric: str = "", at: str = "", ctx: RunContext | None = None) -> Case:
    """Open a recorded incident by its id, or the moment `at` (ISO 8601 with a zone) of a metric.

    With neither: the newest recorded incident; where there is none, the worst of a replay of the last week. Raises SettingsError
    for an id, a metric or a moment that is not there, and StoreError where the state cannot be read.
    """
    ctx = ctx or connections.connect(dry_run=True)
    names = [each.name for each in ctx.metrics]
    if metric and (error := unknown_metrics([metric], names)):
        raise SettingsError(error)
    now = pipeline.clock()
    found = [one for one in recorded_incidents(now - YEAR, now) if not one.root.gap]
    if incident:
        chosen = [one for one in found if one.id == incident]
        if not chosen:
            newest = ", ".join(one.id for one in found[-5:]) or "none is recorded"
            raise SettingsError(f"no incident {incident!r} in the last year; the newest: {newest}")
    else:
        chosen = [] if metric or at else [one for one in found if one.root.metric in names][-1:]
    about = chosen[0].closed or now if chosen else pipeline.clock(at) if at else now
    until = f"{about + AFTER:%Y-%m-%dT%H:%MZ}" if about + AFTER < now else ""  # "": to the newest bucket
    past, reading = load_past((BEFORE + AFTER) / timedelta(weeks=1), until, ctx)
    replay = past.replay_all()
    if (named := chosen[0].root.metric if chosen else metric) and named not in replay.judged:
        raise SettingsError(f"{named} was not judged: {_why_not_judged(ctx, named, reading, replay)}")
    if not chosen:
        chosen = [_of_moment(replay, metric, pipeline.clock(at))] if at else [_worst(replay, metric)]
    one = chosen[0]
    root = ctx.metric(one.root.metric)
    return Case(ctx, past, replay, one, root, one.root.since, one.root.until or one.closed or past.end)


def _why_not_judged(ctx: RunContext, name: str, reading: Reading, replay: Replay) -> str:
    """Return why a replay has nothing about a metric."""
    errors = {**reading.errors, **ctx.faults["judged"], **replay.errors}
    if whole := next((metric.segments_of for metric in ctx.segment_metrics if metric.name == name), ""):
        return f"it is segments of {whole}; open {whole} at that moment"
    return errors.get(name) or ("it has no value in these days" if name in reading.series else "it is not watched now")


def _of_moment(replay: Replay, metric: str, at: datetime) -> Incident:
    """Return the incident of a replay that the moment of the metric belongs to; else one of its bucket alone."""
    name = metric or replay.metrics[0].name
    for incident in group_events(replay.metrics, replay.events):
        member = incident.member(name)
        if member and member.since <= at < (member.until or replay.end):
            return incident
    verdicts = [v for v in replay.verdicts if v.metric == name and v.bucket <= at and v.value == v.value]
    if not verdicts:
        raise SettingsError(f"{name} has no value at {iso_text(at, replay.zone)} or in the week before")
    last = verdicts[-1]
    step = next(each.step for each in replay.metrics if each.name == name)
    return Incident("", last.bucket, (Member(name, last.bucket, last.bucket, last, until=last.bucket + step),))


def _worst(replay: Replay, metric: str) -> Incident:
    """Return the incident with the highest score in a replay; where there is none, its highest score."""
    found = [one for one in group_events(replay.metrics, replay.events) if not one.root.gap]
    found = [one for one in found if not metric or one.member(metric)]
    if found:
        return max(found, key=lambda one: abs((one.root.worst or one.root.first).score))
    scored = [v for v in replay.verdicts if v.score == v.score and (not metric or v.metric == metric)]
    if not scored:
        raise SettingsError("nothing was judged in the last week: there is no incident to look into")
    worst = max(scored, key=lambda verdict: abs(verdict.score))
    return _of_moment(replay, worst.metric, worst.bucket)
