"""The index page: open incidents, the metrics now, ended incidents, the calendar of runs, runs, and a filter for all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import groupby, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from alerting.messages.words import WEEKDAYS
from alerting.reporting.page import PageContext, render
from alerting.reporting.run_page import RunRecord, run_words

STEP = 900  # seconds between two runs of cron; a cell of the calendar covers the same time
CALENDAR_DAYS = 31  # rows of the calendar
MIN_CRON_RUNS = 4  # this many runs in a row next to a gap show that cron started them, not a person
WORST_LAST = ("ok", "unknown", "alert", "failed")  # a cell shows the worst of its runs
LETTERS = {"ok": "o", "alert": "a", "failed": "f", "unknown": "u", "missing": "m"}  # CSS classes of cells: there are thousands
STATE_FILTERS = {"": "any state", "alert": "with alert", "open": "only open", "failed": "only failed", "ok": "only quiet"}
METRIC_COLUMNS = ("metric", "state", "value", "usual", "day of", "since", "last alert", "next check")
RUN_COLUMNS = ("time", "state", "said", "off", "took")


@dataclass
class CalendarDay:
    """A row of the calendar. `cells`: for each 15 minutes the state's letter, href, title. `counts`: state -> number of cells."""

    day: date
    cells: list[tuple[str, str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("ok", "alert", "failed", "unknown", "missing"), 0))


def index_page(
    runs: Sequence[RunRecord],
    page: PageContext,
    cards: Sequence[Markup] = (),
    note: str = "",
    studies: Sequence[str] = (),
    metrics: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the HTML of the page.

    `runs`: all runs on the lists, newest first. `cards`: the incidents, newest first. `note`: why the database could not be read.
    `studies`: names of the pages in reports/studies. `metrics`: rows made by `metric_row`, in the order of the list.
    """
    live = [run for run in runs if not run.rehearsal]
    kept = [run for run in runs if run.href]
    is_open = [' data-s="alert open"' in card for card in cards]
    return render(
        "index",
        page,
        newest=live[0] if live else None,
        note=note,
        studies=studies,
        metrics=metrics,
        words={key: page.text(key) for key in METRIC_COLUMNS},
        calendar=calendar_heatmap(live, page),
        letters=LETTERS,
        state_filters=STATE_FILTERS,
        open_cards=[card for card, is_so in zip(cards, is_open, strict=True) if is_so],
        cards=[card for card, is_so in zip(cards, is_open, strict=True) if not is_so],
        days=[(day, list(runs)) for day, runs in groupby(kept, key=lambda run: page.local(run.started).date())],
        day_name=lambda day: f"{WEEKDAYS[page.language][day.weekday()]} {day}",
        run_words=lambda run: run_words(run, page),
        columns=RUN_COLUMNS,
    )


def missed_checks(taken: Iterable[int], now: int) -> set[int]:
    """Return the 15-minute intervals in which cron missed a run: there is no run, but MIN_CRON_RUNS in a row before or after.

    Intervals are numbered from 1970. `taken`: intervals that have a run; `now`: the present interval, which is not over.
    """
    present, missed = set(taken), set[int]()
    for last, start in pairwise([*sorted(present), now]):
        before = all(last - n in present for n in range(MIN_CRON_RUNS))
        after = all(start + n in present for n in range(MIN_CRON_RUNS))
        if before or after:
            missed.update(range(last + 1, start))
    return missed


def calendar_heatmap(runs: Sequence[RunRecord], page: PageContext) -> list[CalendarDay]:
    """Return the rows of the last CALENDAR_DAYS local days, newest first, back to the first run. `runs` includes deleted runs."""
    worst: dict[int, RunRecord] = {}
    for run in runs:
        quarter = int(run.started.timestamp()) // STEP
        if quarter not in worst or WORST_LAST.index(run.state) > WORST_LAST.index(worst[quarter].state):
            worst[quarter] = run
    if not worst:
        return []
    missed = missed_checks(worst, int(page.now.timestamp()) // STEP)
    today, first = page.local(page.now).date(), page.local(min(run.started for run in worst.values())).date()
    days = [today - timedelta(days=n) for n in range(min(CALENDAR_DAYS, (today - first).days + 1))]
    return [_calendar_day(day, worst, missed, page) for day in days]


def _calendar_day(day: date, worst: dict[int, RunRecord], missed: set[int], page: PageContext) -> CalendarDay:
    """Return the row of one day: 96 cells; 92 or 100 on days when the clocks change."""
    zone = ZoneInfo(page.zone)
    start, end = (int(datetime.combine(d, time(), zone).timestamp()) // STEP for d in (day, day + timedelta(days=1)))
    line = CalendarDay(day)
    for quarter in range(start, end):
        run = worst.get(quarter)
        if run is None and quarter not in missed:
            line.cells.append(("", "", ""))
            continue
        state = run.state if run else "missing"
        line.counts[state] += 1
        title = page.text(state)
        if run:
            local = page.local(run.started)
            title = f"{local:%H}:{local.minute // 15 * 15:02} {title}" + ("" if run.href else f", {page.text('thinned')}")
        line.cells.append((LETTERS[state], run.href if run else "", title))
    return line
