"""One day's raw events: sessions by place and bucket, unfolded into views, likes and messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from alerting.simulate.app import BUCKET, BUCKETS, DAY, App
from alerting.simulate.people import PLACES, People
from alerting.simulate.rhythm import CHAT_WEEK, FEED_WEEK, Week, level, wavering

Pair = tuple[np.ndarray, np.ndarray]

VIEW, LIKE, MESSAGE = 0, 1, 2
FEED_SHARE = 0.8  # of all events
VIEWS_A_SESSION, LIKES_A_VIEW, VIEW_GAP = 2.0, 0.2, 18.0  # gaps in seconds
MESSAGES_A_SESSION, MESSAGE_GAP = 1.5, 25.0
BURSTINESS = 0.03  # relative standard deviation of a bucket's sessions beyond Poisson's
LIKE_AFTER = (1, 6)  # seconds a like follows its view by
LATE_SHARE, LATE = 0.01, (5, 240)  # share of rows that arrive late, and by how many seconds
POSTS_A_DAY, FIRST_POST_DAY = 300, 20_000
FRIENDS, FRIENDLINESS = 12, 0.4  # a message goes to one of that many, with that probability to the closest


@dataclass(frozen=True)
class Rows:
    """Events in the order they happened; every array has shape (n,).

    `user` is a position in People, `kind` VIEW, LIKE or MESSAGE, `target` a post_id or the position of the receiver,
    `time` when it happened and `arrival` when the database had it (int64, UTC epoch seconds).
    """

    user: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    time: np.ndarray
    arrival: np.ndarray

    def take(self, index: np.ndarray) -> Rows:
        """The rows at those positions, or where a mask is true."""
        return Rows(self.user[index], self.kind[index], self.target[index], self.time[index], self.arrival[index])


def feed(app: App, people: People, day: int) -> Rows:
    """Views and likes of a UTC day; a like follows its view by seconds."""
    rng, factor = app.stream(day, "feed_actions"), wavering(app, day)
    a_day = app.events_per_day * FEED_SHARE / (VIEWS_A_SESSION * (1 + LIKES_A_VIEW))
    sessions = a_day * _usual(app, people, people.feed, FEED_WEEK, day) * factor["feed"]
    user, start = _sessions(rng, sessions, people, people.feed)
    session, second = _unfold(rng, start, VIEWS_A_SESSION, VIEW_GAP)
    viewer, post = user[session], _posts(rng, day, len(session))
    fondness = people.likes[viewer] * factor["ctr"][second.astype(int) // BUCKET % BUCKETS]
    liked = np.flatnonzero(rng.random(len(viewer)) < fondness)
    second = np.concatenate([second, second[liked] + rng.uniform(*LIKE_AFTER, len(liked))])
    kind = np.repeat([VIEW, LIKE], [len(viewer), len(liked)])
    both = np.concatenate([np.arange(len(viewer)), liked])
    return _in_order(rng, day, second, user=viewer[both], kind=kind, target=post[both])


def messages(app: App, people: People, day: int) -> Rows:
    """Messages of a UTC day."""
    rng, factor = app.stream(day, "message_actions"), wavering(app, day)
    a_day = app.events_per_day * (1 - FEED_SHARE) / MESSAGES_A_SESSION
    sessions = a_day * _usual(app, people, people.chat, CHAT_WEEK, day) * factor["chat"]
    user, start = _sessions(rng, sessions, people, people.chat)
    session, second = _unfold(rng, start, MESSAGES_A_SESSION, MESSAGE_GAP)
    sender = user[session]
    receiver = _receivers(rng, app, people, user)[session]
    return _in_order(rng, day, second, user=sender, kind=np.full(len(sender), MESSAGE), target=receiver)


def _usual(app: App, people: People, rate: np.ndarray, week: Week, day: int) -> np.ndarray:
    """Expected share of a day's sessions by place and bucket, app's growth included; shape (places, 96)."""
    share = np.bincount(people.columns["city"], weights=rate, minlength=len(PLACES))
    levels = np.array([level(app, week, day, zone) for _, _, zone, _ in PLACES])
    return app.size(day) * levels / BUCKETS * (share / max(share.sum(), 1))[:, None]


def _sessions(rng: Generator, expected: np.ndarray, people: People, rate: np.ndarray) -> Pair:
    """Who opened the app, and at which second of the day, given expected sessions by place and bucket."""
    bursts = rng.gamma(1 / BURSTINESS**2, BURSTINESS**2, BUCKETS)
    counts = rng.poisson(expected * bursts)
    place, bucket = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), BUCKETS)
    start = (bucket + rng.random(len(bucket))) * BUCKET
    return _draw(rng, people, rate, place), start


def _draw(rng: Generator, people: People, rate: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A user of each given place, with probability by rate: a position on the line of all rates, place after place."""
    by_place = np.argsort(people.columns["city"], kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(rate[by_place])])
    edges = reached[np.searchsorted(people.columns["city"][by_place], np.arange(len(PLACES) + 1))]
    at = edges[place] + rng.random(len(place)) * (edges[place + 1] - edges[place])
    return by_place[np.searchsorted(reached, at, side="right") - 1]


def _unfold(rng: Generator, start: np.ndarray, mean_length: float, mean_gap: float) -> Pair:
    """The session (position) and second of the day of each event: the first at the start, the next after gaps."""
    length = rng.geometric(1 / mean_length, len(start))
    session = np.repeat(np.arange(len(start)), length)
    walked = np.cumsum(rng.exponential(mean_gap, len(session)))
    first = np.cumsum(length) - length
    return session, start[session] + walked - walked[first][session]


def _posts(rng: Generator, day: int, n: int) -> np.ndarray:
    """Posts people see: mostly recent ones, with a long tail."""
    newest = (day - FIRST_POST_DAY) * POSTS_A_DAY
    return np.maximum(newest - (rng.pareto(1.1, n) * POSTS_A_DAY / 2).astype(np.int64), 1)


def _receivers(rng: Generator, app: App, people: People, sender: np.ndarray) -> np.ndarray:
    """A friend of each sender. Friends follow from the sender alone, so they stay friends; all are early users."""
    crowd = np.flatnonzero(people.chat[: app.users_on(app.first_day)])
    if not len(crowd):
        return sender
    friend = np.minimum(rng.geometric(FRIENDLINESS, len(sender)), FRIENDS)
    return crowd[(sender * 7_919 + friend * 104_729) % len(crowd)]


def _in_order(rng: Generator, day: int, second: np.ndarray, **columns: np.ndarray) -> Rows:
    """Rows by time. A session that runs over midnight goes on in the same day's first minutes: no day needs another."""
    second = second.astype(np.int64) % DAY
    late = np.where(rng.random(len(second)) < LATE_SHARE, rng.integers(*LATE, len(second), endpoint=True), 0)
    time = day * DAY + second
    rows = Rows(time=time, arrival=time + late, **columns)
    return rows.take(np.argsort(second, kind="stable"))
