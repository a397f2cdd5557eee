"""The index: how it stands, the calendar, the incidents, the checks, and a filter over both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import groupby

from alerting.messages.words import WEEKDAYS
from alerting.reporting.layout import escape_html, layout_page, scrollable_table
from alerting.reporting.types import QUARTER, PageContext, RunRecord, RunRow

STATES = {"": "any state", "alert": "with alert", "open": "only open", "failed": "only failed", "ok": "only quiet"}


@dataclass(frozen=True)
class IndexData:
    """What the index shows. `lines`: all checks that the lists tell of, newest first; `newest` of them, no rehearsal; `cards`:
    the incidents, newest first; `opened`: how many of them go on; `seen`: metrics that were off; `note`: why the memory could
    not be read."""

    lines: Sequence[RunRow] = ()
    newest: RunRecord | None = None
    cards: Sequence[str] = ()
    opened: int = 0
    seen: Sequence[str] = ()
    note: str = ""


def index_page(told: IndexData, reader: PageContext) -> str:
    live = [line for line in told.lines if line.live]
    strip = f'<p class="soft">{escape_html(reader.say("strip"))}</p>{calendar_heatmap(live, reader)}'
    parts = [
        f"<h1>{escape_html(reader.say('title'))}</h1>",
        _newest(told.newest, reader),
        _stale(reader),
        f'<p class="note">{escape_html(reader.say("no memory", why=told.note))}</p>' if told.note else "",
        _section("calendar", reader.say("calendar"), strip) if live else "",
        _filter(told.seen, reader),
        _section("incidents", f"{reader.say('incidents')}: {_open(told.opened, reader)}", _cards(told.cards, reader)),
        _section("runs", reader.say("runs"), f'<div class="days">\n{run_table(told.lines, reader)}\n</div>'),
    ]
    return layout_page(reader.say("title"), "\n".join(filter(None, parts)), reader, live=True)


def _open(count: int, reader: PageContext) -> str:
    return reader.say("open", count=count) if count else reader.say("none open")


def _section(name: str, heading: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape_html(heading)}</h2>\n{body}\n</section>'


def _newest(newest: RunRecord | None, reader: PageContext) -> str:
    if not newest:
        return f'<p class="lead">{escape_html(reader.say("no runs"))}</p>'
    words = escape_html(reader.say("newest", at=reader.at(newest.started)))
    words = f'<a href="{escape_html(newest.href)}">{words}</a>' if newest.href else words
    return f'<p class="lead">{badge(newest.state, reader)} {words}: {escape_html(newest.said)}</p>'


def _stale(reader: PageContext) -> str:
    """What the script shows where nobody has written the page for long."""
    words = escape_html(reader.say("stale", minutes="{minutes}"))
    return (
        f'<p class="note" id="stale" role="status" data-written="{int(reader.now.timestamp())}" data-words="{words}" hidden></p>'
    )


def _cards(cards: Sequence[str], reader: PageContext) -> str:
    return (
        '<ul class="cards">\n' + "\n".join(cards) + "\n</ul>"
        if cards
        else f'<p class="none">{escape_html(reader.say("no incidents"))}</p>'
    )


def _filter(seen: Sequence[str], reader: PageContext) -> str:
    """Hidden until the script is there to make it work."""
    known = {name: title.words for name, title in reader.titles.items()}
    metrics = {"": reader.say("any metric")} | known | {name: name for name in sorted(seen) if name not in known}
    states = {state: reader.say(key) for state, key in STATES.items()}
    fields = (
        _select("metric", metrics, reader) + _select("state", states, reader) + _date("from", reader) + _date("until", reader)
    )
    shown = escape_html(reader.say("shown", incidents="{incidents}", runs="{runs}"))
    reset, output = f'<button type="reset">{escape_html(reader.say("reset"))}</button>', f'<output data-shown="{shown}"></output>'
    return f'<form class="filter" aria-label="{escape_html(reader.say("filter"))}" hidden>{fields}{reset}{output}</form>'


def _select(name: str, choices: Mapping[str, str], reader: PageContext) -> str:
    options = "".join(f'<option value="{escape_html(value)}">{escape_html(words)}</option>' for value, words in choices.items())
    return f'<label>{escape_html(reader.say(name))}<select name="{name}">{options}</select></label>'


def _date(name: str, reader: PageContext) -> str:
    return f'<label>{escape_html(reader.say(name))}<input type="date" name="{name}"></label>'


# The calendar of checks: a local day a line, a quarter of an hour a cell, and the same in words beside it.

DAYS = 31  # lines
REGULAR = 4  # checks in a row beside a gap that make it one of cron's, and not of somebody who checks by hand
WORST = ("ok", "unknown", "alert", "failed")
SPACE = "\N{NO-BREAK SPACE}"
LOUD = ("failed", "missing")
HOURS = range(0, 24, 3)


def missed_checks(taken: Iterable[int], now: int) -> set[int]:
    """Quarters of an hour without a check where cron was running: an hour of checks lies right before the gap or after it.

    `taken`: quarters that have one; `now`: the present quarter, which is not over.
    """
    runs: list[tuple[int, int]] = []  # first and last of those in a row
    for quarter in sorted(set(taken)):
        if runs and quarter == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], quarter)
        else:
            runs.append((quarter, quarter))
    out: set[int] = set()
    for (first, last), (start, end) in zip(runs, [*runs[1:], (now, now)], strict=False):
        if last - first >= REGULAR - 1 or end - start >= REGULAR - 1:
            out.update(range(last + 1, start))
    return out


def calendar_heatmap(lines: Sequence[RunRow], reader: PageContext) -> str:
    """The last days, newest first, from the first check on. `lines`: of all checks on any list, gone ones too."""
    best: dict[int, RunRow] = {}
    for line in lines:
        known = best.get(line.quarter)
        if not known or WORST.index(line.state) > WORST.index(known.state):
            best[line.quarter] = line
    if not best:
        return ""
    gaps = missed_checks(best, int(reader.now.timestamp()) // QUARTER)
    today = reader.now.astimezone(reader.place).date()
    count = min(DAYS, (today - datetime.fromtimestamp(min(best) * QUARTER, reader.place).date()).days + 1)
    days = "\n".join(_day_row(today - timedelta(days=n), best, gaps, reader) for n in range(count))
    names = "".join(f'<th scope="col">{escape_html(reader.say(key))}</th>' for key in ("day", "quarters", "sum"))
    hours = "".join(f"<span>{hour:02}</span>" for hour in HOURS)
    scale = f'<tr class="scale" aria-hidden="true"><th></th><td class="strip"><div class="hours">{hours}</div></td></tr>'
    table = f'<table><thead class="away"><tr>{names}</tr></thead><tbody>{scale}\n{days}\n</tbody></table>'
    return f'<div class="calendar">{table}</div>\n{_legend(reader)}'


def _day_row(day: date, best: dict[int, RunRow], gaps: set[int], reader: PageContext) -> str:
    start, end = (int(datetime.combine(d, time(), reader.place).timestamp()) // QUARTER for d in (day, day + timedelta(days=1)))
    cells, counts = list[str](), dict.fromkeys(("ok", "alert", "failed", "unknown", "missing"), 0)
    missing = f'<i class=m title="{escape_html(reader.say("missing"))}"></i>'
    for quarter in range(start, end):
        line = best.get(quarter)
        if line or quarter in gaps:
            counts[line.state if line else "missing"] += 1
        cells.append(line.cell if line else missing if quarter in gaps else "<i></i>")
    size = "" if end - start == 96 else f" n{end - start}"  # clocks go forward or back
    strip = f'<td class="strip"><div class="cells{size}" aria-hidden="true">{"".join(cells)}</div></td>'
    head = f'<th scope="row"><time datetime="{day}">{escape_html(day_name(day, reader))}</time></th>'
    return f'<tr>{head}{strip}<td class="sum">{_sum(counts, reader)}</td></tr>'


def _sum(counts: dict[str, int], reader: PageContext) -> str:
    """94 well · 1 alert · **1 failed**"""
    said = {
        state: escape_html(reader.say("tally", count=count, state=reader.say(state))).replace(" ", SPACE)
        for state, count in counts.items()
        if count
    }
    first = said.pop("ok", "")
    rest = " · ".join(f"<b>{words}</b>" if state in LOUD else words for state, words in said.items())
    return f'<span class="well">{first} · </span>{rest}' if first and rest else first or rest


def _legend(reader: PageContext) -> str:
    keys = {"o": "ok", "a": "alert", "f": "failed", "m": "missing"}
    items = "".join(
        f'<li><i class={letter} aria-hidden="true"></i>{escape_html(reader.say(f"legend {key}"))}</li>'
        for letter, key in keys.items()
    )
    return f'<ul class="legend">{items}</ul>'


# The checks that are kept, a day a table, newest first; and each of them as the index keeps it.

OPEN = 1  # days that are unfolded
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time: what the filter compares dates with
COLUMNS = ("time", "state", "off", "said", "took")
LETTERS = {"ok": "o", "alert": "a", "failed": "f", "unknown": "u"}


def run_row(entry: RunRecord, reader: PageContext) -> RunRow:
    local = entry.started.astimezone(reader.place)
    row = _row(local, entry, reader) if entry.href else ""
    return RunRow(entry.quarter, f"{local:%Y-%m-%d}", entry.state, not entry.rehearsal, _cell(local, entry, reader), row)


def run_table(lines: Sequence[RunRow], reader: PageContext) -> str:
    """`lines`: newest first."""
    days = [(day, [line.row for line in some]) for day, some in groupby(filter(_kept, lines), key=lambda line: line.day)]
    return "\n".join(
        _day(date.fromisoformat(day), rows, reader, " open" if n < OPEN else "") for n, (day, rows) in enumerate(days)
    )


def _kept(line: RunRow) -> bool:
    return bool(line.row)


def _day(day: date, rows: list[str], reader: PageContext, unfolded: str) -> str:
    heads = "".join(f'<th scope="col">{escape_html(reader.say(name))}</th>' for name in COLUMNS)
    body = "\n".join(rows)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"
    name, count = day_name(day, reader), escape_html(reader.say("count", count=len(rows)))
    return f"<details{unfolded}><summary>{name} <span>{count}</span></summary>{scrollable_table(table, name)}</details>"


def _row(local: datetime, entry: RunRecord, reader: PageContext) -> str:
    off = ", ".join(escape_html(reader.title(name)) for name in entry.off)
    took = escape_html(reader.say("seconds", count=f"{entry.seconds:.1f}")) if entry.seconds else ""
    cells = (badge(entry.state, reader) + _kind(entry, reader), off, escape_html(entry.said), took)
    metrics = f' data-m="{escape_html(" ".join(entry.off))}"' if entry.off else ""
    return (
        f"<tr data-t={wall_time(local)} data-s={entry.state}{metrics}><th scope=row>"
        f'<a href="{escape_html(entry.href)}">{local:%H:%M}</a></th><td>{"</td><td>".join(cells)}</td></tr>'
    )


def _cell(local: datetime, entry: RunRecord, reader: PageContext) -> str:
    clock = f"{local:%H}:{local.minute // 15 * 15:02}"
    letter, title = LETTERS[entry.state], f"{clock} {escape_html(reader.say(entry.state))}"
    if not entry.href:
        return f'<i class={letter} title="{title}, {escape_html(reader.say("thinned"))}"></i>'
    return f'<a class={letter} tabindex=-1 href="{escape_html(entry.href)}" title="{title}"></a>'


def day_name(day: date, reader: PageContext) -> str:
    """Wed 2026-11-25"""
    return f"{WEEKDAYS[reader.language][day.weekday()]} {day}"


def wall_time(local: datetime) -> int:
    """Seconds that sort as the local calendar does."""
    return int((local.replace(tzinfo=None) - EPOCH).total_seconds())


@cache
def _badge(state: str, words: str) -> str:
    return f'<span class="badge {state}">{escape_html(words)}</span>'


def badge(state: str, reader: PageContext) -> str:
    return _badge(state, reader.say(state))


def _kind(entry: RunRecord, reader: PageContext) -> str:
    return f" {escape_html(reader.say('rehearsal'))}" if entry.rehearsal else ""
