"""Failed runs as real processes: exit codes, notices in the chat, and the message that checks work again."""

import csv
import math
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting.failure_notice import notify_recovery
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.verdict import EventKind
from alerting.settings import load_settings
from alerting.store.state import StateStore
from tests.servers import says
from tests.stored import incident
from tests.trees import copy_parts

ROOT = Path(__file__).resolve().parent.parent
END = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = timedelta(minutes=15)
BEFORE, DURING = (f"{END + n * STEP + timedelta(minutes=6):%Y-%m-%dT%H:%M}Z" for n in (0, 1))  # runs before and in the incident
NO_CHAT = {"TELEGRAM_TOKEN": "", "TELEGRAM_CHAT": ""}
BROKEN = [  # a file of the checkout, its content (None: a folder), and what is said
    ("alerting/metrics.py", b"METRICS = [\n    Metric(\n", "alerting/metrics.py:2: '(' was never closed"),
    ("alerting/metrics.py", b"from nowhere import nothing\n", "alerting/metrics.py:1: ModuleNotFoundError"),
    ("alerting/sql/feed_actions.sql", "-- счёт\n".encode("cp1251"), "feed_actions.sql cannot be read (UnicodeDecodeError)"),
    ("alerting/sql/feed_actions.sql", None, "feed_actions.sql cannot be read (IsADirectoryError)"),
    (".env", b"ALERTING_OWNER=x\nALERTING_SOURCE: https://x\n", ".env, line 2: ALERTING_SOURCE cannot be read"),
    (".env", "ALERTING_OWNER=x".encode("utf-16"), ".env is not UTF-8 text (it looks like UTF-16)"),
    ("alerting/calendar.csv", "2026-11-20,,релиз,\n".encode("cp1251"), "cannot be read (UnicodeDecodeError)"),
]
WRONG = [  # settings, and what is said
    ({"METRICS": "likes,nope"}, "ALERTING_METRICS names nope: there are feed_users"),
    ({"ROUTES": "nope -> telegram"}, "ALERTING_ROUTES names nope"),
    ({"ZONE": "Mars"}, "ALERTING_ZONE='Mars': it takes a time zone name"),
    ({"SLACK_URL_FILE": "/no/such"}, "ALERTING_SLACK_URL_FILE='/no/such' cannot be read"),
    ({"CALENDAR": "/no/such.csv"}, "ALERTING_CALENDAR='/no/such.csv' cannot be read"),
    ({"HOLIDAYS": "QQ"}, "ALERTING_HOLIDAYS=QQ: the package holidays does not know it"),
    ({"HOLIDAYS": 800 * "US," + "QQ"}, "ALERTING_HOLIDAYS=QQ: the package holidays does not know it"),  # seconds to find out
]


@pytest.fixture
def check(bot, tmp_path):
    """Run the command `run-alerts` with the chat set up. Return exit code and what was printed."""
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["series", "ts", "value"])
        for n in range(35 * 96):
            at = END - 35 * 96 * STEP + n * STEP
            lines.writerow(["orders", f"{at:%Y-%m-%dT%H:%M:%SZ}", 1000 + round(200 * math.sin(2 * math.pi * n / 96))])
        lines.writerow(["orders", f"{END:%Y-%m-%dT%H:%M:%SZ}", 100])  # an incident begins

    def run(*words, folder=ROOT, module="alerting", encoding="utf-8", **given):
        values = {
            "SOURCE": str(table), "DATA": str(tmp_path / "data"), "REPORTS": str(tmp_path / "reports"), "ZONE": "UTC",
            "TELEGRAM_TOKEN": bot.token, "TELEGRAM_CHAT": bot.chat, "TELEGRAM_URL": bot.url,
        }  # fmt: skip
        env = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": encoding}
        env |= {f"ALERTING_{name}": text for name, text in (values | given).items()}
        command = [sys.executable, "-m", module, *(["run-alerts"] if module == "alerting" else []), *words]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding=encoding, timeout=240)
        return done.returncode, done.stdout + done.stderr

    return run


def texts(bot):
    return [message.plain for message in bot.messages]


def test_each_failure_is_told_once_and_then_that_checks_work_again(check, bot):
    at = ["--at", BEFORE]
    assert check(*at)[0] == 0
    assert [check(*at, SOURCE="/no/such/table.csv")[0] for _ in range(2)] == [1, 1]
    assert check(*at, METRICS="nope")[0] == 2
    failures = texts(bot)
    assert len(failures) == 2
    assert "table.csv" in failures[0]
    assert "ALERTING_METRICS names nope: there are orders" in failures[1]
    assert [check(*at)[0] for _ in range(2)] == [0, 0]
    (again,) = texts(bot)[2:]
    assert again.startswith("✅ Checks work again since ")
    assert "They had failed since " in again
    assert ", nothing was missed" in again


@pytest.mark.parametrize(("told", "said"), [(-1, "nothing was missed"), (1, "1\xa0incident found since")])
def test_an_incident_is_found_since_the_failure_only_if_it_was_told_after_it(bot, tmp_path, told, said):
    failed = datetime(2026, 11, 20, 12, 36, tzinfo=UTC)
    made, again = failed + told * STEP, failed + 2 * STEP
    one = replace(incident("i", made - timedelta(minutes=35)), last_notified=made)  # its first bucket lies before either way
    opening = Message(one.key, EventKind.OPENED, "views", one.opened, "views", incident=one.id)
    values = {"DATA": str(tmp_path), "TELEGRAM_TOKEN": bot.token, "TELEGRAM_CHAT": bot.chat, "TELEGRAM_URL": bot.url}
    settings = load_settings({f"ALERTING_{name}": text for name, text in values.items()}, ROOT / "no-such-file")
    with closing(StateStore(settings.state_file)) as store:
        store.commit(Commit(incidents=[one], messages=[opening]), made)
        store.record(Receipt(opening.key, "sent", "", "5"), made)
    notify_recovery(settings, again, failed, "")
    assert said in texts(bot)[-1]


def test_a_run_is_green_only_when_the_chat_knows_that_checks_work_again(check, bot, web):
    web.will(says(""))
    at = ["--at", BEFORE]
    assert check(*at, METRICS="nope")[0] == 2
    bot.fail("500", times=9, method="sendMessage")
    assert (check(*at, HEARTBEAT_URL=web.url)[0], len(web.asked), len(texts(bot))) == (1, 0, 1)
    bot.faults.clear()
    assert (check(*at, HEARTBEAT_URL=web.url)[0], len(web.asked)) == (0, 1)
    assert [text.startswith("✅ Checks work again since ") for text in texts(bot)] == [False, True]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=[str(given)[2:20] for given, _ in WRONG])
def test_a_wrong_setting_is_told_once_and_ends_with_2(check, bot, tmp_path, given, said):
    for _ in range(2):
        code, printed = check(SOURCE="embedded", **given)
        assert (code, "Traceback" in printed) == (2, False)
        assert sum(said in line for line in printed.splitlines()) == 1
    (notice,) = texts(bot)
    assert said in notice
    assert "cell" not in notice
    assert not (tmp_path / "data" / "app").exists(), "nothing was read"


@pytest.mark.parametrize(("file", "content", "said"), BROKEN, ids=[f"{file} {said}" for file, _, said in BROKEN])
def test_a_broken_catalogue_is_told_once_and_ends_with_2(check, bot, tmp_path, file, content, said):
    home = copy_parts(tmp_path / "checkout", "alerting", "notebooks")
    (home / file).unlink(missing_ok=True)
    if content is None:
        (home / file).mkdir()
    else:
        (home / file).write_bytes(content)
    for _ in range(2):
        code, printed = check(folder=home, SOURCE="embedded")
        assert (code, "Traceback" in printed) == (2, False), printed
        assert sum(said in line for line in printed.splitlines()) == 1, printed
    (notice,) = texts(bot)
    assert said in notice
    assert "cell" not in notice


def test_without_a_chat_nothing_is_said_to_be_sent(check, tmp_path):
    code, printed = check("--at", DURING, **NO_CHAT)
    assert code == 0
    assert "orders −" in printed
    assert re.search(r"ok: all seen; [12] messages? printed, no chat is configured", printed)
    code, printed = check("--at", DURING, "--dry-run")
    assert code == 0
    assert re.search(r"^1 metric judged from .* \(UTC\): 1 anomalous\n  orders  anomalous  100  expected 1,0\d\d ", printed)
    assert printed.count("orders −9") >= 1, "the message, not only a count"
    assert re.search(r"ok: all seen; [12] messages? would have been sent", printed)
    pages = [page.read_text() for page in (tmp_path / "reports").rglob("*.html")]
    assert pages
    assert not any(re.search(r"\d+ messages? sent|sent: \d", page) for page in pages)


@pytest.mark.parametrize("encoding", ["ascii", "cp1251"])
def test_an_alert_is_printed_on_a_terminal_that_lacks_its_characters(check, encoding):
    code, printed = check("--at", DURING, **NO_CHAT, encoding=encoding)
    assert code == 0, printed
    assert "Traceback" not in printed
    assert "? orders -9" in printed


def test_messages_about_slow_tables_are_printed_and_shown(check, tmp_path):
    """Reading gets no time at all, so the only table is a slow one."""
    alert = (ROOT / "notebooks" / "alert.ipynb").read_text()
    assert alert.count("read(ctx, due, days, now)") == 1
    notebook = tmp_path / "alert.ipynb"
    notebook.write_text(alert.replace("read(ctx, due, days, now)", "read(ctx, due, days, now, 0.0)"))
    code, printed = check(DURING, str(notebook), module="tests.faults.child", **NO_CHAT)
    assert code == 0, printed
    assert "🔴 orders −9" in printed
    (page,) = (tmp_path / "reports" / "runs").glob("*/*.html")
    assert "Still being read" in page.read_text()
    assert "Nothing to say" not in page.read_text()
    assert "🔴 <b>orders −9" in page.read_text()


def test_a_notice_without_a_chat_is_not_called_sent(check):
    _, printed = check("--at", DURING, **NO_CHAT, SOURCE="http://127.0.0.1:9")
    assert "run-failed" in printed
    assert "printed, no chat is configured" in printed
    assert not re.search(r"/text sent", printed)


def test_a_drill_without_a_chat_says_that_nothing_was_sent(check, tmp_path):
    code, printed = check("drill", module="alerting.__main__", **NO_CHAT)
    assert ("NOTHING WAS SENT" in printed) == (code == 0)
    assert "printed, no chat is configured" in printed or "nothing was found anomalous" in printed
    assert "at telegram" not in printed
    assert "the drill arrived" not in printed
