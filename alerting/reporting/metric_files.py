"""The metrics for the pages: their entries in the catalogue, their states from the database, and the files of their pages."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache

from alerting.incidents.episodes import against_level_before
from alerting.model.clock import DAY
from alerting.model.errors import StoreError
from alerting.model.metric import SEGMENTS_SUFFIX, STEP, Silence
from alerting.model.verdict import Episode, JudgedPoint, Verdict
from alerting.redaction import redact
from alerting.reporting.archive import write_file
from alerting.reporting.metric_page import CHART_DAYS, URGENT, by_state, metric_page
from alerting.reporting.types import IncidentStory, MetricState, MetricTitle, PageContext
from alerting.settings import ROOT, Settings
from alerting.store.state import ReadOnlyState

MAX_SPARKLINES = 60  # metrics whose last day is read and drawn on the index, those that are not normal first
MAX_PAGES = 6  # pages of metrics that a run writes: those that are not normal first, then the oldest
PAGE_AGE = 3000  # seconds for which the page of a normal metric is fresh enough: runs write it once an hour
MIN_POINTS = 24  # buckets of a sparkline, where they are longer than an hour
GONE_AFTER = timedelta(days=3)  # a metric that was not judged since then, while others were, is not on the list
JUST_ENDED = timedelta(hours=2)  # the pages of metrics whose incident has ended are written for so long
NOW = timedelta(seconds=1)
CATALOGUE = ROOT / "alerting" / "metrics.py"
_UNSAFE_IN_FILE_NAME = re.compile(r"[^\w.-]")


def metric_file(name: str) -> str:
    """Return the path of a metric's page, relative to the folder of reports; that of a stand-in is its metric's."""
    safe = _UNSAFE_IN_FILE_NAME.sub("_", name.removesuffix(SEGMENTS_SUFFIX))
    return f"metrics/{safe[:150].lstrip('.') or '_'}.html"


def metric_states(
    settings: Settings, state: ReadOnlyState, page: PageContext, stories: Sequence[IncidentStory]
) -> list[MetricState]:
    """Return the metrics as they are now, first those that are not normal; segments only if one is not. Raises StoreError.

    `stories`: the incidents, newest first. Of many metrics only the first have `points`.
    """
    newest = {verdict.metric: verdict for verdict in state.newest_verdicts()}
    for name in {member.metric for story in stories if story.incident.open for member in story.incident.affected} & set(newest):
        if episode := state.episode(name):
            newest[name] = against_level_before(episode, newest[name])
    incidents = defaultdict[str, list[IncidentStory]](list)
    for story in stories:
        for member in story.incident.members:
            incidents[member.metric].append(story)
    silences = list[Silence]()
    with suppress(StoreError):  # the table of a version that no run has migrated yet
        silences = state.silences(page.now)
    pages = set[str]()
    with suppress(OSError):
        pages = {f"metrics/{path.name}" for path in (settings.reports / "metrics").iterdir()}

    next_run = cache(settings.next_cron_run)  # thousands of metrics have the same
    found = []
    for name in _listed(newest, page):
        verdict, file = newest.get(name), metric_file(name)
        next_check = None
        if verdict:
            step = timedelta(seconds=page.metric(name.removesuffix(SEGMENTS_SUFFIX)).step) or STEP
            next_check = next_run(max(page.now, verdict.bucket + 2 * step + timedelta(minutes=settings.delay) - NOW))
        silence = _silence(name, silences, page.now)
        href = file if file in pages else ""
        found.append(MetricState(name, verdict, (), tuple(incidents[name]), silence, next_check, href))
    found = by_state(it for it in found if not it.name.endswith(SEGMENTS_SUFFIX) or it.state in URGENT or it.silence)
    for number, it in enumerate(found[:MAX_SPARKLINES]):
        if it.newest:
            found[number] = _with_points(it, state, page)
    return found


def write_metric_pages(
    settings: Settings, state: ReadOnlyState, page: PageContext, states: Iterable[MetricState], fresh: bool
) -> dict[str, str]:
    """Write the pages of metrics that are not normal, and of others whose page is old; `MAX_PAGES` at most.

    `fresh`: of all. Return metric -> path of each page that was written. Raises OSError, StoreError.
    """

    own = [it for it in states if it.newest and not it.name.endswith(SEGMENTS_SUFFIX)]
    chosen = own if fresh else _stale_pages(settings, own, page.now)
    for it in chosen:
        points = _judged_points(state, it.name, page.now - CHART_DAYS * DAY)
        shown = it if it.points else _with_points(it, state, page)
        write_file(settings.reports / metric_file(it.name), redact(metric_page(shown, points, page), settings)[0])
    return {it.name: metric_file(it.name) for it in chosen}


def _stale_pages(settings: Settings, states: Sequence[MetricState], now: datetime) -> list[MetricState]:
    """Return the metrics whose pages this run writes."""
    written = dict[str, float]()
    with suppress(OSError), os.scandir(settings.reports / "metrics") as files:
        written = {f"metrics/{file.name}": file.stat().st_mtime for file in files}
    ages = {it.name: now.timestamp() - written.get(metric_file(it.name), 0.0) for it in states}
    stale = [it for it in states if it.state != "normal" or ages[it.name] > PAGE_AGE or _has_just_ended(it, now)]
    return sorted(stale, key=lambda it: (it.state == "normal", -ages[it.name]))[:MAX_PAGES]


def _has_just_ended(it: MetricState, now: datetime) -> bool:
    closed = it.stories[0].incident.closed if it.stories else None
    return closed is not None and now - closed < JUST_ENDED


def _listed(newest: dict[str, Verdict], page: PageContext) -> Collection[str]:
    """Return the names of the metrics on the list: those of the catalogue, each before its stand-in, or of the table file."""
    if page.titles:
        stand_ins = {name + SEGMENTS_SUFFIX for name in page.titles} & set(newest)
        names = [each for name in page.titles for each in (name, name + SEGMENTS_SUFFIX)]
        return [name for name in names if name in page.titles or name in stand_ins]
    last = max((verdict.bucket for verdict in newest.values()), default=page.now)
    return [name for name, verdict in newest.items() if verdict.bucket > last - GONE_AFTER]


def _with_points(it: MetricState, state: ReadOnlyState, page: PageContext) -> MetricState:
    """Return the metric with the buckets of its last day, or its last 24 buckets where those take longer."""
    assert it.newest
    step = timedelta(seconds=page.metric(it.name.removesuffix(SEGMENTS_SUFFIX)).step)
    points = _judged_points(state, it.name, it.newest.bucket - max(DAY, MIN_POINTS * step))
    return MetricState(it.name, it.newest, points, it.stories, it.silence, it.next_check, it.href)


def _judged_points(state: ReadOnlyState, name: str, since: datetime) -> list[JudgedPoint]:
    """Return the judged buckets, those of an open episode compared with the level before it, as in messages."""
    points, episode = state.judged_points(name, since), state.episode(name)
    if episode is None or episode.opened is None:
        return points
    opened = episode.opened.timestamp()
    return [_compared(episode, point) if point.at > opened else point for point in points]


def _compared(episode: Episode, point: JudgedPoint) -> JudgedPoint:
    verdict = against_level_before(episode, point.verdict(episode.metric))
    return JudgedPoint(point.at, verdict.status.value, point.value, verdict.low, verdict.expected, verdict.high, point.usual)


def _silence(name: str, silences: Sequence[Silence], now: datetime) -> Silence | None:
    """Return the silence of a metric that lasts now, otherwise the first planned one."""
    own = [it for it in silences if it.scope in (name, name.removesuffix(SEGMENTS_SUFFIX), "*")]
    return next((it for it in own if it.covers(it.scope, now, NOW)), own[0] if own else None)


# Entries of the catalogue


def catalogue_titles(settings: Settings) -> dict[str, MetricTitle]:
    """Return the titles, cached in a file beside the pages, because loading the catalogue takes half a second."""
    file = settings.reports / ".pages" / "titles.json"
    key = f"{CATALOGUE.stat().st_mtime_ns} {settings.language} {settings.metrics} {MetricTitle._fields}"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return {name: MetricTitle(*fields) for name, fields in kept["titles"].items()}
    from alerting.connections import load_catalogue  # late: it loads pandas

    titles = dict[str, MetricTitle]()
    with suppress(Exception):  # analysts edit that file: the run reports its error, and the pages show names
        code = _catalogue_entries(CATALOGUE.read_text(encoding="utf-8"))
        for metric in load_catalogue(settings):
            words, entry = (redact(text, settings)[0] for text in (metric.title_in(settings.language), code.get(metric.name, "")))
            titles[metric.name] = MetricTitle(words, metric.form, int(metric.step.total_seconds()), entry)
    with suppress(OSError):
        write_file(file, json.dumps({"key": key, "titles": titles}, ensure_ascii=False))
    return titles


def _catalogue_entries(source: str) -> dict[str, str]:
    """Return the name of each metric that is written out in the catalogue -> the source of its entry."""
    import ast  # late: most runs find the entries in the file
    from textwrap import dedent

    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Metric"]
    entries = {}
    for call in calls:
        names = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
        for name in names:
            if isinstance(name, ast.Constant):
                entries[str(name.value)] = dedent(ast.get_source_segment(source, call, padded=True) or "")
    return entries
