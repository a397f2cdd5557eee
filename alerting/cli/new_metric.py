"""`python -m alerting new-metric`: draft a catalogue line from a query and show its history; --write saves query and line."""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import numpy as np
import pandas as pd

from alerting import metric_values
from alerting.catalogue import FILE, check_metrics, load_metrics, unbound_query, write_files
from alerting.connections import SQL, load_queries, open_source
from alerting.messages.format import NumberFormat, duration
from alerting.metric_values import Value, column_list
from alerting.metrics import RULE
from alerting.model.clock import DAY, day_phase, parse_length
from alerting.model.errors import SettingsError
from alerting.model.metric import SEGMENTS_SUFFIX, STEP, Metric, Query, table_name
from alerting.model.protocols import Source
from alerting.model.routing import ROUTE_WORDS
from alerting.model.verdict import Status
from alerting.pipeline.context import last_closed_bucket
from alerting.pipeline.judged import judge_series
from alerting.settings import Settings, load_settings

FUNCTIONS: dict[str, tuple[Callable[..., Value], tuple[str, ...]]] = {  # functions for --value, each with example columns
    "count": (metric_values.count, ("a",)),
    "total": (metric_values.total, ("a",)),
    "measured": (metric_values.measured, ("a",)),
    "ratio": (metric_values.ratio, ("part", "whole")),
    "mean": (metric_values.mean, ("sum", "number")),
}
LABELLED = ("count", "ratio")  # functions that can have labels
FORMS = "count('a'), total('a'), ratio('part', 'whole'), mean('sum', 'number') or measured('a')"
TIME_UNITS = {"days": DAY, "hours": timedelta(hours=1), "minutes": timedelta(minutes=1), "seconds": timedelta(seconds=1)}
CHART_SPAN = timedelta(days=14)
MIN_CHART_BUCKETS = 60
ALERT_COUNT_SPAN = timedelta(days=28)
SPARKLINE = "▁▂▃▄▅▆▇█"
SPARKLINE_BUCKETS = 60
LAST_VALUES = 5

_FROM = re.compile(r"\bFROM\s+`?([A-Za-z_]\w*)`?(?![\w.(`])", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STEP = re.compile(r"(\d+)\s+AS\s+step\b", re.IGNORECASE)


@dataclass(frozen=True)
class WrittenValue:
    """A value as it is written in the catalogue, such as count("likes"). `str` returns the Python source."""

    function: str
    columns: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()  # pairs such as (os, iOS)

    @property
    def value(self) -> Value:
        """The function that computes the value from the counts."""
        return FUNCTIONS[self.function][0](*self.columns, **dict(self.labels))

    def __str__(self) -> str:
        words = [json.dumps(column, ensure_ascii=False) for column in self.columns]
        words += [f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in self.labels]
        return f"{self.function}({', '.join(words)})"


@dataclass(frozen=True)
class MetricDraft:
    """A metric without its value. `query`: name of the SQL file without .sql. `new`: whether that file must be written."""

    name: str
    title: str
    query: str
    sql: str
    step: timedelta
    new: bool


@dataclass(frozen=True)
class DraftHistory:
    """The history of a draft. `values`: float64, one per bucket, NaN for gaps. `judged`: frame of `detectors.judge`."""

    metric: Metric
    written: WrittenValue
    values: pd.Series
    judged: pd.DataFrame
    zone: str

    def lines(self) -> Iterator[str]:
        """Yield the lines from which an analyst can decide whether to watch the metric."""
        values = self.values.dropna()
        grid = self.values.loc[values.index[0] :]
        numbers = NumberFormat.of(self.metric.form, "en", list(values.tail(LAST_VALUES)))
        first, last = (f"{bucket.tz_convert(self.zone):%Y-%m-%d %H:%M}" for bucket in values.index[[0, -1]])
        yield f"history: {len(values):,} buckets of {duration(self.metric.step, 'en')}, {first} to {last} ({self.zone})"
        yield f"missing since then: {grid.isna().mean():.1%}"
        yield f"last values: {', '.join(numbers.value(value) for value in values.tail(LAST_VALUES))}"
        yield f"median: {numbers.value(values.median())}; {sparkline(grid.tail(SPARKLINE_BUCKETS))}"
        yield f"rule: {RULE.reason(self.values, self.zone, self.metric.counted)}"

        recent = self.judged.loc[self.judged.index[-1] - ALERT_COUNT_SPAN :]
        alerts = int(((recent["status"] == Status.ANOMALOUS.value) & recent["news"].astype(bool)).sum())
        unknown = (recent["status"] == Status.UNKNOWN.value).mean()
        times = "once" if alerts == 1 else f"{alerts} times"
        more = f", {unknown:.0%} of the buckets had too little history" if unknown else ""
        yield f"width {self.metric.width:g} (the default): it would have alerted {times} in the last 4 weeks{more}"


@click.command()
@click.argument("name")
@click.option("--sql", required=True, metavar="FILE", help="File of the query, or - for standard input; see docs/metrics.md.")
@click.option(
    "--value",
    default="",
    help="How to compute the value from the query's columns: \"count('likes')\", total, ratio, mean or measured"
    " (default: the column called NAME).",
)
@click.option("--title", default="", help="Name of the metric in messages (default: derived from NAME).")
@click.option("--step", default="", help="Length of a bucket: 15m, 1h or 1d (default: the step in the query).")
@click.option("--write", is_flag=True, help="Write the query's file and the line in metrics.py; without it they are printed.")
def new_metric(name: str, sql: str, value: str, title: str, step: str, write: bool) -> int:
    """Draft the catalogue line of a new metric from a query.

    Checks the query, prints and draws its history, and names the detector that suits it. NAME is a name such as feed_revenue.
    """
    settings = load_settings()
    if not settings.has_catalogue:
        raise SettingsError("new-metric: a table's series are its metrics already; a query needs a ClickHouse or the sample app")
    queries, slices = load_queries(), load_queries(SQL / "slices")
    metrics = load_metrics(settings.language, queries, slices)
    try:
        length = parse_length(step) if step else None
    except ValueError as error:
        raise SettingsError(f"--step {step!r}: {error}") from None
    try:
        text = sys.stdin.read() if sql == "-" else Path(sql).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"it cannot be read ({type(error).__name__}): the path of a file, or - for what comes in"
        raise SettingsError(f"--sql {sql}: {what}") from None
    draft = draft_metric(name, text, title, length, queries, [metric.name for metric in metrics])
    with closing(open_source(settings)[0]) as source:
        history = read_history(draft, value, source, datetime.now(UTC), timedelta(minutes=settings.delay), settings.zone)

    # Check that the line fits the catalogue before anything is printed or written.
    line = catalogue_line(history.metric, history.written)
    queries |= {draft.query: Query(draft.query, draft.sql)} if draft.new else {}
    check_metrics([*metrics, history.metric], settings.language, queries, slices)
    catalogue = insert_line(FILE.read_text(encoding="utf-8"), line)

    for each in history.lines():
        click.echo(each)
    click.echo(f"picture: {_draw(settings, history)}\n")
    if write:
        files = {SQL / f"{draft.query}.sql": draft.sql.encode()} if draft.new else {}
        files[FILE] = catalogue.encode()
        write_files(files, ": nothing was changed")
        names = ", ".join(f"alerting/{file.relative_to(FILE.parent)}" for file in files)
        click.echo(f"{line}\nWritten: {names}. `make run-alerts` watches it from now on; `make budget` shows its false alerts.")
    else:
        click.echo(f"alerting/sql/{draft.query}.sql, " + (f"new:\n\n{draft.sql}" if draft.new else "as it is\n"))
        click.echo(f"alerting/metrics.py, at the end of METRICS:\n\n{line}\nNothing was changed: --write does.")
    return 0


def _draw(settings: Settings, history: DraftHistory) -> Path:
    """Save a chart of the newest values with their band, and return its path."""
    from alerting import charts  # late: matplotlib is slow to load, and most errors are found earlier

    span = max(CHART_SPAN, MIN_CHART_BUCKETS * history.metric.step)
    recent = history.judged.loc[history.judged.index[-1] - span :]
    file = settings.reports / "new-metrics" / f"{history.metric.name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(charts.to_png(charts.band_chart(history.metric, recent, settings.zone, settings.language)))
    return file


def draft_metric(
    name: str, sql: str, title: str, step: timedelta | None, queries: Mapping[str, Query], names: list[str]
) -> MetricDraft:
    """Return the draft of a metric. `queries`: those in alerting/sql. `names`: the catalogue's metrics. Raises SettingsError."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.endswith(SEGMENTS_SUFFIX):
        raise SettingsError(f"name {name!r}: a letter, then letters, digits and '_', as in feed_revenue")
    if name in names:
        raise SettingsError(f"name {name!r}: there is a metric of that name; there are {', '.join(names)}")
    if name in ROUTE_WORDS:
        raise SettingsError(f"name {name!r} means something in ALERTING_ROUTES: take another")

    # Use an existing file with the same query. Otherwise name a new file after the table; if that exists, add the metric's name.
    table = _table_of(name, sql)
    same = next((query.name for query in queries.values() if _normalized(query.sql) == _normalized(sql)), "")
    file = same or (table if table not in queries else f"{table}.{name}")
    if not same and file in queries:
        raise SettingsError(f"alerting/sql/{file}.sql is there already, and reads otherwise: give the metric another name")

    if step is None:
        in_query = _STEP.search(_COMMENT.sub(" ", sql))
        step = timedelta(seconds=int(in_query[1])) if in_query and int(in_query[1]) else STEP
    if not timedelta(minutes=1) <= step <= DAY or DAY % step:
        raise SettingsError(f"step {step}: it must divide a day: 5, 15 or 30 minutes, 1 hour, 1 day")
    words = " ".join(title.split()) or name.replace("_", " ").capitalize()
    return MetricDraft(name, words, file, sql.rstrip() + "\n", step, not same)


def _table_of(name: str, sql: str) -> str:
    """Return the table that the query reads. Raises SettingsError if the query breaks a rule of alerting/sql."""
    tables = list(dict.fromkeys(_FROM.findall(_COMMENT.sub(" ", sql))))
    if not tables:
        raise SettingsError(
            f"the query of {name} reads FROM no table: it must read one, by a plain name, as in FROM feed_actions"
        )
    faults = {table: unbound_query(Query(table, sql)) for table in tables}
    valid = [table for table, fault in faults.items() if not fault]
    if not valid:
        raise SettingsError(faults[tables[0]])
    return valid[0]


def _normalized(sql: str) -> str:
    """Return the query without comments, line breaks and the final semicolon."""
    return " ".join(_COMMENT.sub(" ", sql).split()).rstrip("; ")


def parse_value(expression: str, name: str, columns: list[str]) -> WrittenValue:
    """Return the value of an expression such as "count('likes')". If it is "", take the column `name`, or the only column.

    `columns`: the columns of the query. The expression is parsed, never evaluated. Raises SettingsError.
    """
    present = [column for column in columns if column not in ("newest", "groups")]
    if not expression:
        column = name if name in present else present[0] if len(present) == 1 else ""
        if not column:
            raise SettingsError(f"--value: say how it is made, as {FORMS}; the query gives {column_list(present)}")
        return WrittenValue("count", (column,))
    value = _parse_call(expression)
    names = metric_values.with_labels(dict(value.labels), *value.columns) if value.labels else value.columns
    absent = [column for column in names if column not in present]
    if absent:
        raise SettingsError(f"--value {expression}: no column {', '.join(absent)}: the query gives {column_list(present)}")
    return value


def _parse_call(expression: str) -> WrittenValue:
    try:
        call = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        call = None
    function = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    if not isinstance(call, ast.Call) or function not in FUNCTIONS:
        raise SettingsError(f"--value {expression!r}: it takes {FORMS}; anything else is written in alerting/metrics.py by hand")
    columns = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    _, example = FUNCTIONS[function]
    if len(columns) != len(call.args) or len(columns) != len(example):
        count = "one column name" if len(example) == 1 else "two column names"
        written = ", ".join(f"'{column}'" for column in example)
        raise SettingsError(f"--value {expression!r}: {function} needs {count} in quotes: {function}({written})")
    labels = [(word.arg, word.value.value) for word in call.keywords if word.arg and isinstance(word.value, ast.Constant)]
    if len(labels) != len(call.keywords) or (labels and function not in LABELLED):
        raise SettingsError(f"--value {expression!r}: labels are written as in count('views', os='iOS'), for count and ratio")
    return WrittenValue(function, tuple(columns), tuple((name, str(text)) for name, text in labels))


def read_history(draft: MetricDraft, expression: str, source: Source, now: datetime, delay: timedelta, zone: str) -> DraftHistory:
    """Read the history that the default rule needs, and judge it. Return values and verdicts per bucket.

    Raises SettingsError for a query without rows or a value that is always missing, SourceError if the source cannot be read.
    """
    phase = day_phase(zone) if draft.step == DAY else timedelta()
    query = Query(table_name(draft.query), draft.sql, draft.step, phase, zone if draft.step == DAY else "")
    last = last_closed_bucket(now, delay, draft.step, phase)
    first = last - (RULE.history + 3 * DAY) // draft.step * draft.step
    counts = source.fetch(query, first, last + draft.step)
    if not len(counts):
        raise SettingsError(f"the query gives no rows from {first:%Y-%m-%d} on: is the table empty, or are its times elsewhere?")
    written = parse_value(expression, draft.name, [str(column) for column in counts])
    value = written.value
    counts = counts.reindex(pd.date_range(first, last, freq=draft.step)).astype(float).rename_axis("bucket")
    values = value(counts).replace([np.inf, -np.inf], np.nan)
    if not values.notna().any():
        raise SettingsError(f"--value {written}: it never has a value")

    title = {"en": draft.title, "ru": draft.title}
    adds = written.function in ("count", "total") and not is_distinct(draft.sql, written.columns[0])
    known = values.dropna()
    form = "count" if written.function in ("count", "total") and ((known == known.round()) & (known >= 0)).all() else "number"
    if written.function == "ratio" and known.between(0, 1).all():
        form = "ratio"
    metric = Metric(draft.name, title, draft.query, value, RULE, step=draft.step, form=form, adds=adds, phase=phase)
    volume = metric.volume(counts) if metric.volume else None
    return DraftHistory(metric, written, values, judge_series(metric, values, zone, volume), zone)


def is_distinct(sql: str, column: str) -> bool:
    """Return whether the column counts distinct users; its buckets cannot be summed. `column` can be users[os=iOS]."""
    number = re.escape(column.partition("[")[0])
    return bool(re.search(rf"\buniq\w*\s*\([^()]*\)\s+AS\s+`?{number}\b", _COMMENT.sub(" ", sql), re.IGNORECASE))


def sparkline(values: pd.Series) -> str:
    """Return the values as a line of bars, ▁▂▅▇. The scale goes from 0, or a lower minimum, to the maximum. A gap is a space."""
    low, high = min(0.0, float(values.min())), float(values.max())
    width = (high - low) or 1.0
    levels = (values - low) / width * len(SPARKLINE)
    return "".join(" " if np.isnan(level) else SPARKLINE[min(len(SPARKLINE) - 1, int(level))] for level in levels)


def catalogue_line(metric: Metric, written: WrittenValue) -> str:
    """Return the metric's entry in METRICS as Python source, in the style of the other entries."""
    title = json.dumps(dict(metric.title), ensure_ascii=False)
    unit, length = next((unit, length) for unit, length in TIME_UNITS.items() if not metric.step % length)
    options = [
        f'form="{metric.form}"' if metric.form != "count" else "",
        "adds=False" if not metric.adds else "",
        f"step=timedelta({unit}={metric.step // length})" if metric.step != STEP else "",
    ]
    rest = ", ".join(filter(None, options))
    first = f'    Metric(\n        "{metric.name}", {title}, "{metric.query}", {written}, RULE,\n'
    return first + (f"        {rest},\n" if rest else "") + "    ),\n"


def insert_line(source: str, line: str) -> str:
    """Return the text of the catalogue with `line` at the end of METRICS. Raises SettingsError if METRICS is not found."""
    lists = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and "METRICS" in [t.id for t in node.targets if isinstance(t, ast.Name)]
    ]
    if len(lists) != 1 or not isinstance(lists[0], ast.List) or lists[0].end_lineno is None:
        raise SettingsError("alerting/metrics.py has no `METRICS = [...]` to add a line to: add the line by hand")
    lines = source.splitlines(keepends=True)
    end = lists[0].end_lineno - 1
    if lines[end].lstrip()[:1] != "]":
        raise SettingsError("alerting/metrics.py: the `]` of METRICS must stand on a line of its own: add the line by hand")
    text = "".join([*lines[:end], line, *lines[end:]])
    try:
        ast.parse(text)
    except SyntaxError:
        raise SettingsError("alerting/metrics.py: the last line of METRICS must end with a comma: add it first") from None
    return text
