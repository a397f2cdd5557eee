"""The schedulers of docs/operate.md: their commands as they run them, with lock, failure notice and pages."""

import ast
import fcntl
import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers import needs

ROOT = Path(__file__).resolve().parent.parent
OPERATE = (ROOT / "docs" / "operate.md").read_text()
FOLDER = "/opt/metric-alerts"  # in the pages


def unit(kind):
    """Return the text of a systemd unit of the page, for this checkout."""
    return re.search(rf"metric-alerts\.{kind}`:\n\n```ini\n(.*?)```", OPERATE, re.DOTALL)[1].replace(FOLDER, str(ROOT))


def options(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def systemd(env):
    """Run the service as systemd does: no shell, its folder and umask. Return it, and whether it is green."""
    service = options(unit("service"))
    mask = int(service["UMask"], 8)
    done = subprocess.run(
        shlex.split(service["ExecStart"]), cwd=service["WorkingDirectory"], umask=mask, env=env, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    return done, done.returncode in (0, int(service["SuccessExitStatus"]))


def airflow(env):
    """Run the task as a BashOperator does: bash in a temporary folder. Return it, and whether it is green or skipped."""
    (block,) = re.findall(r"```python\n(.*?)```", OPERATE, re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    (task,) = [call for call in calls if ast.unparse(call.func) == "BashOperator"]
    given = {word.arg: ast.literal_eval(word.value) for word in task.keywords}
    command = given["bash_command"].replace(FOLDER, shlex.quote(str(ROOT)))
    done = subprocess.run(["bash", "-c", command], cwd="/tmp", env=env, capture_output=True, text=True, timeout=240)
    return done, done.returncode in (0, given["skip_on_exit_code"])


@pytest.fixture(params=[systemd, airflow], ids=["systemd", "airflow"])
def scheduler(request, bot, tmp_path):
    """Return a function that runs the command once: the process, and whether the scheduler shows it as good."""
    needs((ROOT / ".venv" / "bin" / "python").exists(), "needs what `make env` makes")
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [f"orders,{end + timedelta(hours=n):%Y-%m-%dT%H:%MZ},{1000 + n % 24}" for n in range(-30 * 24, 0)]
    (tmp_path / "kpis.csv").write_text("\n".join(["series,ts,value", *rows]))
    env = {
        "PATH": "/usr/bin:/bin", "ALERTING_SOURCE": str(tmp_path / "kpis.csv"), "ALERTING_ZONE": "UTC",
        "ALERTING_DATA": str(tmp_path / "data"), "ALERTING_REPORTS": str(tmp_path / "reports"),
        "ALERTING_TELEGRAM_TOKEN": bot.token, "ALERTING_TELEGRAM_CHAT": bot.chat, "ALERTING_TELEGRAM_URL": bot.url,
    }  # fmt: skip
    return lambda **given: request.param(env | given)


def test_a_scheduled_run_leaves_pages_keeps_the_lock_and_tells_the_chat_that_it_failed(scheduler, bot, tmp_path):
    done, good = scheduler()
    assert (done.returncode, good) == (0, True), done.stdout + done.stderr
    assert "1 metric judged from " in done.stdout
    (page,) = (tmp_path / "reports").glob("runs/*/alert-*.html")
    assert page.name in (tmp_path / "reports" / "index.html").read_text()
    assert bot.messages == []

    with (tmp_path / "data" / "run.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, good = scheduler()
        assert (done.returncode, good) == (75, True)
        assert "another run is going on" in done.stdout

    done, good = scheduler(ALERTING_SOURCE="/no/such/table.csv")
    assert (done.returncode, good) == (1, False)
    (notice,) = bot.messages
    assert "table.csv" in notice.plain
    assert len(list((tmp_path / "reports").glob("runs/*/alert-*.html"))) == 2


def test_systemd_takes_the_units_of_the_page(tmp_path):
    needs((ROOT / ".venv" / "bin" / "python").exists(), "needs what `make env` makes")
    service, timer = unit("service"), unit("timer")
    assert (options(service)["Type"], options(timer)["OnCalendar"]) == ("oneshot", "*:05/15")
    needs(shutil.which("systemd-analyze"), "systemd is not installed")
    files = [tmp_path / f"metric-alerts.{kind}" for kind in ("service", "timer")]
    for file, text in zip(files, (service, timer), strict=True):
        file.write_text(text)
    env = {"PATH": os.environ["PATH"], "SYSTEMD_LOG_COLOR": "0"}
    done = subprocess.run(["systemd-analyze", "verify", *files], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
