"""The checks that are kept, a day a table, newest first; and each of them as the index keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from itertools import groupby

from alerting.messages.words import WEEKDAYS
from alerting.pages.markup import scrolled, text
from alerting.pages.nouns import Entry, Line, Reader

OPEN = 1  # days that are unfolded
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time: what the filter compares dates with
COLUMNS = ("time", "state", "off", "said", "took")
LETTERS = {"ok": "o", "alert": "a", "failed": "f", "unknown": "u"}


def line(entry: Entry, reader: Reader) -> Line:
    local = entry.started.astimezone(reader.place)
    row = _row(local, entry, reader) if entry.href else ""
    return Line(entry.quarter, f"{local:%Y-%m-%d}", entry.state, not entry.rehearsal, _cell(local, entry, reader), row)


def listing(lines: Sequence[Line], reader: Reader) -> str:
    """`lines`: newest first."""
    days = [(day, [line.row for line in some]) for day, some in groupby(filter(_kept, lines), key=lambda line: line.day)]
    return "\n".join(
        _day(date.fromisoformat(day), rows, reader, " open" if n < OPEN else "") for n, (day, rows) in enumerate(days)
    )


def _kept(line: Line) -> bool:
    return bool(line.row)


def _day(day: date, rows: list[str], reader: Reader, unfolded: str) -> str:
    heads = "".join(f'<th scope="col">{text(reader.say(name))}</th>' for name in COLUMNS)
    body = "\n".join(rows)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"
    name, count = day_name(day, reader), text(reader.say("count", count=len(rows)))
    return f"<details{unfolded}><summary>{name} <span>{count}</span></summary>{scrolled(table, name)}</details>"


def _row(local: datetime, entry: Entry, reader: Reader) -> str:
    off = ", ".join(text(reader.title(name)) for name in entry.off)
    took = text(reader.say("seconds", count=f"{entry.seconds:.1f}")) if entry.seconds else ""
    cells = (badge(entry.state, reader) + _kind(entry, reader), off, text(entry.said), took)
    metrics = f' data-m="{text(" ".join(entry.off))}"' if entry.off else ""
    return (
        f"<tr data-t={wall_time(local)} data-s={entry.state}{metrics}><th scope=row>"
        f'<a href="{text(entry.href)}">{local:%H:%M}</a></th><td>{"</td><td>".join(cells)}</td></tr>'
    )


def _cell(local: datetime, entry: Entry, reader: Reader) -> str:
    clock = f"{local:%H}:{local.minute // 15 * 15:02}"
    letter, title = LETTERS[entry.state], f"{clock} {text(reader.say(entry.state))}"
    if not entry.href:
        return f'<i class={letter} title="{title}, {text(reader.say("thinned"))}"></i>'
    return f'<a class={letter} tabindex=-1 href="{text(entry.href)}" title="{title}"></a>'


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
