"""How instants, buckets and durations are written, in the reader's time zone. Instants are aware; pure: now is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerting.messages.words import MONTHS, WEEKDAYS, WORDS, plural

SPACE = "\N{NO-BREAK SPACE}"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WEEKDAY_IS_CLEAR = 6  # days from today within which "Mon" can mean one day only


@dataclass(frozen=True)
class Clock:
    """Local time of `zone`, said in `language`, seen from `now`."""

    zone: str
    language: str
    now: datetime

    def span(self, start: datetime, end: datetime, near: datetime | None = None) -> str:
        """Mon 14:15–14:30 · Mon 23:30–Tue 00:15 · 12 Oct 14:15–14:30, local time of start <= t < end.

        Without the first day when `near` is on it.
        """
        first, last = self.local(start), self.local(end)
        if _twice(first) and end - start <= HOUR:  # 02:45–02:00 is true when clocks go back, and nobody can read it
            last = first + (end - start)  # wall time, as the zone is the same
        other_day = last.date() != first.date() and last - first > HOUR
        until = f"{self.day(last.date())} {last:%H:%M}" if other_day else f"{last:%H:%M}"
        day = "" if near is not None and self.local(near).date() == first.date() else f"{self.day(first.date())} "
        return f"{day}{first:%H:%M}–{until}{_offset(first)}"

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        """14:00, or Sun 23:45 when `near` is not on the same local day (or not given)."""
        local = self.local(instant)
        same_day = near is not None and self.local(near).date() == local.date()
        return f"{'' if same_day else self.day(local.date()) + ' '}{local:%H:%M}{_offset(local)}"

    def day(self, day: date) -> str:
        """Mon, or 12 Oct when a week day could mean two days, or 12 Oct 2025 when the year is another."""
        today = self.local(self.now).date()
        if abs((today - day).days) <= WEEKDAY_IS_CLEAR:
            return WEEKDAYS[self.language][day.weekday()]
        year = "" if day.year == today.year else f"{SPACE}{day.year}"
        return f"{day.day}{SPACE}{MONTHS[self.language][day.month - 1]}{year}"

    def days(self, start: datetime, end: datetime) -> int:
        """How many whole local days start <= t < end is; 0 when it begins or ends within one."""
        first, last = self.local(start), self.local(end)
        whole = first.time() == last.time() == time()
        return (last.date() - first.date()).days if whole else 0

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))


def duration(length: timedelta, language: str) -> str:
    """45 min · 2 h 45 min · 1 day 3 h · 12 days."""
    words, minutes = WORDS[language], int(length / MINUTE)
    if minutes < 1:
        return words["moment"]
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [
        plural(days, "day", language) if days else "",
        f"{hours}{SPACE}{words['h']}" if hours and days < 7 else "",
        f"{minutes}{SPACE}{words['min']}" if minutes and not days else "",
    ]
    return SPACE.join(part for part in parts if part)


def elapsed(start: datetime, end: datetime) -> timedelta:
    """True time between two instants: within one zone, plain subtraction would count wall time."""
    return end.astimezone(UTC) - start.astimezone(UTC)


def _twice(local: datetime) -> bool:
    """This wall time happens twice on this day: clocks go back."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _offset(local: datetime) -> str:
    """Which of the two it is, as " UTC+2", when clocks go back; empty on all other days."""
    if not _twice(local):
        return ""
    minutes = int((local.utcoffset() or timedelta()) / MINUTE)
    rest = f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    return f"{SPACE}UTC{'+' if minutes >= 0 else '−'}{abs(minutes) // 60}{rest}"
