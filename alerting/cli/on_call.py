"""`python -m alerting labels`: what people said of the incidents, and what that makes of each metric's precision."""

from __future__ import annotations

import getpass
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting import pipeline
from alerting.connections import connect_chat, load_catalogue, open_store
from alerting.incidents.labels import precision
from alerting.model.errors import NotifyError, SettingsError
from alerting.model.incident import Incident
from alerting.model.metric import STEP, Silence
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.segment_watch import stand_in_names
from alerting.reporting.archive import disk_sizes, last_runs
from alerting.runner.lock import HeldError, locked
from alerting.settings import Settings, load_settings

WEEK = timedelta(weeks=1)


def labels(weeks: int) -> int:
    """Print incidents and labels per metric and week of the last `weeks`. Raises StoreError."""
    since = datetime.now(UTC) - weeks * WEEK
    table = precision(open_store(load_settings()).all_incidents(since))
    sys.stdout.write(f"{table.to_string(float_format='{:.2f}'.format, na_rep='')}\n" if len(table) else "no incidents\n")
    return 0


# Silences from the command line: set, listed, ended. A silenced metric is judged and shown all the same.

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=90)  # a silence that nobody remembers is an outage that nobody hears of


def silence(scope: str, length: str, why: str) -> int:
    """Say nothing of the metric (or "all") for that long from now. Raises SettingsError or StoreError."""
    given, now = load_settings(), datetime.now(UTC)
    names = [metric.name for metric in load_catalogue(given)]
    if scope not in (*names, "all", "*"):
        raise SettingsError(f"no metric {scope!r}: there are {', '.join(names)}; or all")
    made = Silence("*" if scope == "all" else scope, now, now + parse_length(length), why, _user())
    number = open_store(given).add_silence(made)
    sys.stdout.write(f"silence {number}: {_written(made, given.zone)}\n")
    return 0


def silences() -> int:
    """Print those that are not over."""
    given = load_settings()
    found = open_store(given).silences(datetime.now(UTC))
    sys.stdout.writelines(f"{item.id}: {_written(item, given.zone)}\n" for item in found)
    if not found:
        sys.stdout.write("no silences\n")
    return 0


def unsilence(number: int) -> int:
    """End a silence now. Raises SettingsError when there is none of that number."""
    if not open_store(load_settings()).end_silence(number, datetime.now(UTC)):
        raise SettingsError(f"no silence {number}: `python -m alerting silences` lists those that are not over")
    sys.stdout.write(f"silence {number} has ended\n")
    return 0


def parse_length(text: str, flag: str = "--for") -> timedelta:
    """ "2h", "1d 6h", "90m" as a duration. Raises SettingsError."""
    parts = re.findall(r"(\d+)\s*([mhdw])", text.lower())
    rest = re.sub(r"(\d+)\s*([mhdw])", "", text.lower()).strip()
    length = sum((int(number) * UNITS[unit] for number, unit in parts), timedelta())
    if rest or not parts or not timedelta() < length <= LONGEST:
        raise SettingsError(f"{flag} {text!r}: a time such as 90m, 2h, 1d or '1d 6h', up to {LONGEST.days} days")
    return length


def _written(item: Silence, zone: str) -> str:
    start, until = (f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for at in (item.start, item.until))
    scope = "all metrics" if item.scope == "*" else item.scope
    return f"{scope} from {start} until {until} ({zone})" + "".join(
        f", {word} {text}" for word, text in (("by", item.by), ("why:", item.why)) if text
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return ""


# `make status`: last runs, what was judged until when, open incidents, outbox, silences, disk use, what is due next.

RUNS = 5


def status() -> int:
    """Print it. Exit code 1 when the last run was not well, or when the next one is overdue."""
    given, now = load_settings(), datetime.now(UTC)
    store = open_store(given)
    runs = last_runs(given, RUNS)
    for name, well, said in runs:
        sys.stdout.write(f"{'ok    ' if well else 'FAILED'} {name}: {said}\n")
    known = store.last_judged()
    judged = {name: bucket for name, bucket in known.items() if name not in stand_in_names(known)}
    steps = {metric.name: metric.step for metric in load_catalogue(given)}
    _print_judged(judged, steps, now)
    for incident in store.incidents():
        sys.stdout.write(f"incident {incident.id}: {_status_line(incident, given.zone)}\n")
    for silence in store.silences(now):
        sys.stdout.write(
            f"silence {silence.id}: {silence.scope} until {_at(silence.until, given.zone)} {silence.why}\n".rstrip() + "\n"
        )
    counts = store.counts()
    sys.stdout.write(f"outbox: {counts.waiting} waiting, {counts.sent} sent, {counts.refused} refused\n")
    room = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in disk_sizes(given).items())
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


def _print_next(judged: list[tuple[datetime, timedelta]], given: Settings, now: datetime) -> bool:
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


def _status_line(incident: Incident, zone: str) -> str:
    members = ", ".join(f"{m.metric}{' (no data)' if m.gap else ''}{' (over)' if m.until else ''}" for m in incident.members)
    more = [
        f"taken by {incident.acknowledged_by}" if incident.acknowledged_by else "",
        incident.label.value if incident.label else "",
        "silent until it is resolved" if incident.muted else "",
        f"silent until {_at(incident.snoozed_until, zone)}" if incident.snoozed_until else "",
        "" if incident.last_notified else "not told",
    ]
    return "; ".join([f"{members} since {_at(incident.root.since, zone)}", *filter(None, more)])


def _at(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


# `make listen`: answers in the chat count at once instead of with the next run. Optional; no server, no open port.

WAIT = 25.0  # seconds one request waits for an answer
REST = 5.0  # seconds after a request that failed


def listen(turns: int = 0, rest: Callable[[float], None] = time.sleep) -> int:
    """Read answers until it is stopped (or for so many requests). Raises SettingsError without a chat, StoreError."""
    given = load_settings()
    if not given.telegram_token:
        raise SettingsError("listen: no chat is configured: set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT")
    ctx, turn = connect_chat(given), 0
    sys.stdout.write("listening for answers in the chat; Ctrl-C ends it\n")
    while not turns or turn < turns:
        turn += 1
        try:
            if ctx.notifier.button_presses(ctx.store.next_update(), wait=WAIT):
                _apply(given, ctx, rest)
        except NotifyError as error:
            sys.stderr.write(f"{error}\n")
            rest(REST)
        except KeyboardInterrupt:
            break
    return 0


def _apply(given: Settings, ctx: RunContext, rest: Callable[[float], None]) -> None:
    """Under the lock of a run: one that goes on has read the incidents already, and would write over the answers."""
    while True:
        now = datetime.now(UTC)
        try:
            with locked(given.data / "run.lock", now):
                heard, trouble = pipeline.read_feedback(ctx, now)
                receipts = send_waiting(ctx.store, ctx.notifier, now, rest)
        except HeldError:
            rest(1.0)
            continue
        sys.stdout.writelines(f"{now:%H:%M:%SZ} {item.answer.name}: {item.said}\n" for item in heard)
        sys.stderr.writelines(f"{receipt.key} {receipt.state}: {receipt.reason}\n" for receipt in receipts if receipt.reason)
        sys.stderr.write(f"{trouble}\n" if trouble else "")
        sys.stdout.flush()
        return
