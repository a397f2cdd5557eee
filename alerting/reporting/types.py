"""The data types from which pages are rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alerting.model.incident import Incident
from alerting.model.message import ThreadMessage
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
    """The title of a metric, and the format of its values (as `Metric.form`)."""

    words: str
    form: str = "number"


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

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))

    def time(self, instant: datetime) -> str:
        """Format an instant in local time: 2026-11-25 10:15"""
        return f"{self.local(instant):%Y-%m-%d %H:%M}"

    def wall_time(self, instant: datetime) -> int:
        """Return local time as seconds since 1970, as if it were UTC, because the filter compares it with local dates."""
        return int(self.local(instant).replace(tzinfo=UTC).timestamp())


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
