"""Silences from the command line: set, listed, ended. A silenced metric is judged and shown all the same."""

from __future__ import annotations

import getpass
import re
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting import settings, wiring
from alerting.model import SettingsError, Silence

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=90)  # a silence that nobody remembers is an outage that nobody hears of


def silence(scope: str, length: str, why: str) -> int:
    """Say nothing of the metric (or "all") for that long from now. Raises SettingsError or StoreError."""
    given, now = settings.load(), datetime.now(UTC)
    names = [metric.name for metric in wiring.catalogue(given)]
    if scope not in (*names, "all", "*"):
        raise SettingsError(f"no metric {scope!r}: there are {', '.join(names)}; or all")
    made = Silence("*" if scope == "all" else scope, now, now + lengths(length), why, _user())
    number = wiring.open_store(given).add_silence(made)
    sys.stdout.write(f"silence {number}: {_written(made, given.zone)}\n")
    return 0


def silences() -> int:
    """Print those that are not over."""
    given = settings.load()
    found = wiring.open_store(given).silences(datetime.now(UTC))
    sys.stdout.writelines(f"{item.id}: {_written(item, given.zone)}\n" for item in found)
    if not found:
        sys.stdout.write("no silences\n")
    return 0


def unsilence(number: int) -> int:
    """End a silence now. Raises SettingsError when there is none of that number."""
    if not wiring.open_store(settings.load()).end_silence(number, datetime.now(UTC)):
        raise SettingsError(f"no silence {number}: `python -m alerting silences` lists those that are not over")
    sys.stdout.write(f"silence {number} has ended\n")
    return 0


def lengths(text: str, flag: str = "--for") -> timedelta:
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
