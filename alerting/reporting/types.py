"""The data types from which pages are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alerting.messages.format import POINT, ClockFormat, segment_words
from alerting.model.incident import Incident
from alerting.model.message import ThreadMessage
from alerting.model.metric import SEGMENTS_SUFFIX, Silence
from alerting.model.verdict import JudgedPoint, Status, Verdict
from alerting.reporting.words import WORDS


@dataclass(frozen=True)
class RunRecord:
    """One run: its line on the list of the day, and which of its files still exist."""

    name: str  # file name without its suffix: alert-20261125T071048Z
    day: str  # its folder: 2026-11-25, UTC
    started: datetime
    ok: bool | None = None  # None: unknown
    summary: str = ""  # its result in one line
    affected: tuple[str, ...] = ()  # metrics with an open incident when it ended
    sent: int = 0  # messages it sent
    messages: tuple[str, ...] = ()  # the first line of each, as plain text
    open: Mapping[str, str] = field(default_factory=dict)  # id of each incident that was open when it ended -> its first line
    seconds: float | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)  # key of a message -> file name of its picture
    has_page: bool = False
    notebook: str = ""  # suffix of the notebook, .ipynb or .ipynb.gz; "" when it was deleted

    @property
    def state(self) -> str:
        """The state: failed, alert (a metric was affected, or a message was sent), ok, or unknown."""
        if not self.ok:
            return "unknown" if self.ok is None else "failed"
        return "alert" if self.affected or self.sent else "ok"

    @property
    def rehearsal(self) -> bool:
        return self.name.startswith("rehearsal-")

    @property
    def href(self) -> str:
        """The path of the page, otherwise of the notebook, relative to the folder of reports; "" if both were deleted."""
        suffix = ".html" if self.has_page else self.notebook
        return f"runs/{self.day}/{self.name}{suffix}" if suffix else ""


class MetricTitle(NamedTuple):
    """The title of a metric, the format of its values (as `Metric.form`), and its entry in the catalogue."""

    words: str
    form: str = "number"
    step: int = 0  # seconds between two buckets; 0: unknown
    code: str = ""  # source of the entry


@dataclass(frozen=True)
class PageContext:
    """The language and time zone of the readers, the moment of writing, and the titles of the metrics."""

    language: str
    zone: str
    now: datetime
    titles: dict[str, MetricTitle] = field(default_factory=dict)

    def text(self, key: str, **values: object) -> str:
        """Return the words for `key` in the language of the readers."""
        return WORDS[self.language][key].format(**values)

    def metric(self, name: str) -> MetricTitle:
        return self.titles.get(name, MetricTitle(name))

    def title(self, name: str, segment: str = "") -> str:
        """Return the title of a metric, or of a stand-in: with the segment that it is about, if any."""
        title = self.metric(name.removesuffix(SEGMENTS_SUFFIX)).words
        if segment:
            return f"{title} ({segment_words(segment, self.language)})"
        return self.text("segments of", metric=title) if name.endswith(SEGMENTS_SUFFIX) else title

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))

    def time(self, instant: datetime) -> str:
        """Format an instant in local time: 2026-11-25 10:15"""
        return f"{self.local(instant):%Y-%m-%d %H:%M}"

    def moment(self, instant: datetime) -> str:
        """Format an instant in local time for a narrow column: 10:15, or Mon 10:15, or 12 Oct 10:15."""
        return _moment(self.language, self.zone, self.now, instant)

    def seconds(self, count: float) -> str:
        """Format a duration: 1.5 s"""
        return self.text("seconds", count=f"{count:.1f}".replace(".", POINT[self.language]))

    def wall_time(self, instant: datetime) -> int:
        """Return local time as seconds since 1970, as if it were UTC, because the filter compares it with local dates."""
        return int(self.local(instant).replace(tzinfo=UTC).timestamp())


@lru_cache(1000)  # thousands of metrics have the same next check
def _moment(language: str, zone: str, now: datetime, instant: datetime) -> str:
    return ClockFormat(language, zone, now).at(instant, now)


@dataclass(frozen=True)
class IncidentStory:
    """An incident, the messages of its thread (oldest first), and the run that sent each message."""

    incident: Incident
    thread: tuple[ThreadMessage, ...] = ()
    runs: dict[str, RunRecord] = field(default_factory=dict)  # key of a message -> the run that sent it
    pictures: dict[str, str] = field(default_factory=dict)  # key of a message -> path of its picture below reports/
    notebook: str = ""  # when the page of its notebook was written; "" where there is none

    def versions(self, message: ThreadMessage) -> list[ThreadMessage]:
        """Return a message and its edits that were sent, oldest first."""
        return [message, *(other for other in self.thread if other.edits == message.key and other.state == "sent")]


@dataclass(frozen=True)
class MetricState:
    """A metric as it is now. A stand-in for watched segments is one, too."""

    name: str
    newest: Verdict | None = None  # None: it was not judged yet
    points: Sequence[JudgedPoint] = ()  # buckets of the last day, or of 24 buckets where those take longer; () if left out
    stories: tuple[IncidentStory, ...] = ()  # its incidents, newest first
    silence: Silence | None = None  # the present one, otherwise the next one
    next_check: datetime | None = None
    href: str = ""  # path of its page below reports/; "" if there is none

    @property
    def incident(self) -> Incident | None:
        """The open incident that it is affected by."""
        found = (story.incident for story in self.stories if story.incident.open)
        return next((it for it in found if any(member.metric == self.name for member in it.affected)), None)

    @property
    def state(self) -> str:
        """The state: anomalous, missing, recovering (normal, in an open incident), unknown, normal, or not judged."""
        if self.newest is None:
            return "not judged"
        if self.newest.status in (Status.ANOMALOUS, Status.MISSING):
            return self.newest.status.value
        return "recovering" if self.incident else self.newest.status.value

    @property
    def since(self) -> datetime | None:
        """When that state began; None where that is before its `points`, or not known."""
        if incident := self.incident:
            return next(member.since for member in incident.affected if member.metric == self.name)
        before = [it.at for it in self.points if self.newest and it.status != self.newest.status.value]
        after = [it.at for it in self.points if not before or it.at > before[-1]]
        return datetime.fromtimestamp(after[0], UTC) if before and after else None
