"""`python -m alerting new-metric`: its errors and drafts, and that the next run watches a metric it has written."""

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import timedelta

import pytest

from alerting import metric_values
from alerting.catalogue import FILE, write_files
from alerting.cli import new_metric
from alerting.cli.new_metric import WrittenValue, catalogue_line, draft_metric, insert_line, is_distinct, parse_value
from alerting.connections import load_queries
from alerting.metrics import METRICS, RULE
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric
from alerting.settings import ROOT
from tests.trees import copy_parts

HOUR = timedelta(hours=1)
AGES = (ROOT / "tests" / "test_shapes.py").read_text().split('AGES = """')[1].split('"""')[0]
NAMES = [metric.name for metric in METRICS]


def drafted(name="age_p95", sql=AGES, title="", step=None, known=None):
    return draft_metric(name, sql, title, step, load_queries() if known is None else known, NAMES)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "likes"}, "name 'likes': there is a metric of that name; there are feed_users"),
        ({"name": "критерий"}, "a letter, then letters, digits and '_'"),
        ({"name": "a/../b"}, "a letter, then letters, digits and '_'"),
        ({"name": "critical"}, "means something in ALERTING_ROUTES"),
        ({"sql": "SELECT 1"}, "reads FROM no table"),
        ({"sql": "SELECT 1 FROM feed_actions"}, "it must begin with WITH"),
        ({"sql": AGES.replace("AS until", "AS til")}, "its WITH block must define `until` exactly once"),
        ({"sql": AGES + "; DROP TABLE x"}, "it must be one statement"),
        ({"sql": f"{AGES} UNION ALL SELECT 1 FROM feed_actions"}, "exactly once; it does so 2 times"),
        ({"step": timedelta(minutes=7)}, "step 0:07:00: it must divide a day"),
        ({"step": timedelta(days=2)}, "it must divide a day"),
        (
            {"known": {**load_queries(), "feed_actions.age_p95": load_queries()["message_actions"]}},
            "feed_actions.age_p95.sql is there already",
        ),
    ],
)
def test_a_query_or_a_name_that_will_not_do_is_refused(given, said):
    with pytest.raises(SettingsError) as caught:
        drafted(**given)
    assert said in str(caught.value)


def test_the_file_is_found_or_named_after_table_and_metric():
    known = load_queries()
    assert (drafted().query, drafted().new) == ("feed_actions.age_p95", True)
    again = drafted("users_hourly", known["feed_actions"].sql.replace("-- Feed", "--  Another feed"), step=HOUR)
    assert (again.query, again.new, again.step) == ("feed_actions", False, HOUR)
    assert drafted(sql=AGES.replace("feed_actions", "payments")).query == "payments"
    assert drafted(sql=AGES.replace("900 AS step", "3600 AS step")).step == HOUR
    assert drafted().title == "Age p95"


@pytest.mark.parametrize(
    ("expression", "made"),
    [
        ("count('users')", 'count("users")'),
        (' mean("age_sum", "actions")', 'mean("age_sum", "actions")'),
        ("", 'count("age_p95")'),
    ],
)
def test_a_value_is_read(expression, made):
    assert str(parse_value(expression, "age_p95", ["users", "actions", "age_sum", "age_p95", "newest"])) == made


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "say how it is made, as count('a')"),
        ("count('clicks')", "no column clicks: the query gives users, actions"),
        ("count(users)", "count needs one column name in quotes: count('a')"),
        ("ratio('users')", "ratio needs two column names in quotes: ratio('part', 'whole')"),
        ("__import__('os').system('x')", "written in alerting/metrics.py by hand"),
        ("lambda counts: counts.users", "written in alerting/metrics.py by hand"),
        ("count('users'", "it takes count('a')"),
        ("count('newest')", "no column newest"),
    ],
)
def test_a_value_that_will_not_do_is_refused(expression, said):
    with pytest.raises(SettingsError) as caught:
        parse_value(expression, "other", ["users", "actions", "newest"])
    assert said in str(caught.value)


def test_a_labelled_column_is_a_value_too():
    sql = AGES.replace("uniqExact(user_id) AS users,", "os, uniqExact(user_id) AS users,")
    made = parse_value("count('users[os=iOS]')", "ios", ["users[os=iOS]", "users[os=web]", "newest", "groups"])
    assert (str(made), is_distinct(sql, made.columns[0])) == ('count("users[os=iOS]")', True)
    with pytest.raises(SettingsError, match=r"the query gives n\[a=0\], .* and 80 more"):
        parse_value("count('x')", "x", [f"n[a={number}]" for number in range(100)])


def test_the_line_is_written_as_the_others_are():
    metric = Metric("a", {"en": 'A "b"', "ru": "А"}, "q", len, RULE, form="number", adds=False, step=HOUR)
    made = catalogue_line(metric, WrittenValue("mean", ("x", "y")))
    assert made == (
        '    Metric(\n        "a", {"en": "A \\"b\\"", "ru": "А"}, "q", mean("x", "y"), RULE,\n'
        '        form="number", adds=False, step=timedelta(hours=1),\n    ),\n'
    )
    plain = catalogue_line(Metric("a", {"en": "A"}, "q", len, RULE), WrittenValue("count", ("x",)))
    assert plain.endswith('count("x"), RULE,\n    ),\n')
    text = FILE.read_text()
    assert insert_line(text, made).replace(made, "") == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("A = []\n", "no `METRICS = [...]`"),
        ("METRICS = [1]\n", "must stand on a line of its own"),
        ("METRICS = [\n    1\n]\n", "must end with a comma"),
        ("METRICS = tuple()\n", "no `METRICS = [...]`"),
    ],
)
def test_a_catalogue_of_another_shape_is_left_alone(source, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        insert_line(source, "    Metric(),\n")


def test_files_are_written_together_or_not_at_all(tmp_path):
    (tmp_path / "old.sql").write_text("old")
    (tmp_path / "folder").mkdir()
    contents = {tmp_path / "old.sql": b"new", tmp_path / "new.sql": b"new", tmp_path / "folder": b"new"}
    with pytest.raises(SettingsError, match=r"folder cannot be written .*: nothing was changed$"):
        write_files(contents, ": nothing was changed")
    assert {path.name: path.read_text() for path in tmp_path.glob("*.sql")} == {"old.sql": "old"}


def test_bars():
    import pandas as pd

    assert new_metric.sparkline(pd.Series([0, 1, float("nan"), 7, 8])) == "▁▂ ██"
    assert new_metric.sparkline(pd.Series([-4.0, 4.0])) == "▁█"
    assert new_metric.sparkline(pd.Series([0.0])) == "▁"


# The whole way, in a copy of the tree


@pytest.fixture(scope="module")
def home(tmp_path_factory, settle):
    """A copy of the tree, and the sample app's data beside it."""
    folder = copy_parts(tmp_path_factory.mktemp("new metric"), "alerting", "notebooks")
    settle(folder / "data")
    (folder / "ages.sql").write_text(AGES)
    return folder


def alerting(home, *arguments, given=None, **more):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ALERTING_DATA": str(home / "data"),
        "ALERTING_REPORTS": str(home / "reports"),
        **more,
    }
    command = [sys.executable, "-m", "alerting", *arguments]
    return subprocess.run(command, cwd=home, env=env, input=given, capture_output=True, text=True, timeout=300)


def state(home):
    return {
        path.name: path.read_bytes()
        for path in [home / "alerting" / "metrics.py", *(home / "alerting" / "sql").glob("*")]
        if path.is_file()
    }


def test_without_write_it_is_shown_and_nothing_is_changed(home):
    before = state(home)
    done = alerting(home, "new-metric", "age_p95", "--sql", "-", "--value", "measured('age_p95')", given=AGES)
    assert done.returncode == 0, done.stderr
    said = [r"history: [\d,]+ buckets of 15.min", r"missing since then: 0\.\d%", "last values: ", "rule: level rule, because"]
    said += [
        r"width 1 \(the default\): it would have alerted (once|\d+ times) in the last 4 weeks",
        "alerting/sql/feed_actions.age_p95.sql, new:",
        "Nothing was changed",
    ]
    assert [words for words in said if not re.search(words, done.stdout)] == [], done.stdout
    assert AGES.strip() in done.stdout
    assert 'measured("age_p95"), RULE,\n        form="number", adds=False,\n    ),' in done.stdout
    assert (home / "reports" / "new-metrics" / "age_p95.png").read_bytes().startswith(b"\x89PNG")
    assert state(home) == before


@pytest.mark.parametrize(
    ("arguments", "more", "code", "said"),
    [
        (["age", "--sql", "nothing.sql"], {}, 2, "--sql nothing.sql: it cannot be read (FileNotFoundError)"),
        (["age", "--sql", "ages.sql"], {}, 2, "--value: say how it is made"),
        (["age", "--sql", "ages.sql", "--value", "count('ages')"], {}, 2, "no column ages: the query gives users, actions"),
        (["age", "--sql", "ages.sql", "--step", "soon"], {}, 2, "--step 'soon'"),
        (["age", "--sql", "absent.sql"], {}, 1, "there are no Parquet files"),
        (["age", "--sql", "broken.sql"], {}, 1, "embedded ClickHouse"),
        (["age", "--sql", "text.sql"], {}, 2, "--value: say how it is made"),
        (["age", "--sql", "ages.sql"], {"ALERTING_SOURCE": "a.csv"}, 2, "a table's series are its metrics already"),
        (["age", "--sql", "ages.sql"], {"ALERTING_SOURCE": "http://127.0.0.1:9"}, 1, "127.0.0.1:9"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(home, arguments, more, code, said):
    (home / "absent.sql").write_text(AGES.replace("feed_actions", "payments"))
    (home / "broken.sql").write_text(AGES.replace("avg(age)", "avg(years)"))
    (home / "text.sql").write_text(AGES.replace("avg(age)", "any(city)"))
    before = state(home)
    done = alerting(home, "new-metric", *arguments, "--write", **more)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr
    assert state(home) == before


def test_every_command_of_the_page_runs(tmp_path, settle):
    page = (ROOT / "docs" / "metrics.md").read_text()
    settle(copy_parts(tmp_path, "alerting", "notebooks") / "data")
    sql = re.search(r"```sql\n(.*?)```", page, re.DOTALL)
    (tmp_path / "ages.sql").write_text(sql[1])
    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 4
    for command in commands:
        words = shlex.split(command, comments=True)
        words = words[1:] if words[0] == "make" else words[3:]
        done = alerting(tmp_path, *words)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    lines = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "alerting" / "metrics.py"
    assert all(line in file.read_text() for line in re.findall(r'^    Metric\(\n        "\w+"', lines[1], re.MULTILINE))


def test_what_is_written_is_watched_with_the_next_run(home):
    wrote = [
        ("age_p95", ["--sql", "ages.sql", "--value", "measured('age_p95')", "--title", "Age, 95 %"]),
        ("users_hourly", ["--sql", "alerting/sql/feed_actions.sql", "--value", "count('users')", "--step", "1h"]),
        ("actions_daily", ["--sql", "alerting/sql/feed_actions.age_p95.sql", "--value", "total('actions')", "--step", "1d"]),
    ]
    for name, arguments in wrote:
        done = alerting(home, "new-metric", name, *arguments, "--write")
        assert done.returncode == 0, done.stderr
        assert "Written: alerting/" in done.stdout
    assert (home / "alerting" / "sql" / "feed_actions.age_p95.sql").read_text() == AGES
    assert len(list((home / "alerting" / "sql").glob("*.sql"))) == 3
    twice = alerting(home, "new-metric", "age_p95", "--sql", "ages.sql", "--value", "count('users')", "--write")
    assert "there is a metric of that name" in twice.stderr
    done = alerting(home, "run-alerts")
    assert done.returncode == 0, done.stdout + done.stderr
    (saved,) = (home / "reports" / "runs").rglob("alert-*.ipynb")
    shown = json.dumps(json.loads(saved.read_text())["cells"])
    assert all(name in shown for name, _ in wrote)
    judged = alerting(home, "status").stdout
    assert all(name in judged for name, _ in wrote), judged
    assert "overdue" not in judged


def test_a_count_is_not_said_to_be_judged_by_the_level_rule(home):
    done = alerting(home, "new-metric", "actions", "--sql", "-", "--value", "count('actions')", given=AGES)
    assert done.returncode == 0, done.stderr
    assert "rule: level" not in done.stdout
    assert re.search(r"^rule: \w", done.stdout, re.MULTILINE)


def test_labels_are_written_as_in_the_catalogue():
    columns = ["likes[os=iOS]", "views[os=iOS]", "views[os=web]", "newest", "groups"]
    made = parse_value("ratio('likes', 'views', os='iOS')", "ctr_ios", columns)
    assert str(made) == 'ratio("likes", "views", os="iOS")'
    assert made.value == metric_values.ratio("likes", "views", os="iOS")
    with pytest.raises(SettingsError, match=r"no column likes\[os=web\]"):
        parse_value("ratio('likes', 'views', os='web')", "ctr_web", columns)
    with pytest.raises(SettingsError, match="for count and ratio"):
        parse_value("total('likes', os='iOS')", "likes_ios", columns)
