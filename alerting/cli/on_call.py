"""Commands for the person on call: status, labels, retire, listen.

Each command prints its answer and returns its exit code. A StoreError ends it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

import click

from alerting.cli.silences import silence_line
from alerting.connections import connect_chat, load_catalogue, open_source, open_store
from alerting.incidents.episodes import against_level_before
from alerting.incidents.grouping import MetricTree
from alerting.incidents.labels import precision
from alerting.model.errors import NotifyError, SettingsError
from alerting.model.incident import Incident
from alerting.model.metric import STEP, Metric, unknown_metrics
from alerting.model.protocols import Store
from alerting.model.severity import is_critical
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.feedback import answer_questions, read_feedback
from alerting.pipeline.segment_watch import segment_metrics, stand_in_names
from alerting.reporting.archive import disk_sizes, format_size, last_runs
from alerting.runner.run import AlreadyRunningError, locked
from alerting.settings import Settings, load_settings

MINUTE = timedelta(minutes=1)
RUNS_IN_STATUS = 5
CHAT_WAIT = 25.0  # seconds that one request waits for a button press
CHAT_RETRY_AFTER = 5.0  # seconds to wait after a failed request
LOCK_RETRY_AFTER = 1.0  # seconds to wait for the lock of a run


@click.command()
def status() -> int:
    """Show last runs, incidents, outbox, silences, next run. Exits with 1 if the last run failed or the next is overdue."""
    settings, now = load_settings(), datetime.now(UTC)
    store = open_store(settings)
    runs = last_runs(settings, RUNS_IN_STATUS)
    click.echo(f"all times: {settings.zone}")
    for name, ok, summary in runs:
        click.echo(f"{'ok    ' if ok else 'FAILED'} {name}: {summary}")

    catalogue = load_catalogue(settings, store)
    steps = {metric.name: metric.step for metric in catalogue}
    last_judged = store.last_judged()
    segments = stand_in_names(last_judged)
    judged = {name: bucket for name, bucket in last_judged.items() if name not in segments}
    ends = {name: bucket + steps.get(name, STEP) for name, bucket in judged.items()}
    for end, names in groupby(sorted(ends, key=ends.__getitem__), key=ends.__getitem__):
        click.echo(f"judged until {_at(end, settings.zone)}, {(now - end) // MINUTE} min ago: {', '.join(names)}")

    for incident in store.incidents():
        severity = _severity(incident, store, [*catalogue, *segment_metrics(catalogue)]) if incident.open else ""
        click.echo(f"incident {incident.id}: {severity}{_incident_line(incident, settings.zone)}")
    for silence in store.silences(now):
        click.echo(f"silence {silence.id}: {silence_line(silence, settings.zone)}{'' if silence.lasts_at(now) else ', not now'}")
    counts = store.counts()
    held = f" {counts.held} for the end of quiet hours," if counts.held else ""
    click.echo(f"outbox: {counts.waiting} waiting,{held} {counts.sent} sent, {counts.refused} refused")
    sizes = ", ".join(f"{name} {format_size(size)}" for name, size in disk_sizes(settings).items())
    click.echo(f"disk: {sizes}")

    newest_run = max((run.at for run in store.runs(now - timedelta(days=1)) if run.ok), default=None)
    watched = {name: bucket for name, bucket in judged.items() if name in steps}
    overdue = _print_next_due(watched, steps, settings, now, newest_run)
    return 0 if runs and runs[0][1] and not overdue else 1


def _severity(incident: Incident, store: Store, metrics: Sequence[Metric]) -> str:
    """Return the severity of an open incident by the newest verdicts of its members, as in its messages."""
    by_name, episodes, affected = {metric.name: metric for metric in metrics}, store.episodes(), []
    for member in incident.affected:
        if member.metric in by_name:
            verdict = next(iter(reversed(store.judged(member.metric, member.since))), member.worst or member.first)
            episode = episodes.get(member.metric)
            affected.append((by_name[member.metric], against_level_before(episode, verdict) if episode else verdict))
    return "critical: " if is_critical(affected, MetricTree(metrics).roots, incident.cause) else "warning: "


def _incident_line(incident: Incident, zone: str) -> str:
    members = ", ".join(f"{m.name}{' (no data)' if m.gap else ''}{' (over)' if m.until else ''}" for m in incident.members)
    parts = [
        f"{members} since {_at(incident.root.since, zone)}",
        f"taken by {incident.acknowledged_by}" if incident.acknowledged_by else "",
        incident.label.value if incident.label else "",
        "silent until it is resolved" if incident.muted else "",
        f"silent until {_at(incident.snoozed_until, zone)}" if incident.snoozed_until else "",
        "" if incident.last_notified else "not announced",
    ]
    return "; ".join(filter(None, parts))


def _print_next_due(
    judged: Mapping[str, datetime], steps: Mapping[str, timedelta], settings: Settings, now: datetime, newest_run: datetime | None
) -> bool:
    """Print when the next bucket can be judged. Return True if that is overdue. `judged`: metric -> its last judged bucket."""
    if not judged:
        click.echo("next due: now (nothing was judged yet)")
        return False
    newest: dict[timedelta, datetime] = {}  # step -> newest judged bucket; a metric that lags behind is ignored
    for name, bucket in judged.items():
        newest[steps[name]] = max(bucket, newest.get(steps[name], bucket))
    due = min(bucket + 2 * step for step, bucket in newest.items()) + timedelta(minutes=settings.delay)
    if newest_run and due <= newest_run and now - newest_run <= 2 * STEP:
        click.echo("next due: when rows are delivered (none were there at the last run)")
        return False
    overdue = now - due > STEP
    text = f"overdue by {(now - due) // MINUTE} min: is cron running?" if overdue else _at(due, settings.zone)
    click.echo(f"next due: {text}")
    return overdue


def _at(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


@click.command()
@click.argument("metric")
def retire(metric: str) -> int:
    """Stop watching a series that has gone.

    METRIC left the table file: it is not reported any more.
    """
    settings = load_settings()
    if settings.has_catalogue:
        raise SettingsError(f"the metrics are those of alerting/metrics.py: take the entry of {metric} out there")
    store = open_store(settings)
    source, metrics = open_source(settings, store=store)
    series = {each.name: each.query for each in metrics}
    if error := unknown_metrics([metric], series):
        raise SettingsError(error)
    if series[metric] not in source.gone():
        raise SettingsError(f"{metric} is still in {settings.source}: take it out there, or leave it out of ALERTING_METRICS")
    steps, phases = store.watched_series(settings.watched_table)
    for lengths in (steps, phases):
        lengths.pop(series[metric], None)
    store.watch_series(settings.watched_table, steps, phases)
    click.echo(f"{metric} is retired; it is watched again when it is back in {settings.source}")
    return 0


@click.command()
@click.option("--weeks", default=8, show_default=True, help="Number of past weeks.")
def labels(weeks: int) -> int:
    """Show people's labels and the precision of each metric."""
    since = datetime.now(UTC) - timedelta(weeks=weeks)
    settings = load_settings()
    table = precision(open_store(settings).all_incidents(since), zone=settings.zone)
    click.echo(f"weeks from Monday to Sunday, {settings.zone}")
    click.echo(table.to_string(float_format="{:.2f}".format, na_rep="") if len(table) else "no incidents")
    return 0


@click.command()
@click.option("--turns", default=0, help="Stop after this many requests to the chat (default: never).")
def listen(turns: int) -> int:
    """Process answers at once, until Ctrl-C. Without this, buttons and commands take effect at the next run."""
    settings = load_settings()
    if not settings.telegram_token:
        raise SettingsError("listen: no chat is configured: set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT")
    ctx, turn = connect_chat(settings), 0
    click.echo("listening for answers in the chat; Ctrl-C ends it")
    while not turns or turn < turns:
        turn += 1
        try:
            if ctx.notifier.button_presses(ctx.store.next_update(), wait=CHAT_WAIT):
                _process_presses(settings, ctx)
        except NotifyError as error:
            click.echo(str(error), err=True)
            time.sleep(CHAT_RETRY_AFTER)
        except KeyboardInterrupt:
            break
    return 0


def _process_presses(settings: Settings, ctx: RunContext) -> None:
    """Apply the presses and send the replies. Hold the lock of runs, because a run in progress would overwrite the changes."""
    while True:
        now = datetime.now(UTC)
        try:
            with locked(settings.lock_file, now):
                answered, trouble = read_feedback(ctx, now)
                answer_questions(ctx, now)
                receipts = send_waiting(ctx.store, ctx.notifier, now, time.sleep, time.monotonic, ctx.quiet)
            break
        except AlreadyRunningError:
            time.sleep(LOCK_RETRY_AFTER)
    for item in answered:
        click.echo(f"{now.astimezone(ZoneInfo(settings.zone)):%H:%M:%S} {item.press.name}: {item.reply or item.what}")
    for receipt in receipts:
        if receipt.reason:
            click.echo(f"{receipt.key} {receipt.state}: {receipt.reason}", err=True)
    if trouble:
        click.echo(trouble, err=True)
