"""Metrics other than a count per 15 minutes (sums, means, percentiles; hours and days) in one run; and a catalogue with errors,
which is refused with line numbers."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from alerting import pipeline
from alerting.connections import load_queries
from alerting.metric_values import count, mean, measured, ratio, total
from alerting.metrics import RULE
from alerting.model.metric import Metric, Query
from alerting.model.verdict import EventKind, Status
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.sample.folder import extend_app
from alerting.settings import ROOT
from alerting.sources.base import BaseSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.store.state import StateStore
from tests.trees import copy_parts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = datetime(2026, 11, 20, tzinfo=UTC)  # a Friday's midnight
AGES = """-- Ages of those who act in the feed.
WITH
    toUInt32(now()) - 172800 AS since, toUInt32(now()) AS until, 900 AS step
SELECT
    toUInt32(intDiv(toUInt32(time), step) * step) AS bucket,
    uniqExact(user_id) AS users,
    count() AS actions,
    sum(age) AS age_sum,
    avg(age) AS age_mean,
    quantileExact(0.95)(age) AS age_p95,
    toUInt32(max(time)) AS newest
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
GROUP BY bucket
"""


def metric(name, value, **more):
    return Metric(name, {"en": name.replace("_", " ").capitalize()}, more.pop("query", "feed_actions.ages"), value, RULE, **more)


SHAPES = [
    metric("users", count("users"), adds=False, query="feed_actions"),
    metric("users_hourly", count("users"), adds=False, query="feed_actions", step=HOUR),
    metric("users_daily", count("users"), adds=False, query="feed_actions", step=DAY),
    metric("actions", count("actions")),
    metric("actions_hourly", count("actions"), step=HOUR),
    metric("age_total", total("age_sum")),
    metric("age_mean", mean("age_sum", "actions"), form="number", adds=False),
    metric("age_mean_sql", measured("age_mean"), form="number", adds=False),
    metric("age_p95", measured("age_p95"), form="number", adds=False),
    metric("like_share", ratio("likes", "views"), form="ratio", adds=False, query="feed_actions"),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    extend_app(folder, END + 2 * HOUR)
    source = EmbeddedSource(folder, {"feed_actions.ages": "feed_actions"})
    yield source
    source.close()


class Halved(BaseSource):
    """The source, of which from an instant on only a part of what is counted is left."""

    def __init__(self, source, at, left=0.3):
        self.source, self.at, self.left = source, at, left

    def fetch(self, query, start, end):
        frame = self.source.fetch(query, start, end).astype(float)
        frame.loc[frame.index >= self.at, [name for name in frame if name != "newest"]] *= self.left
        return frame


def connected(source, metrics=SHAPES, **more):
    sql = {**load_queries(), "feed_actions.ages": Query("feed_actions.ages", AGES)}
    return RunContext(metrics, sql, source, StateStore(":memory:"), Console(), **{"zone": "UTC", **more})


def run(ctx, now):
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes, _ = pipeline.explain(ctx, pipeline.advance(ctx, judged, now), judged)
    said = pipeline.compose(ctx, changes, judged, now)
    pipeline.commit(ctx, judged, changes, said)
    pipeline.deliver(ctx, now)
    return reading, judged.verdicts, said


def test_every_shape_is_counted_as_it_should_be(app):
    reading, answers, _ = run(connected(app), END + timedelta(minutes=6))
    assert (reading.errors, reading.notes) == ({}, ())
    series = {name: values.dropna() for name, values in reading.series.items()}
    quarters, hours = series["actions"], series["actions_hourly"]
    whole = quarters.resample("1h").sum()
    assert hours.iloc[1:-1].tolist() == whole.reindex(hours.index).iloc[1:-1].tolist()
    users, hourly, daily = (series[name].loc[END - DAY :] for name in ("users", "users_hourly", "users_daily"))
    assert users.max() < hourly.max() < hourly.sum() < users.sum()  # people are not added up
    assert hourly.max() < daily.iloc[0] < hourly.sum()
    assert (daily.index[0], len(daily)) == (END - DAY, 1)
    pd.testing.assert_series_equal(series["age_mean"], series["age_mean_sql"], check_names=False)
    assert (series["age_p95"] > series["age_mean"]).all()
    assert ((series["age_total"] / quarters) - series["age_mean"]).abs().max() < 1e-9
    assert {answer.status for answer in answers if answer.bucket >= END - DAY} == {Status.NORMAL}


def test_each_is_due_at_its_own_step(app):
    ctx = connected(app)
    run(ctx, END + timedelta(minutes=6))
    assert {item.metric.name: len(item) for item in pipeline.due(ctx, END + timedelta(minutes=21))} == {
        shape.name: int(shape.step < HOUR) for shape in SHAPES
    }
    later = {item.metric.name: len(item) for item in pipeline.due(ctx, END + HOUR + timedelta(minutes=6))}
    assert (later["users"], later["users_hourly"], later["users_daily"]) == (4, 1, 0)


@pytest.mark.parametrize(
    ("name", "at", "said"),
    [
        ("users_hourly", END - 12 * HOUR, r"Users hourly −\d\d % · Thu 12:00–13:00"),
        ("users_daily", END - DAY, r"Users daily −\d\d % · Thu 19 Nov"),
        ("age_p95", END - timedelta(minutes=15), r"Age p95 −\d\d % · Thu 23:45–00:00"),
        ("age_total", END - 12 * HOUR, r"Age total −\d\d % · Thu 12:00–12:15"),
    ],
)
def test_what_is_told_names_the_step_and_has_a_picture(app, name, at, said):
    (shape,) = [shape for shape in SHAPES if shape.name == name]
    ctx = connected(Halved(app, at), [shape])
    before = at + timedelta(minutes=6)
    assert run(ctx, before)[2] == []
    _, _, (opening,) = run(ctx, at + shape.step + timedelta(minutes=6))
    assert (opening.kind, opening.photo[:4]) == (EventKind.OPENED, b"\x89PNG")
    words = plain(opening).splitlines()[0].replace("\u202f", " ").replace("\xa0", " ")
    assert re.fullmatch(rf"[🔴🟡] {said}", words)
    assert opening.critical == words.startswith("🔴")


def test_a_daily_metric_in_another_zone_names_its_day(app):
    (shape,) = [shape for shape in SHAPES if shape.name == "users_daily"]
    ctx = connected(Halved(app, END - DAY), [shape], zone="Europe/Moscow")
    run(ctx, END - DAY + timedelta(minutes=6))
    _, _, (opening,) = run(ctx, END + timedelta(minutes=6))
    assert "Thu 19\u00a0Nov" in plain(opening)


def test_what_is_well_again_is_told_at_the_step_of_the_metric(app):
    (shape,) = [shape for shape in SHAPES if shape.name == "users_hourly"]

    class Hole(Halved):
        def fetch(self, query, start, end):
            late = self.source.fetch(query, start, end).astype(float)
            return pd.concat([super().fetch(query, start, end).loc[: self.at], late.loc[self.at + HOUR :]])

    ctx = connected(Hole(app, END - 12 * HOUR), [shape])
    kinds = []
    for hours in range(-1, 5):
        kinds += [m.kind for m in run(ctx, END + (hours - 12) * HOUR + timedelta(minutes=6))[2] if not m.edits]
    assert kinds == [EventKind.OPENED, EventKind.RESOLVED]


def test_a_half_arrived_bucket_waits_beside_a_coarser_metric_of_the_same_query(app):
    class Late(Halved):
        """Rows of the newest quarter of an hour end early."""

        def fetch(self, query, start, end):
            frame = self.source.fetch(query, start, end).astype(float)
            if query.step < HOUR and frame.index[-1] == self.at:
                frame.iloc[-1] *= 0.4
                frame.loc[self.at, "newest"] = self.at.timestamp() + 300
            return frame

    ctx = connected(Late(app, END - timedelta(minutes=15)), SHAPES[:3])
    reading, answers, _ = run(ctx, END + timedelta(minutes=6))
    assert reading.incomplete == {"feed_actions": END - timedelta(minutes=15)}
    newest = {answer.metric: answer.status for answer in answers}
    assert newest == {"users": Status.NORMAL, "users_hourly": Status.NORMAL, "users_daily": Status.NORMAL}
    assert max(answer.bucket for answer in answers if answer.metric == "users") == END - timedelta(minutes=30)
    assert {arrival.query for arrival in reading.arrivals} == {
        "feed_actions",
        "feed_actions by 1:00:00",
        "feed_actions by 1 day, 0:00:00",
    }


def test_a_real_clickhouse_counts_the_same_shapes(clickhouse):
    clickhouse.execute("DROP DATABASE IF EXISTS shapes")
    clickhouse.execute("CREATE DATABASE shapes")
    clickhouse.execute(
        "CREATE TABLE shapes.feed_actions (user_id UInt32, age UInt8, time DateTime) ENGINE = MergeTree ORDER BY time"
    )
    start = END - DAY
    rows = [f"{i % 30}\t{20 + i % 50}\t{int(start.timestamp()) + i * 60}\n" for i in range(1440)]
    clickhouse.execute("INSERT INTO shapes.feed_actions FORMAT TabSeparated", "".join(rows))
    tables = {"feed_actions.ages": "feed_actions"}
    source = ClickHouseSource(clickhouse.url, clickhouse.reader, clickhouse.password, "shapes", tables)
    quarters, days = (source.fetch(Query("feed_actions.ages", AGES, step), start, END) for step in (HOUR / 4, DAY))
    assert (len(quarters), len(days)) == (96, 1)
    assert (quarters["users"].max(), days["users"].iloc[0], days["actions"].iloc[0]) == (15, 30, 1440)
    assert mean("age_sum", "actions")(quarters).tolist() == pytest.approx(quarters["age_mean"].tolist())
    assert measured("age_p95")(days).tolist() == [67]
    clickhouse.execute("DROP DATABASE shapes")


def test_an_unknown_column_is_named_with_those_there_are_and_hides_nobody(app):
    wrong = [metric("clicks", count("clicks")), metric("speed", mean("seconds", "actions"), form="number")]
    reading, _, _ = run(connected(app, [*wrong, SHAPES[3]]), END + timedelta(minutes=6))
    assert set(reading.series) == {"actions"}
    there = "the query gives users, actions, age_sum, age_mean, age_p95, newest"
    assert f"no column clicks: {there}" in reading.errors["clicks"]
    assert f"no column seconds: {there}" in reading.errors["speed"]


def test_a_mean_is_not_explained_by_slices_that_do_not_add_up():
    assert metric("a", mean("a", "b")).columns == ()
    assert metric("a", measured("a")).columns == ()
    assert metric("a", lambda counts: counts["a"]).columns == ()
    assert metric("a", total("a")).columns == ("a",)


def test_the_overview_shows_days_and_quarters_side_by_side(app):
    from alerting import charts

    ctx = connected(app, SHAPES[:3])
    due = pipeline.due(ctx, END + timedelta(minutes=6))
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due))
    assert charts.to_png(charts.overview_chart(judged, ctx.metrics, ctx.zone)).startswith(b"\x89PNG")


def plain(message):
    return re.sub(r"<[^>]*>", "", message.text)


# A catalogue that is wrong


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the package, for a test to change."""
    return copy_parts(tmp_path_factory.mktemp("tree"), "alerting")


def refused(tree, old, new):
    """Return the command line's error about the catalogue with `new` in place of `old`."""
    file, written = tree / "alerting" / "metrics.py", (ROOT / "alerting" / "metrics.py").read_text()
    assert old in written
    file.write_text(written.replace(old, new, 1))
    code = "from alerting import connections, settings; connections.load_catalogue(settings.load_settings())"
    wrapped = (
        f"from alerting.model.errors import SettingsError\ntry:\n    {code}\nexcept SettingsError as error:\n    print(error)"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "ALERTING_DATA": str(tree)}
    done = subprocess.run([sys.executable, "-c", wrapped], cwd=tree, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MESSAGES = 'parents=("messenger_users"'  # of the entry of the metric `messages`


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"message_actions", count("messages")', '"mesages", count("messages")', "no query mesages: alerting/sql has feed"),
        ('Metric(\n        "messages"', 'Metric(\n        "likes"', "metric likes: the name is taken"),
        ('{"en": "Messages", ', '{"de": "Nachrichten", ', "title has no words in 'en', the language of messages"),
        ('count("messages"), RULE', '"messages", RULE', "value='messages' is not callable"),
        ('count("messages"), RULE', 'count("messages"), "level"', "rule='level' is no rule"),
        ('parents=("messenger_users",), p', 'parents=("messenger",), p', "parents: no metric messenger"),
        ('parents=("feed_users",), p', 'parents=("ctr",), p', "its parents lead back to itself"),
        (MESSAGES, f"step=timedelta(minutes=7), {MESSAGES}", "step=0:07:00 does not divide a day"),
        (MESSAGES, f'dashboard="https://bi/{{day}}", {MESSAGES}', "dashboard='https://bi/{day}': it takes a URL with no other"),
        (MESSAGES, f'policy="loud", {MESSAGES}', "policy='loud' is no Policy(...)"),
        (MESSAGES, f'volume="messages", {MESSAGES}', "volume='messages' is not callable"),
        ('count("messages"), RULE', 'lambda counts: counts["messages"], RULE', "slices='alert' needs a count, total or ratio"),
        (MESSAGES, f"policy=Polizei(), {MESSAGES}", "NameError: name 'Polizei' is not defined"),
        (MESSAGES, f"form='percent', {MESSAGES}", "form='percent' must be 'count', 'ratio' or 'number'"),
        (MESSAGES, f"widht=0.6, {MESSAGES}", "TypeError"),
        (MESSAGES, f"width=0.6 {MESSAGES}", "invalid syntax"),
    ],
)  # fmt: skip
def test_a_catalogue_that_is_wrong_is_refused_by_line(tree, old, new, said):
    told = refused(tree, old, new)
    assert said in told
    assert told.startswith("alerting/metrics.py:")
    written = (ROOT / "alerting" / "metrics.py").read_text()
    assert int(told.split(":")[1]) > written[: written.index("METRICS = [")].count("\n")


def test_a_policy_that_cannot_be_is_refused_by_line(tree):
    told = refused(tree, MESSAGES, f"policy=Policy(need=3), {MESSAGES}")
    assert "Policy: need=3 must lie between 1 and window=1" in told


def test_all_that_is_wrong_is_said_at_once(tree):
    told = refused(tree, 'count("messages"), RULE', '"messages", 5')
    assert told.count("alerting/metrics.py:") == 3  # value, rule, slices


def test_a_query_that_cannot_be_bound_is_refused_before_it_is_asked(tree):
    sql = tree / "alerting" / "sql" / "message_actions.sql"
    written = sql.read_text()
    sql.write_text(written.replace("AS step", "AS width"))
    told = refused(tree, "METRICS = [", "METRICS = [")
    sql.write_text(written)
    assert "the query message_actions.sql cannot be run: its WITH block must define `step` exactly once" in told


OWN = """
class Own:
    history = timedelta(days=1)
    def band(self, values, zone="UTC"):
        return values.to_frame("expected").assign(low=0.0, high=values.max())

METRICS = ["""


def test_a_rule_that_has_only_a_band_becomes_a_detector(tree):
    file, written = tree / "alerting" / "metrics.py", (ROOT / "alerting" / "metrics.py").read_text()
    file.write_text(written.replace("METRICS = [", OWN).replace('count("messages"), RULE', 'count("messages"), Own()'))
    code = "from alerting import connections as c, settings as s\n"
    code += "print(*(type(m.rule).__name__ for m in c.load_catalogue(s.load_settings())))"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "ALERTING_DATA": str(tree)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True)
    assert done.stdout.split() == [*["AutoDetector"] * 5, "OneByOne"], done.stderr


def test_the_catalogue_as_it_is_has_nothing_wrong(tree):
    assert refused(tree, "METRICS = [", "METRICS = [") == ""
    assert replace(SHAPES[0], step=HOUR).scan == "feed_actions by 1:00:00"
    assert SHAPES[3].table == "feed_actions"
