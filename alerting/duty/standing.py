"""`make status`: last runs, what was judged until when, open incidents, outbox, silences, disk use, what is due next."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting import runner, settings, wiring
from alerting.model import STEP, Incident
from alerting.pipeline.watching import stand_in_names

RUNS = 5


def status() -> int:
    """Print it. Exit code 1 when the last run was not well, or when the next one is overdue."""
    given, now = settings.load(), datetime.now(UTC)
    store = wiring.open_store(given)
    runs = runner.last_runs(given, RUNS)
    for name, well, said in runs:
        sys.stdout.write(f"{'ok    ' if well else 'FAILED'} {name}: {said}\n")
    known = store.last_judged()
    judged = {name: bucket for name, bucket in known.items() if name not in stand_in_names(known)}
    steps = {metric.name: metric.step for metric in wiring.catalogue(given)}
    _print_judged(judged, steps, now)
    for incident in store.incidents():
        sys.stdout.write(f"incident {incident.id}: {_written(incident, given.zone)}\n")
    for silence in store.silences(now):
        sys.stdout.write(
            f"silence {silence.id}: {silence.scope} until {_at(silence.until, given.zone)} {silence.why}\n".rstrip() + "\n"
        )
    counts = store.counts()
    sys.stdout.write(f"outbox: {counts.waiting} waiting, {counts.sent} sent, {counts.refused} refused\n")
    room = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in runner.sizes(given).items())
    sys.stdout.write(f"disk: {room}\n")
    overdue = _print_next(sorted((at, steps[name]) for name, at in judged.items() if name in steps), given, now)
    return 0 if runs and runs[0][1] and not overdue else 1


def _print_judged(judged: dict[str, datetime], steps: dict[str, timedelta], now: datetime) -> None:
    """One line for all metrics that were judged until the same instant."""
    until: dict[datetime, list[str]] = {}
    for name, bucket in judged.items():
        until.setdefault(bucket + steps.get(name, STEP), []).append(name)
    for end, names in sorted(until.items()):
        age = (now - end) // timedelta(minutes=1)
        sys.stdout.write(f"judged until {end:%Y-%m-%d %H:%MZ}, {age} min ago: {', '.join(names)}\n")


def _print_next(judged: list[tuple[datetime, timedelta]], given: settings.Settings, now: datetime) -> bool:
    """When the next bucket can be judged; whether that is long over. `judged`: buckets and their steps, the newest last."""
    if not judged:
        sys.stdout.write("next due: now (nothing was judged yet)\n")
        return False
    newest = {step: bucket for bucket, step in judged}
    due = min(bucket + 2 * step for step, bucket in newest.items()) + timedelta(minutes=given.delay)
    late = now - due
    overdue = late > STEP
    word = f"overdue by {late // timedelta(minutes=1)} min: is cron running?" if overdue else _at(due, given.zone)
    sys.stdout.write(f"next due: {word}\n")
    return overdue


def _written(incident: Incident, zone: str) -> str:
    members = ", ".join(f"{m.metric}{' (no data)' if m.gap else ''}{' (over)' if m.until else ''}" for m in incident.members)
    more = [
        f"taken by {incident.taken}" if incident.taken else "",
        incident.label.value if incident.label else "",
        "silent until it is resolved" if incident.muted else "",
        f"silent until {_at(incident.snoozed, zone)}" if incident.snoozed else "",
        "" if incident.told else "not told",
    ]
    return "; ".join([f"{members} since {_at(incident.root.since, zone)}", *filter(None, more)])


def _at(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"
