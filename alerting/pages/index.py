"""The index: how it stands, the calendar, the incidents, the checks, and a filter over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerting.pages.layout import page
from alerting.pages.listing import badge, listing
from alerting.pages.markup import text
from alerting.pages.nouns import Entry, Line, Reader
from alerting.pages.strip import calendar

STATES = {"": "any state", "alert": "with alert", "open": "only open", "failed": "only failed", "ok": "only quiet"}


@dataclass(frozen=True)
class Overview:
    """What the index shows. `lines`: all checks that the lists tell of, newest first; `newest` of them, no rehearsal; `cards`:
    the incidents, newest first; `opened`: how many of them go on; `seen`: metrics that were off; `note`: why the memory could
    not be read."""

    lines: Sequence[Line] = ()
    newest: Entry | None = None
    cards: Sequence[str] = ()
    opened: int = 0
    seen: Sequence[str] = ()
    note: str = ""


def index(told: Overview, reader: Reader) -> str:
    live = [line for line in told.lines if line.live]
    strip = f'<p class="soft">{text(reader.say("strip"))}</p>{calendar(live, reader)}'
    parts = [
        f"<h1>{text(reader.say('title'))}</h1>",
        _newest(told.newest, reader),
        _stale(reader),
        f'<p class="note">{text(reader.say("no memory", why=told.note))}</p>' if told.note else "",
        _section("calendar", reader.say("calendar"), strip) if live else "",
        _filter(told.seen, reader),
        _section("incidents", f"{reader.say('incidents')}: {_open(told.opened, reader)}", _cards(told.cards, reader)),
        _section("runs", reader.say("runs"), f'<div class="days">\n{listing(told.lines, reader)}\n</div>'),
    ]
    return page(reader.say("title"), "\n".join(filter(None, parts)), reader, live=True)


def _open(count: int, reader: Reader) -> str:
    return reader.say("open", count=count) if count else reader.say("none open")


def _section(name: str, heading: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(heading)}</h2>\n{body}\n</section>'


def _newest(newest: Entry | None, reader: Reader) -> str:
    if not newest:
        return f'<p class="lead">{text(reader.say("no runs"))}</p>'
    words = text(reader.say("newest", at=reader.at(newest.started)))
    words = f'<a href="{text(newest.href)}">{words}</a>' if newest.href else words
    return f'<p class="lead">{badge(newest.state, reader)} {words}: {text(newest.said)}</p>'


def _stale(reader: Reader) -> str:
    """What the script shows where nobody has written the page for long."""
    words = text(reader.say("stale", minutes="{minutes}"))
    return (
        f'<p class="note" id="stale" role="status" data-written="{int(reader.now.timestamp())}" data-words="{words}" hidden></p>'
    )


def _cards(cards: Sequence[str], reader: Reader) -> str:
    return (
        '<ul class="cards">\n' + "\n".join(cards) + "\n</ul>"
        if cards
        else f'<p class="none">{text(reader.say("no incidents"))}</p>'
    )


def _filter(seen: Sequence[str], reader: Reader) -> str:
    """Hidden until the script is there to make it work."""
    known = {name: title.words for name, title in reader.titles.items()}
    metrics = {"": reader.say("any metric")} | known | {name: name for name in sorted(seen) if name not in known}
    states = {state: reader.say(key) for state, key in STATES.items()}
    fields = (
        _select("metric", metrics, reader) + _select("state", states, reader) + _date("from", reader) + _date("until", reader)
    )
    shown = text(reader.say("shown", incidents="{incidents}", runs="{runs}"))
    reset, output = f'<button type="reset">{text(reader.say("reset"))}</button>', f'<output data-shown="{shown}"></output>'
    return f'<form class="filter" aria-label="{text(reader.say("filter"))}" hidden>{fields}{reset}{output}</form>'


def _select(name: str, choices: Mapping[str, str], reader: Reader) -> str:
    options = "".join(f'<option value="{text(value)}">{text(words)}</option>' for value, words in choices.items())
    return f'<label>{text(reader.say(name))}<select name="{name}">{options}</select></label>'


def _date(name: str, reader: Reader) -> str:
    return f'<label>{text(reader.say(name))}<input type="date" name="{name}"></label>'
