"""`init` on tables of a team's own, in a real ClickHouse: what it proposes, and that what it writes runs."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.trees import copy_parts
from tests.waiting import PATIENCE

SHIPPED = "gender UInt8, age UInt8, country String, city String, os String, source String, exp_group UInt8"


class House:
    """A copy of the package with settings of its own, whose command line is called."""

    def __init__(self, folder, clickhouse, database):
        copy_parts(folder, "alerting", "notebooks")
        self.folder, self.clickhouse = folder, clickhouse
        clean = {name: text for name, text in os.environ.items() if not name.startswith("ALERTING_")}
        given = {"SOURCE": clickhouse.url, "CLICKHOUSE_USER": clickhouse.reader, "CLICKHOUSE_PASSWORD": clickhouse.password}
        given |= {
            "CLICKHOUSE_DATABASE": database,
            "DATA": str(folder / "data"),
            "REPORTS": str(folder / "reports"),
            "ZONE": "UTC",
        }
        self.environ = clean | {f"ALERTING_{name}": text for name, text in given.items()}

    def call(self, *words, **more):
        command = [sys.executable, "-m", "alerting", *words]
        environ = self.environ | {f"ALERTING_{name}": text for name, text in more.items()}
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def files(self):
        paths = [*self.folder.glob("alerting/sql/**/*.sql"), *self.folder.glob(".env")]
        return {str(path.relative_to(self.folder)): path.read_text() for path in paths}


@pytest.fixture
def house(tmp_path, clickhouse):
    clickhouse.execute("DROP DATABASE IF EXISTS own")
    clickhouse.execute("CREATE DATABASE own")
    yield House(tmp_path, clickhouse, "own")
    clickhouse.execute("DROP DATABASE own")


def fill(clickhouse, table, columns, values):
    """Rows of the last three hours, 40 in each minute. `values`: SQL of a number and of the time `at`."""
    since = int((datetime.now(UTC) - timedelta(hours=3)).timestamp())
    rows = f"SELECT {values} FROM (SELECT number, toDateTime({since} + number * 3 / 2) AS at FROM numbers(7200))"
    clickhouse.execute(f"INSERT INTO own.{table} ({columns}) {rows}")


def own_tables(clickhouse):
    clickhouse.execute(
        "CREATE TABLE own.posts_log (event_time DateTime, uid UInt64, platform Enum8('iOS' = 1, 'Android' = 2), "
        "event_type Enum8('post_view' = 1, 'post_like' = 2, 'post_dislike' = 3, 'it\\'s' = 4), country UInt16, "
        "sex String) ENGINE = MergeTree ORDER BY event_time"
    )
    event = "['post_view', 'post_like', 'post_dislike', 'it''s'][number % 4 + 1]"
    fill(clickhouse, "posts_log", "event_time, uid, event_type, platform, country, sex",
         f"at, number % 100, {event}, ['iOS', 'Android'][number % 2 + 1], 7, 'f'")  # fmt: skip
    clickhouse.execute(
        "CREATE TABLE own.chat (`sent at` DateTime, sender_id UInt64, receiver_id UInt64, os String) "
        "ENGINE = MergeTree ORDER BY `sent at`"
    )
    fill(clickhouse, "chat", "`sent at`, sender_id, receiver_id, os", "at, number % 50, number % 7, 'iOS'")
    clickhouse.execute("CREATE TABLE own.users (id UInt64, name String) ENGINE = MergeTree ORDER BY id")


def test_it_proposes_settings_and_queries_and_changes_nothing(house):
    own_tables(house.clickhouse)
    before = house.files()
    code, said, error = house.call("init")
    assert (code, error) == (0, "")
    assert house.files() == before
    assert (
        "feed_actions: table posts_log\n  time is event_time\n  user_id is uid\n  action is event_type\n  os is platform" in said
    )
    assert "  gender is sex\n  view is post_view\n  like is post_like\n  without source, city, age, exp_group" in said
    assert "users 100, views " in said
    assert "message_actions: table chat\n  time is sent at\n  user_id is sender_id" in said
    assert "ALERTING_FEED_TABLE=posts_log\nALERTING_MESSAGE_TABLE=chat\n" in said
    assert "    countIf(event_type = 'post_view') AS views,\n    countIf(event_type = 'post_like') AS likes,\n" in said
    assert "alerting/sql/slices/feed_actions.sql, with the same columns\n" in said
    assert "Nothing was changed: --write does." in said


def test_what_it_writes_runs(house):
    own_tables(house.clickhouse)
    (house.folder / ".env").write_text("ALERTING_OWNER=@anna\nALERTING_FEED_TABLE=old\n")
    code, said, _ = house.call("doctor")
    assert (code, "`python -m alerting init` proposes settings and queries for other tables" in said) == (1, True)
    code, said, error = house.call("init", "--write")
    assert (code, error) == (0, ""), said
    assert house.files()[".env"] == "ALERTING_OWNER=@anna\nALERTING_FEED_TABLE=posts_log\nALERTING_MESSAGE_TABLE=chat\n"
    code, said, _ = house.call("doctor")
    assert code == 0, said
    assert "ok  table feed_actions: 2 queries run" in said
    segments = house.files()["alerting/sql/slices/feed_actions.sql"]
    assert "    platform AS os,\n    toString(country) AS country,\n    toString(sex) AS gender,\n" in segments
    assert "GROUP BY days_ago, os, country, gender\n" in segments
    written = house.files()
    assert "Nothing had to be changed" in house.call("init", "--write")[1]
    assert house.files() == written


def test_tables_as_they_are_shipped_need_no_change_whatever_the_receiver_is_called(house):
    house.clickhouse.execute(
        f"CREATE TABLE own.feed_actions (user_id UInt32, post_id UInt32, action String, time DateTime, {SHIPPED}) "
        "ENGINE = MergeTree ORDER BY time"
    )
    house.clickhouse.execute(
        f"CREATE TABLE own.message_actions (user_id UInt32, receiver_id UInt32, time DateTime, {SHIPPED}) "
        "ENGINE = MergeTree ORDER BY time"
    )
    code, said, _ = house.call("init")
    assert code == 0
    assert "Nothing has to be changed" in said


def test_actions_that_are_not_counted_are_named(house):
    house.clickhouse.execute("CREATE TABLE own.feed (time DateTime, uid UInt64, action Nullable(String)) ENGINE = Log")
    house.clickhouse.execute("CREATE TABLE own.chat (time DateTime, uid UInt64, to_id UInt64) ENGINE = Log")
    assert "no action" not in house.call("init")[1]
    fill(house.clickhouse, "feed", "time, uid, action", "at, 1, [NULL, 'View', 'view', 'VIEW', 'click'][number % 5 + 1]")
    code, said, error = house.call("init")
    assert (code, error) == (0, "")
    assert "  view is 'view' alone, without " in said
    assert {"'View'", "'VIEW'"} == set(said.split(" alone, without ")[1].split("\n")[0].split(", "))
    assert "  no action is like 'like': there are " in said
    assert "; edit alerting/sql/feed_actions.sql\n" in said


def test_tables_that_do_not_fit_are_named(house):
    house.clickhouse.execute("CREATE TABLE own.users (id UInt64, name String) ENGINE = MergeTree ORDER BY id")
    code, _, error = house.call("init")
    assert code == 2
    assert "there is users" in error
    house.clickhouse.execute("CREATE TABLE own.feed_actions (time DateTime, user_id UInt64, action UInt8) ENGINE = Log")
    assert "feed_actions: no table has time (a DateTime), user_id, action (a text) or the like" in house.call("init")[1]
    assert "set ALERTING_SOURCE to your ClickHouse" in house.call("init", SOURCE="embedded")[2]


def test_a_run_against_clickhouse_needs_neither_chdb_nor_pyarrow(house):
    own_tables(house.clickhouse)
    (house.folder / "without").mkdir()
    (house.folder / "without" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['chdb'] = sys.modules['pyarrow'] = None\n"
    )
    house.environ["PYTHONPATH"] = str(house.folder / "without")
    for words in (["init", "--write"], ["doctor"], ["run-alerts"], ["backtest", "--days", "1"]):
        code, said, error = house.call(*words)
        assert code == 0, said + error
    code, said, _ = house.call("run-alerts", SOURCE="embedded")
    assert code == 1
    assert "the sample app needs chdb and pyarrow: `make env EXTRAS=app` installs them" in said
    code, _, error = house.call("backtest", SOURCE=str(house.folder / "kpi.parquet"))
    assert (code, "check ALERTING_SOURCE" in error) == (1, True)
    (house.folder / "kpi.parquet").write_bytes(b"PAR1")
    assert (
        "cannot be read without pyarrow: `make env EXTRAS=app` installs it"
        in house.call("backtest", SOURCE=str(house.folder / "kpi.parquet"))[2]
    )
