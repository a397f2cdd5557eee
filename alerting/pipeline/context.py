"""What time it is, and which buckets are due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from alerting.model.errors import parse_instant
from alerting.model.metric import CHART_BUCKETS, CHART_SPAN, STEP, CalendarEvent, Metric, Query
from alerting.model.protocols import Notifier, Source, Store

# A run after a gap charts events that are up to a day old: bands reach back a day further than a chart of the newest bucket.
BAND_SPAN, BAND_BUCKETS = CHART_SPAN + timedelta(days=1), 2 * CHART_BUCKETS
FIRST_LOOK = timedelta(days=1)  # a metric never judged before is folded over this much, so that its trouble has a beginning


@dataclass(frozen=True)
class RunContext:
    """What a run is handed: the catalogue, the three doors, and what the words need to know."""

    metrics: list[Metric]
    queries: dict[str, Query]
    source: Source
    store: Store
    notifier: Notifier
    zone: str = "UTC"
    language: str = "en"
    delay: timedelta = timedelta(minutes=5)
    dashboard: str = ""
    owner: str = ""
    run_link: str = ""  # link or path of the notebook that is being executed
    wait: Callable[[float], None] = lambda seconds: None
    timer: Callable[[], float] = lambda: 0.0  # seconds, from any beginning
    notes: tuple[str, ...] = ()  # what was odd while connecting; a run shows them
    late_rows: timedelta = timedelta(hours=6)  # in which late rows still change a judged bucket
    calendar: tuple[CalendarEvent, ...] = ()  # the calendar
    started: datetime | None = None  # when the process began its run, whatever moment it stands at
    slices: dict[str, Query] = field(default_factory=dict)  # query name -> the query that counts its slices
    segment_metrics: list[Metric] = field(default_factory=list)  # for the slices of metrics (see `watching`)
    daily: str = ""  # local time of the daily line, "" for none

    def metric(self, name: str) -> Metric:
        """Raises KeyError when the catalogue has no such metric."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Metric]:
        return {m.name: m for m in (*self.metrics, *self.segment_metrics)}


@dataclass(frozen=True)
class DueBuckets:
    """Which buckets of one metric this run judges: first <= bucket <= last. `fresh`: it was never judged before.

    `again`: the first bucket that late rows have changed since it was judged; from there on all are judged again.
    """

    metric: Metric
    first: datetime
    last: datetime
    first_look: bool = False
    changed_from: datetime | None = None

    @property
    def begin(self) -> datetime:
        return self.changed_from or self.first

    @property
    def end(self) -> datetime:
        """Instant at which the last bucket was over."""
        return self.last + self.metric.step

    def __len__(self) -> int:
        return max(0, (self.last - self.first) // self.metric.step + 1)


def clock(at: str = "", now: datetime | None = None) -> datetime:
    """The instant a run stands at, aware UTC: `at` as ISO 8601 with a zone, or now. The one place that asks the clock.

    Raises SettingsError when `at` is not a time, has no zone, or lies in the future.
    """
    now = now or datetime.now(UTC)
    return parse_instant(at, now) if at else now


def last_closed_bucket(now: datetime, delay: timedelta, step: timedelta = STEP) -> datetime:
    """Start of the newest bucket that is over and had `delay` to fill."""
    seconds = int((now - delay).timestamp()) // int(step.total_seconds()) * int(step.total_seconds())
    return datetime.fromtimestamp(seconds, UTC) - step


def band_span(metric: Metric) -> timedelta:
    """How long before its newest bucket the bands of a metric are kept at hand, for its charts."""
    return max(BAND_SPAN // metric.step, BAND_BUCKETS) * metric.step


def due(ctx: RunContext, now: datetime) -> list[DueBuckets]:
    """What there is to judge: for each metric every bucket since its last judged one."""
    judged = ctx.store.last_judged()
    return [_due(metric, judged.get(metric.name), last_closed_bucket(now, ctx.delay, metric.step)) for metric in ctx.metrics]


def _due(metric: Metric, judged: datetime | None, last: datetime) -> DueBuckets:
    if judged is None:
        return DueBuckets(metric, last - FIRST_LOOK // metric.step * metric.step, last, first_look=True)
    return DueBuckets(metric, judged + metric.step, last)
