"""The start of a run: its connections and settings, its clock, which may be wrong, and the buckets it must judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from math import isclose

from alerting.messages import Audience
from alerting.model.clock import EPOCH, Shift, first_bucket, nearest_bucket, on_call, parse_instant
from alerting.model.errors import RunFailed, SourceError
from alerting.model.metric import CHART_BUCKETS, CHART_SPAN, STEP, CalendarEvent, Metric, Query
from alerting.model.protocols import Commit, Notifier, Source, Store
from alerting.model.routing import NO_QUIET_HOURS, QuietHours
from alerting.model.run import Reading, Run

# A run after a gap charts events that are up to a day old, and an incident of two days is charted with its whole band.
BAND_SPAN, BAND_BUCKETS = CHART_SPAN + timedelta(days=2), 2 * CHART_BUCKETS
FIRST_LOOK = timedelta(days=1)  # judge this much of a new metric's past, to find the start of an open episode
SNOOZE = timedelta(hours=1)
USUAL_PAUSE = timedelta(hours=1)  # between two runs; after a longer one the source is asked for its time
TOLERANCE = timedelta(minutes=5)  # a clock may be set back by this much
MAX_DIFFERENCE = timedelta(minutes=15)  # from the source's clock; beyond it, buckets are judged before their rows have arrived
SAME_VALUE = 1e-9  # relative difference up to which two values are equal


@dataclass(frozen=True)
class RunContext:
    """The catalogue, the open connections and the settings of a run."""

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
    pages: str = ""  # URL of the folder of reports
    wait: Callable[[float], None] = lambda seconds: None
    timer: Callable[[], float] = lambda: 0.0  # seconds since any fixed instant
    notes: tuple[str, ...] = ()  # warnings from connecting; the run shows them
    late_rows: timedelta = timedelta(hours=6)  # buckets are judged again when rows arrive within this time
    calendar: tuple[CalendarEvent, ...] = ()
    started: datetime | None = None  # when the process started; `at` of the run may be another moment
    slices: dict[str, Query] = field(default_factory=dict)  # query name -> the query that counts its segments
    segment_metrics: list[Metric] = field(default_factory=list)  # stand-ins for the segments of metrics, see `segment_watch`
    judge_limit: float = float("inf")  # seconds for judging new metrics; the rest of them wait for the next run
    daily: str = ""  # local time of the daily message, HH:MM; "" for none
    faults: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # judged, drawn ... -> metric -> why not
    quiet: QuietHours = NO_QUIET_HOURS
    escalate_after: timedelta | None = None  # to the next route, when nobody has taken a critical incident
    shifts: tuple[Shift, ...] = ()  # who is on call
    sent_as: str = "sent"  # the word for accepted messages: without a chat they are only printed

    def metric(self, name: str) -> Metric:
        """Return the metric of this name. Raises KeyError when the catalogue has none."""
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Metric]:
        """The metrics of the catalogue, by name. An incident may name a metric that the catalogue does not have any more."""
        return {m.name: m for m in (*self.metrics, *self.segment_metrics)}

    @cached_property
    def holidays(self) -> frozenset[date]:
        """The dates of the holidays of the calendar, in the reporting zone."""
        return frozenset(day for event in self.calendar for day in event.holidays(self.zone))

    def audience(self, now: datetime, metric: Metric | None = None) -> Audience:
        """Return the readers of the messages of a run at `now`. `metric`: the one that the message is about, if any."""
        about = (self.language, self.zone, now, self.run_link, self.pages, self.owner)
        return Audience(*about, on_call(self.shifts, now), day_start=metric.day_start if metric else None)


@dataclass(frozen=True)
class DueBuckets:
    """The buckets of one metric that a run judges: first <= bucket <= last.

    `first_look`: the metric was never judged before. `changed`: the judged buckets that late rows have changed, in order; from
    the first of them on all buckets are judged again.
    """

    metric: Metric
    first: datetime
    last: datetime
    first_look: bool = False
    changed: tuple[datetime, ...] = ()

    @property
    def changed_from(self) -> datetime | None:
        return self.changed[0] if self.changed else None

    @property
    def begin(self) -> datetime:
        return self.changed_from or self.first

    @property
    def end(self) -> datetime:
        """The instant at which the last bucket ends."""
        return self.last + self.metric.step

    def __len__(self) -> int:
        return max(0, (self.last - self.first) // self.metric.step + 1)


def buckets_between(metric: Metric, start: datetime, end: datetime) -> DueBuckets:
    """Return the whole buckets of start <= t < end."""
    first = first_bucket(start, metric.step, metric.phase)
    return DueBuckets(metric, first, first + ((end - first) // metric.step - 1) * metric.step)


def clock(at: str = "", now: datetime | None = None) -> datetime:
    """Return the moment of the run, aware UTC: `at` as ISO 8601 with a zone, or now. Nothing else in the core reads the clock.

    Raises SettingsError when `at` is not a time, has no zone, or lies in the future.
    """
    now = now or datetime.now(UTC)
    return parse_instant(at, now) if at else now


def begin_run(ctx: RunContext, now: datetime) -> None:
    """Store that a run has begun: the next run sees it even if this one is killed.

    A snooze that ends later than one pressed now would end was pressed while the clock was ahead: it is removed. If the last run
    is more than USUAL_PAUSE ago, or in the future, this machine's clock is compared with the source's. Raises StoreError, and
    RunFailed if the clocks differ by more than MAX_DIFFERENCE.
    """
    started = ctx.started or now
    earlier = max((run.started for run in ctx.store.runs(now - timedelta(days=366))), default=None)
    ctx.store.save_run(Run(started, now))
    snoozed = [i for i in ctx.store.incidents() if i.open and i.snoozed_until and i.snoozed_until > max(started, now) + SNOOZE]
    if snoozed:
        ctx.store.commit(Commit(incidents=[replace(incident, snoozed_until=None) for incident in snoozed]), now)
    if earlier is None or timedelta() <= started - earlier <= USUAL_PAUSE:
        return
    try:
        here, there = clock(), ctx.source.now()
    except SourceError:  # reading will say why
        return
    if abs(here - there) > MAX_DIFFERENCE:
        minutes, way = abs(here - there) // timedelta(minutes=1), "ahead of" if here > there else "behind"
        raise RunFailed(
            f"nothing was judged: this machine's clock ({here:%Y-%m-%dT%H:%MZ}) is {minutes} min {way} "
            "that of the source: set both"
        )


def clock_fault(ctx: RunContext, now: datetime) -> str:
    """Return the fault that an earlier, successful run began in the future: the clock was ahead then, or is behind now.

    One run reports it. Return "" if there is no such run, or if an earlier run has reported it. Raises StoreError.
    """
    if ctx.started is None:
        return ""
    started = ctx.started
    runs = ctx.store.runs(min(started, now) - timedelta(days=1))
    ahead = max((run.started for run in runs if run.ok and run.started > started + TOLERANCE), default=None)
    if ahead is None:
        return ""
    text = f"a run began at {ahead:%Y-%m-%dT%H:%MZ}, which is in the future: the clock was ahead then, or it is behind now"
    return "" if any(text in run.outcome for run in runs if run.started < started) else f"{text}: set it"


def last_closed_bucket(now: datetime, delay: timedelta, step: timedelta = STEP, phase: timedelta = timedelta()) -> datetime:
    """Return the start of the newest bucket that ended at least `delay` before `now`."""
    return EPOCH + phase + ((now - delay - EPOCH - phase) // step - 1) * step


def end_of_rows(ctx: RunContext, metrics: Sequence[Metric], now: datetime) -> datetime:
    """Return the moment at which the newest rows can be judged: `now`, or earlier if a table file ends in the past.

    Of metrics with a longer step than the shortest one, the last bucket does not count, because it may not be over.
    """
    ends = ctx.source.ends()
    found = [(ends[metric.query], metric.step) for metric in metrics if metric.query in ends]
    finest = min((step for _, step in found), default=STEP)
    last = max((end if step == finest else end - step for end, step in found), default=now)
    return min(now, last + ctx.delay)


def newest_end(ctx: RunContext, metrics: Sequence[Metric], now: datetime) -> datetime:
    """Return the end of the newest closed bucket of any of the metrics."""
    return max(last_closed_bucket(now, ctx.delay, metric.step, metric.phase) + metric.step for metric in metrics)


def band_span(metric: Metric) -> timedelta:
    """Return how long before the newest bucket the bands of a metric are kept for its charts."""
    return max(BAND_SPAN // metric.step, BAND_BUCKETS) * metric.step


def due(ctx: RunContext, now: datetime) -> list[DueBuckets]:
    """Return for each metric all closed buckets since its last judged one; for a new metric the buckets of a day."""
    judged, out = ctx.store.last_judged(), []
    for metric in ctx.metrics:
        last = last_closed_bucket(now, ctx.delay, metric.step, metric.phase)
        if metric.name in judged:  # the phase may have changed: of local rows in spring, for example
            first = nearest_bucket(judged[metric.name] + metric.step, metric.step, metric.phase)
            out.append(DueBuckets(metric, first, last))
        else:
            out.append(DueBuckets(metric, last - FIRST_LOOK // metric.step * metric.step, last, first_look=True))
    return out


def find_changed_buckets(ctx: RunContext, due: Sequence[DueBuckets], reading: Reading) -> list[DueBuckets]:
    """Return the due buckets, extended to those that late rows have changed since they were judged.

    Check the last `ctx.late_rows`. A bucket is judged again only if the store has the episode before it. Raises StoreError.
    """
    if not due or not ctx.late_rows:
        return list(due)
    oldest = min(min(item.first, item.last) for item in due)  # buckets judged while the clock was ahead lie in the future
    judged: dict[str, list[tuple[datetime, float]]] = {}
    for name, bucket, value, _ in ctx.store.judged_values(oldest - ctx.late_rows):
        judged.setdefault(name, []).append((bucket, value))
    out = []
    for item in due:
        changed = _changed_buckets(item, judged.get(item.metric.name, []), reading)
        again = bool(changed) and ctx.store.episode_before(item.metric.name, changed[0]) is not None
        out.append(replace(item, changed=changed) if again else item)
    return out


def _changed_buckets(item: DueBuckets, judged: Sequence[tuple[datetime, float]], reading: Reading) -> tuple[datetime, ...]:
    """Return the starts of the judged buckets whose value has changed. `judged`: (bucket, value) pairs, ordered by bucket."""
    series, out = reading.series.get(item.metric.name), list[datetime]()
    if series is None or not judged:
        return ()
    values, start = series.to_numpy(float), series.index[0].to_pydatetime()
    for bucket, value in judged:
        position = (bucket - start) // item.metric.step
        is_other_phase = (bucket - start) % item.metric.step
        if is_other_phase or bucket >= item.first or not 0 <= position < len(values):
            continue
        now = float(values[position])
        if not (isclose(value, now, rel_tol=SAME_VALUE) or now != now):  # rows that are gone now were there when it was judged
            out.append(bucket)
    return tuple(out)
