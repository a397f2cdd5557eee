"""The local clock: days of 23 to 25 hours on a grid of equal buckets. Pure.

A day's bucket starts at local midnight by standard time, so that all buckets are of one length and none ends before its day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINTER_AND_SUMMER = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


@cache
def standard_offset(zone: str) -> timedelta:
    """Return local time minus UTC outside of summer time, in the zone with this IANA name."""
    return min(at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for at in _WINTER_AND_SUMMER)


def iso_text(at: datetime, zone: str) -> str:
    """Return local time in ISO 8601, to the minute, with its offset: 2026-11-20T15:15+03:00, or with Z in UTC."""
    return at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes").replace("+00:00", "Z")


def day_phase(zone: str) -> timedelta:
    """Return how long after 0:00 UTC the buckets of local days start: 0 to 24 hours."""
    return -standard_offset(zone) % DAY


def day_of(bucket: datetime, step: timedelta, zone: str) -> date:
    """Return the local day that a bucket is about: that of its middle."""
    return (bucket + step / 2).astimezone(ZoneInfo(zone)).date()


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the local midnights (aware UTC) at which the day begins and ends."""
    begin, end = (datetime.combine(at, time(), ZoneInfo(zone)).astimezone(UTC) for at in (day, day + DAY))
    return begin, end


def first_bucket(at: datetime, step: timedelta, phase: timedelta = timedelta()) -> datetime:
    """Return the start of the first bucket at `at` or later, on the grid of `step` that is `phase` behind the epoch."""
    origin = EPOCH + phase
    return origin - (origin - at) // step * step


def nearest_bucket(at: datetime, step: timedelta, phase: timedelta = timedelta()) -> datetime:
    """Return the start of a bucket that is nearest to `at`."""
    return first_bucket(at - step / 2, step, phase)
