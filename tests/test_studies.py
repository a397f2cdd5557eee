"""The study notebooks run on small data of every source and have no outputs in git; what they share is right."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv

from alerting import catalogue, connections, studies
from alerting.__main__ import main
from alerting.backtest.budget import PLAN_COLUMNS, BudgetPlan
from alerting.cli import backtest
from alerting.metrics import METRICS
from alerting.model.errors import SettingsError
from alerting.sample.folder import simulate_app
from alerting.settings import load_settings
from alerting.studies import data
from tests.pasts import END
from tests.servers import needs
from tests.trees import copy_parts

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / ".venv-lab" / "bin" / "python"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SMALL = {"weeks": 1, "times": 1, "widths": 3, "budget": "7 a week"}


def sources(path, kind="code"):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.fixture(params=["embedded", "server", "table"])
def given(request, tmp_path):
    """The variables that make each kind of source the configured one, and the moment its past ends (empty: the newest bucket)."""
    small = {"ALERTING_DATA": str(tmp_path / "data"), "ALERTING_REPORTS": str(tmp_path)}
    if request.param == "embedded":
        now = datetime.now(UTC)  # the notebooks let the app live on to it
        simulate_app(tmp_path / "data" / "app", now, days=30, users=2_000, events_per_day=30_000)
        return small | {"ALERTING_METRICS": "views,ctr"}, ""
    if request.param == "table":
        kpis(tmp_path / "kpis.csv")
        return small | {"ALERTING_SOURCE": str(tmp_path / "kpis.csv")}, ""
    server = request.getfixturevalue("clickhouse")
    loaded(server, request.getfixturevalue("app") / "app")
    (tmp_path / "password").write_text(server.password)
    place = {"ALERTING_SOURCE": server.url, "ALERTING_CLICKHOUSE_DATABASE": "studies", "ALERTING_METRICS": "views"}
    user = {"ALERTING_CLICKHOUSE_USER": server.reader, "ALERTING_CLICKHOUSE_PASSWORD_FILE": str(tmp_path / "password")}
    return small | place | user, END.isoformat()  # the server's rows end there, whatever the date


def kpis(path):
    """Two hourly series of nine weeks: a quiet one that drops on its last day but one, and a bursty one."""
    index = pd.date_range("2024-01-01", periods=63 * 24, freq="1h", tz="UTC")
    rng = np.random.default_rng(3)
    calm = 1_000 + 300 * np.sin(np.arange(len(index)) * np.pi / 12) + rng.normal(0, 10, len(index))
    calm[-40:-34] *= 0.5
    series = {"kpi 1": calm, "kpi 2": rng.exponential(50, len(index))}
    tables = [pd.DataFrame({"series": name, "ts": index, "value": values}) for name, values in series.items()]
    pd.concat(tables).to_csv(path, index=False)


def loaded(server, app):
    """The sample app's rows in a real server, in the source's own shape."""
    server.execute("DROP DATABASE IF EXISTS studies")
    server.execute("CREATE DATABASE studies")
    for name in ("feed_actions", "message_actions"):
        rows = pd.concat([pd.read_parquet(path) for path in sorted((app / name).glob("*.parquet"))])
        texts = rows.select_dtypes(exclude=["number", "datetimetz"]).columns
        kinds = dict.fromkeys(rows.columns, "UInt32") | dict.fromkeys(texts, "String") | {"time": "DateTime"}
        columns = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
        rows = rows.assign(time=rows["time"].dt.as_unit("s").astype("int64"))
        server.execute(f"CREATE TABLE studies.{name} ({columns}) ENGINE = MergeTree ORDER BY time")
        text = pa.BufferOutputStream()  # five times as fast as pandas
        how = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        csv.write_csv(pa.Table.from_pandas(rows, preserve_index=False), text, how)
        columns = ", ".join(rows.columns)
        server.execute(f"INSERT INTO studies.{name} ({columns}) FORMAT TabSeparated", text.getvalue().to_pybytes())


def needs_the_lab():
    needs(LAB.exists(), "the lab environment is not there: make .venv-lab/.ready")


def test_the_notebooks_execute_on_every_source(given, tmp_path):
    needs_the_lab()
    variables, at = given
    small = tmp_path / "notebooks"
    small.mkdir()
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text())
        parameters = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
        parameters["source"] = [_with_values(line, SMALL | {"at": at}) for line in parameters["source"]]
        (small / path.name).write_text(json.dumps(notebook))
    code = (
        "import sys; from pathlib import Path; from alerting import settings, studies;"
        f"sys.exit(studies.execute(settings.load_settings(), [], Path({str(small)!r})))"
    )
    done = subprocess.run([LAB, "-c", code], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for path in NOTEBOOKS:
        cells = json.loads((tmp_path / "studies" / path.name).read_text())["cells"]
        outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
        assert not [o for o in outputs if o["output_type"] == "error"]
        assert sum("image/png" in o.get("data", {}) for o in outputs) >= 3
        page = (tmp_path / "studies" / path.name).with_suffix(".html").read_text(encoding="utf-8")
        assert page.count("data:image/png;base64,") >= 3
        assert "interactive(children" not in page  # sliders are for Jupyter; the page has a picture in their place
        assert "it/s]" not in page  # nor progress bars
        assert re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=\"(http[^\"]*)", page) == []


def test_the_lab_finds_the_package_from_the_notebooks_folder():
    """`make lab` starts its kernels there."""
    needs_the_lab()
    code = (
        "import nbclient, nbformat as n;"
        "cell = n.v4.new_code_cell('from alerting import connections, studies; print(studies.__name__)');"
        "book = n.v4.new_notebook(cells=[cell]); nbclient.NotebookClient(book, kernel_name='python3').execute(cwd='.');"
        "print(book.cells[0].outputs[0].text)"
    )
    done = subprocess.run([LAB, "-c", code], cwd=ROOT / "notebooks", capture_output=True, text=True)
    assert done.stdout.split() == ["alerting.studies"], done.stderr


def _with_values(line, values):
    """A line of the parameters cell with one of these values in it, where it is about one of them."""
    name = line.partition(" = ")[0]
    return f"{name} = {values[name]!r}\n" if name in values else line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_study_shows_its_methods(path):
    """Short cells of pandas, each section with a heading; no classes, no handling of errors."""
    for source in sources(path):
        nodes = {type(node).__name__ for node in ast.walk(ast.parse(source))}
        assert nodes.isdisjoint({"ClassDef", "Try"}), source
        assert len([line for line in source.splitlines() if line.strip()]) <= 20, source
    cells = json.loads(path.read_text())["cells"]
    assert cells[1]["metadata"] == {"tags": ["parameters"]}
    assert all("#" in line for line in cells[1]["source"])
    assert cells[0]["cell_type"] == "markdown"
    code = "\n".join(sources(path))
    assert "seaborn" in code
    assert "pandas" in code


def test_a_past_knows_what_was_planted(sample):
    past, reading = studies.load_past(1, END.isoformat(), sample)
    assert [metric.name for metric in past.metrics] == [metric.name for metric in METRICS]
    assert past.end - past.start == timedelta(weeks=1)
    assert any(span.start > past.start for span in past.known)
    assert set(reading.counts) == {"feed_actions", "message_actions"}
    (views,) = (metric for metric in past.metrics if metric.name == "views")
    assert past.in_known(views, past.values()["views"].index).any()
    known = studies.known_incidents(sample)
    assert str(known["start"].dt.tz) == sample.zone
    assert len(known) == len(past.known)


def test_a_history_is_one_table_in_local_time(sample):
    table = studies.history(1, END.isoformat(), sample)
    assert list(table) == [metric.name for metric in METRICS]
    assert len(table) == 672
    assert str(table.index.tz) == sample.zone
    past, _ = studies.load_past(1, END.isoformat(), sample)
    assert table["views"].tz_convert("UTC").equals(past.values()["views"].rename_axis("bucket"))
    rows = studies.rows_read(1, END.isoformat(), sample)
    assert set(rows["table"]) == {"feed_actions", "message_actions"}
    assert ((rows["newest"] >= rows["bucket"]) | rows["newest"].isna()).all()


def test_metrics_of_another_step_are_left_out_by_name(tmp_path, capsys):
    hours, days = (pd.date_range("2024-01-01", "2024-03-01", freq=freq, tz="UTC") for freq in ("1h", "1D"))
    tables = [
        pd.DataFrame({"series": name, "ts": index, "value": 5.0}) for name, index in {"a": hours, "b": hours, "c": days}.items()
    ]
    pd.concat(tables).to_csv(tmp_path / "kpi.csv", index=False)
    settings = load_settings({"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path)})
    table = studies.history(1, ctx=connections.connect(dry_run=True, settings=settings))
    assert list(table) == ["a", "b"]
    assert "their step is not 1:00:00: c" in capsys.readouterr().out


def test_a_past_of_a_table_ends_with_the_table(tmp_path):
    index = pd.date_range("2024-01-01", periods=60 * 24, freq="1h", tz="UTC")
    table = pd.DataFrame({"series": "kpi 1", "ts": index, "value": np.arange(len(index)) % 24 + 100.0})
    table.to_csv(tmp_path / "kpi.csv", index=False)
    settings = load_settings({"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path)})
    past, _ = studies.load_past(2, ctx=connections.connect(dry_run=True, settings=settings))
    assert past.end == index[-1] + timedelta(hours=1)
    assert past.known == ()
    with pytest.raises(SettingsError, match="nothing to study"):
        studies.load_past(2, "2020-01-01T00:00Z", connections.connect(dry_run=True, settings=settings))


def test_labelled_series_become_a_past_with_incidents():
    index = pd.date_range("2024-01-01", periods=40 * 96, freq="15min")
    table = pd.DataFrame({"series": "kpi", "ts": index, "value": 100.0, "label": 0})
    table.loc[[100, 3000, 3001, 3500], "label"] = 1
    past, incidents = studies.labelled_past(table)
    assert [(span.start, span.end - span.start) for span in incidents] == [  # the first is in the warm-up
        (index[3000].tz_localize("UTC"), timedelta(minutes=30)),
        (index[3500].tz_localize("UTC"), timedelta(minutes=15)),
    ]
    assert past.known[0].end == index[28 * 96].tz_localize("UTC")
    assert [metric.name for metric in past.metrics] == list(past.series) == ["kpi"]


def test_labelled_series_keep_their_names_apart_and_their_buckets_where_rows_are():
    index = pd.date_range("2024-01-01T00:02", periods=40 * 96, freq="15min")
    tables = [pd.DataFrame({"series": name, "ts": index, "value": 100.0, "label": 0}) for name in ("a b", "a_b")]
    for number, table in enumerate(tables):
        table.loc[3000 + 100 * number, "label"] = 1
    past, incidents = studies.labelled_past(pd.concat(tables))
    assert len({metric.name for metric in past.metrics}) == len(past.series) == 2
    assert [(span.metrics, span.start) for span in incidents] == [
        ((metric.name,), index[3000 + 100 * number].tz_localize("UTC")) for number, metric in enumerate(past.metrics)
    ]
    assert len(past.replay_all().verdicts) == 2 * len(index)


def test_a_history_of_days_has_them_at_midnight(tmp_path):
    """Also in summer, when the bucket begins an hour after it."""
    days = pd.date_range("2024-01-01", "2024-05-31")
    pd.DataFrame({"series": "orders", "ts": days.strftime("%Y-%m-%d"), "value": 5.0}).to_csv(tmp_path / "kpi.csv", index=False)
    given = {"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path), "ALERTING_ZONE": "Europe/Berlin"}
    table = studies.history(12, ctx=connections.connect(dry_run=True, settings=load_settings(given)))
    assert list(table.index.tz_localize(None)) == list(days[-84:])


def test_a_metric_that_was_not_judged_says_why(tmp_path):
    index = pd.date_range("2024-01-01", periods=60 * 24, freq="1h", tz="UTC")
    names = {"good": index, "slow": index[::240]}  # the step of the second is more than a day
    tables = [pd.DataFrame({"series": name, "ts": times, "value": np.arange(len(times)) + 9.0}) for name, times in names.items()]
    pd.concat(tables).to_csv(tmp_path / "kpi.csv", index=False)
    settings = load_settings({"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path)})
    with pytest.raises(SettingsError, match=r"slow was not judged: kpi\.csv: the step of slow is 10 days"):
        studies.open_case("", "slow", ctx=connections.connect(dry_run=True, settings=settings))
    assert studies.open_case("", "good", ctx=connections.connect(dry_run=True, settings=settings)).metric.name == "good"


def test_widths_as_lines_of_the_catalogue():
    name, before, after = catalogue.width_lines({"views": 1.35}).splitlines()
    assert (name, before[:10], after) == ("# views", "- parents=", f"+ width=1.35, {before[2:]}")
    assert catalogue.width_lines({"other": 1.35}) == "other: width=1.35"
    assert catalogue.width_lines({}) == "no line: every width stays as it is"


def test_a_width_that_stands_there_is_replaced(tmp_path, monkeypatch):
    file = tmp_path / "metrics.py"
    one, two = 'Metric("a", {"en": "A"}, "t", count("x"), RULE, width=1.2, owner="@duty")', 'Metric("b", {}, "t", f, r,)'
    file.write_text(f"METRICS = [\n    {one},\n    {two},\n]\n")
    monkeypatch.setattr(catalogue, "FILE", file)
    assert catalogue.width_lines({"a": 1.35}) == f"- {one}\n+ {one.replace('1.2', '1.35')}"
    assert catalogue.width_lines({"b": 2}).splitlines()[1] == '+ Metric("b", {}, "t", f, r, width=2,)'
    assert catalogue.width_lines({"a": 1.2}) == "no line: every width stays as it is"
    assert catalogue.pinned([replace(METRICS[0], name=name) for name in "ab"]) == ["a"]
    assert catalogue.pinned([replace(METRICS[0], name="b", width=0.9)]) == ["b"]


SHIPPED = (ROOT / "alerting" / "metrics.py").read_bytes()
ODD_FILE = """\ufeff# Каталог: width=1.2 stands here in a comment
METRICS = [
\tMetric("a", {"ru": "Люди"}, "t", f, RULE, form="ratio",  # width=1
\t       width = 1.50 , owner="@duty"), Metric(name="b", title={"en": "width=2"}, query="t", value=f, rule=RULE),
\tMetric(
\t\t"c", {"en": "C"}, "t", f, RULE  # the last
\t),
]
""".replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("source", "widths", "edits"),
    [
        (SHIPPED, {"ctr": 0.85}, [(b'        form="ratio",', b'        width=0.85, form="ratio",')]),
        (
            SHIPPED,
            {"messages": 2.0, "feed_users": 1.25},
            [
                (b'adds=False, product="feed", slices="alert",\n', b'width=1.25, adds=False, product="feed", slices="alert",\n'),
                (b'parents=("messenger_users",)', b'width=2, parents=("messenger_users",)'),
            ],
        ),
        (
            ODD_FILE,
            {"c": 3.0, "a": 1.35, "b": 0.5},
            [(b"width = 1.50 ,", b"width = 1.35 ,"), (b'name="b"', b'width=0.5, name="b"'), (b"RULE  #", b"RULE, width=3  #")],
        ),
        (ODD_FILE, {}, []),
    ],
    ids=["shipped", "two", "odd", "none"],
)
def test_widths_are_written_and_every_other_byte_stays(source, widths, edits):
    expected = source
    for before, after in edits:
        assert before in expected
        expected = expected.replace(before, after, 1)
    assert catalogue.with_widths(source, widths) == expected


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("", 'has no Metric("a", ...)'),
        ('Metric("a", t, "t", f, R), Metric("a", t, "t", f, R)', 'has 2 Metric("a", ...)'),
        ('Metric(f"{A}", t, "t", f, R)', 'has no Metric("a", ...)'),
        ('Metric("a", t, "t", f, R, width=WIDE)', "alerting/metrics.py:1: metric a: its width=WIDE is computed"),
        ('Metric("a", t, "t", f, R, **more)', "its width may be in **"),
        ('Metric("a", *rest)', "its width may be among the arguments without a name"),
        ('Metric("a", t, "t", f, R, Policy(), STEP, 1.0)', "its width may be among the arguments without a name"),
        ('Metric("a", t, "t", f, R, width=2)', "its width is 1, but the entry says 2"),
        ('Metric("a", t, "t", f, (R))', "cannot be edited safely"),
    ],
)
def test_an_entry_that_cannot_be_edited_surely_is_refused(entry, said):
    source = f'METRICS = [{entry}, Metric("z", t, "t", f, R)]'.replace("[, ", "[").encode()
    with pytest.raises(SettingsError, match=re.escape(said)):
        catalogue.with_widths(source, {"z": 1.5, "a": 1.5}, {"a": 1.0, "z": 1.0})
    assert catalogue.with_widths(source, {"z": 1.5}, {"z": 1.0}).endswith(b'Metric("z", t, "t", f, R, width=1.5)]')


def chosen(**widths):
    """A plan of these widths, of metrics that have the width 1."""
    return BudgetPlan(2.0, pd.DataFrame([[1.0, width, 0, 0.0, 4.0] for width in widths.values()], [*widths], PLAN_COLUMNS))


def test_a_refused_width_leaves_the_file_as_it_is(tmp_path, monkeypatch):
    file = tmp_path / "metrics.py"
    file.write_bytes(SHIPPED)
    monkeypatch.setattr(catalogue, "FILE", file)
    with pytest.raises(SettingsError, match="has no Metric"):
        backtest._write_widths(chosen(views=1.5, other=2.0), tmp_path / "before.py")
    assert backtest._write_widths(chosen(views=1.0), tmp_path / "before.py") == (
        "Nothing was written: every width stays as it is."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.py"]
    assert file.read_bytes() == SHIPPED
    (tmp_path / "before.py").mkdir()
    with pytest.raises(SettingsError, match=r"cannot be written .*no width was changed"):
        backtest._write_widths(chosen(views=1.5), tmp_path / "before.py")
    assert file.read_bytes() == SHIPPED


def test_the_budget_command_writes_widths_on_request_and_says_how_to_undo(tmp_path):
    copy_parts(tmp_path, "alerting")
    simulate_app(tmp_path / "data" / "app", datetime.now(UTC), days=40, users=2_000, events_per_day=30_000, incidents="none")
    file, backup = tmp_path / "alerting" / "metrics.py", tmp_path / "data" / "metrics.before-budget.py"
    loud = SHIPPED.replace(b'parents=("feed_users",),', b'width=0.25, parents=("feed_users",),')
    file.write_bytes(loud)
    file.chmod(0o640)

    def budget(*options):
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"ALERTING_DATA": str(tmp_path / "data"), "ALERTING_METRICS": "views,messages"}
        command = [sys.executable, "-m", "alerting", "budget", "1 a week", "--weeks", "1", "--write", *options]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    kept = budget()
    assert kept.returncode == 1, kept.stderr
    assert re.search(r"Pinned by width= in alerting/metrics.py, left alone without --all: views 0.25; [\d.]+ false", kept.stdout)
    assert "These widths do NOT keep to 1 false alerts a week" in kept.stdout
    assert kept.stdout.endswith("Nothing was written: every width stays as it is.\n")
    assert file.read_bytes() == loud
    for step in ("reading the last 1 weeks", "false alerts at each width: 0 of 15", "drops put in: 0 of 4", "weeks: 0 of 1"):
        assert step in kept.stderr  # in a log too

    done = budget("--all")
    assert done.returncode == 0, done.stderr
    assert "proposed for too: views 0.25" in done.stdout
    width = re.search(r"views width=(\d+\.\d+)", done.stdout)[1]
    assert float(width) > 0.25
    assert file.read_bytes() == loud.replace(b"width=0.25", f"width={width}".encode())
    assert file.stat().st_mode & 0o777 == 0o640
    undo = re.search(r"^To undo: (cp .*)$", done.stdout, re.MULTILINE)[1]
    assert undo == f"cp {backup} {file}"
    subprocess.run(undo, shell=True, check=True)
    assert file.read_bytes() == loud


def test_the_budget_command_says_widths_lines_power_and_cost(tmp_path, capsys, monkeypatch):
    kpis(tmp_path / "kpis.csv")
    monkeypatch.setattr(backtest, "DROPS_PER_CASE", 1)
    monkeypatch.setenv("ALERTING_SOURCE", str(tmp_path / "kpis.csv"))
    monkeypatch.setenv("ALERTING_DATA", str(tmp_path / "data"))
    code = main(["budget", "3 a week", "--weeks", "1"])
    out = capsys.readouterr().out
    assert code in (0, 1)
    for heading in ("Widths for 3 a week", "In alerting/metrics.py", "Drops reported within", "What each week would have cost"):
        assert heading in out
    assert "false alerts a week" in out
    assert main(["budget", "--write"]) == 2
    assert "--write: the metrics of a table have no entries in alerting/metrics.py" in capsys.readouterr().err


def test_progress_of_a_log_is_a_line_for_each_step_and_some_seconds(capsys, monkeypatch):
    assert list(data.track("a step")([1, 2, 3])) == [1, 2, 3]
    assert list(data.track("none")([])) == []
    assert capsys.readouterr().err == "a step: 0 of 3\n"
    monkeypatch.setattr(data, "LINE_EVERY", 0.0)
    assert list(data.track("slow")([1, 2])) == [1, 2]
    assert capsys.readouterr().err == "slow: 0 of 2\nslow: 1 of 2\n"


def test_the_budget_command_refuses_a_text():
    with pytest.raises(SettingsError, match="budget='lots'"):
        backtest.budget.callback("lots", 4, write=False, every=False)


def test_a_metric_that_finds_no_drop_is_named():
    smallest = pd.DataFrame({"day, 1 h": {"views": 0.3, "likes": np.nan}, "night, 1 h": {"views": np.nan, "likes": np.nan}})
    views, likes = backtest.blind_metrics(smallest)
    assert views.startswith("views is BLIND by night: none of the drops tried")
    assert likes.startswith("likes is BLIND by day and by night")
    assert backtest.blind_metrics(smallest.fillna(0.6)) == []


def test_the_name_that_a_study_had_before_is_accepted(tmp_path):
    needs_the_lab()
    code = (
        "import sys; from alerting import settings, studies; from pathlib import Path;"
        "sys.exit(studies.execute(settings.load_settings(), ['1.1-detectors'], Path(sys.argv[1])))"
    )
    small = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    small["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "1.1-methods.ipynb").write_text(json.dumps(small))
    environment = {**os.environ, "ALERTING_REPORTS": str(tmp_path / "reports")}
    done = subprocess.run([LAB, "-c", code, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / "studies" / "1.1-methods.html").exists()
