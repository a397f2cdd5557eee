"""The answers to commands in the chat, and the text of a silence. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from alerting.messages.compose import render
from alerting.messages.context import Audience
from alerting.messages.format import MAX_REASON, MAX_SHORT_TITLE, MAX_TITLE, VerdictFacts, plain_line
from alerting.messages.words import WEEKDAYS, WORDS
from alerting.model.clock import DAYS
from alerting.model.incident import Incident
from alerting.model.metric import NO_END, Metric, Silence
from alerting.model.run import Run
from alerting.model.verdict import Status, Verdict

MAX_LINES = 30  # metrics in one answer
MAX_NAMES = 20
ICONS = {Status.NORMAL: "🟢", Status.ANOMALOUS: "🔴", Status.MISSING: "⚫", Status.UNKNOWN: "⚪"}
URGENCY = [Status.ANOMALOUS, Status.MISSING, Status.UNKNOWN, Status.NORMAL]  # the order of the lines


@dataclass(frozen=True)
class StatusFacts:
    """The state of the checks. `entries`: each open incident with its text in the chat; "" for one that was not sent.

    `newest`: each metric with its newest verdict. `run`: the last run that has ended. `waiting`: number of unsent messages.
    """

    entries: Sequence[tuple[Incident, str]]
    newest: Sequence[tuple[Metric, Verdict]]
    silences: Sequence[Silence]
    run: Run | None
    waiting: int


def answer(part: str, reader: Audience, **facts: Any) -> str:
    """Return the rendered part of the template `answers`. The template cuts and escapes the texts in `facts`."""
    return render("answers", reader.language, {"part": part, **facts})


def status_text(facts: StatusFacts, reader: Audience) -> str:
    """Return the answer to /status: open incidents, the time until which metrics were judged, silences, the last run.

    A metric that has had a whole bucket more by then lags behind: it is named with its own time.
    """
    titles = {metric.name: metric.title_in(reader.language) for metric, _ in facts.newest}
    until = max((verdict.bucket + metric.step for metric, verdict in facts.newest), default=None)
    behind: dict[datetime, list[str]] = {}
    for metric, verdict in sorted(facts.newest, key=lambda item: item[1].bucket + item[0].step):
        end = verdict.bucket + metric.step
        if until and end + metric.step <= until:
            behind.setdefault(end, []).append(plain_line(titles[metric.name], MAX_SHORT_TITLE))
    lines = [
        Markup(entry.split("\n")[0]) if entry else plain_line(titles.get(incident.root.metric, incident.root.name), MAX_TITLE)
        for incident, entry in facts.entries
    ]
    run = facts.run
    return answer(
        "status",
        reader,
        open=[{"line": line, "is_told": bool(entry)} for line, (_, entry) in zip(lines, facts.entries, strict=True)][:MAX_LINES],
        until=reader.at(until, near=reader.now) if until else "",
        metrics=len(facts.newest) - sum(map(len, behind.values())),
        behind=[(reader.at(end, near=reader.now), names) for end, names in behind.items()][:MAX_NAMES],
        silences=[silence_text(it, titles, reader) for it in facts.silences if it.lasts_at(reader.now)][:MAX_NAMES],
        run=reader.at(run.at, near=reader.now) if run else "",
        fault="" if run is None or run.ok else plain_line(run.outcome, MAX_REASON),
        waiting=facts.waiting,
    )


def metrics_text(newest: Sequence[tuple[Metric, Verdict]], reader: Audience) -> str:
    """Return the answer to /metrics: a line for each metric, in the order of URGENCY."""
    ordered = sorted(newest, key=lambda item: URGENCY.index(item[1].status))
    lines = [Markup(metric_line(metric, verdict, reader)) for metric, verdict in ordered[:MAX_LINES]]
    return answer("metrics", reader, lines=lines, more=len(ordered) - len(lines))


def metric_line(metric: Metric, verdict: Verdict, reader: Audience) -> str:
    """Return the state of a metric in one line: 🔴 Likes 700 −30 %, expected 1,000 · Fri 12:15–12:30."""
    facts = VerdictFacts.of(verdict, metric.form, reader.language)
    return answer(
        "metric",
        reader,
        icon=ICONS[verdict.status],
        title=plain_line(metric.title_in(reader.language), MAX_SHORT_TITLE),
        value=facts.value,
        change=facts.change if verdict.status is Status.ANOMALOUS else "",
        expected=facts.expected if verdict.expected == verdict.expected else "",  # a fixed limit is none
        when=reader.span(verdict.bucket, verdict.bucket + metric.step, near=reader.now),
    )


def silence_text(silence: Silence, titles: dict[str, str], reader: Audience) -> Markup:
    """Return a silence in the reader's words: CTR until 16:00 · all metrics Sat 02:00–04:00. `titles`: of metrics."""
    words = WORDS[reader.language]
    title = plain_line(titles.get(silence.scope, silence.scope), MAX_SHORT_TITLE)
    scope = words["all metrics"] if silence.scope == "*" else title
    until = "" if silence.until >= NO_END else words["until"].format(at=reader.at(silence.until, near=reader.now))
    start = words["from"].format(at=reader.at(silence.start, near=reader.now)) if silence.start > reader.now else ""
    weekly = plain_line(weekly_words(silence, reader.language), MAX_TITLE)
    return Markup(" ").join(filter(None, [scope, weekly, start, until]))


def weekly_words(silence: Silence, language: str) -> str:
    """Return the times of a weekly silence: every week Sat 02:00–04:00; "" for one that is not weekly."""
    spans = re.sub("|".join(DAYS), lambda day: WEEKDAYS[language][DAYS.index(day[0])], silence.weekly.lower())
    return WORDS[language]["weekly"].format(spans=re.sub(r"\s*-\s*", "–", spans)) if spans else ""
