"""Commands of the person on duty (silence, listen, drill, status), run as processes against a real chat server."""

import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.incidents.labels import precision
from alerting.model.clock import parse_length
from alerting.model.incident import Incident, Member, incident_ref
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.verdict import EventKind, Label, Status, Verdict
from alerting.notifiers import telegram_updates as buttons
from alerting.store.state import StateStore
from tests.servers import says
from tests.waiting import PATIENCE, ended, until

ROOT = Path(__file__).resolve().parent.parent
STEP = timedelta(minutes=15)


@pytest.fixture
def duty(tmp_path, bot):
    """Runs `python -m alerting ...` on a table of two series that ends now; their values are the same whenever that is."""
    end = pd.Timestamp(datetime.now(UTC)).floor("15min") - STEP
    index = pd.date_range(end - timedelta(days=31), end, freq=STEP)
    rhythm = 1000 + 300 * np.sin(2 * np.pi * np.arange(len(index)) / 96)
    noise = np.random.default_rng(1).normal(1, 0.02, (2, len(index)))
    parts = [pd.DataFrame({"series": s, "ts": index, "value": (rhythm * n).round()}) for s, n in zip("ab", noise, strict=True)]
    pd.concat(parts).to_csv(tmp_path / "kpi.csv", index=False)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ALERTING_SOURCE": str(tmp_path / "kpi.csv"),
        "ALERTING_TELEGRAM_TOKEN": bot.token,
        "ALERTING_TELEGRAM_CHAT": bot.chat,
        "ALERTING_TELEGRAM_URL": bot.url,
        "ALERTING_TELEGRAM_USERS": "*",
        "ALERTING_DATA": str(tmp_path / "data"),
        "ALERTING_REPORTS": str(tmp_path / "reports"),
        "ALERTING_ZONE": "UTC",
    }

    def run(*words, code=0, **more):
        command = [sys.executable, "-m", "alerting", *words]
        done = subprocess.run(command, cwd=ROOT, env={**env, **more}, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.env, run.data = env, tmp_path / "data"
    return run


def test_a_silence_is_set_listed_and_ended(duty):
    assert "no silences" in duty("silences")
    assert re.search(
        r"silence 1: a from .* until .* \(UTC\).*, why: deploy", duty("silence", "a", "--for", "2h", "--why", "deploy")
    )
    assert "silence 2: all metrics from" in duty("silence", "all", "--for", "1d 6h")
    assert [line[0] for line in duty("silences").splitlines()] == ["1", "2"]
    assert "silence 1: a from" in duty("status", code=1)
    duty("unsilence", "1")
    assert [line[0] for line in duty("silences").splitlines()] == ["2"]
    assert "no silence 1" in duty("unsilence", "1", code=2)
    assert "no silence 99999999999999999999" in duty("unsilence", "99999999999999999999", code=2)
    assert "silence 3: b every week Sat 02:00-04:00, from" in duty("silence", "b", "--weekly", "Sat 02:00-04:00")
    once = duty("silence", "b", "--from", "2126-12-01 02:00", "--until", "2126-12-01 04:00")
    assert "silence 4: b from 2126-12-01 02:00 until 2126-12-01 04:00 (UTC)" in once
    assert re.search(r"^4: b from .*, not now$", duty("silences"), re.MULTILINE)
    assert "--weekly 'Saturday': spans such as 'Sat 02:00-04:00'" in duty("silence", "b", "--weekly", "Saturday", code=2)
    assert "no metric 'c': there are a, b; or all" in duty("silence", "c", "--for", "2h", code=2)


@pytest.mark.parametrize(
    ("text", "length"),
    [("90m", timedelta(minutes=90)), ("2h", timedelta(hours=2)), ("1d 6h", timedelta(hours=30)), ("2W", timedelta(weeks=2))],
)
def test_lengths(text, length):
    assert parse_length(text) == length


@pytest.mark.parametrize("text", ["", "2", "h", "2y", "-2h", "0m", "2h!", "1000d"])
def test_invalid_lengths_are_refused(text):
    with pytest.raises(ValueError, match="a time such as 90m"):
        parse_length(text)


def test_a_drill_goes_the_whole_way_and_leaves_no_trace(duty, bot):
    said = duty("drill")
    assert "the drill arrived" in said
    (opening,) = bot.messages
    assert opening.plain.startswith("🧪 DRILL 🔴 a −")
    assert opening.photo
    assert not opening.keyboard
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        assert (store.episodes(), store.incidents(), store.counts().sent) == ({}, [], 0)
    assert "no metric 'x'" in duty("drill", "--metric", "x", code=2)


def test_a_drill_that_does_not_arrive_says_so(duty, bot):
    bot.fail("kicked", times=9)
    assert "THE DRILL DID NOT ARRIVE" in duty("drill", code=1)


def test_status_tells_incidents_and_what_is_due(duty):
    duty("run-alerts")
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=[incident()]), datetime.now(UTC))
    said = duty("status")
    assert re.search(r"^ok +alert-.*: all seen; 0 messages sent$", said, re.MULTILINE)
    assert "incident 20261120T1215Z-a: warning: a since Fri 2026-11-20 12:15; taken by Anna; not announced" in said
    assert re.search(r"^judged until \w{3} 20\d\d-\d\d-\d\d \d\d:\d\d, (\d+ (days?|h|min) )+ago: ", said, re.MULTILINE)
    assert re.search(r"^disk: reports \d+\.\d MB, memory \d+\.\d MB$", said, re.MULTILINE)
    assert re.search(r"^next due: \w{3} 20", said, re.MULTILINE)


@pytest.mark.parametrize("hours", [-1, 1])
def test_status_tells_a_snooze_only_while_it_lasts(duty, hours):
    until = datetime.now(UTC) + timedelta(hours=hours)
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=[replace(incident(), snoozed_until=until)]), datetime.now(UTC))
    assert ("silent until" in duty("status", code=1)) is (hours > 0)


def incident():
    bucket = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
    verdict = Verdict("a", bucket, Status.ANOMALOUS, 7.0, 9.0, 10.0, 11.0, -3.0)
    return Incident("20261120T1215Z-a", bucket, (Member("a", bucket, bucket, verdict),), acknowledged_by="Anna")


def test_labels_make_a_precision_per_metric_and_week(duty):
    assert "no incidents" in duty("labels")
    now = datetime.now(UTC).replace(microsecond=0)
    given = [Label.REAL, Label.FALSE_ALARM, Label.EXPECTED, None]
    made = [replace(incident(), id=f"i{n}", opened=now, last_notified=now, label=label) for n, label in enumerate(given)]
    (row,) = precision(made).reset_index().to_dict("records")
    assert (row["metric"], row["incidents"], row["real"], row["false alarm"]) == ("a", 4, 1, 1)
    assert row["precision"] == pytest.approx(2 / 3)
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=made), now)
    assert "0.67" in duty("labels")


def test_listen_takes_a_press_and_a_command_at_once(duty, bot):
    bucket = datetime.now(UTC).replace(second=0, microsecond=0)
    opened = incident()
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        message = Message(opened.key, EventKind.OPENED, "a", bucket, "opening", incident=opened.id)
        store.commit(Commit(incidents=[opened], messages=[message]), bucket)
    command = [sys.executable, "-m", "alerting", "listen"]
    with ended(
        subprocess.Popen(command, cwd=ROOT, env=duty.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ) as process:
        until(lambda: any(method == "getUpdates" for method, _ in bot.calls))
        sent = bot.inside.send({"chat_id": bot.chat, "text": "anything"}, None)["message_id"]
        data = buttons.data("snooze", incident_ref(opened.id), buttons.secret(bot.token))
        bot.press(sent, "", data=data, user={"id": 5, "first_name": "Boris"})
        said = next((line for line in process.stdout if "Boris" in line), "")  # printed after all else was done
        bot.say("/status", user={"id": 6, "first_name": "Carl"})
        said += next((line for line in process.stdout if "Carl" in line), "")
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=PATIENCE)[0]
    opening = bot.messages[1].plain  # the first is that of the button
    assert opening.startswith("opening")
    assert "🔕 silent until" in opening
    assert bot.messages[-1].plain.splitlines() == ["opening", "Nothing was checked yet"]
    assert process.returncode == 0, said
    assert "Boris" in said
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        assert store.incidents()[0].snoozed_until is not None


def test_listen_knows_the_metrics_that_came_after_its_start(duty, bot):
    """It runs for weeks; a new column of the table was no metric to it until somebody started it anew."""
    command = [sys.executable, "-m", "alerting", "listen"]
    with ended(
        subprocess.Popen(command, cwd=ROOT, env=duty.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ) as process:
        until(lambda: any(method == "getUpdates" for method, _ in bot.calls))
        table = Path(duty.env["ALERTING_SOURCE"])
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines, *(f"new{line[1:]}" for line in lines if line.startswith("b,")), ""]))
        bot.say("/silence new 2h")
        assert "new" in next((line for line in process.stdout if "Anna" in line), "")  # printed after all else was done
    with closing(StateStore(duty.data / "alerts.sqlite")) as store:
        assert [silence.scope for silence in store.silences(datetime.now(UTC))] == ["new"]


def test_listen_without_a_chat_is_refused(duty):
    said = duty("listen", code=2, ALERTING_TELEGRAM_TOKEN="", ALERTING_TELEGRAM_CHAT="")
    assert "no chat is configured" in said


def test_a_heartbeat_is_sent_after_green_runs_only(duty, web, tmp_path):
    web.will(says("ok"))
    duty("run-alerts", ALERTING_HEARTBEAT_URL=f"{web.url}/ping/secret-uuid")
    assert [asked.path for asked in web.asked] == ["/ping/secret-uuid"]
    duty("run-alerts", code=1, ALERTING_HEARTBEAT_URL=f"{web.url}/ping/secret-uuid", ALERTING_SOURCE=str(tmp_path / "gone.csv"))
    assert len(web.asked) == 1
    web.will(says("no", status=500))
    said = duty("run-alerts", ALERTING_HEARTBEAT_URL=f"{web.url}/ping/secret-uuid")
    assert "heartbeat: " in said
    assert "secret-uuid" not in said
    assert not [path for path in tmp_path.rglob("*.ipynb") if b"secret-uuid" in path.read_bytes()]
