"""What the pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alerting.messages.format import ClockFormat
from alerting.model.incident import Incident
from alerting.model.message import ThreadMessage
from alerting.reporting.words import WORDS

QUARTER = 900  # seconds


@dataclass(frozen=True)
class RunRecord:
    """One run as the list of its day tells of it, and which of its files are still there."""

    name: str  # without an ending: alert-20261125T071048Z
    day: str  # of its folder
    started: datetime
    ok: bool | None = None  # None: not known
    said: str = ""
    off: tuple[str, ...] = ()  # metrics that were off when it ended
    sent: int = 0  # messages it sent
    seconds: float | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)  # key of a message -> the file of its picture
    page: bool = False
    notebook: str = ""  # its ending; "" when it is gone

    @property
    def state(self) -> str:
        """failed | alert (something was off, or told of) | ok | unknown"""
        if not self.ok:
            return "unknown" if self.ok is None else "failed"
        return "alert" if self.off or self.sent else "ok"

    @property
    def rehearsal(self) -> bool:
        return self.name.startswith("rehearsal-")

    @property
    def quarter(self) -> int:
        return int(self.started.timestamp()) // QUARTER

    @property
    def href(self) -> str:
        """Its page, or its notebook where there is no page; from the folder of reports. "" when both are gone."""
        ending = ".html" if self.page else self.notebook
        return f"runs/{self.day}/{self.name}{ending}" if ending else ""


class RunRow(NamedTuple):
    """One run as the index shows it, ready to be kept: nobody makes three thousand of them anew every quarter of an hour."""

    quarter: int  # of an hour, counted from 1970
    day: str  # by the reader's calendar
    state: str
    live: bool  # no rehearsal
    cell: str  # HTML of the calendar
    row: str  # HTML of the list; "" when nothing of the run is kept


@dataclass(frozen=True)
class MetricTitle:
    """What a metric is called, and how its values are written."""

    words: str
    form: str = "number"


@dataclass(frozen=True)
class PageContext:
    """Whom the pages are for: their language and zone, the moment of writing, the catalogue's words."""

    language: str
    zone: str
    now: datetime
    titles: dict[str, MetricTitle] = field(default_factory=dict)

    @property
    def clock(self) -> ClockFormat:
        return ClockFormat(self.zone, self.language, self.now)

    @property
    def place(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def say(self, key: str, **pieces: object) -> str:
        return WORDS[self.language][key].format(**pieces)

    def title(self, metric: str) -> str:
        known = self.titles.get(metric)
        return known.words if known else metric

    def form(self, metric: str) -> str:
        known = self.titles.get(metric)
        return known.form if known else "number"

    def at(self, instant: datetime) -> str:
        """2026-11-25 10:15"""
        return f"{instant.astimezone(self.place):%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class IncidentStory:
    """An incident, its thread in the order of telling, and the run behind each message."""

    incident: Incident
    thread: tuple[ThreadMessage, ...] = ()
    runs: dict[str, RunRecord] = field(default_factory=dict)  # key of a message -> the run that made it
    pictures: dict[str, str] = field(default_factory=dict)  # key of a message -> its file, from the folder of reports
