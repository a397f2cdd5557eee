"""Commands for silences: silence, silences, unsilence. Each prints its answer and returns its exit code."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import click

from alerting.connections import load_catalogue, open_store
from alerting.model.clock import MAX_LENGTH, parse_length, parse_local, parse_week_spans
from alerting.model.errors import SettingsError
from alerting.model.metric import NO_END, Silence, unknown_metrics
from alerting.settings import load_settings

T = TypeVar("T")


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
    """Return when a silence begins and ends, by the options of the command. Raises SettingsError."""
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
        click.echo(
            f"{item.id}: {silence_line(item, settings.zone, f' ({settings.zone})')}{'' if item.lasts_at(now) else ', not now'}"
        )
    if not current:
        click.echo("no silences")
    return 0


@click.command()
@click.argument("number", type=int)
def unsilence(number: int) -> int:
    """End a silence now. NUMBER is its number in `silences`."""
    if not open_store(load_settings()).end_silence(number, datetime.now(UTC)):
        raise SettingsError(f"no silence {number}: `python -m alerting silences` lists those that are not over")
    click.echo(f"silence {number} has ended")
    return 0


def silence_line(item: Silence, zone: str, suffix: str = "") -> str:
    """Return a silence in words, with local times of `zone`; the spans of a weekly one may be those of another zone.

    `suffix` follows the times.
    """
    scope = "all metrics" if item.scope == "*" else item.scope
    spans = f" every week {item.weekly}{f' {item.zone}' if item.zone != zone else ''}," if item.weekly else ""
    end = f" until {_local(item.until, zone)}" if item.until < NO_END else ""
    by, why = f", by {item.by}" if item.by else "", f", why: {item.why}" if item.why else ""
    return f"{scope}{spans} from {_local(item.start, zone)}{end}{suffix}{by}{why}"


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
