"""The local clock: days of 23 to 25 hours on a grid of equal buckets, the times that people write, and shifts on call. Pure.

The bucket of a day starts at local midnight of standard time, in summer too. All buckets then have one length, and no bucket
ends before its day does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from alerting.model.errors import SettingsError

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINTER_AND_SUMMER = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


@cache
def standard_offset(zone: str) -> timedelta:
    """Return local time minus UTC outside of summer time. `zone`: IANA name."""
    return min(at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for at in _WINTER_AND_SUMMER)


def iso_text(at: datetime, zone: str) -> str:
    """Return `at` as local time in ISO 8601, to the minute, with the offset: 2026-11-20T15:15+03:00. In UTC it ends in Z."""
    return at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes").replace("+00:00", "Z")


def offset_if_twice(local: datetime) -> str:
    """Return the UTC offset as text, such as UTC+2, if clocks go back and show the time of `local` twice; else ""."""
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    minutes = (local.utcoffset() or timedelta()) // timedelta(minutes=1)
    rest = f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    return f"UTC{'+' if minutes >= 0 else chr(0x2212)}{abs(minutes) // 60}{rest}"


def day_phase(zone: str) -> timedelta:
    """Return how long after 0:00 UTC the buckets of local days start: at least 0, below 24 hours."""
    return -standard_offset(zone) % DAY


def day_of(bucket: datetime, step: timedelta, zone: str) -> date:
    """Return the local day of a bucket: the day on which its middle lies."""
    return (bucket + step / 2).astimezone(ZoneInfo(zone)).date()


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the local midnights (aware UTC) at which the day begins and ends."""
    begin, end = (datetime.combine(at, time(), ZoneInfo(zone)).astimezone(UTC) for at in (day, day + DAY))
    return begin, end


def first_bucket(at: datetime, step: timedelta, phase: timedelta = timedelta()) -> datetime:
    """Return the start of the first bucket that starts at `at` or later. The grid of `step` begins `phase` after the epoch."""
    origin = EPOCH + phase
    return origin - (origin - at) // step * step


def nearest_bucket(at: datetime, step: timedelta, phase: timedelta = timedelta()) -> datetime:
    """Return the start of the bucket that starts nearest to `at`. The grid is that of `first_bucket`."""
    return first_bucket(at - step / 2, step, phase)


MINUTE = timedelta(minutes=1)
LENGTH_UNITS = {"m": MINUTE, "h": timedelta(hours=1), "d": DAY, "w": timedelta(weeks=1)}
MAX_LENGTH = timedelta(days=90)  # a limit, because a forgotten silence hides outages
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK_FORM = "spans such as 'Sat 02:00-04:00', 'Mon-Fri 23:00-08:00' or '23:00-08:00' for every day, with commas between"
_SPAN = re.compile(r"(?:([a-z]{3})(?:\s*-\s*([a-z]{3}))?\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")


@dataclass(frozen=True)
class WeekSpan:
    """A span of local time on some days of the week. `start` and `end` are minutes since midnight.

    `start` is below 1440, `end` at most 1440. A span whose `end` is not after its `start` ends on the next day. `days`: the days
    of the week on which the span starts, 0 for Monday; an empty set means every day.
    """

    days: frozenset[int]
    start: int
    end: int


@cache
def parse_week_spans(text: str) -> tuple[WeekSpan, ...]:
    """Return the spans of a text such as "Sat 02:00-04:00, Mon-Fri 23:00-08:00". Raises ValueError that shows the right form."""
    spans = []
    for part in text.split(","):
        found = _SPAN.fullmatch(part.strip().lower())
        if not found or not {found[1], found[2]} <= {None, *DAYS}:
            raise ValueError(WEEK_FORM)
        start, end = (60 * int(found[hour]) + int(found[hour + 1]) for hour in (3, 5))
        if start >= 1440 or end > 1440 or max(int(found[4]), int(found[6])) > 59 or start == end:
            raise ValueError(f"{WEEK_FORM}; times from 00:00 to 24:00, and the end is not the beginning")
        days = frozenset[int]()
        if found[1]:
            first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
            days = frozenset((first + i) % 7 for i in range((last - first) % 7 + 1))
        spans.append(WeekSpan(days, start, end))
    return tuple(spans)


def week_windows(spans: Sequence[WeekSpan], zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield (begin, end), aware UTC, for each time that one of the spans occurs and overlaps start <= t < end.

    A span belongs to the day on which it begins. If clocks go back, a span begins at the first and ends at the last time that
    they show. A local time that clocks skip is counted as if they had not been moved.
    """
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start - DAY, end))
    for number in range((last - first).days + 1):
        day = first + number * DAY
        for span in spans:
            if not span.days or day.weekday() in span.days:
                until = span.end if span.end > span.start else span.end + 1440
                begins = _instant(day, span.start, zone, 0)
                ends = max(_instant(day, until, zone, fold) for fold in (0, 1))
                if begins < end and ends > start:
                    yield begins, ends


def is_within(spans: Sequence[WeekSpan], zone: str, at: datetime) -> bool:
    """Return whether the local time of `at` lies in a span of its day. Spans that name the day replace the spans of every day.

    `23:00-08:00, Sat-Sun 23:00-10:00` covers every day from 23:00 on, Monday to Friday before 8:00, and Saturday and Sunday
    before 10:00.
    """
    local = at.astimezone(ZoneInfo(zone))
    minute = 60 * local.hour + local.minute
    own = [span for span in spans if local.weekday() in span.days] or [span for span in spans if not span.days]
    return any(s.start <= minute < s.end if s.start < s.end else not s.end <= minute < s.start for s in own)


def _instant(day: date, minutes: int, zone: str, fold: int) -> datetime:
    at = time(minutes % 1440 // 60, minutes % 60)
    return datetime.combine(day + minutes // 1440 * DAY, at, ZoneInfo(zone)).replace(fold=fold).astimezone(UTC)


def parse_length(text: str) -> timedelta:
    """Return the length of a text such as "2h", "1d 6h" or "90m", at most MAX_LENGTH. Raises ValueError that shows the form."""
    parts = re.findall(r"(\d{1,6})\s*([mhdw])", text.lower())
    rest = re.sub(r"(\d{1,6})\s*([mhdw])", "", text.lower()).strip()
    length = sum((int(number) * LENGTH_UNITS[unit] for number, unit in parts), timedelta())
    if rest or not parts or not timedelta() < length <= MAX_LENGTH:
        raise ValueError(f"a time such as 90m, 2h, 1d or '1d 6h', up to {MAX_LENGTH.days} days")
    return length


def parse_local(text: str, zone: str) -> tuple[datetime, datetime]:
    """Return start and end, aware UTC, of a time (both are equal) or a date (the whole day).

    The text is local time of `zone`, unless it has an offset. Raises ValueError for a text that is not a time.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write it as 2026-11-20 14:05, or 2026-11-20 for the whole day") from None
    local = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
    is_date = len(text.strip()) <= len("2026-11-20")  # 20261120, too
    end = datetime.combine(local.date() + DAY, time(), local.tzinfo) if is_date else local
    return local.astimezone(UTC), end.astimezone(UTC)


@dataclass(frozen=True)
class Shift:
    """A span in which somebody is on call: start <= t < end, aware UTC."""

    start: datetime
    end: datetime
    mention: str  # the person to mention, such as @anna


def on_call(shifts: Sequence[Shift], at: datetime) -> str:
    """Return whom to mention at that time. If shifts overlap, the one that began last counts. Without a shift: ""."""
    present = [shift for shift in shifts if shift.start <= at < shift.end]
    return max(present, key=lambda shift: shift.start).mention if present else ""


def parse_instant(text: str, now: datetime) -> datetime:
    """Return the instant, aware UTC, of a text in ISO 8601 with a time zone.

    Raises SettingsError if the text is not a time, has no zone, or lies after `now`.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(f"at={text!r} is not a time: write it as 2026-11-20T12:15Z") from None
    if at.tzinfo is None:
        raise SettingsError(f"at={text!r} has no time zone: add Z for UTC or an offset, as in 2026-11-20T12:15Z")
    if at > now:
        raise SettingsError(f"at={text!r} lies in the future (now it is {now:%Y-%m-%dT%H:%MZ}): choose a moment that has been")
    return at.astimezone(UTC)
