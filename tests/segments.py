"""A feed whose leaves are known: a source of its counts and of the rows of its segments, and what is true of each bucket."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from alerting.rootcause.expectation import HISTORY_DAYS
from alerting.sources.base import BaseSource

STEP = timedelta(minutes=15)
START = datetime(2026, 10, 19, tzinfo=UTC)  # of the history
STORY = datetime(2026, 11, 20, 12, tzinfo=UTC)  # bucket 0 of what happens
SHARES = {
    "os": {"Android": 0.6, "iOS": 0.4},
    "source": {"ads": 0.35, "organic": 0.65},
    "gender": {"0": 0.45, "1": 0.55},
}
LEAVES = pd.DataFrame(list(itertools.product(*SHARES.values())), columns=list(SHARES))
VIEWS, VIEWS_A_USER, LIKE_RATE = 1600, 5, 0.2
BUCKETS = 200  # of the story


@dataclass
class Feed(BaseSource):
    """Leaves of views and likes of a feed. `hit` multiplies the views (or likes) of a segment in some buckets of the story."""

    level: float = VIEWS
    seed: int = 0
    runs_sql = True
    factors: np.ndarray = field(init=False)  # (2, leaves, buckets): of views, and of likes besides

    def __post_init__(self) -> None:
        self.index = pd.date_range(START, STORY + BUCKETS * STEP, freq=STEP, inclusive="left")
        weight = np.prod([LEAVES[name].map(SHARES[name]) for name in SHARES], axis=0)
        hour = (self.index.hour + self.index.minute / 60).to_numpy()
        self.usual = weight[:, None] * self.level * (1 + 0.3 * np.sin(2 * np.pi * hour / 24))  # views of each leaf
        self.factors = np.ones((2, len(LEAVES), len(self.index)))
        self._counts: tuple[np.ndarray, np.ndarray] | None = None

    def hit(self, factor: float, first: int, last: int, column: str = "views", **where: str) -> Feed:
        """Multiply the counts of buckets first .. last of the story where the attributes have these values."""
        inside = np.logical_and.reduce([np.ones(len(LEAVES), bool), *(LEAVES[name] == value for name, value in where.items())])
        at = self.index.get_loc(STORY)
        self.factors[int(column == "likes"), np.flatnonzero(inside), at + first : at + last + 1] *= factor
        self._counts = None
        return self

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Views and likes, (leaves, buckets) each."""
        if self._counts is None:
            rng = np.random.default_rng(self.seed)
            users = rng.poisson(self.usual / VIEWS_A_USER)  # before the factors: what is not hit is the same in every story
            views = np.round(users * VIEWS_A_USER * self.factors[0])
            likes = np.round(rng.binomial(users * VIEWS_A_USER, LIKE_RATE) * self.factors.prod(axis=0))
            self._counts = views, likes
        return self._counts

    def fetch(self, query, start, end):
        views, likes = (table.sum(axis=0) for table in self.counts)
        frame = pd.DataFrame({"users": np.round(views / VIEWS_A_USER), "views": views, "likes": likes}, self.index)
        return frame.loc[start : end - STEP].rename_axis("bucket")

    def rows(self, query, start, end):
        views, likes = self.counts
        width, parts = (end - start) % timedelta(days=1) or timedelta(days=1), []
        for day in range(HISTORY_DAYS + 1):
            until = self.index.searchsorted(end - timedelta(days=day))
            since = self.index.searchsorted(end - width - timedelta(days=day))
            sums = {"views": views[:, since:until].sum(axis=1), "likes": likes[:, since:until].sum(axis=1)}
            users = np.round(sums["views"] / VIEWS_A_USER)
            parts.append(LEAVES.assign(days_ago=day, users=users, **sums)[lambda it: it["views"] > 0])
        return pd.concat(parts)

    def change(self, column: str, bucket: datetime, rest: bool = False, **where: str) -> float:
        """Return the true change of a segment's count (of all but it with `rest`) from what is usual at that time."""
        inside = np.logical_and.reduce([np.ones(len(LEAVES), bool), *(LEAVES[name] == value for name, value in where.items())])
        at = self.index.get_loc(bucket)
        usual = self.usual[inside ^ rest, at].sum() * (LIKE_RATE if column == "likes" else 1)
        return float(self.counts[column == "likes"][inside ^ rest, at].sum() / usual - 1)
