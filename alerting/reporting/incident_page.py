"""The page of an incident: its state, its metrics, its root cause, its thread of messages, and the runs that sent them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from markupsafe import Markup, escape

from alerting.messages.facts import ALL, MIN_SHARE
from alerting.messages.format import NumberFormat, VerdictFacts, duration, percent, segment_name, signed_percent
from alerting.messages.words import LABEL_WORDS, WORDS
from alerting.model.incident import Incident, Member, incident_file, incident_notebook
from alerting.model.message import ThreadMessage
from alerting.reporting.page import PageContext, render
from alerting.reporting.run_page import RunRecord
from alerting.reporting.sanitize import is_safe, plain_text, sanitize

MAX_SEGMENTS = 12  # rows of each kind in the table of segments
STAYS_OPEN = timedelta(days=3650)  # the filter by date treats an open incident as ending this far in the future


@dataclass(frozen=True)
class IncidentStory:
    """An incident, the messages of its thread (oldest first), and the run that sent each message."""

    incident: Incident
    thread: tuple[ThreadMessage, ...] = ()
    runs: dict[str, RunRecord] = field(default_factory=dict)  # key of a message -> the run that sent it
    pictures: dict[str, str] = field(default_factory=dict)  # key of a message -> path of its picture below reports/
    notebook: str = ""  # when the page of its notebook was written (ns since 1970, as text); "" if there is none

    def versions(self, message: ThreadMessage) -> list[ThreadMessage]:
        """Return a message and its edits that were sent, oldest first."""
        return [message, *(other for other in self.thread if other.edits == message.key and other.state == "sent")]


def incident_page(story: IncidentStory, page: PageContext, stamp: str = "") -> str:
    """Return the HTML of the page. It contains `stamp`, by which `publish` sees whether the page is up to date."""
    incident, until = story.incident, recovered_at(story.incident)
    snoozed = page.text("until at", at=page.time(incident.snoozed_until)) if incident.snoozed_until else ""
    facts = {
        "since": page.time(incident.root.since),
        "ended": page.time(until) if until else "",
        "cause": cause_line(incident, page),
        "taken": incident.acknowledged_by or page.text("nobody"),
        "label": _label(incident, page),
        "silent": page.text("muted") if incident.muted else snoozed,
        "address": "" if story.runs else incident.run,
    }
    return render(
        "incident",
        page,
        stamp=stamp,
        story=story,
        incident=incident,
        name=incident_name(story, page),
        state=_state(incident, page),
        notebook=incident_notebook(incident.id).replace(".ipynb", ".html").removeprefix("incidents/") if story.notebook else "",
        facts={key: words for key, words in facts.items() if words},
        is_safe=is_safe,
        members=[_member_row(member, page) for member in incident.members],
        segments=_segment_rows(incident, page),
        runs=list({run.name: run for run in story.runs.values() if run.href}.values()),
        message_html=lambda html: sanitize(html, lambda png, line: escape(line), ""),
        plain=plain_text,
    )


def incident_card(story: IncidentStory, page: PageContext) -> Markup:
    """Return the HTML of an incident's entry on the index, in one line."""
    incident = story.incident
    card = render(
        "card",
        page,
        incident=incident,
        href=incident_file(incident.id),
        name=incident_name(story, page),
        state=_state(incident, page),
        cause=cause_line(incident, page),
        picture=next(iter(story.pictures.values()), ""),
        since=page.wall_time(incident.root.since),
        until=page.wall_time(incident.closed or page.now + STAYS_OPEN),
    )
    return Markup(card.replace("\n", ""))


def cause_line(incident: Incident, page: PageContext) -> str:
    """Return the newest root cause as plain text: "2026-11-25 10:15: os Android explains 96 % of it (−90 %)"."""
    if incident.cause is None:
        return page.text("no cause")
    cause, metric = incident.cause.claim, incident.cause.metric
    other = page.title(metric) if metric not in ("", incident.root.metric) else ""
    about = [other, page.time(cause.at) if cause.at else ""]
    if cause.answer == "watched" and cause.slice:
        words = segment_name(cause.slice, page.language, str)
    elif cause.answer != "carried" or cause.slice is None:
        words = page.text("alike" if cause.answer == "alike" else "unclear")
    else:
        share = page.text("explains all") if cause.share >= ALL else ""
        if MIN_SHARE <= cause.share < ALL:
            share = page.text("explains", share=percent(cause.share, page.language))
        change = signed_percent(cause.slice.value, cause.slice.expected, page.language)
        words = " ".join(filter(None, [segment_name(cause.slice, page.language, str), share, f"({change})" if change else ""]))
    return ": ".join(filter(None, [", ".join(filter(None, about)), words]))


def incident_name(story: IncidentStory, page: PageContext) -> str:
    """Return the first line of the opening message after its edits; without such a message, the metric and the time."""
    incident = story.incident
    opening = next((message for message in story.thread if message.key == incident.key), None)
    line = plain_text(story.versions(opening)[-1].text.partition("\n")[0]).strip() if opening else ""
    return line or f"{page.title(incident.root.metric, incident.root.segment)}, {page.time(incident.opened)}"


def _state(incident: Incident, page: PageContext) -> str:
    """Return the state of the incident in one line: its start, its duration, who acknowledged it, and its label."""
    lasted = duration((recovered_at(incident) or page.now) - incident.root.since, page.language)
    pieces = [page.time(incident.root.since), page.text("going on" if incident.open else "lasted", lasted=lasted)]
    pieces += [f"👀 {incident.acknowledged_by}"] if incident.acknowledged_by else []
    pieces += [f"🏷 {_label(incident, page)}"] if incident.label else []
    pieces += [page.text(end) for end, is_so in (("corrected", incident.corrected), ("unchecked", incident.unchecked)) if is_so]
    return " · ".join(pieces)


def recovered_at(incident: Incident) -> datetime | None:
    """Return the first bucket in which all metrics of the incident were normal again; None while it is open."""
    ends = (member.until for member in incident.members if member.until)
    return None if incident.open else max(ends, default=incident.closed)


def _label(incident: Incident, page: PageContext) -> str:
    if incident.label is None:
        return page.text("no label")
    label = WORDS[page.language][LABEL_WORDS[incident.label]]
    return page.text("labelled", label=label, who=incident.labelled_by) if incident.labelled_by else label


def _member_row(member: Member, page: PageContext) -> list[str]:
    metric = page.metric(member.metric)
    row = [page.title(member.metric, member.segment), page.time(member.until) if member.until else page.text("still")]
    if member.gap:
        return [*row, page.text("gap"), page.time(member.since), "", "", ""]
    worst = member.worst or member.first
    shown = VerdictFacts.of(worst, metric.form, page.language)
    since, at = page.time(member.since), page.time(worst.bucket)
    return [*row, shown.change, since, at, shown.value, shown.range or shown.expected]


def _segment_rows(incident: Incident, page: PageContext) -> list[list[str]]:
    """Return name, value, expected value, change: of the explaining segment, the rest, others, new, gone, unbalanced ones."""
    if incident.cause is None:
        return []
    cause = incident.cause.claim
    form = "ratio" if cause.effect != "count" else page.metric(cause.metric or incident.root.metric).form
    found = [(cause.slice, "", form)] if cause.slice else []
    found += [(cause.rest, page.text("rest"), form)] if cause.rest and len(cause.others) != 1 else []
    found += [(other, "", form) for other in cause.others[:MAX_SEGMENTS]]
    for key, segments in {"new": cause.new, "gone": cause.gone, "group": cause.imbalance}.items():
        found += [(it, f"{page.text(key)}: {segment_name(it, page.language, str)}", "ratio") for it in segments[:MAX_SEGMENTS]]
    rows = []
    for segment, name, form in found:
        numbers = NumberFormat.of(form, page.language, (segment.value, segment.expected))
        change = signed_percent(segment.value, segment.expected, page.language)
        name = name or segment_name(segment, page.language, str)
        rows.append([name, numbers.value(segment.value), numbers.value(segment.expected), change])
    return rows
