"""Write the pages: the page of a run that has ended, pages of incidents that changed, and reports/index.html.

This module loads jinja2, nh3 and SQLite. The runner imports it while it waits for the notebook's kernel, to save time.
"""

from __future__ import annotations

import gzip
import json
import re
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from markupsafe import Markup

from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member, incident_file, incident_notebook
from alerting.model.metric import SEGMENTS_SUFFIX
from alerting.redaction import redact
from alerting.reporting.archive import day_entries, day_folders, os_error, run_record, write_file
from alerting.reporting.failure import Notebook
from alerting.reporting.incident_page import incident_card, incident_name, incident_page
from alerting.reporting.index_page import index_page
from alerting.reporting.metric_files import catalogue_titles, metric_states, write_metric_pages
from alerting.reporting.metric_page import MetricRow, metric_row
from alerting.reporting.run_page import RenderedRun, run_page
from alerting.reporting.sanitize import plain_text
from alerting.reporting.types import IncidentStory, PageContext, RunRecord
from alerting.settings import NAMES, Settings
from alerting.store.state import ReadOnlyState

MAX_RUNS_ON_INDEX = 3000  # all runs of a month, or the kept ones of three months
CALENDAR_FOLDERS = 33  # day folders that the index always reads: a month of local days
INCIDENT_AGE = timedelta(days=90)  # maximum age of incidents on the index; the pages of older ones stay
MAX_INCIDENTS_ON_INDEX = 300
ONE_DAY = timedelta(days=1)
NO_END = timedelta(days=36500)
HERE = Path(__file__).parent
_CARD = re.compile(r"^<li data-k=incidents .*</li>$", re.MULTILINE)


# Runs


def write_run_page(settings: Settings, notebook: Notebook, path: Path, line: dict[str, Any]) -> dict[str, Any]:
    """Write the page of the run whose notebook is at `path`, and its pictures.

    Return its `line` for the list of the day, completed from the database: metrics with an open incident (`off`), number of
    messages (`sent`), and `pictures` (key of a message -> file). Raises OSError.
    """
    facts = _database_facts(settings, notebook, line) if line["kind"] == "alert" else {}
    keys = facts.pop("pictures", [])
    rendered = _write_run(settings, notebook, run_record(path.parent.name, path.stem, {**line, **facts}, {path.name}))
    files = rendered.message_pictures
    return {**line, **facts, "pictures": dict(zip(keys, files, strict=True)) if len(keys) == len(files) else {}}


def write_missing_page(settings: Settings, day: Path, run: RunRecord) -> None:
    """Write the page of a run without a page, such as a run of an older version. A damaged notebook is skipped."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = (day / f"{run.name}{run.notebook}").read_bytes()
        content = gzip.decompress(content) if run.notebook.endswith(".gz") else content
        _write_run(settings, json.loads(content), run)


def _write_run(settings: Settings, notebook: Notebook, run: RunRecord) -> RenderedRun:
    rendered = run_page(notebook, run, page_context(settings, datetime.now(UTC)))
    day = settings.reports / "runs" / run.day
    for file, picture in rendered.pictures.items():
        write_file(day / file, picture)
    write_file(day / f"{run.name}.html", redact(rendered.html, settings)[0])
    return rendered


def _database_facts(settings: Settings, notebook: Notebook, line: dict[str, Any]) -> dict[str, Any]:
    """Read the open incidents and the messages of a run. Its messages have its parameter `at`, or a moment since its start."""
    path = settings.state_file
    started = datetime.fromisoformat(line["started"])
    since, until = started, started + NO_END
    with suppress(ValueError, TypeError):
        since = until = datetime.fromisoformat(notebook["metadata"].get("papermill", {}).get("parameters", {}).get("at"))
    if path.is_file():
        with suppress(StoreError), closing(ReadOnlyState(path, destinations=NAMES)) as state:
            found = [it for it in state.open_or_recent_incidents(until) if it.open]
            page = page_context(settings, started)
            lines = [plain_text(line).strip() for line in state.first_lines(since, until)]
            return {
                "off": list(dict.fromkeys(member.metric for it in found for member in it.affected)),
                "open": {it.id: incident_name(IncidentStory(it, tuple(state.thread(it.id))), page) for it in found},
                "messages": [redact(line, settings)[0] for line in lines],
                "sent": state.sent(since, until),
                "pictures": state.pictures(since, until),
            }
    return {}


# The index


def write_index(settings: Settings, fresh: bool = False, now: datetime | None = None) -> Path:
    """Write the index and the pages of incidents that changed. Return the path of the index. Raises AlertingError.

    `fresh`: also write the pages of all other incidents, and of runs without a page. `now`: default is the present moment.
    """
    with os_error("the list of runs could not be written"):
        days, runs = day_folders(settings.reports), list[RunRecord]()
        if fresh:
            for day in days:
                for run in day_entries(day):
                    if run.notebook and not run.has_page:
                        write_missing_page(settings, day, run)
        for n, day in enumerate(days):
            if n >= CALENDAR_FOLDERS and sum(run.href != "" for run in runs) >= MAX_RUNS_ON_INDEX:
                break
            runs += day_entries(day)
        page, path = page_context(settings, now or datetime.now(UTC)), settings.reports / "index.html"
        cards, rows, note = list[Markup](), list[MetricRow](), ""
        try:
            cards, rows = _write_pages_of_state(settings, page, fresh)
        except StoreError as error:
            note = str(error)
            with suppress(OSError):  # take the incidents from the present index
                cards = [Markup(card) for card in _CARD.findall(path.read_text(encoding="utf-8"))]
        studies = sorted(file.stem for file in (settings.reports / "studies").glob("*.html"))
        write_file(path, redact(index_page(runs, page, cards, note, studies, rows), settings)[0])
    return path


# Incidents and metrics


def _write_pages_of_state(settings: Settings, page: PageContext, fresh: bool) -> tuple[list[Markup], list[MetricRow]]:
    """Write the pages of metrics and incidents. Return their entries on the index, newest incidents first.

    Raises OSError, StoreError.
    """
    path = settings.state_file
    if not path.is_file():
        return [], []
    with closing(ReadOnlyState(path, destinations=NAMES)) as state:
        stories = _load_stories(settings, state, state.open_or_recent_incidents(page.now - INCIDENT_AGE))
        stories.sort(key=lambda story: story.incident.opened, reverse=True)
        states = metric_states(settings, state, page, stories)
        written = write_metric_pages(settings, state, page, states, fresh)
    rows = [metric_row(replace(it, href=written.get(it.name.removesuffix(SEGMENTS_SUFFIX), it.href)), page) for it in states]
    return _write_incident_pages(settings, page, stories, fresh), rows


def _write_incident_pages(settings: Settings, page: PageContext, stories: list[IncidentStory], fresh: bool) -> list[Markup]:
    """Write the pages of incidents that changed. Return index entries of the newest incidents. Raises OSError."""
    written = sorted(file.stat().st_mtime_ns for folder in (".", "templates", "static") for file in (HERE / folder).glob("*.*"))
    version = f"{written} {page.language} {page.zone} {page.titles}"
    for story in stories:
        file = settings.reports / incident_file(story.incident.id)
        stamp = blake2b(f"{version} {story}".encode("utf-8", "replace"), digest_size=12).hexdigest()
        # The page of an open incident contains its duration, so it is always written.
        old = ""
        with suppress(OSError):
            old = file.read_text(encoding="utf-8", errors="replace")
        if fresh or story.incident.open or stamp not in old:
            write_file(file, redact(incident_page(story, page, stamp), settings)[0])
    return [incident_card(story, page) for story in stories[:MAX_INCIDENTS_ON_INDEX]]


def _load_stories(settings: Settings, state: ReadOnlyState, incidents: list[Incident]) -> list[IncidentStory]:
    """Read the threads of incidents, and find the run that sent each message. Raises StoreError."""
    if not incidents:
        return []
    starts = state.runs(min(incident.opened for incident in incidents))  # moment in a message -> start of its run

    entries = cache(lambda day: day_entries(settings.reports / "runs" / str(day)))

    def run_behind(created: datetime) -> RunRecord | None:
        if start := starts.get(created):
            days = start.date(), start.date() - ONE_DAY  # the run may have started just before midnight
            runs = (run for day in days for run in entries(day) if not run.rehearsal)
            return next((run for run in runs if run.started <= start), None)
        return None

    stories = []
    for incident in map(partial(_as_now, state), incidents):
        thread = tuple(state.thread(incident.id))
        runs = {message.key: run for message in thread if (run := run_behind(message.created))}
        pictures = {
            message.key: f"runs/{run.day}/{run.pictures[message.key]}"
            for message in thread
            if message.has_picture and (run := runs.get(message.key)) and message.key in run.pictures
        }
        notebook = settings.reports / incident_notebook(incident.id).replace(".ipynb", ".html")
        written = str(notebook.stat().st_mtime_ns) if notebook.is_file() else ""
        stories.append(IncidentStory(incident, thread, runs, pictures, written))
    return stories


def _as_now(state: ReadOnlyState, incident: Incident) -> Incident:
    """Return an open incident with the worst of each metric so far, which the database has at the metric's episode."""
    members = list[Member]()
    for member in incident.members:
        episode = state.episode(member.metric) if incident.open and not member.until else None
        is_its_own = episode is not None and episode.worst is not None and episode.since == member.since
        members.append(replace(member, worst=episode.worst) if episode and is_its_own else member)
    return replace(incident, members=tuple(members))


def page_context(settings: Settings, now: datetime) -> PageContext:
    """Return language, time zone and titles of metrics for the pages. Series of a table file have their names as titles."""
    titles = catalogue_titles(settings) if settings.has_catalogue else {}
    return PageContext(settings.language, settings.zone, now, titles)
