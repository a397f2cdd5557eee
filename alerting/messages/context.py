"""The input of a text besides its event: for whom it is written, and what is known around the event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.messages.format import NAN, ClockFormat
from alerting.model.incident import Member, Rarity, SimilarIncident
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Verdict


@dataclass(frozen=True)
class Audience:
    """The readers of a run's messages, and the moment of the run: the same for all its messages."""

    language: str  # en | ru
    zone: str  # IANA name: all times are written in its local time
    now: datetime  # aware
    run_link: str = ""  # the saved run: URL, or path
    owner: str = ""  # mentioned for metrics that name no owner

    @property
    def clock(self) -> ClockFormat:
        return ClockFormat(self.zone, self.language, self.now)


@dataclass(frozen=True)
class MemberContext:
    """Another metric of the event's incident. `verdict`: its newest."""

    metric: Metric
    member: Member
    verdict: Verdict | None = None


@dataclass(frozen=True)
class MessageContext:
    """The facts that an event's text needs beyond the event. What is unknown (NaN, None, empty) is not mentioned."""

    metric: Metric
    reader: Audience
    yesterday: float = NAN  # value at the same local time the day before
    week_ago: float = NAN  # and seven days before
    dashboard: str = ""  # URL, filled in
    table: str = ""  # the source table
    newest: datetime | None = None  # instant of its newest row
    normal: tuple[str, ...] = ()  # titles of the metrics that are normal now
    members: tuple[MemberContext, ...] = ()  # the incident's other members
    latest: Verdict | None = None  # the metric's newest verdict, where that is later than the event's bucket
    is_platform: bool = False  # all products are down together
    calendar: tuple[CalendarEvent, ...] = ()  # events of the calendar near the event's bucket
    usual_delay: timedelta | None = None  # how old the table's newest row usually is when it is read
    complete_tables: tuple[str, ...] = ()  # other source tables that have all their rows
    silenced_until: datetime | None = None
    rarity: Rarity | None = None
    similar: SimilarIncident | None = None
