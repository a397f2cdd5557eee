"""Root causes from segment rows: a planted cause is ranked first, a total outage has none; the SQL is equal on both engines.

CAUSE_SEEDS=200 runs 200 seeds of each kind (default 10).
"""

import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting import messages
from alerting.messages.format import metric_title, segment_words
from alerting.metrics import METRICS
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import Policy, Query, parse_segment, spell_segment
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.advance import PreviousState, advance_state
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.segment_watch import SegmentResult, judge_segments, least_evidence, segment_metrics, stand_in_names
from alerting.reporting.incident_page import IncidentStory, incident_page
from alerting.reporting.page import MetricTitle, PageContext
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause
from alerting.settings import ROOT
from alerting.sources.base import bind
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource

SEEDS = range(int(os.environ.get("CAUSE_SEEDS", "10")))
BUCKET = datetime(2026, 11, 20, 12, tzinfo=UTC)
METRIC = {metric.name: metric for metric in METRICS}
VALUES = {
    "os": (["Android", "iOS"], [0.6, 0.4]),
    "source": (["ads", "organic"], [0.35, 0.65]),
    "country": (["Russia", "Kazakhstan", "Belarus", "Turkey"], [0.7, 0.12, 0.1, 0.08]),
    "city": (["Moscow", "Kazan", "Omsk", "Almaty", "Minsk", "Ankara"], [0.3, 0.2, 0.15, 0.15, 0.1, 0.1]),
    "gender": (["0", "1"], [0.45, 0.55]),
    "age_band": (["<18", "18-24", "25-34", "35-44"], [0.1, 0.3, 0.35, 0.25]),
    "exp_group": (["0", "1", "2", "3", "4"], [0.2] * 5),
}
CTR = {"ads": 0.12, "organic": 0.24}


def people(rng, count):
    return pd.DataFrame({name: rng.choice(values, count, p=weights) for name, (values, weights) in VALUES.items()})


def rows(seed, hit=lambda users: np.zeros(len(users), bool), left=0.4, likes=None, users=2000, per_day=900, more=None):
    """29 days of one window: who is there, views and likes of each, a row per leaf and day; on day 0 the hit keep `left`."""
    rng = np.random.default_rng(seed)
    crowd, parts = people(rng, users), []
    leaf = crowd.groupby([*VALUES]).ngroup().to_numpy()  # numbers of leaves: grouping each day by texts takes five times as long
    leaves = crowd.iloc[np.unique(leaf, return_index=True)[1]]
    usual = np.where(crowd["source"] == "ads", CTR["ads"], CTR["organic"])
    for day in range(HISTORY_DAYS + 1):
        there = rng.choice(users, int(per_day * rng.normal(1, 0.05)), replace=False)
        views, rate = rng.poisson(6, len(there)), usual[there]
        if day == 0:
            odd = hit(crowd.iloc[there])
            if likes is None:
                views = np.where(odd, rng.binomial(views, left), views)
            else:
                rate = np.where(odd, rate * likes, rate)
            if more:
                views = np.where(crowd["source"].iloc[there] == more, views * 3, views)
        liked = rng.binomial(views, rate)
        found, at = np.unique(leaf[there], return_inverse=True)
        counted = {"users": views > 0, "views": views, "likes": liked}
        sums = {name: np.bincount(at, counts).astype(int) for name, counts in counted.items()}
        parts.append(leaves.iloc[found].assign(**sums, days_ago=day).reset_index(drop=True))
    return pd.concat(parts)[["days_ago", *VALUES, "users", "views", "likes"]]


def verdict(metric, table):
    """Return the verdict of a band whose expected value is the mean of the days before."""
    totals = table.groupby("days_ago")[["users", "views", "likes"]].sum()
    value = totals["likes"] / totals["views"] if metric == "ctr" else totals[METRIC[metric].value.columns[0]]
    expected = float(value.loc[1:].mean())
    status = Status.ANOMALOUS
    return Verdict(metric, BUCKET, status, float(value.loc[0]), 0.9 * expected, expected, 1.1 * expected, -3.0, "sudden")


def first_line(metric, cause, seen):
    """The cause as the person on duty reads it."""
    incident = Incident("i", BUCKET, (Member(metric, BUCKET, BUCKET, seen),), last_notified=BUCKET, cause=cause)
    event = Event(EventKind.OPENED, metric, BUCKET, seen, Episode(metric, since=BUCKET), incident)
    reader = messages.Audience("en", "UTC", BUCKET + timedelta(minutes=21))
    text = messages.compose(event, messages.MessageContext(METRIC[metric], reader)).text
    return next(
        (line for line in text.splitlines() if line.startswith(("Likely cause", "The drop", "The rise", "Everywhere"))), ""
    )


def is_ios(users):
    return (users["os"] == "iOS").to_numpy()


def is_group(users):
    return (users["exp_group"] == "3").to_numpy()


def is_pair(users):
    return ((users["country"] == "Russia") & (users["source"] == "ads")).to_numpy()


def everybody(users):
    return np.ones(len(users), bool)


PLANTED = {
    "one os": ("views", {"hit": is_ios}, ((("os", "iOS"),),), ("iOS",)),
    "one experiment group": ("views", {"hit": is_group, "left": 0.2}, ((("exp_group", "3"),),), ("3", "experiment")),
    "country and source": (
        "views",
        {"hit": is_pair},
        ((("country", "Russia"), ("source", "ads")),),
        ("Russia", "ads"),
    ),
    "likes of one os": ("ctr", {"hit": is_ios, "likes": 0.3}, ((("os", "iOS"),),), ("iOS",)),
    "a shift of the mix": ("ctr", {"more": "ads"}, ((("source", "ads"),),), ("ads", "mix")),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_cause_is_named_first(kind):
    metric, how, elements, words = PLANTED[kind]
    named = []
    for seed in SEEDS:
        table = rows(seed, **how)
        seen = verdict(metric, table)
        cause = find_root_cause(METRIC[metric], table, seen)
        line = first_line(metric, cause, seen)
        named.append(bool(cause.slice) and cause.slice.elements == elements and all(word in line for word in words))
    assert np.mean(named) >= 0.95, f"{np.mean(named):.0%} of {len(named)}"


@pytest.mark.parametrize("kind", ["one os", "likes of one os"])
def test_a_cause_of_a_fall_below_a_fixed_limit_is_found_from_the_past_of_the_segments(kind):
    """The band has no expected value: the limit is not what segments are compared with, however far away it is."""
    metric, how, elements, words = PLANTED[kind]
    named = []
    for seed in SEEDS:
        table = rows(seed, **how)
        seen = verdict(metric, table)
        seen = replace(seen, low=3 * seen.value, expected=float("nan"), high=float("inf"), reason="limit")
        cause = find_root_cause(METRIC[metric], table, seen)
        line = first_line(metric, cause, seen)
        named.append(bool(cause.slice) and cause.slice.elements == elements and all(word in line for word in words))
    assert np.mean(named) >= 0.95, f"{np.mean(named):.0%} of {len(named)}"


@pytest.mark.parametrize("metric", ["views", "feed_users"])
def test_a_total_outage_names_no_slice(metric):
    causes = []
    for seed in SEEDS:
        table = rows(seed, hit=everybody, left=0.3 if metric == "views" else 0.02)
        causes.append(find_root_cause(METRIC[metric], table, verdict(metric, table)))
    assert np.mean([cause.slice is None for cause in causes]) >= 0.95
    assert np.mean([cause.answer == "alike" for cause in causes]) >= 0.95


def test_who_is_not_affected_and_what_the_rest_did_is_known():
    table = rows(1, hit=is_group, left=0.0)
    cause = find_root_cause(METRIC["views"], table, verdict("views", table))
    assert cause.experiment
    assert [other.elements[0][0][1] for other in cause.others] != []
    assert all(abs(other.change) < 0.15 for other in cause.others)
    assert abs(cause.rest.change) < 0.1  # a day is 5 % up or down
    assert cause.share > 0.9


def test_groups_out_of_balance_new_and_vanished_values_are_told():
    table = rows(2)
    moved = (table["days_ago"] == 0) & (table["exp_group"] == "1") & (np.arange(len(table)) % 2 == 0)
    table.loc[moved, "exp_group"] = "4"
    table.loc[(table["days_ago"] == 0) & (table["os"] == "iOS"), "os"] = "HarmonyOS"
    cause = find_root_cause(METRIC["views"], table, verdict("views", table))
    assert {s.elements[0][0][1] for s in cause.imbalance} == {"1", "4"}
    assert [s.elements[0][0] for s in cause.new] == [("os", "HarmonyOS")]
    assert [s.elements[0][0] for s in cause.gone] == [("os", "iOS")]


def times(table, factors, column="views"):
    """The table with the counts of day 0 multiplied by (rows,) factors."""
    now = table["days_ago"] == 0
    table.loc[now, column] = (table.loc[now, column] * factors[now]).round()
    return table


@pytest.mark.parametrize("kind", ["all came twice", "both fell", "hardly any of it is left"])
def test_no_segment_is_blamed_for_what_the_rest_did_as_well(kind):
    """The rest moved by a third or more of what the segment did: it is the same across the other attributes, and that is said."""
    for seed in SEEDS:
        table = rows(seed)
        age, ios, turkey = table["age_band"] == "25-34", table["os"] == "iOS", table["country"] == "Turkey"
        factors = {
            "all came twice": np.where(age, 2.19, 1.7),
            "both fell": np.where(ios, 0.17, 0.64),
            "hardly any of it is left": np.where(turkey, 0.3, 0.02),
        }[kind]
        table = times(table, factors)
        seen = verdict("views", table)
        cause = find_root_cause(METRIC["views"], table, seen)
        assert (cause.answer, cause.slice, cause.gone) == ("alike", None, ()), seed
        assert "the same across" in first_line("views", cause, seen)
        if kind == "both fell":
            assert "os" not in cause.attributes
            assert "most in os iOS (−8" in first_line("views", cause, seen).replace("\u202f", " ")


@pytest.mark.parametrize("likes", [0.0, 0.1])
def test_a_dozen_units_carry_no_claim(likes):
    for seed in SEEDS:
        table = rows(seed, hit=everybody, likes=likes, per_day=12)
        for metric in ("likes", "ctr"):
            cause = find_root_cause(METRIC[metric], table, verdict(metric, table))
            assert (cause.answer, cause.slice, cause.new, cause.gone, cause.imbalance) == ("unclear", None, (), (), ()), seed


def test_a_share_is_told_only_of_a_change_that_is_beyond_noise():
    """Half of the organic views moved to ads: the total is as it was, and no segment explains 145 % of nothing."""
    table = times(rows(1), np.where(rows(1)["source"] == "ads", 2.0, 0.46))
    seen = verdict("views", table)
    cause = find_root_cause(METRIC["views"], table, seen)
    assert abs(seen.change) < 0.1
    assert cause.share != cause.share
    assert not re.search("explain|%.* of the (drop|rise)", first_line("views", cause, seen))


def test_a_value_too_small_to_compare_is_not_called_normal():
    table = rows(2, hit=is_ios)
    table.loc[(table["os"] == "Android") & (np.arange(len(table)) % 200 == 0), "os"] = "HarmonyOS"
    cause = find_root_cause(METRIC["views"], table, verdict("views", table))
    assert [other.elements[0][0][1] for other in cause.others] == ["Android"]


def test_order_of_rows_does_not_matter():
    table = rows(3, hit=is_pair)
    seen = verdict("views", table)
    assert repr(find_root_cause(METRIC["views"], table, seen)) == repr(
        find_root_cause(METRIC["views"], table.sample(frac=1, random_state=1), seen)
    )


ATTRIBUTES = "gender UInt8, age UInt8, country String, city String, os String, source String, exp_group UInt8"


@pytest.mark.parametrize("width", [timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)], ids=str)
def test_the_slices_are_counted_alike_on_an_old_server_and_embedded(clickhouse, tmp_path, width):
    """The same rows in ClickHouse 18.16 and in Parquet; the same SQL; the window alone, and nothing beside it."""
    rng = np.random.default_rng(4)
    until = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
    age = rng.integers(0, 31 * 86400, 60_000)
    table = pd.DataFrame({"user_id": rng.integers(1, 400, 60_000), "post_id": 7, "action": rng.choice(["view", "like"], 60_000)})
    table["time"] = int(until.timestamp()) + 7200 - age  # some lie after the window
    table["gender"], table["age"] = table["user_id"] % 2, table["user_id"] % 60
    table["country"], table["city"] = "Russia", rng.choice(["Omsk", "Nizhny\tNovgorod", "Ëжск'"], 60_000)
    table["os"], table["source"], table["exp_group"] = rng.choice(["iOS", "Android"], 60_000), "ads", table["user_id"] % 5
    query = Query("feed_actions", (ROOT / "alerting" / "sql" / "slices" / "feed_actions.sql").read_text())
    columns = f"user_id UInt32, post_id UInt32, action String, time DateTime, {ATTRIBUTES}"
    clickhouse.execute("DROP TABLE IF EXISTS default.slices_of_feed")
    clickhouse.execute(f"CREATE TABLE default.slices_of_feed ({columns}) ENGINE = MergeTree ORDER BY time")
    text = table.to_csv(sep="\t", header=False, index=False, quoting=3, escapechar="\\")
    clickhouse.execute(f"INSERT INTO default.slices_of_feed ({', '.join(table.columns)}) FORMAT TabSeparated", text)
    server = ClickHouseSource(
        clickhouse.url, clickhouse.reader, clickhouse.password, "default", {"feed_actions": "slices_of_feed"}
    )
    folder = tmp_path / "app" / "feed_actions"
    folder.mkdir(parents=True)
    stamped = table.assign(time=pd.to_datetime(table["time"], unit="s", utc=True))
    for day, part in stamped.groupby(stamped["time"].dt.date):
        part.to_parquet(folder / f"{day}.parquet", index=False)
    start = until - timedelta(days=28) - width
    embedded = EmbeddedSource(tmp_path / "app")
    try:
        one, other = (source.rows(query, start, until) for source in (server, embedded))
    finally:
        embedded.close()
    clickhouse.execute("DROP TABLE default.slices_of_feed")
    keys = [name for name in one.columns if name not in ("users", "views", "likes")]
    one, other = (frame.astype(dict.fromkeys(keys, str)).sort_values(keys, ignore_index=True) for frame in (one, other))
    pd.testing.assert_frame_equal(one, other[one.columns], check_dtype=False)
    seconds = (int(until.timestamp()) - 1 - table["time"]).to_numpy()
    inside = (seconds >= 0) & (seconds < 28 * 86400 + width.total_seconds()) & (seconds % 86400 < width.total_seconds())
    assert one[["views", "likes"]].to_numpy().sum() == inside.sum()
    assert set(one["days_ago"].astype(int)) <= set(range(29))


def test_an_index_on_time_finds_the_windows_of_the_slices(clickhouse):
    """The query reads 29 windows of 15 minutes from a year of rows, and the rest of their granules."""
    clickhouse.execute("DROP TABLE IF EXISTS default.a_year")
    attributes = ", ".join(name.split()[0] for name in ATTRIBUTES.split(", "))
    columns, engine = f"user_id UInt32, action String, time DateTime, {ATTRIBUTES}", "MergeTree PARTITION BY toYYYYMM(time)"
    clickhouse.execute(f"CREATE TABLE default.a_year ({columns}) ENGINE = {engine} ORDER BY time SETTINGS index_granularity = 64")
    end, every = datetime(2026, 11, 20, 12, 15, tzinfo=UTC), 60  # a row a minute
    select = f"SELECT 1, 'view', toDateTime({int(end.timestamp())} - 1 - number * {every}), 1, 30, 'a', 'b', 'iOS', 'ads', 1"
    clickhouse.execute(f"INSERT INTO default.a_year (user_id, action, time, {attributes}) {select} FROM numbers(365 * 1440)")
    for name in ("feed_actions", "message_actions"):
        query = Query(name, (ROOT / "alerting" / "sql" / "slices" / f"{name}.sql").read_text())
        sql = bind(query, "default.a_year", end - timedelta(days=28, minutes=15), end)
        read = json.loads(clickhouse.execute(f"{sql} FORMAT JSON"))["statistics"]["rows_read"]
        assert 29 * 15 <= read <= 29 * 3 * 64, name
    clickhouse.execute("DROP TABLE default.a_year")


def test_every_slices_file_reads_as_it_is_and_has_its_metrics_columns():
    for path in sorted(Path(ROOT / "alerting" / "sql" / "slices").glob("*.sql")):
        wanted = {column for metric in METRICS if metric.query == path.stem for column in metric.value.columns}
        text = path.read_text()
        assert all(f"AS {column}" in text for column in wanted), path.name


def calm(table, metric="views"):
    """The total of day 0, which is as it should be."""
    now = table[table["days_ago"] == 0]
    value = float(now["likes"].sum() / now["views"].sum() if metric == "ctr" else now[METRIC[metric].value.columns[0]].sum())
    return Verdict(metric, BUCKET, Status.NORMAL, value, 0.9 * value, value, 1.1 * value, 0.0)


def moved(seed, left=0.1):
    """Views of ads are gone, and organic ones make up for them: the total is calm."""
    table = rows(seed, hit=lambda users: (users["source"] == "ads").to_numpy(), left=left)
    now = (table["days_ago"] == 0) & (table["source"] == "organic")
    lost = table.loc[table["days_ago"] > 0, "views"].sum() / HISTORY_DAYS - table.loc[table["days_ago"] == 0, "views"].sum()
    share = table.loc[now, "views"] / table.loc[now, "views"].sum()
    table.loc[now, "views"] += (lost * share).round().astype(int)
    return table


def test_a_slice_that_breaks_while_the_total_is_calm_is_seen():
    (stand_in,) = segment_metrics([METRIC["views"]])
    for seed in range(4):
        table = moved(seed)
        verdict, cause = judge_segments(stand_in, table, calm(table))
        assert verdict.status is Status.ANOMALOUS
        assert cause.slice.elements == ((("source", "ads"),),), cause
        assert verdict.score < -1
        assert cause.slice.change < -0.8


@pytest.mark.parametrize("name", ["feed_users", "views", "likes", "ctr"])
def test_calm_slices_say_nothing(name):
    (stand_in,) = segment_metrics([METRIC[name]])
    for seed in SEEDS:
        table = rows(100 + seed)
        verdict, cause = judge_segments(stand_in, table, calm(table, name))
        assert (verdict.status, cause) == (Status.NORMAL, None)


@pytest.mark.parametrize("name", ["likes", "ctr"])
def test_likes_of_one_os_that_fall_are_seen_in_likes_and_in_the_ratio(name):
    (stand_in,) = segment_metrics([METRIC[name]])
    for seed in range(4):
        table = rows(seed, is_ios, likes=0.4)
        verdict, cause = judge_segments(stand_in, table, calm(table, name), watched=6)
        assert (verdict.status, cause.slice.elements) == (Status.ANOMALOUS, ((("os", "iOS"),),))
        assert -0.75 < cause.slice.change < -0.3  # compared with the total as it is, which fell with it


@pytest.mark.parametrize("name", ["likes", "ctr"])
@pytest.mark.parametrize("missing", [None, ""], ids=["NULL", "empty"])
def test_a_segment_without_a_value_of_its_attribute_is_watched_as_any_other(name, missing):
    (stand_in,) = segment_metrics([METRIC[name]])
    table = rows(0, is_ios, likes=0.4)
    table["os"] = table["os"].where(table["os"] != "iOS", missing)
    verdict, cause = judge_segments(stand_in, table, calm(table, name), watched=6)
    assert (verdict.status, cause.slice.elements) == (Status.ANOMALOUS, ((("os", ""),),))
    titles = [metric_title(stand_in, verdict.segment, language) for language in ("en", "ru")]
    assert [title.partition(" ")[2] for title in titles] == ["(os (empty))", "(ОС (пусто))"]


def test_a_slice_has_the_values_of_the_newest_bucket_and_is_normal_once_that_has_recovered():
    """The rows of an hour have the evidence; those of its last bucket say how it is now."""
    (stand_in,) = segment_metrics([METRIC["likes"]])
    hour, bucket = rows(1, is_ios, likes=0.4), rows(2, is_ios, likes=0.4, per_day=225)
    verdict, cause = judge_segments(stand_in, hour, calm(hour, "likes"), 6, lambda: bucket)
    now = (bucket["days_ago"] == 0) & (bucket["os"] == "iOS")
    assert verdict.status is Status.ANOMALOUS
    assert (verdict.value, cause.slice.value) == (bucket.loc[now, "likes"].sum(),) * 2
    verdict, cause = judge_segments(stand_in, hour, calm(hour, "likes"), 6, lambda: rows(3, per_day=225))
    assert (verdict.status, cause) == (Status.NORMAL, None)


def test_more_series_need_more_evidence():
    assert least_evidence(6, 7) - least_evidence(2, 7) == pytest.approx(np.log(3))
    assert least_evidence(2, 12) > least_evidence(2, 7)


def test_a_broken_slice_is_an_incident_named_after_it_and_a_broken_total_is_only_one():
    (stand_in,) = segment_metrics([METRIC["views"]])
    memory, told = PreviousState([METRIC["views"], stand_in]), []
    for i, table in enumerate([moved(1), moved(2), rows(3), rows(4)]):
        bucket = BUCKET + i * METRIC["views"].step
        total = replace(calm(table), bucket=bucket)
        verdict, cause = judge_segments(stand_in, table, total)
        seen = SegmentResult([verdict], {stand_in.name: cause} if cause else {})
        changes = advance_state([DueBuckets(METRIC["views"], bucket, bucket)], [total], memory, seen)
        memory = replace(memory, episodes=changes.episodes, incidents=changes.incidents)
        told.append(changes.events)
    assert [[e.kind for e in events] for events in told] == [[], [EventKind.OPENED], [], [EventKind.RESOLVED]]
    (opened,) = told[1]
    assert opened.metric == "views.slices"
    assert opened.incident.cause.slice.elements == ((("source", "ads"),),)
    assert metric_title(stand_in, opened.segment, "en") == "Views (source ads)"


@pytest.mark.parametrize(("direction", "found"), [("both", "source=ads"), ("down", "source=ads"), ("up", "source=organic")])
def test_a_segment_has_the_policy_of_its_metric(direction, found):
    policy = Policy(direction=direction, critical=0.3, quiet_hours="ring", need=3, window=4)
    (stand_in,) = segment_metrics([replace(METRIC["views"], policy=policy)])
    assert stand_in.policy == replace(policy, need=2, window=2)
    verdict, _ = judge_segments(stand_in, moved(1), calm(moved(1)))
    assert verdict.segment == found


def test_a_segment_belongs_to_the_incident_of_its_total_while_that_goes_on():
    """The band of a sudden change follows the values down: the total is inside it again, and not well."""
    (stand_in,) = segment_metrics([METRIC["views"]])
    total = replace(calm(moved(1)), metric="views")
    off, part = Episode("views", EpisodeState.FIRING, since=BUCKET, opened=BUCKET), Episode(stand_in.name)
    for episode, status in ((off, Status.UNKNOWN), (Episode("views"), Status.ANOMALOUS)):
        found, cause = judge_segments(stand_in, moved(1), total)
        before = PreviousState([METRIC["views"], stand_in], {"views": episode, stand_in.name: part})
        seen = SegmentResult([found], {stand_in.name: cause})
        changes = advance_state([DueBuckets(METRIC["views"], BUCKET, BUCKET)], [total], before, seen)
        assert [verdict.status for verdict in changes.segments.verdicts] == [status]
        assert (stand_in.name in changes.segments.causes) == (status is Status.ANOMALOUS)


def test_a_segment_is_named_in_tables_titles_and_on_pages():
    (stand_in,) = segment_metrics([METRIC["views"]])
    found, cause = judge_segments(stand_in, moved(1), calm(moved(1)))
    member = Member(stand_in.name, BUCKET, BUCKET, found, worst=found)
    incident = Incident("i", BUCKET, (member,), last_notified=BUCKET, cause=cause)
    event = Event(EventKind.OPENED, stand_in.name, BUCKET, found, Episode(stand_in.name), incident)
    assert (member.name, event.name, incident.cells()["metric"]) == ("views source=ads",) * 3
    titles = [metric_title(stand_in, member.segment, language) for language in ("en", "ru")]
    assert titles == ["Views (source ads)", "Просмотры (источник ads)"]
    page = PageContext("ru", "UTC", BUCKET, {"views": MetricTitle("Просмотры", "count")})
    assert "Просмотры (источник ads)" in incident_page(IncidentStory(incident), page)
    other = replace(found, reason="os=iOS")
    reader = messages.Audience("en", "UTC", BUCKET + timedelta(minutes=21))
    also = messages.MemberContext(stand_in, replace(member, first=other, worst=other), other)
    total = Event(EventKind.OPENED, "feed_users", BUCKET, replace(found, metric="feed_users", reason=""), Episode("feed_users"))
    both = replace(incident, members=(Member("feed_users", BUCKET, BUCKET, total.verdict), also.member))
    text = messages.compose(
        replace(total, incident=both), messages.MessageContext(METRIC["feed_users"], reader, members=(also,))
    ).text
    assert "Also: Views (os iOS) " in text


def test_slices_are_watched_as_the_catalogue_says():
    assert [m.segments_of for m in segment_metrics(METRICS)] == [m.name for m in METRICS]
    assert {m.name for m in segment_metrics(METRICS)} <= stand_in_names(METRIC)
    assert "a.slices" not in stand_in_names(METRIC), "a metric may be called so"
    with pytest.raises(ValueError, match="slices='sometimes' must be"):
        replace(METRIC["views"], slices="sometimes")


def test_a_segment_is_spelled_in_one_place():
    elements = ((("os", "iOS"), ("source", "ads")), (("os", "web"),))
    assert spell_segment(elements) == "os=iOS & source=ads; os=web"
    assert spell_segment(elements, space="") == "os=iOS&source=ads;os=web"
    assert spell_segment(()) == ""
    odd = ((("city", "Saint & Petit; co"), ("source", "a=b")), (("os", ""),))
    assert [parse_segment(spell_segment(it)) for it in (elements, odd, ())] == [elements, odd, ()]
    assert segment_words("city=Saint & Petit; co", "en") == "city Saint & Petit; co"
    pairs = re.compile(r"\{\w+\}(=|\{equals\})\{value\}")
    assert [path.stem for path in (ROOT / "alerting").rglob("*.py") if pairs.search(path.read_text())] == ["metric"]
