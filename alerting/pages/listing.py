"""The checks that are kept, a day a table, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from itertools import groupby

from alerting.messages.words import WEEKDAYS
from alerting.pages.markup import scrolled, text
from alerting.pages.nouns import Entry, Reader

OPEN = 1  # days that are unfolded
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time: what the filter compares dates with
COLUMNS = ("time", "state", "off", "said", "took", "record")


def listing(entries: Sequence[Entry], reader: Reader) -> str:
    """`entries`: newest first, each with a file to go to."""
    dated = [(entry.started.astimezone(reader.place), entry) for entry in entries]
    days = [(day, list(some)) for day, some in groupby(dated, key=lambda pair: pair[0].date())]
    return "\n".join(_day(day, some, reader, " open" if n < OPEN else "") for n, (day, some) in enumerate(days))


def _day(day: date, some: list[tuple[datetime, Entry]], reader: Reader, unfolded: str) -> str:
    heads = "".join(f'<th scope="col">{text(reader.say(name))}</th>' for name in COLUMNS)
    rows = "\n".join(_row(local, entry, reader) for local, entry in some)
    count = text(reader.say("count", count=len(some)))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    name = day_name(day, reader)
    return f"<details{unfolded}><summary>{name} <span>{count}</span></summary>{scrolled(table, name)}</details>"


def _row(local: datetime, entry: Entry, reader: Reader) -> str:
    wall, stem = wall_time(local), text(f"runs/{entry.day}/{entry.name}")
    off = ", ".join(text(reader.title(name)) for name in entry.off)
    took = text(reader.say("seconds", count=f"{entry.seconds:.1f}")) if entry.seconds else ""
    clock = f"{local:%H:%M}"
    label = f' aria-label="{text(reader.say("notebook of", at=clock))}"'
    notebook = f'<a href="{stem}{entry.notebook}"{label}>{text(reader.say("notebook"))}</a>' if entry.notebook else ""
    cells = (badge(entry.state, reader) + _kind(entry, reader), off, text(entry.said), took, notebook)
    return (
        f'<tr data-t={wall} data-s="{entry.state}" data-m="{text(" ".join(entry.off))}"><th scope="row">'
        f'<a href="{text(entry.href)}">{clock}</a></th><td>{"</td><td>".join(cells)}</td></tr>'
    )


def day_name(day: date, reader: Reader) -> str:
    """Wed 2026-11-25"""
    return f"{WEEKDAYS[reader.language][day.weekday()]} {day}"


def wall_time(local: datetime) -> int:
    """Seconds that sort as the local calendar does."""
    return int((local.replace(tzinfo=None) - EPOCH).total_seconds())


@cache
def _badge(state: str, words: str) -> str:
    return f'<span class="badge {state}">{text(words)}</span>'


def badge(state: str, reader: Reader) -> str:
    return _badge(state, reader.say(state))


def _kind(entry: Entry, reader: Reader) -> str:
    return f" {text(reader.say('rehearsal'))}" if entry.rehearsal else ""
