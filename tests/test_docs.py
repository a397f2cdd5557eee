"""The documentation is correct: its commands run, its names, paths and errors exist, its links lead somewhere."""

import ast
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from html import unescape
from pathlib import Path

import pytest

from alerting.connections import load_queries
from alerting.metrics import RULE
from alerting.runner.run import BUSY, INTERRUPTED, OK, RED
from alerting.sample.generate import SampleApp
from alerting.settings import PREFIX, RETIRED, Settings, load_settings
from alerting.sources.clickhouse import ClickHouseSource
from tests.servers import PASSWORD, needs, needs_clickhouse, needs_make, running_clickhouse
from tests.source_helpers import columns

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "README.ru.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RESEARCH = sorted((ROOT / "docs" / "research").glob("*.md"))
# files that the reader makes
EXAMPLES = {
    "alerting/sql/payments.sql", "alerting/sql/NAME.sql", "alerting/sources/NAME.py", "alerting/notifiers/NAME.py",
    "alerting/pipeline/VERB.py", "alerting/messages/templates/KIND.en.j2",
}  # fmt: skip
MOMENT = "2026-11-20T12:15Z"  # in the pages; a run of the tests may have a clock that is before it

# Commands that are run, in this order, in a copy of the tree; and a word of what they print.
RUN = {
    "make run-alerts": r"all seen; \d+ message",
    "make doctor": "ok  source: embedded",
    "make status": "next due: ",
    "make drill": "NOTHING WAS SENT",
    "make cron": r"5-59/15 \* \* \* \* make -s -C ",
    "make env": "",
    "make index": "index.html",
    "make prune ARGS=--dry-run": "would ",
    "make prune": "MB",
    f"make rehearse AT={MOMENT}": r"all seen|messages? sent",
    'make backtest ARGS="--days 7 --metric views"': "Incidents from ",
    "make backtest": "feed_users",
    "make demo": r"reports/demo/\S+\.png.*PLANTED.*(metric|MISSED|not yet).*found \d+ of \d+ planted incidents.*WHAT IT CAN SEE",
    "python -m alerting settings": "ALERTING_ZONE ",
    "python -m alerting silence ctr --for 2h --why deploy": "silence 1: ctr from ",
    "python -m alerting labels": "",
    "python -m alerting compare --days 28": "Moments reported by both: ",
    "python -m alerting new-metric users_hourly --sql alerting/sql/feed_actions.sql"
    """ --value "count('users')" --step 1h""": "Nothing was changed",
    "ALERTING_SOURCE=kpis.csv make doctor": r"kpis.csv is read as ALERTING_COLUMNS=time=hour,value=orders\+revenue",
    "ALERTING_SOURCE=kpis.csv make run-alerts": r"all seen; \d+ message",
    'ALERTING_SOURCE=kpis.csv make backtest ARGS="--days 7"': "Incidents from ",
    """python -c "import sqlite3; sqlite3.connect('data/alerts.sqlite').backup(sqlite3.connect('alerts-copy.sqlite'))\"""": "",
    "python -c \"import sqlite3; sqlite3.connect('data/alerts.sqlite')"
    ".executescript('DELETE FROM history; DELETE FROM histories')\"": "",
}
# Settings with which a command is run here: two metrics tell of it what six do.
GIVEN = {"make demo": {"ALERTING_METRICS": "ctr,messages"}}
# Commands (with * for the rest) that another test runs.
TESTED = {
    'make budget ARGS=\'"2 a week"*': "test_studies.py::test_the_budget_command_says_widths_lines_power_and_cost",
    "make notebooks": "test_studies.py::test_the_notebooks_execute_on_every_source",
    "make env EXTRAS=": "test_environment.py::test_the_sample_app_is_an_extra_that_stays_as_it_was_chosen",
    "python -m alerting init": "test_init.py::test_it_proposes_settings_and_queries_and_changes_nothing",
    "python -m alerting init --write": "test_init.py::test_what_it_writes_runs",
    "python -m alerting retire *": (
        "test_vanished.py::test_a_series_that_leaves_the_file_is_no_data_once_and_asked_about_until_it_is_retired"
    ),
    "python -m alerting new-metric *": "test_new_metric.py::test_every_command_of_the_page_runs",
}
# Commands (with * for the rest) that no test runs, and why.
NOT_RUN = {
    "make test*": "it runs this very test",
    "make lint": "it checks the code, which is another gate",
    "make lab": "it opens a browser",
    "make listen": "it waits for presses",
    "make bench*": "it measures for minutes; what it says is on the page",
    ".venv-test/bin/python *benchmarks*": "it measures for minutes; what it says is on the page",
    "(crontab -l; make -s cron) | crontab -": "it changes the crontab of whoever runs the tests",
    "systemctl *": "it changes the services of this machine",
    "journalctl *": "it reads the log of such a service",
    "git pull *": "it needs a repository elsewhere",
}


def blocks(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page):
    """The lines of its sh blocks, without comments."""
    lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line]


def named(pattern, page):
    return set(re.findall(pattern, page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_is_run_or_it_is_said_why_not(page):
    known = [*RUN, *TESTED, *NOT_RUN]
    assert [line for line in commands(page) if not any(line == k or fnmatch(line, k) for k in known)] == []


def test_no_list_names_a_command_or_test_that_is_gone():
    given = {line for page in PAGES for line in commands(page)}
    assert set(RUN) <= given
    for place in TESTED.values():
        file, name = place.split("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), place


@pytest.fixture(scope="module")
def home(tmp_path_factory, settle):
    """A copy of what git has, with the environments of this one, a sample app of few users, and a file of KPIs that end now."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    needs_make()
    needs(tracked and (ROOT / ".venv" / ".ready").exists(), "needs a git checkout, and what `make env` makes")
    folder = tmp_path_factory.mktemp("pages")
    for name in filter(lambda name: (ROOT / name).is_file(), tracked):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    settle(folder / "data")
    (folder / "kpis.csv").write_text("\n".join(kpis(datetime.now(UTC).replace(minute=0, second=0, microsecond=0))))
    return folder


def kpis(end):
    """Five weeks of two hourly series with a rhythm, as a spreadsheet exports them."""
    yield "hour;orders;revenue"
    for hour in range(-35 * 24, 0):
        at = end + timedelta(hours=hour)
        usual = 1000 + 400 * abs(12 - at.hour) + noise(hour)
        yield f"{at:%d.%m.%Y %H:%M};{usual};{usual * 9},5"


def noise(number):
    return number * 2_654_435_761 % 101


def called(home, command, **given):
    env = {"PATH": f"{home}/.venv/bin:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(home), **given}
    return subprocess.run(command, shell=True, cwd=home, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_pages(home, command):
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%MZ}"
    done = called(home, command.replace(MOMENT, yesterday), **GIVEN.get(command, {}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(RUN[command], done.stdout, re.DOTALL), done.stdout


def test_the_first_run_makes_the_app_of_the_readme(tmp_path):
    """Eight weeks of raw events. The commands of the pages run on an app of as many weeks, with few users."""
    needs_make()
    needs((ROOT / ".venv" / ".ready").exists(), "needs what `make env` makes")
    given = {"ALERTING_DATA": str(tmp_path / "data"), "ALERTING_REPORTS": str(tmp_path / "reports")}
    given |= {"ALERTING_INCIDENT_NOTEBOOK": "off"}  # it would go on in the background
    command = ["make", "-s", "run-alerts"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"], **given}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 metrics judged .*all seen; \d+ message", done.stdout, re.DOTALL | re.MULTILINE), done.stdout
    for table in ("feed_actions", "message_actions"):
        assert len(list((tmp_path / "data" / "app" / table).glob("*.parquet"))) == 8 * 7 + 1
    shape = json.loads((tmp_path / "data" / "app" / "state.json").read_text())["shape"]
    assert (shape["days"], shape["users"]) == (8 * 7, SampleApp.users)


def test_what_the_commands_leave_is_what_the_pages_say(home):
    """Pages and notebooks of runs, a whole copy of the memory, and pictures of the kind that the README shows."""
    runs = [path for path in (home / "reports" / "runs").rglob("alert-*Z.ipynb") if path.with_suffix(".html").is_file()]
    assert len(runs) >= 2
    with closing(sqlite3.connect(home / "alerts-copy.sqlite")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM verdicts").fetchone()[0] > 100
    shown = size_of(ROOT / "docs" / "alert.png")
    drawn = [size_of(path) for path in (home / "reports" / "demo").glob("*.png")]
    assert any(width == shown[0] and abs(height - shown[1]) < 0.3 * shown[1] for width, height in drawn), (shown, drawn)


def size_of(picture):
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


@pytest.mark.parametrize("page", [*PAGES, *RESEARCH, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_settings_and_paths_that_are_named_are_there(page):
    known = {PREFIX + field.name.upper(): field.metadata["secret"] for field in fields(Settings)}
    known |= {f"{name}_FILE": True for name, secret in known.items() if secret} | dict.fromkeys(RETIRED, True)
    assert named(r"\bALERTING_[A-Z]\w*", page) - set(known) == set()
    paths = named(r"`((?:alerting|docs|notebooks|tests|benchmarks)/[^`\s:]*)", page)
    assert [path for path in paths - EXAMPLES if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("page", [*PAGES, *RESEARCH], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in named(r"\]\((?!https?:)([^)#]+)", page):
        place = (page.parent / link).resolve().relative_to(ROOT)
        assert (ROOT / place).exists(), link


def test_every_page_is_on_the_list():
    listed = named(r"\]\(([\w-]+\.md)\)", ROOT / "docs" / "README.md")
    assert listed >= {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_both_readmes_have_the_same_commands_settings_links_and_tables():
    english, russian = READMES
    for kind in ("sh", "ini"):
        assert [without_comments(block) for block in blocks(english, kind)] == [
            without_comments(block) for block in blocks(russian, kind)
        ]
    texts = [page.read_text() for page in READMES]
    assert named(r"\]\((docs/[^)]+)\)", english) == named(r"\]\((docs/[^)]+)\)", russian)
    assert [len(re.findall(mark, texts[0], re.MULTILINE)) for mark in ("^#", r"^\|")] == [
        len(re.findall(mark, texts[1], re.MULTILINE)) for mark in ("^#", r"^\|")
    ]
    assert ["README.ru.md" in texts[0][:200], "README.md" in texts[1][:200]] == [True, True]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_alert_of_the_readme_is_a_message(language):
    golden = (ROOT / "tests" / "golden" / f"cause_experiment.{language}.txt").read_text()
    (shown, _) = blocks(READMES[language == "ru"], "text")
    assert shown == unescape(re.sub("<[^>]*>", "", golden))


def test_the_glossary_is_short():
    assert len(re.findall(r"\*\*[a-z ]+\*\*", (ROOT / "docs" / "glossary.md").read_text())) <= 30


def without_comments(block):
    return [line.split("#")[0].strip() for line in block.splitlines()]


# The texts of errors


def texts_of_the_code():
    """Every string that the code may say; … for what differs."""
    for file in (ROOT / "alerting").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_errors_of_the_page_are_those_of_the_code():
    headings = re.findall(r"^### `(.*)`$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    quoted = [error for heading in headings for error in heading.split("`, `")]
    said = list(texts_of_the_code())
    assert len(quoted) >= 15
    for error in quoted:
        parts = [part.strip() for part in error.split("…") if len(part.strip()) > 3]
        assert parts, error
        assert [part for part in parts if not any(part in text for text in said)] == [], error


# What is shown as text: it can be read by what it is for


def test_the_crontab_is_well_formed():
    lines = [line for block in blocks(ROOT / "docs" / "operate.md", "crontab") for line in block.splitlines()]
    assert lines
    assert all(re.match(r"[\d*/-]+ [\d*/-]+ \* \* \* \S", line) and "%" not in line for line in lines)


def test_the_exit_codes_of_the_page_are_those_of_a_run():
    page = ROOT / "docs" / "operate.md"
    assert {int(code) for code in named(r"(?m)^\| (\d+) \|", page)} == {OK, RED, 2, BUSY, INTERRUPTED}


def test_each_section_of_the_notebook_is_on_the_page_about_runs():
    cells = json.loads((ROOT / "notebooks" / "alert.ipynb").read_text())["cells"]
    headings = re.findall(r"^## (.*)$", "\n".join("".join(cell["source"]) for cell in cells), re.MULTILINE)
    rows = re.findall(r"^\| ([A-Z][^|]*) \|", (ROOT / "docs" / "runs.md").read_text(), re.MULTILINE)
    assert rows == headings


def test_the_sql_is_written_as_clickhouse_reads_it():
    found = [block for page in PAGES for block in blocks(page, "sql")]
    statements = [text for block in found for text in re.sub("--.*", "", block).split(";") if text.strip()]
    code = "import chdb, json, sys\nfor sql in json.load(sys.stdin): chdb.query(sql)"
    asked = ["SELECT formatQuery('{}')".format(text.replace("'", "\\'")) for text in statements]
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(asked), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(statements) >= 6


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that has the user of the page, for this machine and with a password that is known."""
    needs_clickhouse()
    folder = tmp_path_factory.mktemp("guarded")
    (written,) = blocks(ROOT / "docs" / "security.md", "xml")
    known = hashlib.sha256(PASSWORD.encode()).hexdigest()
    (folder / "users.d").mkdir()
    (folder / "users.d" / "alerting.xml").write_text(
        written.replace("the SHA-256 of the password, in hex", known).replace("10.0.0.0/8", "127.0.0.1")
    )
    with running_clickhouse(folder) as server:
        for database in ("app", "other"):
            server.execute(f"CREATE DATABASE {database}")
            server.execute(f"CREATE TABLE {database}.feed_actions (time DateTime, user_id UInt64, action String) ENGINE = Memory")
        server.execute("INSERT INTO app.feed_actions SELECT now() - 900, number, 'view' FROM numbers(7)")
        yield server


def test_the_rights_of_the_page_are_enough_and_no_more(guarded):
    source = ClickHouseSource(guarded.url, user="alerting", password=PASSWORD, database="app", memory=2**30)
    now = source.now()
    seen = source.fetch(load_queries()["feed_actions"], now - timedelta(hours=2), now + timedelta(hours=1))
    assert (seen["users"].sum(), "action" in columns(source, "feed_actions")) == (7, True)
    for refused in ("INSERT INTO app.feed_actions VALUES (now(), 1, 'like')", "SELECT * FROM other.feed_actions"):
        with pytest.raises(AssertionError):
            guarded.execute(refused, user="alerting")


def test_secrets_of_the_page_are_all_secrets():
    (block,) = blocks(ROOT / "docs" / "security.md", "ini")
    secrets = {field.name.upper() for field in fields(Settings) if field.metadata["secret"]}
    assert set(re.findall(r"^ALERTING_(\w+)_FILE=", block, re.MULTILINE)) == secrets


def test_the_settings_of_the_readme_are_settings(tmp_path):
    (block,) = blocks(READMES[0], "ini")
    for name, text in (("clickhouse", "pw"), ("telegram", "1:a")):
        (tmp_path / name).write_text(text)
    (tmp_path / ".env").write_text(block.replace("/run/secrets", str(tmp_path)))
    given = load_settings({}, tmp_path / ".env")
    assert (given.telegram_users, given.destinations) == ("4242,@anna", ("telegram",))


def test_the_pages_name_the_history_that_the_default_detector_reads():
    days = f"{RULE.history.days} days"
    assert [page for page in ("detection", "metrics", "tables") if days not in (ROOT / "docs" / f"{page}.md").read_text()] == []
