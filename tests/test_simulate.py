"""The sample app: the data of a first run, and the known incidents that detection is scored against."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import chdb
import numpy as np
import pandas as pd
import pytest

from alerting.sample.folder import extend_app, planted_truth, simulate_app, write_days
from alerting.sample.generate import SampleApp

BIRTH = datetime(2026, 11, 20, 12, 7, 31, tzinfo=UTC)  # a Friday afternoon in Moscow
SMALL = {"seed": 5, "days": 4, "users": 1_500, "events_per_day": 8_000}
TABLES = ("feed_actions", "message_actions")
MINUTE = timedelta(minutes=1)


def ask(folder, sql):
    """A query's answer as a frame; {feed_actions} and {message_actions} stand for the tables."""
    return chdb.query(sql.format(**{table: f"file('{folder}/{table}/*.parquet')" for table in TABLES}), "DataFrame")


def number(folder, sql):
    return ask(folder, sql).iloc[0, 0]


def between(start, end):
    return f"time >= toDateTime({int(start.timestamp())}) AND time < toDateTime({int(end.timestamp())})"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def per_bucket(folder, table, count):
    """A count per bucket, indexed by UTC time."""
    rows = ask(folder, f"SELECT toUInt32(intDiv(toUInt32(time), 900) * 900) AS bucket, {count} AS n FROM {{{table}}} "
                       "GROUP BY bucket ORDER BY bucket")  # fmt: skip
    return pd.Series(rows["n"].to_numpy(float), pd.to_datetime(rows["bucket"].to_numpy("int64"), unit="s", utc=True))


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Four weeks with every incident."""
    folder = tmp_path_factory.mktemp("month of events")
    simulate_app(folder, BIRTH, seed=5, days=28, users=4_000, events_per_day=20_000)
    return folder


@pytest.fixture(scope="module")
def quiet_month(tmp_path_factory):
    """The same four weeks, had nothing gone wrong."""
    folder = tmp_path_factory.mktemp("quiet month")
    simulate_app(folder, BIRTH, seed=5, days=28, users=4_000, events_per_day=20_000, incidents="none")
    return folder


@pytest.fixture
def small(tmp_path):
    simulate_app(tmp_path / "app", BIRTH, **SMALL)
    return tmp_path / "app"


# What the tables hold


def test_tables_have_the_columns_and_types_of_the_source(month):
    people = {"gender": "UInt8", "age": "UInt8", "country": "String", "city": "String", "os": "String"}
    people |= {"source": "String", "exp_group": "UInt8"}
    time = {"time": "DateTime64(3, 'UTC')"}
    expected = {
        "feed_actions": {"user_id": "UInt32", "post_id": "UInt32", "action": "String"} | time | people,
        "message_actions": {"user_id": "UInt32", "reciever_id": "UInt32"} | time | people,
    }
    for table in TABLES:
        described = ask(month, f"DESCRIBE {{{table}}}")
        assert dict(zip(described["name"], described["type"], strict=True)) == expected[table]


def test_time_works_as_a_date_time_and_as_an_epoch(month):
    ends = "toUInt32(min(time)) AS first, toUInt32(max(time)) AS last, toUInt32(intDiv(last, 900) * 900) AS bucket"
    row = ask(month, f"SELECT {ends} FROM {{feed_actions}}").iloc[0]
    assert datetime.fromtimestamp(int(row["first"]), UTC).date() == (BIRTH - timedelta(days=28)).date()
    assert row["bucket"] <= row["last"] < row["bucket"] + 900
    half = number(month, f"SELECT count() FROM {{feed_actions}} WHERE {between(BIRTH - timedelta(days=14), BIRTH)}")
    assert 0.45 < half / number(month, "SELECT count() FROM {feed_actions}") < 0.6


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("action", ["like", "view"]),
        ("os", ["Android", "iOS"]),
        ("source", ["ads", "organic"]),
        ("exp_group", [0, 1, 2, 3, 4]),
        ("gender", [0, 1]),
    ],
)
def test_values(month, column, values):
    assert ask(month, f"SELECT DISTINCT {column} AS v FROM {{feed_actions}} ORDER BY v")["v"].tolist() == values


def test_a_user_keeps_attributes_in_both_tables(month):
    who = "user_id, tuple(gender, age, country, city, os, source, exp_group) AS traits"
    both = f"(SELECT {who} FROM {{feed_actions}} UNION ALL SELECT {who} FROM {{message_actions}})"
    assert number(month, f"SELECT max(n) FROM (SELECT uniqExact(traits) AS n FROM {both} GROUP BY user_id)") == 1


def test_some_only_use_one_part_and_few_do_most(month):
    feed, chat, both = ask(month, """
        SELECT countIf(f AND NOT c), countIf(c AND NOT f), countIf(f AND c) FROM (
            SELECT user_id, max(t = 'f') AS f, max(t = 'c') AS c FROM (
                SELECT user_id, 'f' AS t FROM {feed_actions} UNION ALL SELECT user_id, 'c' FROM {message_actions}
            ) GROUP BY user_id)""").iloc[0]  # fmt: skip
    assert min(feed, chat, both) > 0.1 * (feed + chat + both)
    counts = ask(month, "SELECT count() AS n FROM {feed_actions} GROUP BY user_id ORDER BY n DESC")["n"]
    busiest = counts.head(len(counts) // 10).sum() / counts.sum()
    assert 0.3 < busiest < 0.8
    assert counts.iloc[0] < 0.02 * counts.sum()


def test_a_like_follows_a_view_of_the_same_post(month):
    liked = "SELECT user_id, post_id FROM {feed_actions} WHERE action = 'like'"
    seen = "SELECT user_id, post_id FROM {feed_actions} WHERE action = 'view'"
    assert number(month, f"SELECT count() FROM ({liked}) WHERE (user_id, post_id) NOT IN ({seen})") == 0


# How it moves


def test_ctr_and_shares(quiet_month):
    views = number(quiet_month, "SELECT countIf(action = 'view') FROM {feed_actions}")
    likes = number(quiet_month, "SELECT countIf(action = 'like') FROM {feed_actions}")
    sent = number(quiet_month, "SELECT count() FROM {message_actions}")
    assert 0.18 < likes / views < 0.22
    assert 0.75 < (views + likes) / (views + likes + sent) < 0.85
    assert views + likes + sent == pytest.approx(28.5 * 20_000, rel=0.15)


def test_nights_are_quiet(quiet_month):
    views = per_bucket(quiet_month, "feed_actions", "countIf(action = 'view')")
    by_hour = views.groupby(views.index.tz_convert("Europe/Moscow").hour).mean()
    assert 0.15 < by_hour.min() / by_hour.max() < 0.35
    assert by_hour.idxmin() in (3, 4, 5)
    assert by_hour.idxmax() in (20, 21, 22)


def test_weeks_have_a_rhythm_and_the_app_grows(quiet_month):
    sent = per_bucket(quiet_month, "message_actions", "count()").resample("D").sum().iloc[:-1]
    weekend = sent.index.day_of_week >= 5
    assert sent[weekend].mean() < 0.97 * sent[~weekend].mean()
    weekly = sent.iloc[-28:].to_numpy().reshape(4, 7).sum(axis=1)
    assert weekly[-1] > weekly[0]


def test_the_holiday_is_a_wednesday_unlike_others():
    app = SampleApp(BIRTH)
    days = [BIRTH.date() - timedelta(days=n) for n in range(56)]
    holidays = [day for day in days if app.is_holiday(day)]
    assert [day.weekday() for day in holidays] == [2]
    assert timedelta(days=28) < BIRTH.date() - holidays[0] < timedelta(days=40)


@pytest.mark.parametrize(("table", "spread"), [("feed_actions", 2.0), ("message_actions", 1.5)])
def test_counts_are_more_spread_than_poisson(quiet_month, table, spread):
    counts = per_bucket(quiet_month, table, "count()").iloc[:-1]
    bends = np.diff(counts, 2)  # free of level and slope; of independent counts each has six times their variance
    assert bends.var() / 6 / counts.mean() > spread


def test_the_two_parts_share_good_and_bad_days(tmp_path):
    simulate_app(tmp_path, BIRTH, seed=5, days=56, users=4_000, events_per_day=20_000, incidents="none")
    feed, sent = (per_bucket(tmp_path, table, "count()").resample("D").sum().iloc[:-1] for table in TABLES)
    days = pd.DataFrame({"feed": np.log(feed), "sent": np.log(sent)})
    odd = (days - days.groupby(days.index.day_of_week).transform("mean")).diff()
    assert odd.corr().loc["feed", "sent"] > 0.3


# What goes wrong


def test_planted_incidents_lie_apart_after_clean_weeks(tmp_path):
    told = simulate_app(tmp_path, BIRTH, days=56, users=50, events_per_day=100)
    kinds = ["slow_leak", "outage", "os_down", "ctr_drop", "messenger_down", "duplicates", "like_button_broken"]
    assert [incident.kind for incident in told] == kinds
    assert told[0].start > BIRTH - timedelta(days=28)
    assert all(later.start - earlier.end > timedelta(days=2) for earlier, later in pairwise(told))
    assert all(incident.start.tzinfo is UTC and incident.start < incident.end for incident in told)
    assert planted_truth(tmp_path) == told


def found(folder, kind):
    (incident,) = (incident for incident in planted_truth(folder) if incident.kind == kind)
    return incident, between(incident.start, incident.end)


def test_outage_leaves_no_row(month):
    _, during = found(month, "outage")
    assert [number(month, f"SELECT count() FROM {{{table}}} WHERE {during}") for table in TABLES] == [0, 0]


def test_os_down_leaves_none_of_that_os(month):
    incident, during = found(month, "os_down")
    for table in TABLES:
        seen = ask(month, f"SELECT DISTINCT os FROM {{{table}}} WHERE {during}")["os"].tolist()
        assert incident.slice == ("os", "iOS")
        assert seen == ["Android"]


def test_messenger_down_spares_the_feed(month, quiet_month):
    _, during = found(month, "messenger_down")
    feed, sent = (f"SELECT count() FROM {{{table}}} WHERE {during}" for table in TABLES)
    assert number(month, sent) == 0 < number(quiet_month, sent)
    assert number(month, feed) == number(quiet_month, feed)


def test_ctr_drop_takes_the_likes_of_one_group(month, quiet_month):
    _, during = found(month, "ctr_drop")
    likes = f"SELECT countIf(action = 'like' AND exp_group = 2) FROM {{feed_actions}} WHERE {during}"
    others = f"SELECT countIf(action = 'view' OR exp_group != 2) FROM {{feed_actions}} WHERE {during}"
    assert number(month, likes) < 0.2 * number(quiet_month, likes)
    assert number(month, others) == number(quiet_month, others)


def test_duplicates_come_exactly_twice(month, quiet_month):
    _, during = found(month, "duplicates")
    count, distinct = (f"SELECT {n} FROM {{feed_actions}} WHERE {during}" for n in ("count()", "uniqExact(user_id)"))
    assert number(month, count) == 2 * number(quiet_month, count)
    assert number(month, distinct) == number(quiet_month, distinct)


def test_slow_leak_grows(month, quiet_month):
    incident, _ = found(month, "slow_leak")
    third = (incident.end - incident.start) / 3
    lost = []
    for part in range(3):
        during = between(incident.start + part * third, incident.start + (part + 1) * third)
        count = f"SELECT count() FROM {{feed_actions}} WHERE source = 'organic' AND {during}"
        lost.append(1 - number(month, count) / number(quiet_month, count))
    assert 0 < lost[0] < 0.15 < lost[1] < 0.32 < lost[2] < 0.5


def test_the_first_run_finds_an_incident_going_on(month, quiet_month):
    incident, _ = found(month, "like_button_broken")
    assert (incident.start, incident.end) == (BIRTH - 45 * MINUTE, BIRTH + 120 * MINUTE)
    likes = f"SELECT countIf(action = 'like') FROM {{feed_actions}} WHERE {between(incident.start, BIRTH)}"
    assert 0.35 < number(month, likes) / number(quiet_month, likes) < 0.6


def test_the_incident_going_on_ends(small):
    extend_app(small, BIRTH + timedelta(hours=4))
    incident, during = found(small, "like_button_broken")
    ctr = "SELECT countIf(action = 'like') / countIf(action = 'view') FROM {{feed_actions}} WHERE {}"
    after = between(incident.end, incident.end + timedelta(hours=2))
    assert number(small, ctr.format(during)) < 0.14 < 0.16 < number(small, ctr.format(after))


def test_nothing_else_differs_from_an_app_without_incidents(month, quiet_month):
    assert planted_truth(quiet_month) == []
    calm = " AND ".join(f"NOT ({between(incident.start, incident.end)})" for incident in planted_truth(month))
    for table in TABLES:
        rows = f"SELECT count(), sum(cityHash64(*)) FROM {{{table}}} WHERE {calm}"
        assert ask(month, rows).equals(ask(quiet_month, rows))


# How it lives on


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_app(tmp_path / name, BIRTH, **SMALL | {"seed": seed})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a").keys() == contents(tmp_path / "c").keys()
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize(
    "steps",
    [
        [timedelta(hours=30)],
        [15 * MINUTE * n for n in range(1, 13)] + [timedelta(hours=30)],
        [timedelta(hours=11, minutes=52, seconds=28), timedelta(hours=11, minutes=55), timedelta(hours=30)],  # midnight
    ],
)
def test_extending_by_steps_equals_one_generation(small, tmp_path, steps):
    for step in steps:
        extend_app(small, BIRTH + step)
    app = SampleApp(BIRTH, **SMALL)
    write_days(tmp_path / "at once", app, app.first_day, BIRTH + steps[-1])
    assert contents(small) == contents(tmp_path / "at once")


def test_nothing_is_from_the_future(small):
    for at in (BIRTH, BIRTH + 3 * MINUTE, BIRTH + timedelta(hours=15)):
        extend_app(small, at)
        newest = max(number(small, f"SELECT toUInt32(max(time)) FROM {{{table}}}") for table in TABLES)
        assert at.timestamp() - 120 < newest <= at.timestamp()


def test_a_few_rows_arrive_late_by_minutes(tmp_path):
    simulate_app(tmp_path, BIRTH, seed=5, days=1, users=20_000, events_per_day=200_000)
    recent, older = between(BIRTH - 4 * MINUTE, BIRTH + MINUTE / 60), between(BIRTH - 60 * MINUTE, BIRTH - 4 * MINUTE)
    feed = "SELECT count() FROM {{feed_actions}} WHERE {}"
    was_recent, was_older = number(tmp_path, feed.format(recent)), number(tmp_path, feed.format(older))
    extend_app(tmp_path, BIRTH + 5 * MINUTE)
    late = number(tmp_path, feed.format(recent)) - was_recent
    assert 0 < late < 0.02 * was_recent
    assert number(tmp_path, feed.format(older)) == was_older


def stamps(folder):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_an_extension_writes_what_is_missing_and_nothing_else(small):
    before = stamps(small)
    extend_app(small, BIRTH)
    extend_app(small, BIRTH - timedelta(days=2))
    assert stamps(small) == before
    extend_app(small, BIRTH + 15 * MINUTE)
    changed = {path.name for path, stamp in stamps(small).items() if before[path] != stamp}
    assert changed == {"2026-11-20.parquet", "state.json"}
    assert not list(small.rglob("*.tmp"))


def test_at_midnight_sharp_an_empty_day_is_no_trouble(small):
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    extend_app(small, midnight - timedelta(seconds=1))
    count = number(small, "SELECT count() FROM {feed_actions}")
    extend_app(small, midnight)
    assert (small / "feed_actions" / "2026-11-21.parquet").exists()
    assert number(small, "SELECT count() FROM {feed_actions}") >= count


def test_two_processes_extend_at_once_while_another_reads(small, tmp_path):
    until = BIRTH + timedelta(days=2)
    start = multiprocessing.get_context("spawn")
    writers = [start.Process(target=extend_app, args=(small, until)) for _ in range(2)]
    for writer in writers:
        writer.start()
    counts = [number(small, "SELECT count() FROM {feed_actions}")]
    while any(writer.is_alive() for writer in writers):
        counts.append(number(small, "SELECT count() FROM {feed_actions}"))
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert counts == sorted(counts)
    app = SampleApp(BIRTH, **SMALL)
    write_days(tmp_path / "alone", app, app.first_day, until)
    assert contents(small) == contents(tmp_path / "alone")


def test_old_days_go_and_strangers_files_stay(small):
    notes = small / "feed_actions" / "notes.parquet"
    notes.write_text("not ours")
    for day in range(3, 25, 3):
        extend_app(small, BIRTH + timedelta(days=day))
    names = sorted(path.name for path in (small / "feed_actions").glob("2*.parquet"))
    assert names[0] == "2026-11-26.parquet"  # 4 + 14 days before the newest
    assert names[-1] == "2026-12-14.parquet"
    assert len(names) == 19
    assert notes.exists()


def test_an_app_left_alone_too_long_is_born_again(small):
    later = BIRTH + timedelta(days=5)
    told = extend_app(small, later)
    assert told[-1].start == later - 45 * MINUTE
    names = sorted(path.name for path in (small / "message_actions").glob("*.parquet"))
    assert (names[0], names[-1], len(names)) == ("2026-11-21.parquet", "2026-11-25.parquet", 5)


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1}', "[]", '{"version": 0, "birth": 1}'])
def test_a_state_that_makes_no_sense_is_no_app(small, text):
    (small / "state.json").write_text(text)
    with pytest.raises(FileNotFoundError, match="holds no simulated app"):
        planted_truth(small)


def test_the_state_is_readable(small):
    state = json.loads((small / "state.json").read_text())
    assert state["birth"] == state["extended"] == "2026-11-20T12:07:31+00:00"
    assert state["shape"] == SMALL | {"incidents": "default"}


def test_another_seed_starts_over_at_full_size(small):
    """The default app: five million events, a hundred megabytes."""
    told = extend_app(small, BIRTH, seed=77)
    assert len(told) == 7
    counts = [number(small, f"SELECT count() FROM {{{table}}}") for table in TABLES]
    assert 5_000_000 <= sum(counts) <= 10_000_000
    assert counts[0] / sum(counts) == pytest.approx(0.8, abs=0.04)
    assert sum(path.stat().st_size for path in small.rglob("*")) < 100e6
    assert extend_app(small, BIRTH) == told  # no seed asked for: the folder's own


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="no time zone"):
        extend_app(tmp_path / "app", BIRTH.replace(tzinfo=None))
    with pytest.raises(ValueError, match="incidents must be"):
        simulate_app(tmp_path / "app", BIRTH, incidents="some")
    assert not (tmp_path / "app").exists()
