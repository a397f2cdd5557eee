"""Each metric is judged, drawn and told for itself: an odd one beside a normal one that falls costs the normal one nothing."""

import ast
import functools
import json
import math
from dataclasses import dataclass, replace
from datetime import timedelta

import matplotlib
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerting import pipeline
from alerting.backtest import BacktestData
from alerting.charts import overview_chart
from alerting.cli import backtest as replays
from alerting.detectors.bands import OneByOne
from alerting.metric_values import count
from alerting.metrics import RULE
from alerting.model.errors import RunFailed, SourceError
from alerting.model.metric import Metric, Query, names_of_series
from alerting.model.verdict import EventKind
from alerting.notifiers.base import Console
from alerting.pipeline import display
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.settings import ROOT
from alerting.sources.base import BaseSource
from alerting.store.state import StateStore
from tests.pasts import END

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = END + timedelta(minutes=6)
LARGEST = 1.7976931348623157e308


def orders(i, n):
    """A number with a daily rhythm that falls by 70 % in its last hour."""
    value = 1000 + 400 * math.sin(i * 2 * math.pi / 24) + i * 37 % 50
    return round(value * 0.3 if i == n - 1 else value)


@functools.cache
def times(step, days):
    n = int(days * 86400 // step)
    first = END - n * timedelta(seconds=step)
    return [f"{first + i * timedelta(seconds=step):%Y-%m-%dT%H:%M:%SZ}" for i in range(n)]


def rows(name, value, step=3600, days=21):
    at = times(step, days)
    return [(name, text, value(i, len(at))) for i, text in enumerate(at)]


def last(value, usual=100):
    """A value that stands in the last row only."""
    return lambda i, n: value if i == n - 1 else usual + i % 7


def sparse(value, usual=100):
    """A value that stands in every tenth row, the last one included."""
    return lambda i, n: value if i % 10 == (n - 1) % 10 else usual + i % 7


NAMES = ["***", "---", "...", "_", "заказы", "x" * 300, "ы" * 300, "<b>a & b</b>", '"; DROP TABLE', "\x00\x01\x07", "\u202eevil",
         "a\nb", "{{ 7 * 7 }}", "%s %d", "-", "critical", "../../etc/passwd", "NaN", "nan", "null", "orders ", "Orders",
         "orders.slices", "🔥", "a" * 5000]  # fmt: skip
VALUES = [LARGEST, -LARGEST, 3.4028235e38, 9.96921e36, 1e30, 9.9e29, -9.9e29, "inf", "-inf", "", 5e-324, 1e-300, -0.0,
          9223372036854775807, -9223372036854775808, 1e15]  # fmt: skip


@functools.cache
def odd_series():
    """Rows by what is odd about them."""
    return {
        **{f"step {step}": rows("odd", last(100), step) for step in (60, 61, 301, 420, 3599, 3601, 7000, 86399, 100_000)},
        **{f"last {value}": rows("odd", last(value)) for value in VALUES},
        **{f"sparse {value}": rows("odd", sparse(value)) for value in VALUES},
        **{f"always {value}": rows("odd", lambda i, n, value=value: value) for value in VALUES},
        **{f"name {name[:20]!r}": rows(name, last(20)) for name in NAMES},
        "two that become one": [*rows("a b", orders), *rows("a/b", orders), *rows("a_b", orders), *rows("a_b-1", orders)],
        "one row": rows("odd", last(5))[-1:],
        "two rows": rows("odd", last(5))[-2:],
        "ended long ago": rows("odd", last(5))[:20],
        "before 1970": [("odd", "1969-12-31T23:00Z", 1), *rows("odd", last(5))],
        "far ahead": [*rows("odd", last(5)), ("odd", "2099-01-01T00:00Z", 7)],
        "written twice": [*rows("odd", last(5)), *rows("odd", last(6))],
        "alternating": rows("odd", lambda i, n: 9e29 * (-1) ** i),
        "a single one": rows("odd", lambda i, n: float(i == n - 1)),
    }


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Write the rows as the source of the commands; without a chat, and with folders of its own."""
    for name, value in {"SOURCE": tmp_path / "kpi.csv", "DATA": tmp_path, "REPORTS": tmp_path, "ZONE": "UTC"}.items():
        monkeypatch.setenv(f"ALERTING_{name}", str(value))

    def write(lines):
        frame = pd.DataFrame(lines, columns=["series", "ts", "value"])
        frame.to_csv(tmp_path / "kpi.csv", index=False)
        return names_of_series(dict.fromkeys(frame["series"].astype(str)))

    return write


def run_notebook(**given):
    """Run the cells of the alert notebook here, as a kernel does, results shown; return its names and what ended it."""
    names = {}
    for cell in json.loads((ROOT / "notebooks" / "alert.ipynb").read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        body = ast.parse("".join(cell["source"])).body
        shown = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
        try:
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            names |= given if "parameters" in cell["metadata"].get("tags", ()) else {}
            result = eval(compile(shown, "cell", "eval"), names) if shown else None
        except RunFailed as error:
            return names, str(error)
        if isinstance(result, matplotlib.figure.Figure):
            result._repr_png_()
        elif hasattr(result, "_repr_html_"):
            result._repr_html_()
    return names, ""


@pytest.mark.parametrize("group", ["step", "last", "sparse", "always", "name", "other"])
def test_a_fall_is_told_beside_odd_series(source, group, capsys):
    words = {
        kind: kind.split()[0] if kind.split()[0] in ("step", "last", "sparse", "always", "name") else "other"
        for kind in odd_series()
    }
    odd = [
        (kind if row[0] == "odd" else row[0], *row[1:])
        for kind, word in words.items()
        if word == group
        for row in odd_series()[kind]
    ]
    names = source([*rows("orders", orders), *odd])
    for dry_run in (True, False):  # a rehearsal, then a run
        found, ended = run_notebook(at=f"{NOW:%Y-%m-%dT%H:%MZ}", dry_run=dry_run)
        out = capsys.readouterr().out
        assert "orders −7" in out or "orders 3" in out, ended  # in the first line, or beside another that fell
        told = {e.metric for event in found["changes"].events for e in (event, *event.also)}
        assert names["orders"] in told
        assert names["orders"] not in found["ctx"].faults["judged"]
        assert not ended or any(name in ended for name in names.values() if name != names["orders"]), ended
        found["ctx"].store.close()


def test_names_stay_apart_and_all_are_told(source):
    names = source(odd_series()["two that become one"])
    assert len(set(names.values())) == 4
    assert (names["a_b"], names["a_b-1"]) == ("a_b", "a_b-1")
    found, ended = run_notebook(at=f"{NOW:%Y-%m-%dT%H:%MZ}", dry_run=True)
    assert {e.metric for event in found["changes"].events for e in (event, *event.also)} == set(names.values())
    assert ended == ""


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(width=64), min_size=1, max_size=60), st.text(min_size=1, max_size=40), st.integers(60, 90_000))
def test_a_fall_is_told_beside_random_series(values, name, step):
    """Judged together, in a batch where the steps are the same, as in a replay."""
    metrics = [Metric(text, {"en": text}, text, count("value"), RULE, step=HOUR, form="number") for text in ("orders", "odd")]
    index = pd.date_range(END - 21 * DAY, END, freq="1h", inclusive="left")
    series = {"orders": [orders(i, len(index)) for i in range(len(index))], "odd": (values * len(index))[: len(index)]}
    whole = {text: pd.Series(column, index, dtype=float) for text, column in series.items()}
    replay = BacktestData(metrics, whole, END - 3 * DAY, END).replay_all()
    assert ("orders", EventKind.OPENED) in {(event.metric, event.kind) for event in replay.events}
    assert len(set(names_of_series([name, f" {name}", f"{name}/", "orders"]).values())) == len(
        {name, f" {name}", f"{name}/", "orders"}
    )


def test_a_backtest_goes_on_beside_odd_series(source):
    source(
        [
            *rows("orders", orders),
            *(row for kind in ("step 420", f"sparse {LARGEST}", "alternating") for row in odd_series()[kind]),
        ]
    )
    result = CliRunner().invoke(replays.backtest, ["--days", "3", "--until", f"{NOW:%Y-%m-%dT%H:%MZ}"], catch_exceptions=False)
    assert "orders" in result.output.split("Cost")[0]


# What analysts write: a detector, a value, a query, that raise.


@dataclass(frozen=True)
class Raising:
    """An analyst's detector with a bug; `where`: in its history or its band."""

    where: str

    @property
    def history(self):
        if self.where == "history":
            raise ZeroDivisionError("my history")
        return 7 * DAY

    def band(self, values, zone="UTC"):
        if self.where == "shape":
            return pd.DataFrame({"low": [1.0], "expected": [2.0], "high": [3.0]})
        if self.where == "columns":
            return pd.DataFrame({"low": values})
        raise KeyError("my band")


class Tables(BaseSource):
    """A table `good` whose last value falls, one that cannot be read, and one with rows that no clock has."""

    def fetch(self, query, start, end):
        if query.name == "bad":
            raise SourceError("Unknown identifier: usr_id")
        if query.name == "worse":
            raise MemoryError("too many rows")
        index = pd.date_range(start, end - query.step, freq=query.step, name="bucket")
        values = [1000.0 + at.hour - 700 * (at >= END - HOUR) for at in index]
        return pd.DataFrame({"value": values, "newest": 1e300 if query.name == "odd" else 1.0}, index)


def metric(name, query="good", rule=RULE, value=None, **more):
    return Metric(name, {"en": name}, query, value or count("value"), rule, step=HOUR, form="number", **more)


def context(tmp_path, *metrics):
    store = StateStore(tmp_path / "alerts.sqlite")
    queries = {metric.query: Query(metric.query, "") for metric in metrics}
    return RunContext(list(metrics), queries, Tables(), store, Console(), started=NOW)


def run(ctx):
    due = pipeline.due(ctx, NOW)
    reading = pipeline.read(ctx, due, 0, NOW)
    judged = pipeline.judge(ctx, due, reading, NOW)
    display.show_verdicts(ctx, judged, reading)
    overview_chart(judged, display.by_urgency(ctx, judged), ctx.zone, ctx.language, errors=ctx.faults["drawn"])
    changes, explained = pipeline.explain(ctx, pipeline.advance(ctx, judged, NOW), judged)
    messages = pipeline.compose(ctx, changes, judged, NOW)
    pipeline.commit(ctx, judged, changes, messages)
    receipts = pipeline.deliver(ctx, NOW, explained)
    with pytest.raises(RunFailed) as ended:
        pipeline.finish(ctx, reading, receipts, NOW, changes)
    return messages, str(ended.value)


BROKEN = [
    (metric("odd", rule=OneByOne(Raising("history"))), "odd was not judged: ZeroDivisionError: my history"),
    (metric("odd", rule=OneByOne(Raising("band"))), "odd was not judged: KeyError: 'my band'"),
    (metric("odd", rule=OneByOne(Raising("shape"))), "odd was not judged: "),
    (metric("odd", rule=OneByOne(Raising("columns"))), "odd was not judged: KeyError"),
    (metric("odd", value=lambda counts: 1 / 0), "odd was not judged: its value could not be made: ZeroDivisionError"),
    (metric("odd", value=lambda counts: counts["value"].iloc[:3]), "odd was not judged: its value could not be made"),
    (metric("odd", volume=lambda counts: counts["absent"]), "odd was not judged: KeyError: 'absent'"),
    (metric("odd", "bad"), "odd was not judged: Unknown identifier: usr_id"),
    (metric("odd", "worse"), "odd was not judged: MemoryError: too many rows"),
]


@pytest.mark.parametrize(("odd", "said"), BROKEN)
def test_what_raises_is_named_and_the_others_are_told(tmp_path, odd, said):
    messages, ended = run(context(tmp_path, odd, metric("orders"), metric("copies")))
    assert said in ended
    assert any("orders" in message.text for message in messages)
    assert ended.count("was not judged") + ended.count("were not judged") == 1


def test_a_time_that_no_clock_has_stops_nothing(tmp_path):
    ctx = context(tmp_path, metric("odd", "odd"), metric("orders"))
    due = pipeline.due(ctx, NOW)
    reading = pipeline.read(ctx, due, 0, NOW)
    assert {arrival.query: arrival.newest is None for arrival in reading.arrivals} == {
        "odd by 1:00:00": True,
        "good by 1:00:00": False,
    }


def test_what_cannot_be_written_or_drawn_is_told_plainly(tmp_path):
    """The text of `odd` fails; a plain text goes out as its entry."""
    odd = replace(metric("odd"), dashboard="https://example.org/{no_such_field}")
    messages, ended = run(context(tmp_path, odd))
    assert "odd was not told in full: KeyError: 'no_such_field'" in ended
    assert messages[0].key.endswith("-odd/opened/text")
    assert "The message about it could not be written" in messages[0].text


def test_a_picture_that_fails_leaves_its_text(tmp_path):
    odd = replace(metric("odd"), color=Unprintable())
    messages, ended = run(context(tmp_path, odd, metric("orders")))
    assert "odd was not drawn: RuntimeError: no colour" in ended
    assert [message.photo is None for message in messages] == [True]
    assert "odd" in messages[0].text


class Unprintable(str):
    """A colour at which drawing fails."""

    def __hash__(self):
        raise RuntimeError("no colour")

    def __eq__(self, other):
        raise RuntimeError("no colour")


def test_a_cause_search_that_raises_is_named(tmp_path):
    class Sliced(Tables):
        runs_sql = True

        def rows(self, query, start, end):
            raise KeyError("no column os")

    ctx = context(tmp_path, replace(metric("orders"), form="count"))
    ctx = replace(ctx, source=Sliced(), slices={"good": Query("good", "")})
    messages, ended = run(ctx)
    assert "orders was not searched for a cause: KeyError: 'no column os'" in ended
    assert "orders" in messages[0].text


def test_one_bad_series_does_not_take_its_batch(tmp_path):
    """Twenty metrics share a detector that fails for one of them: it is the only one that is not judged."""

    class Picky:
        history = 7 * DAY

        def band(self, values, zone="UTC"):
            if values.max() > 1500:
                raise ValueError("too much for me")
            return OneByOne(RULE).band(values, zone)

    rule = OneByOne(Picky())
    metrics = [metric(f"m{i}", rule=rule) for i in range(20)]
    metrics.append(metric("big", rule=rule, value=lambda counts: counts["value"] * 10))
    ctx = context(tmp_path, *metrics)
    due = [DueBuckets(each, END - DAY, END - HOUR) for each in metrics]
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due))
    assert len(judged) == 20
    assert ctx.faults["judged"] == {"big": "ValueError: too much for me"}


def test_metrics_that_no_time_is_left_for_are_named_and_judged_by_the_next_run(tmp_path):
    """A run may judge new metrics for four seconds; here reading the clock takes one, and there are four batches."""
    clock = iter(range(10_000))
    metrics = [metric(f"m{i:03}") for i in range(200)]
    ctx = replace(context(tmp_path, *metrics), judge_limit=4.0, timer=lambda: float(next(clock)))
    judged = []
    for minutes in (0, 60):
        now = NOW + timedelta(minutes=minutes)
        ctx = replace(ctx, faults=RunContext(metrics, {}, ctx.source, ctx.store, ctx.notifier).faults)
        reading = pipeline.read(ctx, pipeline.due(ctx, now), 0, now)
        found = pipeline.judge(ctx, pipeline.due(ctx, now), reading, now)
        changes = pipeline.advance(ctx, found, now)
        pipeline.commit(ctx, found, changes, [])
        judged.append(set(found))
        left = {each.name for each in metrics} - set(found)
        assert set(ctx.faults["judged"]) == left
        said = "no time was left after 4 s of judging new metrics; the next run goes on there"
        assert set(ctx.faults["judged"].values()) <= {said}
        clock = iter(range(10_000))
    assert 0 < len(judged[0]) < 200
    assert judged[0] < judged[1]
    assert set(ctx.store.last_judged()) == judged[1]
