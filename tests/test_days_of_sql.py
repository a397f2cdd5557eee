"""A metric of a day counts local days, whatever SQL it has: distinct users of 23 and 25 hours, from every source."""

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from alerting.model.clock import day_of, day_phase
from alerting.model.errors import SourceError
from alerting.model.metric import STEP, Metric, of_local_days
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.store.state import StateStore
from tests.source_helpers import DAY, END, SQL, START, as_promised

ZONES = ["UTC", "Europe/Berlin", "Europe/Moscow", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]


@pytest.fixture(params=["ClickHouse", "embedded", "held"])
def source(request):
    if request.param == "ClickHouse":
        server = request.getfixturevalue("tables")
        return ClickHouseSource(server.url, server.user, server.password, "app", timeout=20)
    embedded = request.getfixturevalue("embedded")
    return CachedSource(embedded, StateStore(":memory:"), str) if request.param == "held" else embedded


def daily(zone, sql=SQL["feed_actions"]):
    metric = of_local_days(Metric("users", {"en": "Users"}, "feed_actions", len, None, step=DAY), zone)
    return metric.scan_query(sql, zone)


@pytest.mark.parametrize("zone", ZONES)
def test_distinct_users_of_local_days(source, events, zone):
    local = pd.to_datetime(events["time"], unit="s", utc=True).dt.tz_convert(zone).dt.date
    expected = events.groupby(local)["user_id"].nunique()
    query = daily(zone)
    assert query.phase == day_phase(zone)
    for _ in range(2):  # the second time from the history, where there is one
        frame = source.fetch(query, START - 2 * DAY, END + 2 * DAY)
        assert as_promised(frame)
        days = [day_of(bucket, DAY, zone) for bucket in frame.index.to_pydatetime()]
        assert dict(zip(days, frame["users"].astype(int), strict=True)) == expected.to_dict()


def test_the_day_on_which_the_clocks_go_back_has_25_hours(source, events):
    frame = source.fetch(daily("Europe/Berlin"), START, END)
    day = next(bucket for bucket in frame.index.to_pydatetime() if day_of(bucket, DAY, "Europe/Berlin") == date(2026, 10, 25))
    since = pd.Timestamp("2026-10-25", tz="Europe/Berlin").timestamp()
    counted = events[events["time"].between(since, since + 25 * 3600 - 1)]
    assert int(frame.loc[day, "views"]) == int((counted["action"] == "view").sum())


def test_labels_of_local_days(embedded, events):
    sql = SQL["feed_actions"].replace("AS bucket,", "AS bucket, city,").replace("GROUP BY bucket", "GROUP BY bucket, city")
    frame = embedded.fetch(daily("Europe/Moscow", sql), START - DAY, END + DAY)
    assert {"views[city=Москва]", "newest", "groups"} <= set(frame.columns)
    moscow = events[(events["city"] == "Москва") & (events["action"] == "view")]
    assert frame["views[city=Москва]"].sum() == len(moscow)


def test_a_query_that_counts_its_own_days_is_refused(embedded):
    sql = SQL["feed_actions"].replace("intDiv(toUInt32(time), step) * step", "intDiv(toUInt32(time), 86400) * 86400")
    assert sql != SQL["feed_actions"]
    with pytest.raises(SourceError, match="twice"):
        embedded.fetch(daily("Europe/Moscow", sql), START, END)


def test_shorter_buckets_are_as_before(embedded):
    metric = Metric("views", {"en": "Views"}, "feed_actions", len, None, step=STEP)
    assert of_local_days(metric, "Europe/Moscow") is metric
    hourly = replace(metric, step=timedelta(hours=1)).scan_query(SQL["feed_actions"], "Europe/Moscow")
    assert (hourly.phase, hourly.zone) == (timedelta(), "")
    assert len(embedded.fetch(hourly, START, END)) == 3 * 24 - 1
