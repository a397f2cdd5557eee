"""Write the pages: of a run that has ended, of metrics and of incidents that changed, and reports/index.html.

This module loads jinja2, nh3 and SQLite. The runner imports it while it waits for the notebook's kernel, to save time.
"""

import ast
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

from markupsafe import Markup

from alerting.incidents.episodes import against_level_before
from alerting.model.clock import DAY
from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member, incident_file, incident_notebook
from alerting.model.metric import SEGMENTS_SUFFIX, Silence
from alerting.model.verdict import JudgedPoint, Verdict
from alerting.redaction import redact
from alerting.reporting.failure import Notebook
from alerting.reporting.incident_page import IncidentStory, incident_card, incident_name, incident_page
from alerting.reporting.index_page import index_page
from alerting.reporting.metric_page import CHART_DAYS, URGENT, MetricState, metric_page, metric_row
from alerting.reporting.page import MetricTitle, PageContext
from alerting.reporting.record import day_entries, day_folders, os_error, run_record, write_file
from alerting.reporting.run_page import RenderedRun, RunRecord, run_page
from alerting.reporting.sanitize import plain_text
from alerting.settings import NAMES, ROOT, Settings
from alerting.store.state import ReadOnlyState

MAX_RUNS_ON_INDEX = 3000  # as many as all runs of a month, or as the kept runs of three months
CALENDAR_FOLDERS = 33  # day folders that the index always reads: a month of local days
INCIDENT_AGE = timedelta(days=90)  # maximum age of incidents on the index; the pages of older ones stay
MAX_INCIDENTS_ON_INDEX = 300
NO_END = timedelta(days=36500)
HERE = Path(__file__).parent
_CARD = re.compile(r"^<li data-k=incidents .*</li>$", re.MULTILINE)

MAX_SPARKLINES = 60  # largest number of metrics on the index that have a chart; those that are not normal come first
MAX_PAGES = 6  # largest number of metric pages that a run writes: first metrics that are not normal, then the oldest pages
PAGE_AGE = 3000  # seconds after which the page of a normal metric is written again: about once an hour
MIN_POINTS = 24  # least buckets of a sparkline, if a bucket is longer than an hour
GONE_AFTER = timedelta(days=3)  # a metric that was not judged for this long, while others were, is not listed
JUST_ENDED = timedelta(hours=2)  # after the end of its incident, a metric's page is written for this long
NOW = timedelta(seconds=1)
CATALOGUE = ROOT / "alerting" / "metrics.py"
_UNSAFE_IN_FILE_NAME = re.compile(r"[^\w.-]")


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
    """Write the page of a run that has none, such as a run of an older version. A damaged notebook is skipped."""
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
    """Return the open incidents and the messages of a run: fields for its line on the list; {} if they cannot be read.

    A run with the parameter `at` wrote messages with this time; any other run, with a time since its start.
    """
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


def write_index(settings: Settings, fresh: bool = False, now: datetime | None = None) -> Path:
    """Write the index, and the pages of incidents that changed. Return the path of the index. Raises AlertingError.

    `fresh`: also write the pages of all other incidents, and of runs without a page. `now`: None is the present moment.
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
        cards, rows, note = list[Markup](), list[dict[str, Any]](), ""
        try:
            cards, rows = _write_pages_of_state(settings, page, fresh)
        except StoreError as error:
            note = str(error)
            with suppress(OSError):  # take the incidents from the present index
                cards = [Markup(card) for card in _CARD.findall(path.read_text(encoding="utf-8"))]
        studies = sorted(file.stem for file in (settings.reports / "studies").glob("*.html"))
        write_file(path, redact(index_page(runs, page, cards, note, studies, rows), settings)[0])
    return path


def _write_pages_of_state(settings: Settings, page: PageContext, fresh: bool) -> tuple[list[Markup], list[dict[str, Any]]]:
    """Write the pages of metrics and incidents. Return the index entries of incidents (newest first) and of metrics."""
    path = settings.state_file
    if not path.is_file():
        return [], []
    with closing(ReadOnlyState(path, destinations=NAMES)) as state:
        stories = _load_stories(settings, state, state.open_or_recent_incidents(page.now - INCIDENT_AGE))
        stories.sort(key=lambda story: story.incident.opened, reverse=True)
        states = _states(settings, state, page, stories)
        _write_metric_pages(settings, state, page, states, fresh)
    files = {it.name: metric_file(it.name) for it in states}
    rows = [metric_row(it, page, files[it.name] if (settings.reports / files[it.name]).is_file() else "") for it in states]
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
            days = start.date(), start.date() - DAY  # the run may have started just before midnight
            runs = (run for day in days for run in entries(day) if not run.rehearsal)
            return next((run for run in runs if run.started <= start), None)
        return None

    stories = []
    for incident in incidents:
        thread = tuple(state.thread(incident.id))
        runs = {message.key: run for message in thread if (run := run_behind(message.created))}
        pictures = {key: f"runs/{run.day}/{run.pictures[key]}" for key, run in runs.items() if key in run.pictures}
        notebook = settings.reports / incident_notebook(incident.id).replace(".ipynb", ".html")
        written = str(notebook.stat().st_mtime_ns) if notebook.is_file() else ""
        stories.append(IncidentStory(_as_now(state, incident), thread, runs, pictures, written))
    return stories


def _as_now(state: ReadOnlyState, incident: Incident) -> Incident:
    """Return an open incident with the worst verdict of each metric so far, which the database keeps with the episode."""
    members = list[Member]()
    for member in incident.members:
        episode = state.episode(member.metric) if incident.open and not member.until else None
        is_its_own = episode is not None and episode.worst is not None and episode.since == member.since
        members.append(replace(member, worst=episode.worst) if episode and is_its_own else member)
    return replace(incident, members=tuple(members))


def metric_file(name: str) -> str:
    """Return the path of a metric's page, relative to the folder of reports. A stand-in has the page of its metric."""
    safe = _UNSAFE_IN_FILE_NAME.sub("_", name.removesuffix(SEGMENTS_SUFFIX))
    return f"metrics/{safe[:150].lstrip('.') or '_'}.html"


def _states(settings: Settings, state: ReadOnlyState, page: PageContext, stories: Sequence[IncidentStory]) -> list[MetricState]:
    """Return the present states of the metrics, those that are not normal first. Raises StoreError.

    Stand-ins are listed only if they are not normal or silenced. Only the first MAX_SPARKLINES metrics have `points`. `stories`:
    the incidents, newest first.
    """
    newest = {verdict.metric: verdict for verdict in state.newest_verdicts()}
    for name in {member.metric for story in stories if story.incident.open for member in story.incident.affected} & set(newest):
        newest[name] = against_level_before(state.episode(name), newest[name])
    incidents = defaultdict[str, list[IncidentStory]](list)
    for story in stories:
        for member in story.incident.members:
            incidents[member.metric].append(story)
    silences = list[Silence]()
    with suppress(StoreError):  # the table of a version that no run has migrated yet
        silences = state.silences(page.now)

    found = []
    for name in _listed(newest, page):
        own = [it for it in silences if it.scope in (name, name.removesuffix(SEGMENTS_SUFFIX), "*")]
        silence = next((it for it in own if it.covers(it.scope, page.now, NOW)), own[0] if own else None)
        found.append(MetricState(name, newest.get(name), (), tuple(incidents[name]), silence))
    found = [it for it in found if not it.name.endswith(SEGMENTS_SUFFIX) or it.state in URGENT or it.silence]
    found.sort(key=lambda it: URGENT.index(it.state) if it.state in URGENT else len(URGENT))
    found[:MAX_SPARKLINES] = [_with_points(it, state, page) for it in found[:MAX_SPARKLINES]]
    delay = timedelta(minutes=settings.delay)
    return [
        replace(it, next_check=settings.next_cron_run(max(page.now, it.newest.bucket + 2 * step + delay - NOW)))
        if it.newest and (step := _step(it, page))
        else it
        for it in found
    ]


def _step(it: MetricState, page: PageContext) -> timedelta:
    """Return the length of a bucket; 0 if it is unknown. Of a table file, whose steps no page knows, the buckets show it."""
    apart = (after.at - before.at for before, after in pairwise(it.points))
    return timedelta(seconds=page.metric(it.name).step or min(apart, default=0))


def _listed(newest: dict[str, Verdict], page: PageContext) -> Collection[str]:
    """Return the names of the metrics to list: those of the catalogue, each before its stand-in, or those of the table file."""
    if page.titles:
        names = [each for name in page.titles for each in (name, name + SEGMENTS_SUFFIX)]
        return [name for name in names if name in page.titles or name in newest]
    last = max((verdict.bucket for verdict in newest.values()), default=page.now)
    return [name for name, verdict in newest.items() if verdict.bucket > last - GONE_AFTER]


def _with_points(it: MetricState, state: ReadOnlyState, page: PageContext) -> MetricState:
    """Return the metric with the buckets of its last day, or with its last MIN_POINTS buckets if those take longer."""
    if it.newest is None:
        return it
    step = timedelta(seconds=page.metric(it.name).step)
    return replace(it, points=_judged_points(state, it.name, it.newest.bucket - max(DAY, MIN_POINTS * step)))


def _judged_points(state: ReadOnlyState, name: str, since: datetime) -> list[JudgedPoint]:
    """Return the judged buckets. Those of an open episode are compared with the level before it, as in messages."""
    points, episode = state.judged_points(name, since), state.episode(name)
    if episode is None or episode.opened is None:
        return points
    opened = episode.opened.timestamp()
    for number, point in enumerate(points):
        if point.at > opened:
            it = against_level_before(episode, point.verdict(name))
            points[number] = point._replace(status=it.status.value, low=it.low, expected=it.expected, high=it.high)
    return points


def _write_metric_pages(
    settings: Settings, state: ReadOnlyState, page: PageContext, states: Iterable[MetricState], fresh: bool
) -> None:
    """Write the pages of metrics that are not normal, just recovered or have an old page: at most MAX_PAGES, with `fresh` all."""
    chosen = [it for it in states if it.newest and not it.name.endswith(SEGMENTS_SUFFIX)]
    if not fresh:
        pages = (settings.reports / "metrics").glob("[!.]*.html")
        written = {f"metrics/{file.name}": file.stat().st_mtime for file in pages}
        ages = {it.name: page.now.timestamp() - written.get(metric_file(it.name), 0.0) for it in chosen}
        ended = {it.name: it.stories[0].incident.closed for it in chosen if it.stories}
        recovered = {name for name, closed in ended.items() if closed and page.now - closed < JUST_ENDED}
        stale = [it for it in chosen if it.state != "normal" or ages[it.name] > PAGE_AGE or it.name in recovered]
        chosen = sorted(stale, key=lambda it: (it.state == "normal", -ages[it.name]))[:MAX_PAGES]
    for it in chosen:
        points = _judged_points(state, it.name, page.now - CHART_DAYS * DAY)
        shown = it if it.points else _with_points(it, state, page)
        write_file(settings.reports / metric_file(it.name), redact(metric_page(shown, points, page), settings)[0])


def page_context(settings: Settings, now: datetime) -> PageContext:
    """Return the context of the pages. Series of a table file have no titles: pages show their names."""
    titles = catalogue_titles(settings) if settings.has_catalogue else {}
    return PageContext(settings.language, settings.zone, now, titles)


def catalogue_titles(settings: Settings) -> dict[str, MetricTitle]:
    """Return metric -> title. The titles are cached in a file beside the pages: loading the catalogue takes half a second."""
    file = settings.reports / ".pages" / "titles.json"
    key = f"{CATALOGUE.stat().st_mtime_ns} {settings.language} {settings.metrics} {MetricTitle._fields}"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return {name: MetricTitle(*fields) for name, fields in kept["titles"].items()}
    from alerting.catalogue import metric_entries  # late: they load pandas
    from alerting.connections import load_catalogue

    titles = dict[str, MetricTitle]()
    with suppress(Exception):  # analysts edit that file: the run reports its error, and the pages show names
        source = CATALOGUE.read_text(encoding="utf-8")
        entries = {name: calls[-1] for name, calls in metric_entries(source).items()}
        for metric in load_catalogue(settings):
            code = ast.get_source_segment(source, entries[metric.name], padded=True) if metric.name in entries else None
            words, code = (redact(text, settings)[0] for text in (metric.title_in(settings.language), dedent(code or "")))
            titles[metric.name] = MetricTitle(words, metric.form, int(metric.step.total_seconds()), code)
    with suppress(OSError):
        write_file(file, json.dumps({"key": key, "titles": titles}, ensure_ascii=False))
    return titles
