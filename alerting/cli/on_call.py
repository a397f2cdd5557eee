"""Commands for the person on call: status, labels, retire, listen; silence, silences, unsilence."""

import getpass
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count, groupby
from typing import TypeVar
from zoneinfo import ZoneInfo

import click

from alerting.connections import connect_chat, load_catalogue, open_source, open_store
from alerting.incidents.episodes import against_level_before
from alerting.incidents.labels import precision
from alerting.messages.format import duration
from alerting.model.clock import MAX_LENGTH, MINUTE, parse_length, parse_local, parse_week_spans
from alerting.model.errors import AlertingError, NotifyError, SettingsError
from alerting.model.incident import Incident, MetricTree, is_critical
from alerting.model.metric import NO_END, STEP, Metric, Silence, unknown_metrics
from alerting.model.protocols import Store
from alerting.model.tables import cell_text
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.feedback import answer_questions, read_feedback
from alerting.pipeline.segment_watch import segment_metrics, stand_in_names
from alerting.reporting.record import day_entries, day_folders, folder_size, format_size
from alerting.runner.run import AlreadyRunningError, locked
from alerting.settings import Settings, load_settings

T = TypeVar("T")
RUNS_IN_STATUS = 5
CHAT_WAIT = 25.0  # seconds that one request waits for a button press or a command
CHAT_RETRY_AFTER = 5.0  # seconds to wait after a failed request
LOCK_RETRY_AFTER = 1.0  # seconds to wait for the lock of a run


@click.command()
def status() -> int:
    """Show last runs, incidents, outbox, silences, next run. Exits with 1 if the last run failed or the next is overdue."""
    settings, now = load_settings(), datetime.now(UTC)
    store = open_store(settings)
    runs = [run for day in day_folders(settings.reports)[:3] for run in day_entries(day) if not run.rehearsal]
    click.echo(f"all times: {settings.zone}")
    for run in runs[:RUNS_IN_STATUS]:
        click.echo(f"{'ok    ' if run.ok else 'FAILED'} {run.name}.ipynb: {run.summary}")

    catalogue = load_catalogue(settings, store)
    steps = {metric.name: metric.step for metric in catalogue}
    last_judged = store.last_judged()
    segments = stand_in_names(last_judged)
    judged = {name: bucket for name, bucket in last_judged.items() if name not in segments}
    ends = {name: bucket + steps.get(name, STEP) for name, bucket in judged.items()}
    for end, names in groupby(sorted(ends, key=ends.__getitem__), key=ends.__getitem__):
        ago = duration(now - end, "en").replace("\N{NO-BREAK SPACE}", " ")
        click.echo(f"judged until {cell_text(end, settings.zone)}, {ago} ago: {', '.join(names)}")

    for incident in store.incidents():
        severity = _severity(incident, store, [*catalogue, *segment_metrics(catalogue)]) if incident.open else ""
        click.echo(f"incident {incident.id}: {severity}{_incident_line(incident, settings.zone, now)}")
    for item in store.silences(now):
        click.echo(f"silence {item.id}: {silence_line(item, settings.zone)}{'' if item.lasts_at(now) else ', not now'}")
    counts = store.counts()
    held = f" {counts.held} for the end of quiet hours," if counts.held else ""
    click.echo(f"outbox: {counts.waiting} waiting,{held} {counts.sent} sent, {counts.refused} refused")
    reports, state = folder_size(settings.reports), folder_size(settings.data, f"{settings.state_file.name}*")
    click.echo(f"disk: reports {format_size(reports)}, memory {format_size(state)}")

    newest_run = max((run.at for run in store.runs(now - timedelta(days=1)) if run.ok), default=None)
    watched = {name: bucket for name, bucket in judged.items() if name in steps}
    overdue = _print_next_due(watched, steps, settings, now, newest_run)
    return 0 if runs and runs[0].ok and not overdue else 1


def _severity(incident: Incident, store: Store, metrics: Sequence[Metric]) -> str:
    """Return "critical: " or "warning: ": the severity of an open incident by its members' newest verdicts, as in messages."""
    by_name, episodes, affected = {metric.name: metric for metric in metrics}, store.episodes(), []
    for member in incident.affected:
        if member.metric in by_name:
            verdict = next(iter(reversed(store.judged(member.metric, member.since))), member.worst or member.first)
            affected.append((by_name[member.metric], against_level_before(episodes.get(member.metric), verdict)))
    return "critical: " if is_critical(affected, MetricTree(metrics).roots, incident.cause) else "warning: "


def _incident_line(incident: Incident, zone: str, now: datetime) -> str:
    members = ", ".join(f"{m.name}{' (no data)' if m.gap else ''}{' (over)' if m.until else ''}" for m in incident.members)
    snoozed = incident.snoozed_until if incident.snoozed_until and incident.snoozed_until > now else None
    parts = [
        f"{members} since {cell_text(incident.root.since, zone)}",
        f"taken by {incident.acknowledged_by}" if incident.acknowledged_by else "",
        incident.label.value if incident.label else "",
        "silent until it is resolved" if incident.muted else "",
        f"silent until {cell_text(snoozed, zone)}" if snoozed else "",
        "" if incident.last_notified else "not announced",
    ]
    return "; ".join(filter(None, parts))


def _print_next_due(
    judged: Mapping[str, datetime], steps: Mapping[str, timedelta], settings: Settings, now: datetime, newest_run: datetime | None
) -> bool:
    """Print when the next bucket can be judged. Return whether that is overdue. `judged`: metric -> its newest judged bucket."""
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
    text = f"overdue by {(now - due) // MINUTE} min: is cron running?" if overdue else cell_text(due, settings.zone)
    click.echo(f"next due: {text}")
    return overdue


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
@click.option("--weeks", type=click.IntRange(1), default=8, show_default=True, help="Number of past weeks.")
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
    store = open_store(settings)
    ctx = connect_chat(settings, store)
    click.echo("listening for answers in the chat; Ctrl-C ends it")
    for _ in range(turns) if turns else count():
        try:
            if ctx.notifier.button_presses(ctx.store.next_update(), wait=CHAT_WAIT):
                with suppress(AlertingError):  # a table that cannot be read now: the metrics of before
                    ctx = connect_chat(settings, store)  # new ones may have come since the start
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


@click.command()
@click.argument("metric")
@click.option("--for", "length", default="", metavar="LENGTH", help="How long: 90m, 2h, 1d, '1d 6h'; up to 90 days.")
@click.option("--from", "start", default="", metavar="TIME", help="Its beginning: '2026-12-01 02:00'. Default: now.")
@click.option("--until", default="", metavar="TIME", help="Its end, local time too.")
@click.option("--weekly", default="", metavar="SPANS", help="Only then, every week: 'Sat 02:00-04:00', 'Mon-Fri 23:00-01:00'.")
@click.option("--why", default="", help="Reason, shown in `silences`.")
def silence(metric: str, length: str, start: str, until: str, weekly: str, why: str) -> int:
    """Send nothing about METRIC (or: all) for a while. It is still checked and shown."""
    settings, now = load_settings(), datetime.now(UTC)
    store = open_store(settings)
    names = [each.name for each in load_catalogue(settings, store)]
    if metric not in ("all", "*") and (error := unknown_metrics([metric], names)):
        raise SettingsError(f"{error}; or all")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user has no name, as in some containers
        user = ""
    begin, end = silence_span(now, settings.zone, start, until, length, weekly)
    planned = Silence("*" if metric == "all" else metric, begin, end, why, user, weekly=weekly.strip(), zone=settings.zone)
    number = store.add_silence(planned)
    click.echo(f"silence {number}: {silence_line(planned, settings.zone, f' ({settings.zone})')}")
    return 0


def silence_span(now: datetime, zone: str, start: str, until: str, length: str, weekly: str) -> tuple[datetime, datetime]:
    """Return begin and end (aware UTC) of a silence from the options of the command. Raises SettingsError."""
    if until and length:
        raise SettingsError("--until and --for both say when it ends: give one of them")
    if not (until or length or weekly):
        raise SettingsError("say how long: --for 2h, --until '2026-12-01 04:00', or --weekly 'Sat 02:00-04:00'")
    begin = _parsed("--from", start, lambda text: parse_local(text, zone)[0]) if start else now
    end = NO_END
    if length:
        end = begin + _parsed("--for", length, parse_length)
    elif until:
        end = _parsed("--until", until, lambda text: parse_local(text, zone)[1])
    if weekly:
        _parsed("--weekly", weekly, parse_week_spans)
    elif end - begin > MAX_LENGTH:
        days = (end - begin).days
        raise SettingsError(f"it would last {days} days: at most {MAX_LENGTH.days}, because a forgotten one hides outages")
    if end <= max(begin, now):
        what = "before it begins" if end <= begin else "in the past"
        raise SettingsError(f"it would end {what}: from {_local(begin, zone)} until {_local(end, zone)} ({zone})")
    return begin, end


def _parsed(option: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r}: {error}") from None


@click.command()
def silences() -> int:
    """List the silences that have not ended."""
    settings, now = load_settings(), datetime.now(UTC)
    current = open_store(settings).silences(now)
    for item in current:
        line = silence_line(item, settings.zone, f" ({settings.zone})")
        click.echo(f"{item.id}: {line}{'' if item.lasts_at(now) else ', not now'}")
    if not current:
        click.echo("no silences")
    return 0


@click.command()
@click.argument("number", type=int)
def unsilence(number: int) -> int:
    """End a silence now. NUMBER is its number in `silences`."""
    if number >= 2**63 or not open_store(load_settings()).end_silence(number, datetime.now(UTC)):  # SQLite has none so large
        raise SettingsError(f"no silence {number}: `python -m alerting silences` lists those that are not over")
    click.echo(f"silence {number} has ended")
    return 0


def silence_line(item: Silence, zone: str, suffix: str = "") -> str:
    """Return a silence as text: local times of `zone`, then `suffix`. A weekly one keeps the spans and zone it was set in."""
    scope = "all metrics" if item.scope == "*" else item.scope
    spans = f" every week {item.weekly}{f' {item.zone}' if item.zone != zone else ''}," if item.weekly else ""
    end = f" until {_local(item.until, zone)}" if item.until < NO_END else ""
    by, why = f", by {item.by}" if item.by else "", f", why: {item.why}" if item.why else ""
    return f"{scope}{spans} from {_local(item.start, zone)}{end}{suffix}{by}{why}"


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
