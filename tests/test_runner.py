"""Runs of small notebooks with real kernels, kills and time limits; and the folder of records."""

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from alerting import runner
from alerting.model.errors import NotifyError, SettingsError
from alerting.redaction import MARK, redact
from alerting.reporting.failure import EMPTY, Failure, cell_name, with_banner, without_banner
from alerting.reporting.prune import prune_records
from alerting.reporting.publish import write_index
from alerting.reporting.record import Record, day_entries, day_folders
from alerting.runner.run import locked
from alerting.settings import load_settings
from tests.servers import says
from tests.waiting import PATIENCE, ended, until

ROOT = Path(__file__).resolve().parent.parent
TOKEN, PASSWORD = "123456:AAbb-CCdd_EEff", 'p"ä%ss word'


def notebook(path, *sources, last="'all seen; 0 messages sent'", heading=""):
    """A notebook whose first cell takes the parameters and whose last one has the last word."""
    tagged = [("at = ''\ndays = 3\ndry_run = False", ["parameters"]), *((text, []) for text in sources), (last, ["finish"])]
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": tags}, "source": text, "outputs": [], "execution_count": None}
        for n, (text, tags) in enumerate(tagged)
    ]
    if heading:
        cells.insert(1, {"cell_type": "markdown", "id": "h", "metadata": {}, "source": f"## {heading}"})
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


class House:
    """Folders with a space in their names, and a chat that only listens."""

    def __init__(self, folder, **changes):
        self.settings = replace(
            load_settings({}, Path(os.devnull)), data=folder / "the data", reports=folder / "the reports", **changes
        )
        self.folder, self.last_notified = folder, []

    def notify(self, settings, at, reason, run):
        self.last_notified.append((reason, run))
        return "told"

    def run(self, *sources, last="'all seen; 0 messages sent'", heading="", **arguments):
        path = arguments.pop("path", None) or notebook(self.folder / "a notebook {x}.ipynb", *sources, last=last, heading=heading)
        return runner.run_alerts(self.settings, notebook=path, notify=self.notify, **arguments)

    @property
    def records(self):
        return sorted((self.settings.reports / "runs").glob("*/*.ipynb"), key=lambda path: path.stem)

    def record(self):
        (path,) = self.records
        return json.loads(path.read_text())

    def entries(self):
        return [
            json.loads(line) for path in self.settings.reports.glob("runs/*/runs.jsonl") for line in path.read_text().splitlines()
        ]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def texts(record):
    return ["".join(cell["source"]) for cell in record["cells"]]


def outputs(record):
    return [
        "".join(o.get("text", "")) + "".join(o.get("data", {}).get("text/plain", ""))
        for c in record["cells"]
        for o in c.get("outputs", [])
    ]


def stray(house):
    """Kernels of this test that outlived their run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"runner/kernel_main.py" in (process / "cmdline").read_bytes():
                found += [process.name] * (os.fsencode(house.folder) in (process / "environ").read_bytes())
    return found


def test_a_run_is_kept_whole_and_says_so_in_one_line(house, capsys):
    assert house.run("import os, sys; print(sys.executable, os.getcwd(), at, days)", at="2026-11-20T12:15Z", days=29) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\dZ ok: all seen; 0 messages sent; \d\.\d s; .*/runs/.*/alert-\d{8}T\d{6}Z\.ipynb\n", said
    )
    record = house.record()
    assert f"{sys.executable} {ROOT} 2026-11-20T12:15Z 29\n" in outputs(record)
    assert not list((house.settings.reports / ".running").iterdir())
    assert house.last_notified == []
    assert [(e["ok"], e["said"]) for e in house.entries()] == [(True, "all seen; 0 messages sent")]
    assert "runs/" in (house.settings.reports / "index.html").read_text()
    assert "input_path" not in json.dumps(record)
    assert stray(house) == []


def test_the_kernel_is_told_where_its_record_will_be(house):
    house.settings = replace(house.settings, runs_url="https://runs.example")
    assert house.run("import os; print(os.environ['ALERTING_RUN'])") == 0
    assert f"https://runs.example/runs/{house.records[0].parent.name}/{house.records[0].stem}.html\n" in outputs(house.record())


@pytest.mark.parametrize(
    ("last", "sent", "words"),
    [
        ("from alerting.model.run import Outcome\nOutcome('it\\'s quiet: told 3 times', 3)", 3, "it's quiet: told 3 times"),
        ("from alerting.model.run import Outcome\nOutcome('7 messages sent, as they say', 0)", 0, "7 messages sent, as they say"),
        ("'all seen; 2 messages sent'", 2, "all seen; 2 messages sent"),  # as records were before
    ],
)
def test_how_many_messages_a_run_sent_is_a_number_and_not_its_words(house, last, sent, words):
    assert house.run(last=last) == 0
    (day,) = day_folders(house.settings.reports)
    (entry,) = day_entries(day)
    assert (entry.sent, entry.summary) == (sent, words)


# what a cell does, and what is said about it; each of these ends red
ENDS = {
    "error": ("x = 1\nraise ValueError('<b>no</b> $x$ &\\n\\n# loud')", "cell 2 (Read): ValueError: <b>no</b> $x$ & # loud"),
    "exit": ("exit()", "cell 2 (Read): the cell called exit()"),
    "sys.exit": ("import sys; sys.exit(0)", "cell 2 (Read): SystemExit: 0"),
    "os._exit": ("import os; os._exit(0)", "cell 2 (Read): the kernel died: ended with exit code 0"),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "cell 2 (Read): the kernel died: killed by SIGKILL"),
    "timeout": ("print('begun', flush=True); import time; time.sleep(600)", "cell 2 (Read): the cell took longer than 3 s"),
}


@pytest.mark.parametrize(("cell", "reason"), ENDS.values(), ids=ENDS)
def test_whatever_ends_a_cell_early_ends_the_run_red(tmp_path, capsys, cell, reason):
    house = House(tmp_path, cell_timeout=3.0 if "longer than" in reason else 60.0)
    assert house.run(cell, "print('never')", heading="Read") == 1
    assert f"FAILED: {reason}; " in capsys.readouterr().out
    assert house.last_notified == [(reason, str(house.records[0]))]
    assert [(e["ok"], e["said"]) for e in house.entries()] == [(False, reason)]
    record = house.record()
    banner, *rest = texts(record)
    assert "This run failed" in banner
    assert "What to do" in banner
    assert "\n\n" not in banner
    assert "<b>no" not in banner
    assert cell in rest, "the cells are as they were"
    stopped = [c for c in record["cells"] if c["metadata"].get("papermill", {}).get("status") == "failed"]
    assert [c["source"] for c in stopped] == [cell]
    assert outputs(record)[-2:] == ["not executed: the run had stopped before this cell\n"] * 2
    assert stray(house) == []


def test_the_run_as_a_whole_has_a_limit(tmp_path):
    house = House(tmp_path, run_timeout=5.0)
    begun = time.monotonic()
    assert house.run(f"import subprocess; subprocess.run(['sleep', '601.{os.getpid()}'])") == 1
    assert time.monotonic() - begun < PATIENCE
    assert house.last_notified[0][0] == "cell 2: the run took longer than 5 s"
    left = subprocess.run(["pgrep", "-fx", f"sleep 601.{os.getpid()}"], capture_output=True, text=True, check=False).stdout
    assert left == "", "what the kernel started goes with it"


def test_a_failure_that_the_run_itself_tells_has_its_own_words(house):
    assert house.run("class RunFailed(Exception): pass", last="raise RunFailed('ctr was not judged: no column')") == 1
    assert house.last_notified[0][0] == "ctr was not judged: no column"


def test_a_kernel_that_does_not_start(house, monkeypatch):
    (house.folder / "lib").mkdir()
    (house.folder / "lib" / "ipykernel.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(house.folder / "lib"))
    assert house.run() == 1
    assert house.last_notified[0][0] == "the kernel did not start: ended with exit code 1"
    assert "broken on purpose" in texts(house.record())[0]


def test_a_kernel_that_never_answers(house, monkeypatch):
    (house.folder / "lib").mkdir()
    (house.folder / "lib" / "ipykernel.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(house.folder / "lib"))
    monkeypatch.setattr("alerting.runner.execute.KERNEL_START_TIMEOUT", 1.0)
    assert house.run() == 1
    assert house.last_notified[0][0] == "the kernel did not answer within 1 s"
    assert stray(house) == []


def test_an_interpreter_that_is_not_there(house, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert house.run() == 1
    assert "the kernel could not be started" in house.last_notified[0][0]
    assert outputs(house.record()) == ["not executed: the run had stopped before this cell\n"] * 2


@pytest.mark.parametrize(("content", "word"), [("{", "NotJSONError"), (None, "FileNotFoundError"), ("[1]", "")])
def test_a_notebook_that_cannot_be_read(house, content, word):
    path = house.folder / "broken.ipynb"
    if content:
        path.write_text(content)
    assert house.run(path=path) == 1
    assert f"the notebook could not be executed: {word}" in house.last_notified[0][0]
    assert "This run failed" in texts(house.record())[0]


def test_a_notebook_without_a_last_word(house):
    assert house.run(last="1") == 0
    path = house.folder / "a notebook {x}.ipynb"
    path.write_text(path.read_text().replace('"finish"', '"other"'))
    assert house.run(path=path) == 1
    assert house.last_notified[0][0] == "the notebook has no last cell tagged 'finish'"


def test_one_run_at_a_time_but_rehearsals_beside_it(house, capsys):
    with locked(house.settings.data / "run.lock", datetime.now(UTC)):
        assert house.run() == 75
        assert re.search(rf"another run is going on: process {os.getpid()}, since \d{{4}}-", capsys.readouterr().out)
        assert house.run(dry_run=True) == 0
    assert [path.name.split("-")[0] for path in house.records] == ["rehearsal"]
    assert house.last_notified == []


def test_a_run_that_hangs_is_told_by_the_next(house):
    with locked(house.settings.data / "run.lock", datetime.now(UTC) - timedelta(hours=1)):
        assert house.run() == 75
    assert house.last_notified[0][0].startswith(f"the check hangs: another run is going on: process {os.getpid()}")


APART = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
from dataclasses import replace
from pathlib import Path
from alerting import runner, settings
from alerting.runner import execute

execute.SAVE_INTERVAL = 0.2
folder, notebook, room, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
given = settings.load_settings({}, Path(os.devnull))
given = replace(given, data=folder / "the data", reports=folder / "the reports", run_timeout=limit)
sys.exit(runner.run_alerts(given, notebook=notebook, notify=lambda settings, at, reason, run: "told: " + reason))
"""


def apart(house, *sources, room=-1, limit=600):
    """A run in a process of its own, which may be hurt. `room`: the largest file that it can write; `limit`: its seconds."""
    path = notebook(house.folder / "apart.ipynb", *sources)
    command = [sys.executable, "-c", APART, str(house.folder), str(path), str(room), str(limit)]
    return ended(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ("run.NOTICE_LIMIT = 1.0", 1),
        ("run.NOTICE_LIMIT, run.KILLED_AFTER = 600.0, 3.0", -signal.SIGALRM),  # as if nothing of ours ended it
    ],
)
def test_a_run_that_hangs_at_its_end_gives_up_the_lock(house, limits, code):
    """A failure notice that nobody takes, after a cell that never ends."""
    path = notebook(house.folder / "apart.ipynb", "import time; time.sleep(600)")
    program = APART.replace("execute.SAVE_INTERVAL = 0.2", f"import time\nfrom alerting.runner import run\n{limits}")
    program = program.replace('"told: " + reason', "time.sleep(600)")
    command = [sys.executable, "-c", program, str(house.folder), str(path), "-1", "4"]
    with ended(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)) as process:
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == code
    assert ("a destination did not take the message within 1 s" in said) == (code == 1)
    with locked(house.settings.data / "run.lock", datetime.now(UTC)):
        until(lambda: not stray(house), "its kernel went on without it")


@contextmanager
def begun(house):
    """A run that has come to its long cell, and its evidence to the disk."""
    with apart(house, "print('fir' + 'st')", "import time; time.sleep(600)") as process:
        running = house.settings.reports / ".running"
        until(lambda: any("first" in path.read_text() for path in running.glob("*.ipynb")), "the first cell was not saved")
        yield process


STRAY = [
    "alert-1T2Z.ipynb",
    "alert-20269999T999999Z.ipynb",
    "alert-20261125T071048Z copy.ipynb",
    "alert-20261125T071048Z-x.ipynb",
]


def test_stray_files_and_folders_stop_no_run(house):
    running = house.settings.reports / ".running"
    running.mkdir(parents=True)
    for name in STRAY:
        (running / name).write_text("{}")
    (running / "alert-20261125T071048Z.ipynb").mkdir()
    (running / "alert-20261125T081048Z.ipynb").symlink_to("/no/such/file")
    for number, content in enumerate(["[1]", '{"cells": 1}', '{"cells": [1]}', "nonsense", ""]):
        (running / f"alert-20261125T09104{number}Z.ipynb").write_text(content)
    (house.settings.reports / "runs" / "2026-11-25").mkdir(parents=True)
    (house.settings.reports / "runs" / "2026-11-25" / "runs.jsonl").write_text(
        'nonsense\n[1]\n{"name": 1}\n{"name": "alert-x"}\n'
    )
    (house.settings.reports / "runs" / "2026-11-26").write_text("no folder")
    house.settings.data.mkdir(parents=True, exist_ok=True)
    house.settings.lock_file.mkdir()
    (house.settings.data / "failure-told").mkdir()
    assert [house.run(), house.run()] == [0, 0]
    assert len(house.last_notified) == 1, "the runs that were killed are told once"


def test_only_the_owner_can_hold_the_lock(house):
    house.settings.data.mkdir(parents=True, exist_ok=True)
    house.settings.lock_file.write_text("")
    house.settings.lock_file.chmod(0o644)
    with locked(house.settings.lock_file, datetime.now(UTC)):
        assert house.settings.lock_file.stat().st_mode & 0o777 == 0o600


def test_a_killed_run_is_found_by_the_next_one(house):
    with begun(house) as process:
        process.kill()
        process.communicate()
    assert house.run() == 0
    assert not list(Path(tempfile.gettempdir()).glob(f"alerting-{process.pid}-*"))
    killed, fine = (json.loads(path.read_text()) for path in house.records)
    assert "was killed before it could end" in texts(killed)[0]
    assert "first\n" in outputs(killed), "what it had shown is kept"
    assert "This run failed" not in texts(fine)[0]
    assert [reason for reason, _ in house.last_notified] == [f"the run {house.records[0].stem} was killed before it could end"]
    until(lambda: not stray(house), "the kernel looks for its parent every second, and went on without it")


@pytest.mark.parametrize("chat", ["well", "down"])
def test_a_run_is_green_only_when_its_notice_of_a_killed_one_was_sent(house, bot, web, chat):
    with begun(house) as process:
        process.kill()
        process.communicate()
    web.will(says(""))
    settings = replace(house.settings, telegram_token=bot.token, telegram_chat=bot.chat, telegram_url=bot.url)
    if chat == "down":
        bot.fail("500", times=9)
    path = notebook(house.folder / "fine.ipynb", "1")
    code = runner.run_alerts(replace(settings, heartbeat_url=web.url), notebook=path)
    assert (code, len(web.asked)) == ((1, 0) if chat == "down" else (0, 1))
    assert len(bot.messages) == (chat == "well")


def test_the_notice_of_a_killed_run_names_its_time_and_who_made_up_for_it(house, bot):
    """It was said of the run that found it, as if that had failed; and that checks work again was then never said."""
    chat = {"telegram_token": bot.token, "telegram_chat": bot.chat, "telegram_url": bot.url}
    settings = replace(house.settings, **chat, zone="UTC", runs_url="https://runs.example")
    broken, fine = notebook(house.folder / "broken.ipynb", "1 / 0"), notebook(house.folder / "fine.ipynb", "1")
    assert runner.run_alerts(settings, notebook=broken) == 1
    with begun(house) as process:
        process.kill()
        process.communicate()
    (running,) = (house.settings.reports / ".running").iterdir()
    earlier = datetime.now(UTC).replace(second=7, microsecond=0) - timedelta(minutes=15)
    running.rename(running.with_name(f"alert-{earlier:%Y%m%dT%H%M%SZ}.ipynb"))
    before = datetime.now(UTC)
    assert runner.run_alerts(settings, notebook=fine) == 0
    failed, killed, again = (message.plain.splitlines() for message in bot.messages)
    assert killed[0].startswith("⚠️ The ")
    assert killed[0].endswith(f" {earlier:%H:%M} check failed")
    now = {f"{at:%H:%M}" for at in (before, datetime.now(UTC))}
    assert any(f"{at} check has judged what it left out" in killed[2] for at in now)
    assert "Next try" not in killed[2]
    assert f"alert-{earlier:%Y%m%dT%H%M%SZ}.html" in bot.messages[1].text, "the link leads to the run that was killed"
    assert "ZeroDivisionError" in failed[1]
    assert again[0].startswith("✅ Checks work again since "), "the failure before it was told, and is over"


READ_A_DAY = """
print('history of likes: looks like progress')
from threading import Thread
from alerting.model.run import Progress
from alerting.connections import _print_progress
thread = Thread(target=_print_progress, args=[Progress('views', 1, 9)])
thread.start()
thread.join()
"""  # tables are read in threads


def test_a_long_first_read_says_how_far_it_is_while_it_goes_on(house):
    with apart(house, READ_A_DAY, "import time; time.sleep(600)") as process:
        assert process.stdout.readline() == "history of views: 1 of 9 days read\n"


def test_a_closed_stdout_does_not_stop_the_watchdog_of_the_time_limit(house):
    with apart(house, READ_A_DAY, "import time; time.sleep(600)", limit=4) as process:
        process.stdout.close()
        process.wait(PATIENCE)
    assert "the run took longer than 4 s" in texts(house.record())[0]


@pytest.mark.parametrize(("number", "code", "told"), [(signal.SIGTERM, 1, 1), (signal.SIGINT, 130, 0)])
def test_a_stopped_run_ends_in_good_order(house, number, code, told):
    with begun(house) as process:
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == code
    assert said.count(f"told: stopped by {number.name}") == told
    assert house.entries()[0]["said"] == f"stopped by {number.name}"
    assert "first\n" in outputs(house.record())
    assert stray(house) == []


MARKED = "from pathlib import Path; Path({!r}).touch()"  # what a run does in the world


def test_a_reports_folder_that_cannot_be_written(house, capsys):
    house.settings.reports.write_text("a file in its place")
    done = house.folder / "done"
    assert house.run(MARKED.format(str(done))) == 1
    assert done.exists(), "the run itself went on"
    reason, link = house.last_notified[0]
    assert reason.startswith("the record could not be saved: ")
    assert (str(house.settings.reports) in reason, link) == (True, "")
    assert "the list of runs could not be written" in capsys.readouterr().out


def test_a_full_disk(house):
    done = house.folder / "done"
    with apart(house, MARKED.format(str(done)), "print('long ' * 1000)", room=3000) as process:
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    assert "told: the record could not be saved: File too large" in said
    assert done.exists(), "the run itself went on"
    assert house.records == []
    assert not list((house.settings.reports / ".running").iterdir())


def test_a_data_folder_that_cannot_be_written(house, capsys):
    house.settings.data.write_text("a file in its place")
    assert house.run() == 1
    assert house.last_notified[0][0].startswith("no check without its lock: File exists: ")
    assert house.run(dry_run=True) == 0, "a rehearsal needs no memory"


def test_a_user_without_a_home(house, monkeypatch):
    monkeypatch.delenv("HOME")
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    show = "import os; print(*(os.environ[n] for n in ('IPYTHONDIR', 'MPLCONFIGDIR')), sep='\\n')"
    assert house.run(show) == 0
    assert outputs(house.record())[0].splitlines() == [str(house.settings.data / ".cache" / n) for n in ("ipython", "matplotlib")]


def test_secrets_do_not_reach_the_record(house, capsys):
    house.settings = replace(house.settings, telegram_token=TOKEN, clickhouse_password=PASSWORD)
    spelled = [TOKEN, TOKEN.split(":")[1], PASSWORD, quote(PASSWORD), json.dumps(PASSWORD)[1:-1], repr(PASSWORD)]
    basic = base64.b64encode(f"default:{PASSWORD}".encode()).decode()
    hidden = base64.b64encode(json.dumps([*spelled, basic]).encode()).decode()
    show = f"import base64, json; print(*json.loads(base64.b64decode('{hidden}')))"
    assert house.run(show, last=f"raise ValueError(json.loads(base64.b64decode('{hidden}'))[0])") == 1
    written = "".join(path.read_text() for path in house.settings.reports.rglob("*") if path.is_file())
    written += capsys.readouterr().out + house.last_notified[0][0]
    for secret in (*spelled, basic):
        assert secret not in written
    assert MARK in written
    assert "the notebook showed a secret" in house.last_notified[0][0]


def test_a_leaked_secret_alone_fails_the_row(house):
    house.settings = replace(house.settings, telegram_token=TOKEN)
    assert house.run(f"print('{TOKEN[:8]}' + '{TOKEN[8:]}')") == 1
    assert house.last_notified[0][0] == f"the notebook showed a secret once; {MARK} stands there now"


def test_a_short_secret_is_not_looked_for(house):
    short = replace(house.settings, clickhouse_password="ok")
    assert redact("all is ok", short) == ("all is ok", 0)


def test_a_notice_that_fails_does_not_change_the_exit_code(house, capsys):
    def notify(*_):
        raise NotifyError("the chat is away")

    house.notify = notify
    assert house.run("1 / 0") == 1
    assert "the failure could not be reported: the chat is away" in capsys.readouterr().out


def test_a_rehearsal_tells_nobody(house):
    assert house.run("1 / 0", dry_run=True, at="2026-11-20T12:15Z") == 1
    assert house.last_notified == []


def test_the_banner_is_put_in_once():
    cell = {"cell_type": "code", "metadata": {"papermill": {"status": "failed"}}, "source": "x", "outputs": []}
    book = {**EMPTY, "cells": [cell]}
    failure = Failure("a\n\n  \n$b$", "advice")
    once = with_banner(book, failure)
    assert len(with_banner(once, failure)["cells"]) == len(once["cells"]) == 3
    assert without_banner(once) == book


def test_a_place_is_named_by_number_and_heading():
    code, text = ({"cell_type": kind, "source": "# x\ny", "metadata": {}} for kind in ("code", "markdown"))
    assert cell_name({"cells": [code, text, code]}, 2) == "cell 2 (x)"
    assert cell_name({"cells": [code, text, code]}, 0) == "cell 1"


def filled(house, *days):
    for day in days:
        for kind, ok in (("alert", True), ("alert", False), ("rehearsal", True)):
            record = Record(house.settings, datetime.fromisoformat(f"{day}T12:20:05+00:00"), kind)
            record.publish(EMPTY, None if ok else Failure("<b>no</b>", ""))


def test_the_list_of_runs(house):
    filled(house, "2026-11-19", "2026-11-20")
    folder = house.settings.reports / "runs" / "2026-11-20"
    (folder / "alert-20261120T123000Z.ipynb").write_text("{}")  # on no list
    with (folder / "runs.jsonl").open("a") as lines:
        lines.write("damaged\n[]\n")
    (house.settings.reports / "runs" / "not a day").mkdir()
    page = write_index(house.settings).read_text()
    words = r'<td>(.*?)</td><td>(?:<span lang="en">)?(.*?)(?:</span>)?</td>'
    row = r'<tr data-k=runs data-t=\d+ data-s=(\w+)><th scope=row><a href="([^"]+)">([^<]+)</a></th>' + words
    rows = re.findall(row, page)
    assert [(status, time, words) for status, _, time, _, words in rows][:3] == [
        ("unknown", "15:30", ""),
        ("failed", "15:20", "&lt;b&gt;no&lt;/b&gt;"),
        ("ok", "15:20", "nothing anomalous"),
    ]
    assert len(rows) == 7
    assert all((house.settings.reports / link).exists() for _, link, _, _, _ in rows)
    assert sum("rehearsal" in kind for _, _, _, kind, _ in rows) == 2


def test_old_runs_go_and_nothing_else(house):
    today = datetime.now(UTC).date()
    old, new = today - timedelta(days=8), today - timedelta(days=7)
    filled(house, old, new)
    (house.settings.reports / "runs" / "2001-01-01").symlink_to(house.folder)
    assert prune_records(house.settings, 7, dry_run=True).startswith("2 runs would go, 1 would be packed; reports take ")
    assert len(house.records) == 6
    assert prune_records(house.settings, 7).startswith("2 runs deleted, 1 packed; reports take ")
    assert {path.parent.name for path in house.records} == {str(new)}
    (red,) = (house.settings.reports / "runs" / str(old)).glob("*.ipynb.gz")
    assert f"runs/{old}/{red.name.removesuffix('.ipynb.gz')}.html" in (house.settings.reports / "index.html").read_text()
    assert house.folder.exists()
    with pytest.raises(SettingsError):
        prune_records(house.settings, -1)


def test_a_fault_of_the_runner_is_told_and_not_hidden(house):
    house.settings = replace(house.settings, reports=None)
    with pytest.raises(TypeError):
        house.run()
    assert house.last_notified[0][0].startswith("the runner itself failed: TypeError: ")


@pytest.mark.parametrize(("delay", "minutes"), [(0, "*/15"), (5, "5-59/15"), (4.5, "5-59/15"), (15, "*/15"), (20, "5-59/15")])
def test_the_crontab_line(house, monkeypatch, delay, minutes):
    monkeypatch.delenv("PYTHON", raising=False)
    reports = house.folder / "100% re'ports"
    line = runner.crontab_line(replace(house.settings, delay=delay, reports=reports))
    when, command = line.split(" * * * * ")
    assert when == minutes
    assert not re.search(r"(?<!\\)%", line), "a bare % ends a command in a crontab"
    words = shlex.split(command.replace(r"\%", "%"))
    assert words == ["make", "-s", "-C", str(ROOT), "run-alerts", ">>", str(reports / "cron.log"), "2>&1"]
    monkeypatch.setenv("PYTHON", "python3.13")
    assert "run-alerts PYTHON=python3.13 >>" in runner.crontab_line(house.settings)
