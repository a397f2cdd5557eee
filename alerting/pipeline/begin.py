"""Begin a run: record that it runs, and find a clock that is wrong, as far as the source and earlier runs show it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alerting.model.errors import RunFailed, SourceError
from alerting.model.protocols import Commit
from alerting.model.run import Run
from alerting.pipeline.context import RunContext, clock
from alerting.pipeline.feedback import SNOOZE

USUAL_PAUSE = timedelta(hours=1)  # between two runs; after a longer one the source is asked for its time
TOLERANCE = timedelta(minutes=5)  # by which clocks are set back without harm
MAX_DIFFERENCE = timedelta(minutes=15)  # to the source's clock: buckets would be judged before their rows have come


def begin_run(ctx: RunContext, now: datetime) -> None:
    """Record that a run has begun, so that the next one sees it if it never ends.

    A snooze that ends later than one that is pressed now was pressed while the clock was ahead: it is ended. Raises StoreError;
    RunFailed when the time since the last run is unusual and the source's clock differs from this machine's.
    """
    started, earlier = ctx.started or now, last_start(ctx, now)
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


def last_start(ctx: RunContext, now: datetime) -> datetime | None:
    """Return when the newest stored run of the last year, or of the future, started; None if there is none."""
    return max((run.started for run in ctx.store.runs(now - timedelta(days=366))), default=None)


def clock_fault(ctx: RunContext, now: datetime) -> str:
    """Return the fault that a run which seemed well began in the future: its clock was ahead, or this one is behind.

    It is said by one run only, so "" for the next ones, and where there is no such run. Raises StoreError.
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
