"""An incomplete bucket is judged later and is no drop; a real drop is not taken for an incomplete bucket."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting.model.run import Arrival
from alerting.pipeline.read import arrivals_now, incomplete_buckets, usual_delay

STEP = timedelta(minutes=15)
END = datetime(2026, 11, 20, 12, tzinfo=UTC)  # start of the newest bucket
NOW = END + STEP + timedelta(minutes=6)


def table(breaks_off=None, rows_of_last=100.0, tail=20.0, gap=0):
    """Fifteen days of counts whose newest row comes about `tail` seconds before a bucket's end; the last bucket's rows end at
    `breaks_off` seconds, and `gap` empty buckets follow it."""
    index = pd.date_range(END - timedelta(days=15), END, freq=STEP)
    rng = np.random.default_rng(1)
    counts = pd.DataFrame({"views": rng.poisson(100, len(index)).astype(float)}, index)
    starts = index.as_unit("ns").asi8 / 1e9
    counts["newest"] = starts + 900 - rng.exponential(tail, len(index)).clip(0, 899)
    last = -1 - gap
    counts.iloc[last, 0] = rows_of_last
    if breaks_off is not None:
        counts.iloc[last, 1] = starts[last] + breaks_off
    if gap:
        counts.iloc[-gap:] = np.nan
    return counts


def arrivals(share, age=timedelta(minutes=21), count=40):
    """Earlier readings of buckets that had `share` of their rows at that age (from a bucket's start)."""
    buckets = [END - STEP * (30 + i) for i in range(count)]
    return [Arrival("feed", bucket + age, bucket, 100 * share, bucket + timedelta(minutes=14)) for bucket in buckets]


@pytest.mark.parametrize(
    ("counts", "past", "waits"),
    [
        (table(), [], None),
        (table(rows_of_last=10), [], None),  # few rows up to the end: a drop
        (table(breaks_off=400, rows_of_last=45), [], END),  # no row of its second half
        (table(breaks_off=400, rows_of_last=45, gap=2), [], None),  # nor any after it: they have stopped
        (
            table(rows_of_last=60, gap=1),
            arrivals(0.6, age=timedelta(minutes=36)),
            END - STEP,
        ),  # this table is later than a bucket
        (table(breaks_off=820), [], None),  # a silence of 80 s is nothing unusual here
        (table(breaks_off=400, tail=300), [], None),  # where rows are few, they end anywhere
        (table().drop(columns="newest"), [], None),  # the query does not tell
        (table(), arrivals(0.6), END),  # this table is late as a rule
        (table(), arrivals(0.99), None),
        (table(), arrivals(0.6, age=timedelta(minutes=40)), None),  # by then it is not
        (table(), arrivals(0.6, count=3), None),  # three readings are no rule
        (table().iloc[:0], [], None),
        (table() * np.nan, [], None),
    ],
)
def test_the_incomplete_bucket_is_found(counts, past, waits):
    assert incomplete_buckets({"feed": counts}, past, NOW) == ({"feed": waits} if waits else {})


def test_an_outage_that_began_within_a_bucket_does_not_spoil_what_is_usual():
    counts = table(breaks_off=400, rows_of_last=45)
    counts.iloc[-500, 1] -= 600
    assert incomplete_buckets({"feed": counts}, [], NOW) == {"feed": END}


def test_the_arrivals_of_each_table_are_recorded():
    (kept,) = arrivals_now({"feed": table(breaks_off=400, rows_of_last=45, gap=1), "empty": table() * np.nan}, NOW)
    assert kept == Arrival("feed", NOW, END - STEP, 45.0, END - STEP + timedelta(seconds=400))


def test_usual_delay_is_the_median_age_of_the_newest_row():
    assert usual_delay("feed", arrivals(1.0)) == timedelta(minutes=7)
    assert usual_delay("feed", arrivals(1.0, count=3)) is None
    assert usual_delay("other", arrivals(1.0)) is None
