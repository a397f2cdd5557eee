"""A whole incident through `make run-alerts`, as cron calls it: real ClickHouse, real Bot API server, real processes."""

import math
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers import needs_make

ROOT = Path(__file__).resolve().parent.parent
STEP = timedelta(minutes=15)
START = datetime(2026, 10, 1, tzinfo=UTC)  # rows of 30 days and the day of the incident
DAY = START + timedelta(days=31)
QUIET = DAY + 40 * STEP  # until then nothing happens
RED = 2  # make's word for "the command ended with an error"; the command's own exit code is 1
ATTRIBUTES = "gender UInt8, age UInt8, country String, city String, os String, source String, exp_group UInt8"


FEED = f"user_id UInt32, post_id UInt32, action String, time DateTime, {ATTRIBUTES}"
MESSAGES = f"user_id UInt32, reciever_id UInt32, time DateTime, {ATTRIBUTES}"
TABLES = {"feed_actions": FEED, "message_actions": MESSAGES}


@pytest.fixture(scope="module")
def past(clickhouse):
    """Both raw tables, in the source's own shape, with the rows that all tests begin with: from START to QUIET."""
    needs_make()
    clickhouse.execute("DROP DATABASE IF EXISTS e2e_past")
    clickhouse.execute("CREATE DATABASE e2e_past")
    for table, columns in TABLES.items():
        clickhouse.execute(f"CREATE TABLE e2e_past.{table} ({columns}) ENGINE = MergeTree ORDER BY time")
    fill(clickhouse, START, QUIET, database="e2e_past")
    yield clickhouse
    clickhouse.execute("DROP DATABASE e2e_past")


@pytest.fixture
def tables(past):
    """A copy of these tables in a database of the test's own."""
    past.execute("DROP DATABASE IF EXISTS e2e")
    past.execute("CREATE DATABASE e2e")
    for table, columns in TABLES.items():
        past.execute(f"CREATE TABLE e2e.{table} ({columns}) ENGINE = MergeTree ORDER BY time")
        past.execute(f"INSERT INTO e2e.{table} SELECT * FROM e2e_past.{table}")
    yield past
    past.execute("DROP DATABASE e2e")


def everything(i, second):
    return True


def fill(server, first, last, likes=1.0, arrives=everything, database="e2e"):
    """A rhythm without noise: `views` rows a bucket, a fifth of them liked (times `likes`), 30 messages.

    `arrives`: of which rows (number within the bucket, second of the bucket) the insert is made.
    """
    buckets = range(int(first.timestamp()), int(last.timestamp()), 900)
    for table, columns, per_bucket in (
        ("feed_actions", "user_id, post_id, action, time", lambda b: (100 + _wave(b), round((100 + _wave(b)) * 0.2 * likes))),
        ("message_actions", "user_id, reciever_id, time", lambda b: (30, 0)),
    ):
        rows = []
        for bucket in buckets:
            views, liked = per_bucket(bucket)
            kinds = ["view"] * views + ["like"] * liked
            rows += [_row(table, i, kind, bucket) for i, kind in enumerate(kinds) if arrives(i, _second(i))]
        names = f"{columns}, gender, age, country, city, os, source, exp_group"
        server.execute(f"INSERT INTO {database}.{table} ({names}) FORMAT TabSeparated", "".join(rows))


def _wave(bucket):
    return round(40 * math.sin(2 * math.pi * (bucket % 86400) / 86400))


def _second(i):
    """Rows lie all over the bucket."""
    return i * 37 % 900


def _row(table, i, kind, bucket):
    what = f"{i}\t{kind}" if table == "feed_actions" else f"{i}"
    return f"{i % 50}\t{what}\t{bucket + _second(i)}\t1\t30\tRussia\tKazan\tiOS\tads\t1\n"


class Cron:
    """Calls `make run-alerts` as cron does: from another folder, with nothing but its variables."""

    def __init__(self, home, clickhouse, bot):
        self.home = home
        (home / "password").write_text(clickhouse.password)
        self.settings = {
            "ALERTING_SOURCE": clickhouse.url,
            "ALERTING_CLICKHOUSE_USER": clickhouse.reader,
            "ALERTING_CLICKHOUSE_PASSWORD_FILE": str(home / "password"),
            "ALERTING_CLICKHOUSE_DATABASE": "e2e",
            "ALERTING_TELEGRAM_TOKEN": bot.token,
            "ALERTING_TELEGRAM_CHAT": bot.chat,
            "ALERTING_TELEGRAM_URL": bot.url,
            "ALERTING_TELEGRAM_USERS": "4242",
            "ALERTING_DATA": str(home / "the data"),
            "ALERTING_REPORTS": str(home / "the reports"),
            "ALERTING_ZONE": "UTC",
            "ALERTING_LANGUAGE": "en",
            "ALERTING_INCIDENT_NOTEBOOK": "off",  # it would go on in the background: see test_incident_notebook
        }

    def run(self, at, **more):
        """Exit code and what was printed."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.settings, **more}
        command = ["make", "--no-print-directory", "-C", str(ROOT), "run-alerts", f"ARGS=--at {at:%Y-%m-%dT%H:%M}Z", *venv()]
        done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, timeout=300)
        with (self.home / "cron.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr


def venv():
    """Another Python's environment, where `make test PYTHON=...` asks for one."""
    return [f"PYTHON={os.environ['PYTHON']}"] if os.environ.get("PYTHON") else []


def texts(bot):
    return [m.plain.splitlines()[0] for m in bot.messages]


def test_a_whole_incident(tables, bot, tmp_path):
    fill(tables, QUIET, DAY + 66 * STEP, likes=0.5)  # 10:00 to 16:30
    fill(tables, DAY + 66 * STEP, DAY + 72 * STEP)
    home = tmp_path / "a home with spaces"
    home.mkdir()
    cron = Cron(home, tables, bot)

    def at(buckets):  # just after that bucket of the day was complete
        return DAY + (buckets + 1) * STEP + timedelta(minutes=6)

    assert cron.run(at(39))[0] == 0  # quiet
    assert texts(bot) == []

    rollups = {"ALERTING_ROLLUPS": "on", "ALERTING_ROLLUP_USER": "maker", "ALERTING_ROLLUP_PASSWORD_FILE": "/gone"}
    code, printed = cron.run(at(40), **rollups)  # opened: likes, and CTR with them, as one incident
    assert code == 0, printed
    *_, notebook = sorted((home / "the reports" / "runs").rglob("alert-*.ipynb"))
    for text in (printed, notebook.read_text()):  # who has settings of rollups is alerted from the raw tables
        assert "ALERTING_ROLLUPS, ALERTING_ROLLUP_PASSWORD_FILE, ALERTING_ROLLUP_USER: ignored" in text
    assert [re.sub(r"\s", " ", t)[2:] for t in texts(bot)] == ["Likes −50 % · Sun 10:00–10:15"]
    (opening,) = bot.messages
    assert "Also: CTR 10.0\u202f% (usually" in opening.plain
    assert opening.method == "sendPhoto"
    assert opening.photo.startswith(b"\x89PNG")

    assert cron.run(at(41))[0] == 0  # nothing is said; the opening message is brought up to date
    assert len(bot.messages) == 1
    assert "10:15–10:30" in opening.plain.splitlines()[0]  # how it is now
    assert opening.edits == 1

    assert cron.run(at(63))[0] == 0  # cron was dead for five hours: caught up, and nothing new
    assert [t.split(":")[0] for t in texts(bot)[1:]] == ["⏱ 5\xa0h\xa021\xa0min late"]

    bot.press(opening.id, "take", user={"id": 4242, "first_name": "Anna"})
    bot.fail("429", times=1, retry_after=600, method="sendMessage")  # the other message waits behind it
    code, printed = cron.run(at(64))  # six hours on: a reminder, refused
    assert code == RED
    assert "429" in printed
    assert len(texts(bot)) == 2
    code, printed = cron.run(at(65))  # kept, and sent once
    assert code == 0, printed
    assert [t.split(" still")[0] for t in texts(bot)[2:]] == ["🔴 Likes"]  # half is gone
    assert bot.messages[-1].reply_to == opening.id
    assert "Anna is on it" in texts(bot)[-1]
    assert opening.plain.splitlines()[-1] == "👀 Anna is on it"

    sent = len(texts(bot))
    code, printed = cron.run(at(68))  # cron was dead for 45 minutes: caught up, and resolved
    assert code == 0, printed
    late, *back = texts(bot)[sent:]
    assert late.startswith("⏱ ")
    assert [t.split(" since")[0] for t in back] == ["🟢 Likes back to normal"]
    assert "16:30" in back[0]
    assert opening.plain.startswith(back[0])  # edited once more: over, and nothing to press
    assert not opening.keyboard
    assert run_failed(bot) == 0  # nothing was unseen

    assert len(list((home / "the reports" / "runs").rglob("alert-*.ipynb"))) == 7
    assert secrets_in(home, bot.token, tables.password) == []


def run_failed(bot):
    return sum("check failed" in t for t in texts(bot))


def test_a_database_that_is_down_is_said_once_an_hour_and_loses_no_bucket(tables, bot, tmp_path):
    fill(tables, QUIET, DAY + 45 * STEP)
    cron = Cron(tmp_path, tables, bot)
    assert cron.run(DAY + 40 * STEP + timedelta(minutes=6))[0] == 0
    for minutes in (6, 21):
        code, printed = cron.run(DAY + 41 * STEP + timedelta(minutes=minutes), ALERTING_SOURCE="http://127.0.0.1:9")
        assert code == RED
        assert "127.0.0.1:9" in printed
    assert run_failed(bot) == 1
    assert len(texts(bot)) == 1
    code, printed = cron.run(DAY + 45 * STEP + timedelta(minutes=6))
    assert code == 0, printed
    assert texts(bot)[1:] == [next(text for text in texts(bot) if "Checks work again" in text)]
    assert "nothing was missed" in bot.messages[-1].plain
    assert secrets_in(tmp_path, bot.token, tables.password) == []


def test_late_rows_are_waited_for_and_what_they_make_normal_is_taken_back(tables, bot, tmp_path):
    cron = Cron(tmp_path, tables, bot)
    now = DAY + 40 * STEP
    assert cron.run(now + timedelta(minutes=6))[0] == 0

    fill(tables, now, now + STEP, arrives=lambda i, second: second < 400)  # the second half of the bucket is not there yet
    code, printed = cron.run(now + STEP + timedelta(minutes=6))
    assert (code, texts(bot)) == (0, []), printed
    fill(tables, now, now + STEP, arrives=lambda i, second: second >= 400)
    now += STEP

    fill(tables, now, now + STEP, arrives=lambda i, second: i % 2)  # every other row, up to the end: that is a drop
    code, printed = cron.run(now + STEP + timedelta(minutes=6))
    assert code == 0, printed
    (opening, *_), told = bot.messages, texts(bot)
    assert len(told) == 1
    assert "−5" in told[0]

    fill(tables, now, now + STEP, arrives=lambda i, second: i % 2 == 0)  # it was not
    now += STEP
    fill(tables, now, now + STEP)
    code, printed = cron.run(now + STEP + timedelta(minutes=6))
    assert code == 0, printed
    assert "normal after all" in texts(bot)[1]
    assert bot.messages[-1].reply_to == opening.id
    assert len(texts(bot)) == 2


def test_the_daily_line_counts_runs_and_comes_once(tables, bot, tmp_path):
    fill(tables, QUIET, DAY + 45 * STEP)
    cron = Cron(tmp_path, tables, bot)
    for bucket in (40, 41, 43, 44):  # one run is missed
        assert cron.run(DAY + (bucket + 1) * STEP + timedelta(minutes=6), ALERTING_DAILY="11:00")[0] == 0
    (line,) = texts(bot)
    assert line.startswith("⚠️ 2 of 3 checks")


def secrets_in(folder, *secrets):
    """Files written by the runs that hold a secret, in any spelling that a file of ours could have."""
    spellings = [form.encode() for s in secrets for form in (s, re.sub(r"[&<>]", lambda m: f"&#{ord(m[0])};", s))]
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "password"]
    return [str(path) for path in files if any(spelling in path.read_bytes() for spelling in spellings)]
