"""The calendar of checks: a local day a line, a quarter of an hour a cell, and the same in words beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta

from alerting.pages.listing import day_name
from alerting.pages.markup import text
from alerting.pages.nouns import QUARTER, Line, Reader

DAYS = 31  # lines
REGULAR = 4  # checks in a row beside a gap that make it one of cron's, and not of somebody who checks by hand
WORST = ("ok", "unknown", "alert", "failed")
SPACE = "\N{NO-BREAK SPACE}"
LOUD = ("failed", "missing")
HOURS = range(0, 24, 3)


def missed(taken: Iterable[int], now: int) -> set[int]:
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


def calendar(lines: Sequence[Line], reader: Reader) -> str:
    """The last days, newest first, from the first check on. `lines`: of all checks on any list, gone ones too."""
    best: dict[int, Line] = {}
    for line in lines:
        known = best.get(line.quarter)
        if not known or WORST.index(line.state) > WORST.index(known.state):
            best[line.quarter] = line
    if not best:
        return ""
    gaps = missed(best, int(reader.now.timestamp()) // QUARTER)
    today = reader.now.astimezone(reader.place).date()
    count = min(DAYS, (today - datetime.fromtimestamp(min(best) * QUARTER, reader.place).date()).days + 1)
    days = "\n".join(_day(today - timedelta(days=n), best, gaps, reader) for n in range(count))
    names = "".join(f'<th scope="col">{text(reader.say(key))}</th>' for key in ("day", "quarters", "sum"))
    hours = "".join(f"<span>{hour:02}</span>" for hour in HOURS)
    scale = f'<tr class="scale" aria-hidden="true"><th></th><td class="strip"><div class="hours">{hours}</div></td></tr>'
    table = f'<table><thead class="away"><tr>{names}</tr></thead><tbody>{scale}\n{days}\n</tbody></table>'
    return f'<div class="calendar">{table}</div>\n{_legend(reader)}'


def _day(day: date, best: dict[int, Line], gaps: set[int], reader: Reader) -> str:
    start, end = (int(datetime.combine(d, time(), reader.place).timestamp()) // QUARTER for d in (day, day + timedelta(days=1)))
    cells, counts = list[str](), dict.fromkeys(("ok", "alert", "failed", "unknown", "missing"), 0)
    missing = f'<i class=m title="{text(reader.say("missing"))}"></i>'
    for quarter in range(start, end):
        line = best.get(quarter)
        if line or quarter in gaps:
            counts[line.state if line else "missing"] += 1
        cells.append(line.cell if line else missing if quarter in gaps else "<i></i>")
    size = "" if end - start == 96 else f" n{end - start}"  # clocks go forward or back
    strip = f'<td class="strip"><div class="cells{size}" aria-hidden="true">{"".join(cells)}</div></td>'
    head = f'<th scope="row"><time datetime="{day}">{text(day_name(day, reader))}</time></th>'
    return f'<tr>{head}{strip}<td class="sum">{_sum(counts, reader)}</td></tr>'


def _sum(counts: dict[str, int], reader: Reader) -> str:
    """94 well · 1 alert · **1 failed**"""
    said = {
        state: text(reader.say("tally", count=count, state=reader.say(state))).replace(" ", SPACE)
        for state, count in counts.items()
        if count
    }
    first = said.pop("ok", "")
    rest = " · ".join(f"<b>{words}</b>" if state in LOUD else words for state, words in said.items())
    return f'<span class="well">{first} · </span>{rest}' if first and rest else first or rest


def _legend(reader: Reader) -> str:
    keys = {"o": "ok", "a": "alert", "f": "failed", "m": "missing"}
    items = "".join(
        f'<li><i class={letter} aria-hidden="true"></i>{text(reader.say(f"legend {key}"))}</li>' for letter, key in keys.items()
    )
    return f'<ul class="legend">{items}</ul>'
