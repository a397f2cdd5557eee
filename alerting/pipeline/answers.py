"""Answer what people ask in the chat: /status, /metrics, /chart views 7d, /silence ctr 2h.

A question is stored as a held message and answered after the run has stored its verdicts, so that the answer is true for the
newest judged bucket, and a question is not lost when the process dies. A silence counts at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pandas as pd

from alerting.incidents.episodes import against_level_before
from alerting.messages import answers
from alerting.model.clock import parse_length
from alerting.model.message import ChatCommand, Message
from alerting.model.metric import Metric, Silence
from alerting.model.run import caught
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.pipeline.context import RunContext

DAY = timedelta(days=1)
QUESTIONS = ("/status", "/metrics", "/chart")
MAX_CHART = timedelta(days=28)
PHONE_INCHES = (7.5, 5.6)  # of a chart


def take_command(ctx: RunContext, command: ChatCommand, now: datetime) -> tuple[str, Message, list[Silence]]:
    """Return how the run shows what came of the command, its answer or the question to be stored, and the silence it sets."""
    reader, word, silences = ctx.audience(now), command.text.split()[0], list[Silence]()
    kind, text = EventKind.ANSWER, answers.help_text(reader)
    if word in QUESTIONS:
        kind, text = EventKind.ASKED, command.text
    elif word == "/silence":
        silences, text = _silence(ctx, command, now)
    key = f"run/{kind.value}/{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{command.update_id}/text"
    message = Message(key, kind, "", now, text, quiet=True)
    return "" if kind is EventKind.ASKED else unescape(re.sub(r"<[^>]*>", "", text.split("\n")[0])), message, silences


def _silence(ctx: RunContext, command: ChatCommand, now: datetime) -> tuple[list[Silence], str]:
    """Return the silence that the command asks for, if it can be set, and the answer."""
    words, reader = command.text.split()[1:], ctx.audience(now)
    metric, scope, more = find_metric(ctx, words)
    try:
        length = parse_length(more)
    except ValueError:
        return [], answers.help_text(reader)
    if metric is None and scope.lower() not in ("all", "*"):
        return [], answers.unknown_metric(scope, ctx.metrics, reader)
    silence = Silence(metric.name if metric else "*", now, now + length, "", command.name)
    return [silence], answers.silence_set(silence, ctx.metrics, reader)


def find_metric(ctx: RunContext, words: Sequence[str]) -> tuple[Metric | None, str, str]:
    """Return the metric whose name or title, in any case, begins the words; what was taken for its name; and the rest."""
    names = {title.lower(): metric for metric in ctx.metrics for title in (metric.title_in(ctx.language), metric.name)}
    parts = [(" ".join(words[:count]), " ".join(words[count:])) for count in range(len(words), 0, -1)]  # a title has spaces
    known = ((names[name.lower()], name, rest) for name, rest in parts if name.lower() in names)
    return next(known, (None, *(parts[-1] if parts else ("", ""))))


def answer_questions(ctx: RunContext, now: datetime) -> int:
    """Put answers in place of the questions that wait for one; return how many. What fails is answered with its reason.

    Raises StoreError.
    """
    questions = [message for message in ctx.store.held() if message.kind is EventKind.ASKED]
    for question in questions:
        errors, key = dict[str, str](), question.key.replace("/asked/", "/answer/")
        answer = replace(question, key=key, kind=EventKind.ANSWER)
        with caught(errors, question.text):
            answer = _answered(ctx, answer, now)
        if errors:
            ctx.faults["answered"].update(errors)
            answer = replace(answer, text=answers.failed(question.text, errors[question.text], ctx.audience(now)), photo=None)
        ctx.store.merge_into_digest([question.key], answer, now)
    return len(questions)


def _answered(ctx: RunContext, answer: Message, now: datetime) -> Message:
    word, *words = answer.text.split()
    reader = ctx.audience(now)
    if word == "/chart":
        return _chart(ctx, answer, words, now)
    newest = newest_verdicts(ctx)
    if word == "/metrics":
        return replace(answer, text=answers.metrics_text(newest, reader))
    entries = [(incident, ctx.store.text(incident.key)) for incident in ctx.store.incidents()]
    runs = [run for run in ctx.store.runs(now - DAY) if run.ended]
    waiting = sum(message.kind is not EventKind.ANSWER for message in ctx.store.waiting())
    facts = answers.StatusFacts(entries, newest, ctx.store.silences(now), runs[-1] if runs else None, waiting)
    return replace(answer, text=answers.status_text(facts, reader))


def newest_verdicts(ctx: RunContext) -> list[tuple[Metric, Verdict]]:
    """Return each metric of the catalogue that was judged, with its newest verdict as its messages give it."""
    last, episodes, out = ctx.store.last_judged(), ctx.store.episodes(), list[tuple[Metric, Verdict]]()
    for metric in ctx.metrics:
        if metric.name in last:
            verdict = ctx.store.judged(metric.name, last[metric.name])[-1]
            episode = episodes.get(metric.name)
            out.append((metric, against_level_before(episode, verdict) if episode else verdict))
    return out


def _chart(ctx: RunContext, answer: Message, words: list[str], now: datetime) -> Message:
    """Return the answer with the judged buckets of a metric as a picture: `/chart views 7d`, without a length two days."""
    reader, (metric, name, more) = ctx.audience(now), find_metric(ctx, words)
    if metric is None:
        return replace(answer, text=answers.unknown_metric(name, ctx.metrics, reader))
    try:
        length = min(parse_length(more), MAX_CHART) if more else metric.chart_span
    except ValueError:
        return replace(answer, text=answers.help_text(reader))
    verdicts = ctx.store.judged(metric.name, ctx.store.last_judged().get(metric.name, now) - length)
    if not any(verdict.status is not Status.MISSING for verdict in verdicts):
        return replace(answer, text=answers.nothing_judged(metric, reader))
    from alerting import charts  # matplotlib takes half a second to import: only when there is something to draw

    columns = {name: [verdict.numbers[name] for verdict in verdicts] for name in ("value", "low", "expected", "high", "score")}
    index = pd.DatetimeIndex([verdict.bucket for verdict in verdicts], name="bucket").as_unit("ns")
    frame = pd.DataFrame({**columns, "status": [verdict.status.value for verdict in verdicts]}, index)
    figure = charts.band_chart(metric, frame, ctx.zone, ctx.language, PHONE_INCHES)
    return replace(answer, text=answers.metric_line(metric, verdicts[-1], reader), photo=charts.to_png(figure))
