"""One incident and the data to study it: the bands of its metrics, its segments with their history, earlier incidents."""

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
from alerting.studies.data import load_past, local_times, recorded_incidents

HOUR = timedelta(hours=1)
BEFORE, AFTER = 7 * DAY, 6 * HOUR  # time before and after its incident that a case shows
MAX_WINDOW = HOUR  # time whose segments are read: longer than the one bucket that a run searches, so it has more rows


@dataclass(frozen=True)
class Case:
    """An incident with the week before it and some hours after it, judged as a run judges them.

    `since` <= bucket < `until` (aware UTC) are the anomalous buckets of its root metric. If it goes on, `until` is the end of the
    data.
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
        """Metric -> one row per bucket (local time): value, low, expected, high, score, status. The case's metric is first."""
        names = sorted(self.replay.judged, key=lambda name: name != self.metric.name)
        return {name: self.replay.judged[name].loc[self.past.start :].tz_convert(self.past.zone) for name in names}

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst bucket."""
        return self.incident.root.worst or self.incident.root.first

    def segments(self, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        """Return the counts per combination of attributes in a window of time, and in the same window of the 28 days before.

        Columns: days_ago (0: the window itself), attributes (text), counts. The window is `since` <= time < `until`, by default
        the result of `window`. Empty if the source or the metric has no query of segments (`sql/slices`). Raises SourceError.
        """
        if self.metric.query not in self.ctx.slices or not self.ctx.source.runs_sql:
            return pd.DataFrame()
        start, end = self.window() if since is None or until is None else (since, until)
        return self.ctx.source.rows(self.ctx.slices[self.metric.query], start - HISTORY_DAYS * DAY, end)

    def window(self) -> tuple[datetime, datetime]:
        """Return start and end (aware UTC) of the hour that ends with the worst bucket; less if the incident began later."""
        end = self.verdict.bucket + self.metric.step
        return max(self.since, end - max(MAX_WINDOW, self.metric.step)), end

    def sql(self) -> str:
        """Return the SQL of `segments`, with the window and the table filled in; "" if there is none."""
        source = self.ctx.source.source if isinstance(self.ctx.source, CachedSource) else self.ctx.source
        query = self.ctx.slices.get(self.metric.query)
        if query is None or not isinstance(source, SqlSource):
            return ""
        start, end = self.window()
        return bind(query, source.table(query.name, start - HISTORY_DAYS * DAY, end), start - HISTORY_DAYS * DAY, end)

    def root_cause(self, rows: pd.DataFrame) -> RootCause | None:
        """Search for the root cause in the rows of `segments`, as a run does. Return None if there are no rows."""
        return find_root_cause(self.metric, rows, self.verdict) if len(rows) else None

    def earlier(self) -> pd.DataFrame:
        """Return the metric's incidents of the year before: opened (local time), change (share of expected), label (text)."""
        found = [one for one in recorded_incidents(self.since - YEAR, self.since) if not one.root.gap]
        same = [one for one in found if one.root.metric == self.metric.name and one.id != self.incident.id]
        worst = [(one.root.worst or one.root.first).change for one in same]
        labels = [one.label.value if one.label else "" for one in same]
        table = pd.DataFrame({"opened": [one.opened for one in same], "change": worst, "label": labels})
        return local_times(table, ("opened",), self.past.zone)

    def calendar(self) -> pd.DataFrame:
        """Return the metric's calendar events from a week before the incident to its end: start, end (local), kind, title."""
        rows = [
            {"start": event.start, "end": event.end, "kind": event.kind, "title": event.title}
            for event in self.ctx.calendar
            if event.end >= self.past.start and event.start < self.until and event.concerns(self.metric.name)
        ]
        return local_times(pd.DataFrame(rows, columns=["start", "end", "kind", "title"]), ("start", "end"), self.past.zone)


def open_case(incident: str = "", metric: str = "", at: str = "", ctx: RunContext | None = None) -> Case:
    """Return the case of a recorded incident (by its id), or of a metric at a time (`at`: ISO 8601 with a time zone).

    Without arguments: the newest recorded incident; if there is none, the worst incident in a replay of the last week. Raises
    SettingsError for an id, a metric or a time that does not exist, StoreError if the state cannot be read.
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
    """Return a text that says why a replay has no verdicts of a metric."""
    errors = {**reading.errors, **ctx.faults["judged"], **replay.errors}
    if whole := next((metric.segments_of for metric in ctx.segment_metrics if metric.name == name), ""):
        return f"it is segments of {whole}; open {whole} at that moment"
    return errors.get(name) or ("it has no value in these days" if name in reading.series else "it is not watched now")


def _of_moment(replay: Replay, metric: str, at: datetime) -> Incident:
    """Return the incident of a replay in which the metric was at the time `at`; else an incident of that one bucket.

    `metric`: "" means the first one. Raises SettingsError if the metric has no value at that time or before.
    """
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
    """Return the incident with the highest score (`metric`: "" for any), else of the bucket with it. Raises SettingsError."""
    found = [one for one in group_events(replay.metrics, replay.events) if not one.root.gap]
    found = [one for one in found if not metric or one.member(metric)]
    if found:
        return max(found, key=lambda one: abs((one.root.worst or one.root.first).score))
    scored = [v for v in replay.verdicts if v.score == v.score and (not metric or v.metric == metric)]
    if not scored:
        raise SettingsError("nothing was judged in the last week: there is no incident to look into")
    worst = max(scored, key=lambda verdict: abs(verdict.score))
    return _of_moment(replay, worst.metric, worst.bucket)
