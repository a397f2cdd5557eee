"""From a query to a line of the catalogue, with what its history says."""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from alerting import metric_values
from alerting.catalogue import FILE, check_metrics, load_metrics, unbound_query
from alerting.connections import SQL, load_queries, open_source
from alerting.messages.format import NumberFormat, duration
from alerting.metric_values import Value, column_list
from alerting.metrics import RULE
from alerting.model.errors import SettingsError
from alerting.model.metric import STEP, Metric, Query, table_name
from alerting.model.protocols import Source
from alerting.model.routing import ROUTE_WORDS
from alerting.model.verdict import Status
from alerting.pipeline.context import last_closed_bucket
from alerting.pipeline.judge import judge_series
from alerting.pipeline.segment_watch import SUFFIX
from alerting.settings import Settings, load_settings

PICTURE = timedelta(days=14)  # that are drawn


def new_metric(name: str, sql: str, value: str = "", title: str = "", step: timedelta | None = None, keep: bool = False) -> int:
    """Check the query, ask the source, say what it is like, and print the line (`keep`: write it, and the query's file).

    Raises SettingsError with what is wrong, SourceError when the source cannot be asked.
    """
    given = load_settings()
    if given.source != "embedded" and not given.source.startswith("http"):
        raise SettingsError("new-metric: a table's series are its metrics already; a query needs a ClickHouse or the sample app")
    queries, slices = load_queries(), load_queries(SQL / "slices")
    known = load_metrics(given.language, queries, slices)
    made = draft_metric(name, _read(sql), title, step, queries, [metric.name for metric in known])
    seen = _seen(given, made, value)
    written = catalogue_line(seen.metric, seen.written)
    queries |= {made.query: Query(made.query, made.sql)} if made.new else {}
    check_metrics([*known, seen.metric], given.language, queries, slices)
    insert_line(FILE.read_text(encoding="utf-8"), written)  # whether it can be added at all
    sys.stdout.writelines(f"{said}\n" for said in seen.lines())
    sys.stdout.write(f"picture: {_drawn(given, seen)}\n\n")
    sys.stdout.write(_written(made, written) if keep else _told(made, written))
    return 0


def _read(sql: str) -> str:
    """The query's text: of a file, or of what comes in for "-"."""
    try:
        return sys.stdin.read() if sql == "-" else Path(sql).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--sql {sql}: it cannot be read ({type(error).__name__}): the path of a file, or - for what comes in"
        ) from None


def _seen(given: Settings, made: MetricDraft, value: str) -> DraftHistory:
    source, _ = open_source(given)
    try:
        return look_back(made, value, source, datetime.now(UTC), timedelta(minutes=given.delay), given.zone)
    finally:
        source.close()


def _drawn(given: Settings, seen: DraftHistory) -> Path:
    """Its last two weeks with the band, as a file."""
    from alerting import charts

    span = max(PICTURE, 60 * seen.metric.step)
    recent = seen.judged.loc[seen.judged.index[-1] - span :]
    file = given.reports / "new-metrics" / f"{seen.metric.name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(charts.to_png(charts.band_chart(seen.metric, recent, given.zone, given.language)))
    return file


def _told(made: MetricDraft, written: str) -> str:
    """What --write would write."""
    file = f"alerting/sql/{made.query}.sql, new:\n\n{made.sql}\n" if made.new else f"alerting/sql/{made.query}.sql, as it is\n\n"
    return f"{file}alerting/metrics.py, at the end of METRICS:\n\n{written}\nNothing was changed: --write does.\n"


def _written(made: MetricDraft, written: str) -> str:
    files = write_catalogue(made, written, FILE, SQL)
    names = ", ".join(f"alerting/{file.relative_to(FILE.parent)}" for file in files)
    return f"{written}\nWritten: {names}. `make run-alerts` watches it from now on; `make budget` says which width suits it.\n"


# What a query and a few words say of a metric, before the source is asked. Raises SettingsError with what is wrong.

VALUES: dict[str, tuple[Callable[..., Value], int]] = {
    "count": (metric_values.count, 1),
    "total": (metric_values.total, 1),
    "measured": (metric_values.measured, 1),
    "ratio": (metric_values.ratio, 2),
    "mean": (metric_values.mean, 2),
}
FORMS = "count('a'), total('a'), ratio('part', 'whole'), mean('sum', 'number') or measured('a')"
DAY = timedelta(days=1)
_FROM = re.compile(r"\bFROM\s+`?([A-Za-z_]\w*)`?(?![\w.(`])", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STEP = re.compile(r"(\d+)\s+AS\s+step\b", re.IGNORECASE)


@dataclass(frozen=True)
class WrittenValue:
    """A value as it is written in the catalogue: count("likes")."""

    function: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(_quoted(column) for column in self.columns)})"

    @property
    def value(self) -> Value:
        return VALUES[self.function][0](*self.columns)


@dataclass(frozen=True)
class MetricDraft:
    """A metric to be. `query`: name of its file; `new`: whether that is still to be written."""

    name: str
    title: str
    query: str
    sql: str
    step: timedelta
    new: bool

    def metric(self, written: WrittenValue, form: str = "count", adds: bool = True) -> Metric:
        title = {"en": self.title, "ru": self.title}
        return Metric(self.name, title, self.query, written.value, RULE, step=self.step, form=form, adds=adds)


def draft_metric(
    name: str, sql: str, title: str, step: timedelta | None, known: Mapping[str, Query], taken: list[str]
) -> MetricDraft:
    """`known`: the queries there are. `taken`: names of metrics."""
    _check_name(name, taken)
    table = _table(name, sql)
    same = next((query.name for query in known.values() if _bare(query.sql) == _bare(sql)), "")
    query = same or (table if table not in known else f"{table}.{name}")
    if not same and query in known:
        raise SettingsError(f"alerting/sql/{query}.sql is there already, and reads otherwise: give the metric another name")
    words = " ".join(title.split()) or name.replace("_", " ").replace("-", " ").capitalize()
    return MetricDraft(name, words, query, sql.rstrip() + "\n", _divides(step or _step(sql)), not same)


def _check_name(name: str, taken: list[str]) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.endswith(SUFFIX):
        raise SettingsError(f"name {name!r}: a letter, then letters, digits and '_', as in feed_revenue")
    if name in taken:
        raise SettingsError(f"name {name!r}: there is a metric of that name; there are {', '.join(taken)}")
    if name in ROUTE_WORDS:
        raise SettingsError(f"name {name!r} means something in ALERTING_ROUTES: take another")


def _table(name: str, sql: str) -> str:
    """The table that the query reads, by the rules of every query: WITH ... AS since, until and step, and FROM once."""
    tables = list(dict.fromkeys(_FROM.findall(_COMMENT.sub(" ", sql))))
    if not tables:
        raise SettingsError(
            f"the query of {name} reads FROM no table: it must read one, by a plain name, as in FROM feed_actions"
        )
    faults = {table: unbound_query(Query(table, sql)) for table in tables}
    fitting = [table for table, fault in faults.items() if not fault]
    if not fitting:
        raise SettingsError(faults[tables[0]])
    return fitting[0]


def _divides(step: timedelta) -> timedelta:
    if not timedelta(minutes=1) <= step <= DAY or DAY % step:
        raise SettingsError(f"step {step}: it must divide a day: 5, 15 or 30 minutes, 1 hour, 1 day")
    return step


def _step(sql: str) -> timedelta:
    """As the query itself says: 3600 AS step."""
    found = _STEP.search(_COMMENT.sub(" ", sql))
    return timedelta(seconds=int(found[1])) if found and int(found[1]) else STEP


def _bare(sql: str) -> str:
    """Without what does not matter."""
    return " ".join(_COMMENT.sub(" ", sql).split()).rstrip("; ")


def parse_value(expression: str, name: str, columns: list[str]) -> WrittenValue:
    """The value that `expression` writes; "" for the column of the metric's name, or the only one there is."""
    there = [column for column in columns if column not in ("newest", "groups")]
    if not expression:
        only = name if name in there else there[0] if len(there) == 1 else ""
        if not only:
            raise SettingsError(f"--value: say how it is made, as {FORMS}; the query gives {column_list(there)}")
        return WrittenValue("count", (only,))
    value = _parsed(expression)
    absent = [column for column in value.columns if column not in there]
    if absent:
        raise SettingsError(f"--value {expression}: no column {', '.join(absent)}: the query gives {column_list(there)}")
    return value


def _parsed(expression: str) -> WrittenValue:
    try:
        call = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        call = None
    function = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    if not isinstance(call, ast.Call) or function not in VALUES or call.keywords:
        raise SettingsError(f"--value {expression!r}: it takes {FORMS}; anything else is written in alerting/metrics.py by hand")
    given = [argument.value for argument in call.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
    if len(given) != len(call.args) or len(given) != VALUES[function][1]:
        raise SettingsError(f"--value {expression!r}: {function} takes {VALUES[function][1]} names of columns, in quotes")
    return WrittenValue(function, tuple(given))


def is_distinct(sql: str, column: str) -> bool:
    """Whether the column (or, of one with labels, its number) counts somebody once, so that its buckets do not add up."""
    number = re.escape(column.partition("[")[0])
    return bool(re.search(rf"\buniq\w*\s*\([^()]*\)\s+AS\s+`?{number}\b", _COMMENT.sub(" ", sql), re.IGNORECASE))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# What the source says of a draft: its history, and what the default rule makes of it.

BARS = "▁▂▃▄▅▆▇█"
SHOWN, LAST = 60, 5  # buckets in the line of bars; values that are told
WEEKS = timedelta(days=28)  # in which odd buckets are counted
_DAY_LENGTH = timedelta(days=1)


@dataclass(frozen=True)
class DraftHistory:
    """A draft, and its history. `judged`: as `detectors.judge` gives it."""

    metric: Metric
    written: WrittenValue
    values: pd.Series
    judged: pd.DataFrame
    zone: str

    def lines(self) -> Iterator[str]:
        """What there is to know of it before it is watched."""
        known = self.values.dropna()
        grid = self.values.loc[known.index[0] :]
        numbers = NumberFormat.fitting(self.metric.form, "en", *known.tail(LAST))
        span = f"{self._at(known.index[0])} to {self._at(known.index[-1])}"
        yield f"history: {len(known):,} buckets of {duration(self.metric.step, 'en')}, {span} ({self.zone})"
        yield f"missing since then: {grid.isna().mean():.1%}"
        yield f"last values: {', '.join(numbers.value(value) for value in known.tail(LAST))}"
        yield f"median: {numbers.value(known.median())}; {sparkline(grid.tail(SHOWN))}"
        yield f"rule: {RULE.reason(self.values, self.zone)}"
        recent = self.judged.loc[self.judged.index[-1] - WEEKS :]
        odd = (recent["status"] == Status.ANOMALOUS.value) & recent["news"].astype(bool)
        unknown = (recent["status"] == Status.UNKNOWN.value).mean()
        more = f", {unknown:.0%} of the buckets had too little history" if unknown else ""
        yield f"width {self.metric.width:g} (the default): {int(odd.sum())} odd buckets with news in the last 4 weeks{more}"

    def _at(self, bucket: pd.Timestamp) -> str:
        return f"{bucket.tz_convert(self.zone):%Y-%m-%d %H:%M}"


def look_back(draft: MetricDraft, expression: str, source: Source, now: datetime, delay: timedelta, zone: str) -> DraftHistory:
    """Raises SettingsError for a query or a value that will not do, SourceError when it cannot be asked."""
    last = last_closed_bucket(now, delay, draft.step)
    first = last - (RULE.history + 3 * _DAY_LENGTH) // draft.step * draft.step
    counts = source.fetch(Query(table_name(draft.query), draft.sql, draft.step), first, last + draft.step)
    if not len(counts):
        raise SettingsError(f"the query gives no rows from {first:%Y-%m-%d} on: is the table empty, or are its times elsewhere?")
    value = parse_value(expression, draft.name, [str(column) for column in counts])
    counts = counts.reindex(pd.date_range(first, last, freq=draft.step)).astype(float).rename_axis("bucket")
    values = value.value(counts).replace([np.inf, -np.inf], np.nan)
    if not values.notna().any():
        raise SettingsError(f"--value {value}: it never has a value")
    metric = _shaped(draft, value, values)
    return DraftHistory(metric, value, values, judge_series(metric, values, zone), zone)


def _shaped(draft: MetricDraft, value: WrittenValue, values: pd.Series) -> Metric:
    """The form that suits what the values are."""
    known = values.dropna()
    if value.function == "ratio":
        form = "ratio" if known.between(0, 1).all() else "number"
    else:
        whole = bool((known == known.round()).all() and (known >= 0).all())
        form = "count" if whole and value.function in ("count", "total") else "number"
    adds = value.function in ("count", "total") and not is_distinct(draft.sql, value.columns[0])
    return draft.metric(value, form, adds)


def sparkline(values: pd.Series) -> str:
    """▁▂▅▇: from nothing (or the lowest below it) to the highest; a gap is a space."""
    low, high = min(0.0, float(values.min())), float(values.max())
    width = (high - low) or 1.0
    return "".join(" " if value != value else BARS[min(7, int((value - low) / width * 8))] for value in values)


# The line of the catalogue, and the files changed for it: all of it or, should anything be wrong, nothing.

UNITS = (
    ("days", timedelta(days=1)),
    ("hours", timedelta(hours=1)),
    ("minutes", timedelta(minutes=1)),
    ("seconds", timedelta(seconds=1)),
)


def catalogue_line(metric: Metric, written: WrittenValue) -> str:
    """As the other lines of METRICS are written."""
    title = ", ".join(f'"{language}": {_quoted_value(words)}' for language, words in metric.title.items())
    more = [
        f'form="{metric.form}"' if metric.form != "count" else "",
        "adds=False" if not metric.adds else "",
        f"step={_length(metric.step)}" if metric.step != STEP else "",
    ]
    rest = ", ".join(filter(None, more))
    first = f'    Metric(\n        "{metric.name}", {{{title}}}, "{metric.query}", {written}, RULE,\n'
    return first + (f"        {rest},\n" if rest else "") + "    ),\n"


def _length(step: timedelta) -> str:
    """timedelta(hours=1)"""
    name, unit = next((name, unit) for name, unit in UNITS if not step % unit)
    return f"timedelta({name}={step // unit})"


def insert_line(source: str, made: str) -> str:
    """The text of the catalogue with the line at the end of METRICS. Raises SettingsError where there is no such list."""
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
    new = "".join([*lines[:end], made, *lines[end:]])
    try:
        ast.parse(new)
    except SyntaxError:
        raise SettingsError("alerting/metrics.py: the last line of METRICS must end with a comma: add it first") from None
    return new


def write_catalogue(draft: MetricDraft, made: str, catalogue: Path, folder: Path) -> list[Path]:
    """Change the files; those that were. Raises SettingsError."""
    text = insert_line(catalogue.read_text(encoding="utf-8"), made)
    file = folder / f"{draft.query}.sql"
    try:
        if draft.new:
            _put(file, draft.sql)
        _put(catalogue, text)
    except OSError as error:
        if draft.new:
            file.unlink(missing_ok=True)
        raise SettingsError(f"{error.filename or catalogue} cannot be written ({error.strerror}): nothing was changed") from None
    return [file, catalogue] if draft.new else [catalogue]


def _put(file: Path, text: str) -> None:
    """Whole or not at all."""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _quoted_value(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
