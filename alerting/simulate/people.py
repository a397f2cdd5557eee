"""Who uses the app: users whose attributes and habits never change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerting.simulate.app import App

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
SYSTEMS = ("Android", "iOS")
SOURCES = ("ads", "organic")
NAMES = {"country": COUNTRIES, "city": CITIES, "os": SYSTEMS, "source": SOURCES}

IOS_SHARE, ADS_SHARE, EXP_GROUPS = 0.42, 0.55, 5
AGE_QUANTILES = ((0.0, 14), (0.1, 18), (0.3, 22), (0.5, 26), (0.7, 32), (0.9, 45), (1.0, 75))
FEED_ONLY, BOTH = 0.50, 0.35  # the rest only use the messenger
TAIL, BUSIEST = 1.5, 40.0  # Pareto exponent of activity, and its cap: no single user makes a metric
LIKELIHOOD = (0.06, 0.34)  # of liking a viewed post, from the sternest user to the fondest
TRAITS = ("place", "gender", "age", "os", "source", "exp_group", "activity", "habit", "likes", "fate")


@dataclass(frozen=True)
class People:
    """Users 0..n-1 in the order they signed up; every array has shape (n,).

    `columns` holds the attributes as they are stored: numbers, or positions in NAMES (uint8). `feed` and `chat` are
    relative rates of opening each part, `likes` the probability of liking a viewed post, `fate` a uniform number that
    decides whom an incident hits.
    """

    columns: dict[str, np.ndarray]
    feed: np.ndarray
    chat: np.ndarray
    likes: np.ndarray
    fate: np.ndarray

    def ids(self, user: np.ndarray) -> np.ndarray:
        """The user_id (uint32) of users given by position."""
        return (user + FIRST_USER_ID).astype(np.uint32)

    def first(self, n: int) -> People:
        """Only those n who signed up first."""
        columns = {name: column[:n] for name, column in self.columns.items()}
        return People(columns, self.feed[:n], self.chat[:n], self.likes[:n], self.fate[:n])

    def within(self, part: tuple[str, str] | None) -> np.ndarray:
        """Which users (bool) belong to a slice such as ("os", "iOS"); None is everybody."""
        if part is None:
            return np.ones(len(self.fate), dtype=bool)
        column, value = part
        code = NAMES[column].index(value) if column in NAMES else int(value)
        return self.columns[column] == code


def population(app: App, day: int) -> People:
    """Everybody who has signed up by that day.

    One row of uniform numbers a user, drawn in order: more users later leave the earlier ones as they were.
    """
    draws = app.stream(0, "people").random((app.users_on(day), len(TRAITS)))
    trait = dict(zip(TRAITS, draws.T.copy(), strict=True))
    activity = np.minimum((1 - trait["activity"]) ** (-1 / TAIL), BUSIEST)
    return People(
        columns=_attributes(trait),
        feed=activity * (trait["habit"] < FEED_ONLY + BOTH),
        chat=activity * (trait["habit"] >= FEED_ONLY),
        likes=np.interp(trait["likes"], (0, 1), LIKELIHOOD),
        fate=trait["fate"],
    )


def _attributes(trait: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stored columns (uint8) from uniform numbers."""
    reached = np.cumsum([share for *_, share in PLACES])[:-1]
    city = np.searchsorted(reached, trait["place"], side="right")
    quantile, years = zip(*AGE_QUANTILES, strict=True)
    columns = {
        "gender": trait["gender"] < 0.45,
        "age": np.interp(trait["age"], quantile, years),
        "country": np.array([COUNTRIES.index(place[0]) for place in PLACES])[city],
        "city": city,
        "os": trait["os"] < IOS_SHARE,
        "source": trait["source"] >= ADS_SHARE,
        "exp_group": trait["exp_group"] * EXP_GROUPS,
    }
    return {name: column.astype(np.uint8) for name, column in columns.items()}
