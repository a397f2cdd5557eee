"""Apply the buttons that people press in the chat, carry out the commands that they write there, and answer their questions.

A question (/status, /metrics, /chart views 7d) is stored as a held message. It is answered after the run has stored its
verdicts, so that the answer is about the newest judged bucket. If the process dies, the question is still stored. /silence
takes effect at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pandas as pd

from alerting.incidents.episodes import against_level_before
from alerting.messages.answers import StatusFacts, answer, metric_line, metrics_text, silence_text, status_text
from alerting.messages.compose import status_edit, status_line
from alerting.messages.words import WORDS
from alerting.model.clock import DAY, parse_length
from alerting.model.errors import NotifyError
from alerting.model.incident import Incident, incident_ref
from alerting.model.message import Action, ButtonPress, ChatCommand, Message, Received
from alerting.model.metric import Metric, Silence
from alerting.model.protocols import Commit
from alerting.model.run import caught
from alerting.model.verdict import EventKind, Label, Status, Verdict
from alerting.pipeline.context import SNOOZE, RunContext

SAME_SNOOZE = timedelta(minutes=5)  # a second tap within this time does not make the snooze longer
BUDGET = 20.0  # seconds for reading and confirming, apart from one request
MAX_COMMANDS = 10  # largest number of commands of one read that are carried out
FULL_PAGE = 100  # presses; fewer are the last
TOO_MANY = "too many commands at once: this one was not carried out"
MAX_ROWS = 50  # that show who pressed what
MAX_REFUSALS_SHOWN = 10  # largest number of people who get the reason at once why their press does not count
PRESSABLE_FOR = timedelta(days=30)  # the buttons of older incidents no longer work
LABELS = {
    Action.REAL: Label.REAL,
    Action.FALSE_ALARM: Label.FALSE_ALARM,
    Action.EXPECTED: Label.EXPECTED,
    Action.NEW_TREND: Label.NEW_TREND,
}

QUESTIONS = ("/status", "/metrics", "/chart")
MAX_CHART = timedelta(days=28)
PHONE_INCHES = (7.5, 5.6)  # width and height of a chart


@dataclass(frozen=True)
class Feedback:
    """A pressed button or a command. `incident`: id, "" if there is none. `reply`: the text that the person is shown.

    `times`: how often the person pressed it; for refused presses of many people, how many they are.
    """

    press: Received
    incident: str
    reply: str
    times: int = 1

    @property
    def what(self) -> str:
        """The action of the button, or the command."""
        return self.press.text if isinstance(self.press, ChatCommand) else self.press.action.value


def read_feedback(ctx: RunContext, now: datetime) -> tuple[list[Feedback], str]:
    """Apply and confirm the buttons pressed since the last read. Return them, and why some could not be read ("" if all were).

    Each page of presses is stored in one transaction before it is confirmed, so that a press counts once. Presses that cannot be
    read in BUDGET seconds are left to the next run: nobody can delay the checks by pressing. Raises StoreError.
    """
    until, found = ctx.timer() + BUDGET, dict[tuple[str, ...], Feedback]()
    incidents: dict[str, Incident] = {}
    carried_out = set[tuple[str, ...]]()
    while True:
        try:
            presses = ctx.notifier.button_presses(ctx.store.next_update())
        except NotifyError as error:
            return [*found.values()], f"answers in the chat could not be read: {error}"
        if not presses:
            return [*found.values()], ""
        incidents = incidents or {incident_ref(i.id): i for i in ctx.store.incidents(now - PRESSABLE_FOR)}
        part = _commit(ctx, presses, incidents, now, carried_out)
        _confirm(ctx, part, until, refused=sum(not item.incident for item in found.values()))
        for key, item in part.items():
            name = key if key in found or len(found) < MAX_ROWS else ("others",)
            found[name] = replace(item, times=item.times + (found[name].times if name in found else 0))
        if len(presses) < FULL_PAGE:
            return [*found.values()], ""
        if ctx.timer() >= until:
            return [*found.values()], f"more buttons were pressed than can be read in {BUDGET:.0f} s: the next run goes on"


def _commit(
    ctx: RunContext, presses: Sequence[Received], incidents: dict[str, Incident], now: datetime, carried_out: set[tuple[str, ...]]
) -> dict[tuple[str, ...], Feedback]:
    """Apply the presses to `incidents` (ref -> incident), carry out commands, and store the result.

    Return the presses by key: the same button by the same person, or the same refusal, has one key. `carried_out`: the commands
    of this read that were carried out, by person; each is carried out once, and at most MAX_COMMANDS are.
    """
    key: tuple[str, ...]
    part, changed, silences = dict[tuple[str, ...], Feedback](), set[str](), list[Silence]()
    edits, replies = dict[str, Message](), dict[tuple[str, ...], Message]()
    for press in presses:
        if isinstance(press, ChatCommand):
            key = (press.user_id, press.refused or press.text)
            outcome = part[key].reply if key in part else press.refused or ("" if key in carried_out else TOO_MANY)
            if not press.refused and key not in carried_out and len(carried_out) < MAX_COMMANDS:
                outcome, replies[key], planned = take_command(ctx, press, now)
                carried_out.add(key)
                silences += planned
            part[key] = Feedback(press, "", outcome, 1 + (part[key].times if key in part else 0))
            continue
        incident = incidents.get(press.ref)
        if press.refused or incident is None or (incident.closed and press.action not in LABELS):
            gone = WORDS[ctx.language]["incident unknown" if incident is None else "incident over"]
            item = Feedback(press, "", press.refused or gone)
            key = (press.user_id, item.reply)
        else:
            key = (press.user_id, incident.id, press.action)
            kind, incidents[press.ref] = _apply(incident, press, now)
            pressed, reader = incidents[press.ref], ctx.audience(now)
            item = Feedback(press, incident.id, unescape(re.sub(r"<[^>]*>", "", status_line(pressed, reader))))
            if pressed != incident:  # a second tap says nothing new
                changed.add(press.ref)
                if entry := ctx.store.text(incident.key):
                    edit = status_edit(pressed, kind, entry, now, reader)
                    edits[incident.id] = replace(edit, key=f"{incident.id}/answer/{press.update_id}/text")
        part[key] = replace(item, times=item.times + (part[key].times if key in part else 0))
    following = presses[-1].update_id + 1  # not the highest: after a quiet week the numbers begin anew
    messages, stored = [*edits.values(), *replies.values()], [incidents[ref] for ref in sorted(changed)]
    ctx.store.commit(Commit(messages=messages, incidents=stored, silences=silences, next_update=following), now)
    return part


def _confirm(ctx: RunContext, part: Mapping[tuple[str, ...], Feedback], until: float, refused: int) -> None:
    """Show each person the reply to their press, accepted presses first. `refused`: how many refusals were shown before."""
    counting = [item for item in part.values() if item.incident]
    others = [item for item in part.values() if not item.incident][: max(0, MAX_REFUSALS_SHOWN - refused)]
    for item in (*counting, *others):
        if ctx.timer() >= until:
            return
        if isinstance(item.press, ButtonPress):
            ctx.notifier.confirm(item.press, item.reply)


def _apply(incident: Incident, press: ButtonPress, now: datetime) -> tuple[EventKind, Incident]:
    """Return the kind of the message about the press, and the incident after it."""
    if press.action is Action.TAKE:
        return EventKind.TAKEN, replace(incident, acknowledged_by=press.name)
    if press.action is Action.SNOOZE:
        present = incident.snoozed_until
        until = present if present and abs(now + SNOOZE - present) < SAME_SNOOZE else now + SNOOZE
        return EventKind.SILENCED, replace(incident, snoozed_until=until)
    if press.action is Action.MUTE:
        return EventKind.SILENCED, replace(incident, muted=True)
    label = LABELS[press.action]
    expected = label in (Label.FALSE_ALARM, Label.EXPECTED)  # then nobody needs a reminder
    muted = incident.muted or (expected and incident.open)
    return EventKind.LABELLED, replace(incident, label=label, labelled_by=press.name, muted=muted)


def take_command(ctx: RunContext, command: ChatCommand, now: datetime) -> tuple[str, Message, list[Silence]]:
    """Carry out a command. Return the result as the run shows it, the message to store, and the silences to set.

    The message is the answer, or a question that `answer_questions` answers later.
    """
    reader, word, silences = ctx.audience(now), command.text.split()[0], list[Silence]()
    kind, text = EventKind.ANSWER, answer("help", reader)
    if word in QUESTIONS:
        kind, text = EventKind.ASKED, command.text
    elif word == "/silence":
        silences, text = _silence(ctx, command, now)
    key = f"run/{kind.value}/{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{command.update_id}/text"
    message = Message(key, kind, "", now, text, quiet=True)
    return "" if kind is EventKind.ASKED else unescape(re.sub(r"<[^>]*>", "", text.split("\n")[0])), message, silences


def _silence(ctx: RunContext, command: ChatCommand, now: datetime) -> tuple[list[Silence], str]:
    """Return a list with the silence that the command asks for, empty if it cannot be set, and the answer to the person."""
    words, reader = command.text.split()[1:], ctx.audience(now)
    metric, scope, more = find_metric(ctx, words)
    try:
        length = parse_length(more)
    except ValueError:
        return [], answer("help", reader)
    if metric is None and scope.lower() not in ("all", "*"):
        return [], answer("no_metric", reader, name=scope, names=[known.name for known in ctx.metrics])
    silence = Silence(metric.name if metric else "*", now, now + length, "", command.name)
    titles = {known.name: known.title_in(ctx.language) for known in ctx.metrics}
    return [silence], answer("silence", reader, who=command.name, silence=silence_text(silence, titles, reader))


def find_metric(ctx: RunContext, words: Sequence[str]) -> tuple[Metric | None, str, str]:
    """Return the metric that the words begin with (None if it is unknown), the words taken for its name, and the other words.

    Its name comes before the title of another metric, and an exact spelling before one with other capitals. Of several metrics
    with one title the first of the catalogue is found.
    """
    spelled = [(metric, metric.title_in(ctx.language), metric.name) for metric in reversed(ctx.metrics)]
    names = {title.lower(): metric for metric, title, _ in spelled} | {name.lower(): metric for metric, _, name in spelled}
    names |= {title: metric for metric, title, _ in spelled} | {name: metric for metric, _, name in spelled}
    parts = [(" ".join(words[:count]), " ".join(words[count:])) for count in range(len(words), 0, -1)]  # a title has spaces
    known = ((names[key], name, rest) for name, rest in parts for key in (name, name.lower()) if key in names)
    return next(known, (None, *(parts[-1] if parts else ("", ""))))


def answer_questions(ctx: RunContext, now: datetime) -> int:
    """Replace each waiting question by its answer. Return their number. If an answer fails, it gives the reason.

    Raises StoreError.
    """
    questions = [message for message in ctx.store.held() if message.kind is EventKind.ASKED]
    for question in questions:
        errors, text, photo = dict[str, str](), "", None
        with caught(errors, question.text):
            text, photo = _answered(ctx, question.text, now)
        if errors:
            ctx.faults["answered"].update(errors)
            text = answer("failed", ctx.audience(now), command=question.text, reason=errors[question.text])
        key = question.key.replace("/asked/", "/answer/")
        answered = replace(question, key=key, kind=EventKind.ANSWER, text=text, photo=photo)
        ctx.store.merge_into_digest([question.key], answered, now)
    return len(questions)


def _answered(ctx: RunContext, question: str, now: datetime) -> tuple[str, bytes | None]:
    """Return the answer, and its picture if it has one."""
    (word, *words), reader = question.split(), ctx.audience(now)
    if word == "/chart":
        return _chart(ctx, words, now)
    newest = newest_verdicts(ctx)
    if word == "/metrics":
        return metrics_text(newest, reader), None
    entries = [(incident, ctx.store.text(incident.key)) for incident in ctx.store.incidents()]
    runs = [run for run in ctx.store.runs(now - DAY) if run.ended]
    waiting = sum(message.kind is not EventKind.ANSWER for message in ctx.store.waiting())
    return status_text(StatusFacts(entries, newest, ctx.store.silences(now), runs[-1] if runs else None, waiting), reader), None


def newest_verdicts(ctx: RunContext) -> list[tuple[Metric, Verdict]]:
    """Return each metric of the catalogue that was judged, with its newest verdict as its messages show it."""
    last, episodes, out = ctx.store.last_judged(), ctx.store.episodes(), list[tuple[Metric, Verdict]]()
    for metric in ctx.metrics:
        if metric.name in last:
            verdict = ctx.store.judged(metric.name, last[metric.name])[-1]
            out.append((metric, against_level_before(episodes.get(metric.name), verdict)))
    return out


def _chart(ctx: RunContext, words: list[str], now: datetime) -> tuple[str, bytes | None]:
    """Return the state of a metric, and a picture of its judged buckets: `/chart views 7d`; without a length, its chart span."""
    reader, (metric, name, more) = ctx.audience(now), find_metric(ctx, words)
    if metric is None:
        return answer("no_metric", reader, name=name, names=[known.name for known in ctx.metrics]), None
    try:
        length = min(parse_length(more), MAX_CHART) if more else metric.chart_span
    except ValueError:
        return answer("help", reader), None
    verdicts = ctx.store.judged(metric.name, ctx.store.last_judged().get(metric.name, now) - length)
    if not any(verdict.status is not Status.MISSING for verdict in verdicts):
        return answer("nothing", reader, title=metric.title_in(ctx.language)), None
    from alerting import charts  # matplotlib takes half a second to import: only when there is something to draw

    columns = {name: [verdict.numbers[name] for verdict in verdicts] for name in ("value", "low", "expected", "high", "score")}
    index = pd.DatetimeIndex([verdict.bucket for verdict in verdicts], name="bucket").as_unit("ns")
    frame = pd.DataFrame({**columns, "status": [verdict.status.value for verdict in verdicts]}, index)
    figure = charts.band_chart(metric, frame, ctx.zone, ctx.language, PHONE_INCHES)
    return metric_line(metric, verdicts[-1], reader), charts.to_png(figure)
