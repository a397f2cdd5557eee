"""Connections opened from settings, with a real ClickHouse and a real Bot API server, and runs when these are broken."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from alerting import connections, pipeline
from alerting.cli import doctor
from alerting.connections import open_store
from alerting.failure_notice import notify_failure
from alerting.model.errors import NotifyError
from alerting.settings import ROOT, load_settings

NOW = datetime(2026, 11, 20, 12, 22, tzinfo=UTC)
ATTRIBUTES = "gender UInt8, age UInt8, country String, city String, os String, source String, exp_group UInt8"
FEED = f"user_id UInt32, post_id UInt32, action String, time DateTime, {ATTRIBUTES}"
MESSAGES = f"user_id UInt32, reciever_id UInt32, time DateTime, {ATTRIBUTES}"


@pytest.fixture
def tables(clickhouse):
    clickhouse.execute("DROP DATABASE IF EXISTS wiring")
    clickhouse.execute("CREATE DATABASE wiring")
    clickhouse.execute(f"CREATE TABLE wiring.feed_actions ({FEED}) ENGINE = MergeTree ORDER BY time")
    clickhouse.execute(f"CREATE TABLE wiring.message_actions ({MESSAGES}) ENGINE = MergeTree ORDER BY time")
    return clickhouse


@pytest.fixture
def given(tables, bot, tmp_path):
    """Settings of a run against the two servers; keywords replace some of them."""

    def settings(**more):
        values = {
            "SOURCE": tables.url,
            "CLICKHOUSE_USER": tables.reader,
            "CLICKHOUSE_PASSWORD": tables.password,
            "CLICKHOUSE_DATABASE": "wiring",
            "CLICKHOUSE_TIMEOUT": "5",
            "TELEGRAM_TOKEN": bot.token,
            "TELEGRAM_CHAT": bot.chat,
            "TELEGRAM_URL": bot.url,
            "DATA": str(tmp_path / "data"),
            "REPORTS": str(tmp_path / "reports"),
            "ZONE": "UTC",
        }
        return load_settings({f"ALERTING_{name}": text for name, text in {**values, **more}.items()}, ROOT / "no-such-file")

    return settings


def rows(clickhouse, table, first, last, each=20):
    """`each` rows in every quarter of an hour from `first` to `last`; half of a feed's are likes."""
    columns = "user_id, post_id, action, time" if table == "feed_actions" else "user_id, reciever_id, time"
    lines = []
    for at in range(int(first.timestamp()), int(last.timestamp()), 900):
        for i in range(each):
            what = f"{i}\t{'like' if i % 2 else 'view'}" if table == "feed_actions" else f"{i}"
            lines.append(f"{i}\t{what}\t{at + i}\n")
    clickhouse.execute(f"INSERT INTO wiring.{table} ({columns}) FORMAT TabSeparated", "".join(lines))


def read(settings):
    ctx = connections.connect(settings=settings)
    return pipeline.read(ctx, pipeline.due(ctx, NOW))


def test_empty_tables_are_not_seen_rather_than_quiet(given):
    reading = read(given())
    assert len(reading.errors) == 6
    assert all("is the table empty" in text for text in reading.errors.values())


def test_one_table_that_is_gone_hides_no_metric_of_the_other(given, tables):
    rows(tables, "feed_actions", NOW - timedelta(days=2), NOW)
    reading = read(given(MESSAGE_TABLE="no_such_table"))
    assert set(reading.series) == {"feed_users", "views", "likes", "ctr"}
    assert "ALERTING_MESSAGE_TABLE" in reading.errors["messages"]


def test_a_column_that_is_gone_is_named(given, tables):
    tables.execute("ALTER TABLE wiring.feed_actions DROP COLUMN action")
    assert "action" in read(given()).errors["views"]


def test_rows_of_the_future_change_nothing(given, tables):
    rows(tables, "feed_actions", NOW - timedelta(days=2), NOW)
    before = read(given())
    rows(tables, "feed_actions", NOW + timedelta(days=1), NOW + timedelta(days=2))
    after = read(given())
    assert before.series["views"].equals(after.series["views"])
    assert after.series["views"].index[-1] == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_nothing_over_nothing_is_a_gap(given, tables):
    at = int(NOW.timestamp()) - 1800
    tables.execute(f"INSERT INTO wiring.feed_actions (user_id, action, time) VALUES (1, 'like', toDateTime({at}))")
    reading = read(given())
    assert reading.series["likes"].dropna().tolist() == [1.0]
    assert reading.series["views"].dropna().tolist() == [0.0]
    assert "ctr" in reading.errors  # never a value: likes without views


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"CLICKHOUSE_PASSWORD": "wrong"}, "BAD source: "),
        ({"SOURCE": "http://127.0.0.1:9"}, "BAD source: "),
        ({"FEED_TABLE": "nothing"}, "BAD table feed_actions: "),
        ({"TELEGRAM_CHAT": "-42"}, "BAD chat: "),
        ({"TELEGRAM_TOKEN": "1:wrong"}, "BAD chat: "),
        ({"DATA": "/proc/nowhere"}, "BAD folder data: "),
    ],
)
def test_the_doctor_names_what_is_wrong_and_what_to_do(given, tables, broken, said):
    settings = given(**broken)
    checks = [f"{'ok ' if c.ok else 'BAD'} {c.name}: {c.details}" for c in doctor.examine(settings)]
    assert any(line.startswith(said) for line in checks), checks
    assert not any(secret in line for line in checks for secret in (tables.password, settings.telegram_token))


def test_the_doctor_finds_a_whole_world_in_order(given, tables):
    now = datetime.now(UTC)
    for table in ("feed_actions", "message_actions"):
        rows(tables, table, now - timedelta(hours=3), now)
    checks = list(doctor.examine(given()))
    assert [c for c in checks if not c.ok] == []
    assert {"folder data", "folder reports", "memory", "source", "clock", "table feed_actions", "chat"} <= {
        c.name for c in checks
    }


def test_the_doctor_names_absent_columns(given, tables):
    tables.execute("ALTER TABLE wiring.feed_actions DROP COLUMN exp_group")
    assert any("exp_group" in c.details and not c.ok for c in doctor.examine(given()))


def test_the_doctor_checks_only_what_the_queries_use(given, tables):
    tables.execute("ALTER TABLE wiring.message_actions DROP COLUMN reciever_id")
    tables.execute("ALTER TABLE wiring.message_actions ADD COLUMN receiver_id UInt32")
    assert [c for c in doctor.examine(given()) if not c.ok] == []


def test_the_doctor_calls_no_source_well_that_does_not_answer(given):
    checks = [c for c in doctor.examine(given(SOURCE="http://127.0.0.1:9")) if c.name in ("source", "clock", "newest rows")]
    assert [(c.name, c.ok) for c in checks] == [("source", False)]


def test_a_failing_check_is_told_once_an_hour(given, bot):
    settings = given()
    for minutes in (0, 15, 59):
        notify_failure(settings, NOW + timedelta(minutes=minutes), "database down", "run")
    assert len(bot.messages) == 1
    notify_failure(settings, NOW + timedelta(minutes=61), "database down", "run")
    assert len(bot.messages) == 2
    assert "database down" in bot.messages[1].plain
    notify_failure(settings, NOW + timedelta(minutes=62), "disk full", "run")
    assert "disk full" in bot.messages[2].plain, "another failure within the hour"


@pytest.mark.parametrize(
    ("delay", "minute", "following"),
    [("5", 20, "12:35"), ("5", 34, "12:35"), ("5", 35, "12:50"), ("0", 20, "12:30"), ("5", 51, "13:05"), ("20", 22, "12:35")],
)
def test_the_next_try_is_when_cron_starts_the_next_run(given, bot, delay, minute, following):
    notify_failure(given(DELAY=delay), NOW.replace(minute=minute, second=3), "database down", "run")
    assert f"Next try {following}" in bot.messages[0].plain


def test_a_notice_sent_while_the_clock_was_ahead_hushes_nothing(given, bot):
    for days in (1, 0):
        notify_failure(given(), NOW + timedelta(days=days), "database down", "run")
    assert len(bot.messages) == 2


def test_a_notice_that_does_not_get_through_is_sent_with_the_next(given, bot):
    bot.fail("500", times=1)
    notify_failure(given(), NOW, "database down", "run")
    assert bot.messages == []
    notify_failure(given(), NOW + timedelta(minutes=15), "database down", "run")
    assert len(bot.messages) == 1


def test_without_a_memory_the_notice_goes_straight_to_the_chat(given, bot):
    notify_failure(given(DATA="/proc/nowhere"), NOW, "disk full", "run")
    assert "disk full" in bot.messages[0].plain
    bot.fail("kicked")
    with pytest.raises(NotifyError):
        notify_failure(given(DATA="/proc/nowhere"), NOW, "disk full", "run")


def test_a_dry_run_leaves_nothing_behind(given, bot, tmp_path):
    ctx = connections.connect(dry_run=True, settings=given())
    assert ctx.notifier.__class__.__name__ == "Console"
    assert not (tmp_path / "data" / "alerts.sqlite").exists()


def test_a_failure_is_told_once_an_hour_also_when_the_memory_cannot_be_written(given, bot, tmp_path):
    settings = given()
    open_store(settings).close()
    with closing(sqlite3.connect(settings.data / "alerts.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for minutes in (0, 15):  # each waits ten seconds for the lock
            notify_failure(settings, NOW + timedelta(minutes=minutes), "the check failed", "run")
    (notice,) = bot.messages
    assert "another process keeps it locked" in notice.plain


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ({"ok": False, "sent": 0}, False),  # a wrong setting ends a run before it opens the state database
        ({"ok": True, "sent": 0}, True),
        ({"ok": False, "sent": 1}, True),
        ({"ok": None}, True),
        ({"ok": True, "name": "rehearsal-20261120T120000Z.ipynb"}, False),
    ],
)
def test_a_new_state_database_is_a_loss_only_after_runs_that_used_one(given, bot, line, lost):
    settings = given()
    day = settings.reports / "runs" / "2026-11-20"
    day.mkdir(parents=True)
    (day / "runs.jsonl").write_text(json.dumps({"name": "alert-20261120T120000Z.ipynb", **line}) + "\n")
    notify_failure(settings, NOW, "wrong setting", "run")  # which writes the first row of the state database
    assert [("is new" in text, day.name in text) for text in open_store(settings).notes] == [(True, True)] * lost
