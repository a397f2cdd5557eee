"""When people use the app: hours of the day, days of the week, holidays, and how all of that wavers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from alerting.simulate.app import BUCKET, BUCKETS, DAY, App

Bump = tuple[float, float, float]  # peak (local hour), width (hours), height

DAY_TURNS = timedelta(hours=5)  # a Friday ends at 5 in the morning: there all curves are low and join unseen
MEMORY_OF_DAYS, MEMORY_OF_BUCKETS = 0.6, 0.85
REACH = 30  # shocks older than this are forgotten (0.85 ** 30 = 0.008): any day can be made without those before
WAVERING = {  # standard deviation of log(level): per day shared, per day own, per bucket shared, per bucket own
    "feed": (0.035, 0.012, 0.018, 0.010),
    "chat": (0.035, 0.015, 0.018, 0.012),
    "ctr": (0.0, 0.015, 0.0, 0.010),
}


@dataclass(frozen=True)
class Curve:
    """A day's level by local hour: a floor and bumps. Its mean need not be 1: `Week.at` divides by it."""

    floor: float
    bumps: tuple[Bump, ...]

    def at(self, hour: np.ndarray) -> np.ndarray:
        """Level at local hours (float, 0 to 24), continuous around midnight."""
        level = np.full(hour.shape, self.floor)
        for peak, width, height in self.bumps:
            sharpness = (24 / (2 * np.pi * width)) ** 2
            level += height * np.exp(sharpness * (np.cos((hour - peak) * 2 * np.pi / 24) - 1))
        return level


@dataclass(frozen=True)
class Week:
    """How a part of the app is used over a week; `days` are levels from Monday to Sunday."""

    workday: Curve
    weekend: Curve
    holiday: Curve
    days: tuple[float, ...]

    def at(self, hour: np.ndarray, weekday: np.ndarray, holiday: np.ndarray) -> np.ndarray:
        """Level at local hours; about 1 on average."""
        free = np.where(weekday >= 5, self.weekend.at(hour), self.workday.at(hour))
        shape = np.where(holiday, self.holiday.at(hour), free)
        return shape * np.array(self.days)[weekday] / self.workday.at(np.arange(0, 24, 0.25)).mean()


FEED_WEEK = Week(
    workday=Curve(0.20, ((8.5, 1.6, 0.35), (13.0, 2.2, 0.45), (17.5, 2.8, 0.40), (21.3, 2.0, 0.85))),
    weekend=Curve(0.22, ((11.5, 2.6, 0.55), (16.0, 3.2, 0.50), (21.5, 2.6, 0.80))),
    holiday=Curve(0.28, ((1.0, 2.0, 0.35), (13.5, 2.8, 0.75), (18.0, 3.0, 0.35), (22.0, 2.4, 0.60))),
    days=(1.00, 0.98, 0.99, 1.00, 0.97, 0.99, 1.05),
)
CHAT_WEEK = Week(
    workday=Curve(0.18, ((9.5, 1.8, 0.50), (12.8, 2.2, 0.55), (16.5, 2.6, 0.60), (20.8, 2.2, 0.65))),
    weekend=Curve(0.20, ((12.5, 2.8, 0.55), (17.0, 3.0, 0.45), (21.0, 2.6, 0.60))),
    holiday=Curve(0.26, ((0.6, 1.6, 0.80), (12.5, 2.6, 1.05), (17.5, 3.0, 0.45), (21.5, 2.4, 0.60))),
    days=(1.02, 1.01, 1.01, 1.00, 0.98, 0.90, 0.88),
)


def level(app: App, week: Week, day: int, zone: str) -> np.ndarray:
    """How much people of that time zone use a part of the app in each bucket of a UTC day; shape (96,)."""
    hour, dates = _local_clock(day, zone)
    holiday = np.array([app.is_holiday(local) for local in dates])
    return week.at(hour, np.array([local.weekday() for local in dates]), holiday)


def wavering(app: App, day: int) -> dict[str, np.ndarray]:
    """Factors around 1 for feed, chat and ctr in each bucket of a UTC day; shape (96,) each.

    Days and buckets both remember (AR(1)), and most of it is shared: the metrics of one app rise and fall together.
    Of a day's shocks the first row is the day's own, the others are its buckets'.
    """
    days = np.array([app.stream(past, "weather").normal(size=4) for past in range(day - REACH + 1, day + 1)])
    eve, today = (app.stream(past, "weather").normal(size=(BUCKETS + 1, 4))[1:] for past in (day - 1, day))
    by_day, by_bucket = remembered(days, MEMORY_OF_DAYS)[-1], remembered(np.vstack([eve, today]), MEMORY_OF_BUCKETS)
    factors = {}
    for own, (part, spread) in enumerate(WAVERING.items(), start=1):
        shocks = by_day[0] * spread[0] + by_day[own] * spread[1]
        shocks = shocks + by_bucket[-BUCKETS:, 0] * spread[2] + by_bucket[-BUCKETS:, own] * spread[3]
        factors[part] = np.exp(shocks)
    return factors


def remembered(shocks: np.ndarray, memory: float) -> np.ndarray:
    """AR(1) series of unit variance from unit shocks; shape (n, k) gives (n - REACH + 1, k)."""
    weights = np.sqrt(1 - memory**2) * memory ** np.arange(REACH)
    return np.apply_along_axis(np.convolve, 0, shocks, weights, "valid")


@lru_cache(maxsize=64)
def _local_clock(day: int, zone: str) -> tuple[np.ndarray, tuple[date, ...]]:
    """Local hour (float) and the date people feel it is, in each bucket of a UTC day."""
    starts = range(day * DAY, (day + 1) * DAY, BUCKET)
    local = [datetime.fromtimestamp(start, ZoneInfo(zone)) for start in starts]
    hour = np.array([at.hour + at.minute / 60 for at in local])
    return hour, tuple((at.replace(tzinfo=None) - DAY_TURNS).date() for at in local)
