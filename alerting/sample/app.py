"""One sample app: when it was born, how big it is, and the random streams that make its days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

BUCKET = 900
DAY = 86_400
BUCKETS = DAY // BUCKET
SEED = 11
WEEKLY_GROWTH = 0.015  # of the size at birth: a straight line, so that an app left alone for a year does not explode
HOLIDAY_EVERY, HOLIDAY_BEFORE_BIRTH = 56, 36  # days; the next Wednesday: then it shows, and no incident is near
STREAMS = ("people", "weather", "feed_actions", "message_actions")


@dataclass(frozen=True)
class SampleApp:
    """The parameters that, with a day's number, decide every row of that day.

    `birth` is the `now` of the first generation (aware UTC, whole seconds); `users` and `events_per_day` are the app's
    size at birth; `incidents` is "default" or "none". Raises ValueError for any other `incidents`.
    """

    birth: datetime
    seed: int = SEED
    days: int = 56
    users: int = 40_000
    events_per_day: int = 150_000
    incidents: str = "default"

    def __post_init__(self) -> None:
        if self.incidents not in ("default", "none"):
            raise ValueError(f"incidents must be 'default' or 'none', not {self.incidents!r}")

    @property
    def first_day(self) -> int:
        """UTC day number (days since 1970) of the oldest day."""
        return day_number(self.birth) - self.days

    def size(self, day: int) -> float:
        """Return the app's size on that day, as a share of its size at birth."""
        return max(1 + WEEKLY_GROWTH * (day - day_number(self.birth)) / 7, 0.1)

    def users_on(self, day: int) -> int:
        """Return the number of people who have signed up by that day."""
        return max(round(self.users * self.size(day)), 1)

    def is_holiday(self, local: date) -> bool:
        """Return whether that local date is a public holiday."""
        since = (local - self.birth.date()).days + HOLIDAY_BEFORE_BIRTH
        return local.weekday() == 2 and since % HOLIDAY_EVERY < 7

    def stream(self, day: int, purpose: str) -> np.random.Generator:
        """Return the random numbers of one day for one purpose of STREAMS, the same in every run."""
        return np.random.default_rng([self.seed, day, STREAMS.index(purpose)])


def day_number(at: datetime) -> int:
    """Return UTC days since 1970."""
    return epoch(at) // DAY


def epoch(at: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(at.timestamp())


def instant(at: datetime) -> datetime:
    """Return `at` in UTC and whole seconds. Raises ValueError for an instant without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; give an aware datetime")
    return at.astimezone(UTC).replace(microsecond=0)
