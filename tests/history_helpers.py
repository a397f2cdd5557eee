"""Helpers for tests of the history cache: a source behind a cache, and a clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal

from alerting.model.metric import Query
from alerting.sources.cache import CachedSource
from alerting.store.state import StateStore
from tests.ledger import Ledger, rows

ROOT = Path(__file__).resolve().parent.parent
STEP, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 20, 12, 6, tzinfo=UTC)  # the bucket of 11:45 was over six minutes ago
MUTABLE = timedelta(hours=6)
QUERY = Query("t", "SELECT 1")
WINDOW = 20 * DAY
SOME = (MUTABLE + HOUR) // STEP + 4  # buckets that a run may read: what may change, what is new, a sample


def counts(days=40, end=NOW + 10 * DAY, seed=0):
    """Every third digit matters: counts, thirds, NaN among them, 0/0, and hours without a row."""
    index = pd.date_range(NOW.replace(hour=0, minute=0) - days * DAY, end, freq=STEP)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"views": rng.integers(1, 99, len(index)).astype(float), "third": rng.random(len(index)) / 3}, index)
    frame.loc[rng.random(len(index)) < 0.1, "third"] = np.nan
    return frame[(rng.random(len(index)) > 0.05) & (index.hour != 3)]


class World:
    """A source, what is held of it in a file, and a clock. A `run` asks as a run does, and compares with the source itself."""

    def __init__(self, folder, frame=None, query=QUERY, now=NOW):
        self.ledger = Ledger(rows(counts()) if frame is None else frame, now)
        self.path, self.query, self.now, self.identity, self.said = folder / "alerts.sqlite", query, now, "server|table", []
        self.store = StateStore(self.path)

    @property
    def cached(self):
        return CachedSource(self.ledger, self.store, lambda name: self.identity, MUTABLE, lambda: self.now, self.said.append)

    def window(self, length=WINDOW):
        end = self.now - timedelta(minutes=5)
        end -= (end - datetime(1970, 1, 1, tzinfo=UTC)) % self.query.step
        return end - length, end

    def run(self, length=WINDOW, cached=None):
        """Buckets that were asked for, and what was said."""
        cached, (start, end) = cached or self.cached, self.window(length)
        self.ledger.now = self.now
        self.ledger.asked.clear()
        got = cached.fetch(self.query, start, end)
        asked = self.ledger.buckets(self.query)
        same(got, self.truth(start, end))
        return asked, cached.notes

    def truth(self, start, end):
        return self.ledger.fetch(self.query, start, end)

    def later(self, after=STEP):
        self.now += after
        return self.run()

    def span(self, query=None):
        return self.store.cached_span(self.cached._key(query or self.query))


def same(got, truth):
    assert_frame_equal(got, truth.astype(float), check_exact=True, check_freq=False)
