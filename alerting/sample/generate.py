"""A sample app and the rows of its days: its users, when they use it, and their views, likes and messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.random import Generator

BUCKET = 900
DAY = 86_400
BUCKETS = DAY // BUCKET
SEED = 11
WEEKLY_GROWTH = 0.015  # share of the size at birth; linear, so that an app that is extended after a year is not huge
HOLIDAY_EVERY, HOLIDAY_BEFORE_BIRTH = 56, 36  # days; the next Wednesday: then it shows, and no incident is near
STREAMS = ("people", "weather", "feed_actions", "message_actions")


@dataclass(frozen=True)
class SampleApp:
    """The parameters that decide, together with a day's number, every row of that day.

    `birth`: time at which the app was created (aware UTC, whole seconds). `users` and `events_per_day`: its size at that time.
    `incidents`: "default" or "none". Raises ValueError for any other `incidents`.
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
        """Return a random generator for one day and one purpose of STREAMS. It gives the same numbers in every run."""
        return np.random.default_rng([self.seed, day, STREAMS.index(purpose)])


def day_number(at: datetime) -> int:
    """Return the number of whole UTC days since 1970."""
    return epoch(at) // DAY


def epoch(at: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(at.timestamp())


# Users. Their attributes and habits never change.

FIRST_USER_ID = 1_000
PLACES = (  # country, city, time zone, share of users
    ("Russia", "Moscow", "Europe/Moscow", 0.30),
    ("Russia", "Saint Petersburg", "Europe/Moscow", 0.13),
    ("Russia", "Nizhny Novgorod", "Europe/Moscow", 0.05),
    ("Russia", "Kazan", "Europe/Moscow", 0.05),
    ("Russia", "Krasnodar", "Europe/Moscow", 0.05),
    ("Russia", "Yekaterinburg", "Asia/Yekaterinburg", 0.07),
    ("Russia", "Novosibirsk", "Asia/Novosibirsk", 0.06),
    ("Russia", "Vladivostok", "Asia/Vladivostok", 0.02),
    ("Belarus", "Minsk", "Europe/Minsk", 0.06),
    ("Kazakhstan", "Almaty", "Asia/Almaty", 0.05),
    ("Turkey", "Istanbul", "Europe/Istanbul", 0.04),
    ("Germany", "Berlin", "Europe/Berlin", 0.04),
    ("Azerbaijan", "Baku", "Asia/Baku", 0.03),
    ("Finland", "Helsinki", "Europe/Helsinki", 0.03),
    ("Cyprus", "Limassol", "Asia/Nicosia", 0.02),
)
COUNTRIES = tuple(dict.fromkeys(place[0] for place in PLACES))
CITIES = tuple(place[1] for place in PLACES)
NAMES = {"country": COUNTRIES, "city": CITIES, "os": ("Android", "iOS"), "source": ("ads", "organic")}
MALE_SHARE, IOS_SHARE, ADS_SHARE, EXP_GROUPS = 0.45, 0.42, 0.55, 5
AGE_QUANTILES = ((0.0, 14), (0.1, 18), (0.3, 22), (0.5, 26), (0.7, 32), (0.9, 45), (1.0, 75))
FEED_ONLY, BOTH = 0.50, 0.35  # shares of users; the rest only use the messenger
PARETO_EXPONENT, MAX_ACTIVITY = 1.5, 40.0  # distribution of activity; the cap prevents that one user dominates a metric
LIKE_PROBABILITY = (0.06, 0.34)  # probability that a viewed post is liked: range over the users
TRAITS = ("place", "gender", "age", "os", "source", "exp_group", "activity", "habit", "likes", "fate")


def make_population(app: SampleApp, day: int) -> pd.DataFrame:
    """Return everybody who has signed up by that day, one row each, in the order of signing up. Index: 0, 1, 2 ...

    Attributes are as they are stored: numbers, or positions in NAMES (uint8). `feed` and `chat` are relative rates at which the
    user opens each part, `likes` is the probability that a viewed post is liked, `fate` is a uniform number that decides whether
    an incident affects the user. Each user has one row of random numbers, so new users do not change earlier ones.
    """
    draws = app.stream(0, "people").random((app.users_on(day), len(TRAITS)))
    trait = dict(zip(TRAITS, draws.T.copy(), strict=True))
    city_edges = np.cumsum([share for *_, share in PLACES])[:-1]
    city = np.searchsorted(city_edges, trait["place"], side="right")
    quantile, years = zip(*AGE_QUANTILES, strict=True)
    columns = {
        "gender": trait["gender"] < MALE_SHARE,
        "age": np.interp(trait["age"], quantile, years),
        "country": np.array([COUNTRIES.index(place[0]) for place in PLACES])[city],
        "city": city,
        "os": trait["os"] < IOS_SHARE,
        "source": trait["source"] >= ADS_SHARE,
        "exp_group": trait["exp_group"] * EXP_GROUPS,
    }
    activity = np.minimum((1 - trait["activity"]) ** (-1 / PARETO_EXPONENT), MAX_ACTIVITY)
    return pd.DataFrame({name: column.astype(np.uint8) for name, column in columns.items()}).assign(
        feed=activity * (trait["habit"] < FEED_ONLY + BOTH),
        chat=activity * (trait["habit"] >= FEED_ONLY),
        likes=np.interp(trait["likes"], (0, 1), LIKE_PROBABILITY),
        fate=trait["fate"],
    )


# Rhythm: hours of the day, days of the week, holidays, and noise.

Bump = tuple[float, float, float]  # peak (local hour), width (hours), height
DayCurve = tuple[float, tuple[Bump, ...]]  # a day's level by local hour: a floor and bumps

DAY_STARTS = timedelta(hours=5)  # a Friday ends at 5 in the morning: there all curves are low and join unseen
DAY_AUTOCORRELATION, BUCKET_AUTOCORRELATION = 0.6, 0.85  # correlation of a day, and of a bucket, with the next one
SHOCKS = 30  # older shocks are dropped (0.85 ** 30 = 0.008): any day can be made without those before
LEVEL_NOISE = {  # standard deviation of log(level): per day shared, per day own, per bucket shared, per bucket own
    "feed": (0.035, 0.012, 0.018, 0.010),
    "chat": (0.035, 0.015, 0.018, 0.012),
    "ctr": (0.0, 0.015, 0.0, 0.010),
}


def day_level(curve: DayCurve, hour: np.ndarray) -> np.ndarray:
    """Return the level at local hours (float, 0 to 24), continuous around midnight."""
    floor, bumps = curve
    level = np.full(hour.shape, floor)
    for peak, width, height in bumps:
        sharpness = (24 / (2 * np.pi * width)) ** 2
        level += height * np.exp(sharpness * (np.cos((hour - peak) * 2 * np.pi / 24) - 1))
    return level


@dataclass(frozen=True)
class WeekCurve:
    """The level of a part of the app over a week. `days`: factors from Monday to Sunday."""

    workday: DayCurve
    weekend: DayCurve
    holiday: DayCurve
    days: tuple[float, ...]

    def at(self, hour: np.ndarray, weekday: np.ndarray, holiday: np.ndarray) -> np.ndarray:
        """Return the level at local hours; about 1 on average."""
        ordinary = np.where(weekday >= 5, day_level(self.weekend, hour), day_level(self.workday, hour))
        level = np.where(holiday, day_level(self.holiday, hour), ordinary)
        return level * np.array(self.days)[weekday] / day_level(self.workday, np.arange(0, 24, 0.25)).mean()


FEED_WEEK = WeekCurve(
    workday=(0.20, ((8.5, 1.6, 0.35), (13.0, 2.2, 0.45), (17.5, 2.8, 0.40), (21.3, 2.0, 0.85))),
    weekend=(0.22, ((11.5, 2.6, 0.55), (16.0, 3.2, 0.50), (21.5, 2.6, 0.80))),
    holiday=(0.28, ((1.0, 2.0, 0.35), (13.5, 2.8, 0.75), (18.0, 3.0, 0.35), (22.0, 2.4, 0.60))),
    days=(1.00, 0.98, 0.99, 1.00, 0.97, 0.99, 1.05),
)
CHAT_WEEK = WeekCurve(
    workday=(0.18, ((9.5, 1.8, 0.50), (12.8, 2.2, 0.55), (16.5, 2.6, 0.60), (20.8, 2.2, 0.65))),
    weekend=(0.20, ((12.5, 2.8, 0.55), (17.0, 3.0, 0.45), (21.0, 2.6, 0.60))),
    holiday=(0.26, ((0.6, 1.6, 0.80), (12.5, 2.6, 1.05), (17.5, 3.0, 0.45), (21.5, 2.4, 0.60))),
    days=(1.02, 1.01, 1.01, 1.00, 0.98, 0.90, 0.88),
)


@lru_cache(maxsize=64)
def _local_clock(day: int, zone: str) -> tuple[np.ndarray, tuple[date, ...]]:
    """Return the local hour (float) of each bucket of a UTC day, and the date of each bucket. A date begins at DAY_STARTS."""
    starts = range(day * DAY, (day + 1) * DAY, BUCKET)
    local = [datetime.fromtimestamp(start, ZoneInfo(zone)) for start in starts]
    hour = np.array([at.hour + at.minute / 60 for at in local])
    return hour, tuple((at.replace(tzinfo=None) - DAY_STARTS).date() for at in local)


def level_noise(app: SampleApp, day: int) -> dict[str, np.ndarray]:
    """Return factors around 1 for feed, chat and ctr in each bucket of a UTC day; shape (96,) each.

    Both days and buckets are autocorrelated (AR(1)). Most of the noise is shared, because the metrics of one app rise and fall
    together. In a day's shocks the first row is for the day, the other rows are for its buckets.
    """
    days = np.array([app.stream(past, "weather").normal(size=4) for past in range(day - SHOCKS + 1, day + 1)])
    eve, today = (app.stream(past, "weather").normal(size=(BUCKETS + 1, 4))[1:] for past in (day - 1, day))
    by_day = ar1_noise(days, DAY_AUTOCORRELATION)[-1]
    by_bucket = ar1_noise(np.vstack([eve, today]), BUCKET_AUTOCORRELATION)[-BUCKETS:]
    factors = {}
    for own, (part, spread) in enumerate(LEVEL_NOISE.items(), start=1):
        shocks = by_day[0] * spread[0] + by_day[own] * spread[1]
        shocks = shocks + by_bucket[:, 0] * spread[2] + by_bucket[:, own] * spread[3]
        factors[part] = np.exp(shocks)
    return factors


def ar1_noise(shocks: np.ndarray, correlation: float) -> np.ndarray:
    """Return AR(1) series of unit variance from unit shocks. Shocks of shape (n, k) give shape (n - SHOCKS + 1, k)."""
    weights = np.sqrt(1 - correlation**2) * correlation ** np.arange(SHOCKS)
    return np.apply_along_axis(np.convolve, 0, shocks, weights, "valid")


# Events: sessions by place and bucket, unfolded into views, likes and messages.

VIEW, LIKE, MESSAGE = 0, 1, 2
FEED_SHARE = 0.8  # share of all events
VIEWS_A_SESSION, LIKES_A_VIEW, VIEW_GAP = 2.0, 0.2, 18.0  # gaps in seconds
MESSAGES_A_SESSION, MESSAGE_GAP = 1.5, 25.0
BURSTINESS = 0.03  # relative standard deviation of a bucket's sessions beyond Poisson's
LIKE_AFTER = (1, 6)  # seconds a like follows its view by
LATE_SHARE, LATE = 0.01, (5, 240)  # share of rows that arrive late, and by how many seconds
POSTS_A_DAY, FIRST_POST_DAY = 300, 20_000
FRIENDS, CLOSEST_SHARE = 12, 0.4  # a message goes to one of that many friends, with that probability to the closest


def feed_events(app: SampleApp, people: pd.DataFrame, day: int) -> pd.DataFrame:
    """Return the views and likes of a UTC day. A like comes some seconds after its view. `_in_order` describes the columns."""
    rng, factor = app.stream(day, "feed_actions"), level_noise(app, day)
    sessions_a_day = app.events_per_day * FEED_SHARE / (VIEWS_A_SESSION * (1 + LIKES_A_VIEW))
    expected = sessions_a_day * _usual_share(app, people, "feed", FEED_WEEK, day) * factor["feed"]
    user, start = _sessions(rng, expected, people, "feed")
    session, second = _unfold(rng, start, VIEWS_A_SESSION, VIEW_GAP)
    viewer = user[session]
    newest_post = (day - FIRST_POST_DAY) * POSTS_A_DAY  # users see mostly recent posts and rarely old ones
    post = np.maximum(newest_post - (rng.pareto(1.1, len(session)) * POSTS_A_DAY / 2).astype(np.int64), 1)

    probability = people["likes"].to_numpy()[viewer] * factor["ctr"][second.astype(int) // BUCKET % BUCKETS]
    liked = np.flatnonzero(rng.random(len(viewer)) < probability)
    second = np.concatenate([second, second[liked] + rng.uniform(*LIKE_AFTER, len(liked))])
    kind = np.repeat([VIEW, LIKE], [len(viewer), len(liked)])
    view = np.concatenate([np.arange(len(viewer)), liked])
    return _in_order(rng, day, second, user=viewer[view], kind=kind, target=post[view])


def message_events(app: SampleApp, people: pd.DataFrame, day: int) -> pd.DataFrame:
    """Return the messages of a UTC day, each to a friend of the sender. `_in_order` describes the columns.

    The friends depend on the sender alone, so they never change. All friends are early users.
    """
    rng, factor = app.stream(day, "message_actions"), level_noise(app, day)
    sessions_a_day = app.events_per_day * (1 - FEED_SHARE) / MESSAGES_A_SESSION
    expected = sessions_a_day * _usual_share(app, people, "chat", CHAT_WEEK, day) * factor["chat"]
    user, start = _sessions(rng, expected, people, "chat")
    session, second = _unfold(rng, start, MESSAGES_A_SESSION, MESSAGE_GAP)
    early, receiver = np.flatnonzero(people["chat"].iloc[: app.users_on(app.first_day)]), user
    if len(early):
        friend = np.minimum(rng.geometric(CLOSEST_SHARE, len(user)), FRIENDS)
        receiver = early[(user * 7_919 + friend * 104_729) % len(early)]
    kind = np.full(len(session), MESSAGE)
    return _in_order(rng, day, second, user=user[session], kind=kind, target=receiver[session])


def _usual_share(app: SampleApp, people: pd.DataFrame, part: str, week: WeekCurve, day: int) -> np.ndarray:
    """Return the expected share of a day's sessions by place and bucket, growth included; shape (places, 96)."""
    share = np.bincount(people["city"], weights=people[part], minlength=len(PLACES))
    levels = []
    for _, _, zone, _ in PLACES:
        hour, dates = _local_clock(day, zone)
        weekday, holiday = (np.array(list(map(of, dates))) for of in (date.weekday, app.is_holiday))
        levels.append(week.at(hour, weekday, holiday))
    return app.size(day) * np.array(levels) / BUCKETS * (share / max(share.sum(), 1))[:, None]


def _sessions(rng: Generator, expected: np.ndarray, people: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the user and the second of the day of each session, from the expected sessions by place and bucket.

    A user of the place is drawn with a probability proportional to the user's rate.
    """
    bursts = rng.gamma(1 / BURSTINESS**2, BURSTINESS**2, BUCKETS)
    counts = rng.poisson(expected * bursts)
    place, bucket = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), BUCKETS)
    start = (bucket + rng.random(len(bucket))) * BUCKET

    cities, rate = people["city"].to_numpy(), people[part].to_numpy()
    by_place = np.argsort(cities, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(rate[by_place])])
    edges = reached[np.searchsorted(cities[by_place], np.arange(len(PLACES) + 1))]
    at = edges[place] + rng.random(len(place)) * (edges[place + 1] - edges[place])
    return by_place[np.searchsorted(reached, at, side="right") - 1], start


def _unfold(rng: Generator, start: np.ndarray, mean_length: float, mean_gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the session (position) and the second of the day of each event. The first event is at the start of its session."""
    length = rng.geometric(1 / mean_length, len(start))
    session = np.repeat(np.arange(len(start)), length)
    elapsed = np.cumsum(rng.exponential(mean_gap, len(session)))
    first = np.cumsum(length) - length
    return session, start[session] + elapsed - elapsed[first][session]


def _in_order(rng: Generator, day: int, second: np.ndarray, **columns: np.ndarray) -> pd.DataFrame:
    """Return the rows ordered by time. If a session passes midnight, its rest is put into the first minutes of the same day.

    Columns: `user`: position in the population. `kind`: VIEW, LIKE or MESSAGE. `target`: a post_id, or the position of the
    receiver. `time`: when it happened; `arrival`: when the database had it (int64, UTC epoch seconds).
    """
    second = second.astype(np.int64) % DAY
    late = np.where(rng.random(len(second)) < LATE_SHARE, rng.integers(*LATE, len(second), endpoint=True), 0)
    time = day * DAY + second
    rows = pd.DataFrame({**columns, "time": time, "arrival": time + late})
    return rows.iloc[np.argsort(second, kind="stable")]
