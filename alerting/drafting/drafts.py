"""What a query and a few words say of a metric, before the source is asked. Raises SettingsError with what is wrong."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from alerting import catalogue, metric_values, metrics
from alerting.model import STEP, Metric, Query, SettingsError
from alerting.model.route import WORDS
from alerting.pipeline.watching import SUFFIX

VALUES: dict[str, tuple[Callable[..., metric_values.Value], int]] = {
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
class Written:
    """A value as it is written in the catalogue: count("likes")."""

    function: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(_quoted(column) for column in self.columns)})"

    @property
    def value(self) -> metric_values.Value:
        return VALUES[self.function][0](*self.columns)


@dataclass(frozen=True)
class Draft:
    """A metric to be. `query`: name of its file; `new`: whether that is still to be written."""

    name: str
    title: str
    query: str
    sql: str
    step: timedelta
    new: bool

    def metric(self, written: Written, form: str = "count", adds: bool = True) -> Metric:
        title = {"en": self.title, "ru": self.title}
        return Metric(self.name, title, self.query, written.value, metrics.RULE, step=self.step, form=form, adds=adds)


def draft(name: str, sql: str, title: str, step: timedelta | None, known: Mapping[str, Query], taken: list[str]) -> Draft:
    """`known`: the queries there are. `taken`: names of metrics."""
    _check_name(name, taken)
    table = _table(name, sql)
    same = next((query.name for query in known.values() if _bare(query.sql) == _bare(sql)), "")
    query = same or (table if table not in known else f"{table}.{name}")
    if not same and query in known:
        raise SettingsError(f"alerting/sql/{query}.sql is there already, and reads otherwise: give the metric another name")
    words = " ".join(title.split()) or name.replace("_", " ").replace("-", " ").capitalize()
    return Draft(name, words, query, sql.rstrip() + "\n", _divides(step or _step(sql)), not same)


def _check_name(name: str, taken: list[str]) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.endswith(SUFFIX):
        raise SettingsError(f"name {name!r}: a letter, then letters, digits and '_', as in feed_revenue")
    if name in taken:
        raise SettingsError(f"name {name!r}: there is a metric of that name; there are {', '.join(taken)}")
    if name in WORDS:
        raise SettingsError(f"name {name!r} means something in ALERTING_ROUTES: take another")


def _table(name: str, sql: str) -> str:
    """The table that the query reads, by the rules of every query: WITH ... AS since, until and step, and FROM once."""
    tables = list(dict.fromkeys(_FROM.findall(_COMMENT.sub(" ", sql))))
    if not tables:
        raise SettingsError(
            f"the query of {name} reads FROM no table: it must read one, by a plain name, as in FROM feed_actions"
        )
    faults = {table: catalogue.unbound(Query(table, sql)) for table in tables}
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


def written(expression: str, name: str, columns: list[str]) -> Written:
    """The value that `expression` writes; "" for the column of the metric's name, or the only one there is."""
    there = [column for column in columns if column not in ("newest", "groups")]
    if not expression:
        only = name if name in there else there[0] if len(there) == 1 else ""
        if not only:
            raise SettingsError(f"--value: say how it is made, as {FORMS}; the query gives {metric_values.listed(there)}")
        return Written("count", (only,))
    value = _parsed(expression)
    absent = [column for column in value.columns if column not in there]
    if absent:
        raise SettingsError(f"--value {expression}: no column {', '.join(absent)}: the query gives {metric_values.listed(there)}")
    return value


def _parsed(expression: str) -> Written:
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
    return Written(function, tuple(given))


def is_distinct(sql: str, column: str) -> bool:
    """Whether the column (or, of one with labels, its number) counts somebody once, so that its buckets do not add up."""
    number = re.escape(column.partition("[")[0])
    return bool(re.search(rf"\buniq\w*\s*\([^()]*\)\s+AS\s+`?{number}\b", _COMMENT.sub(" ", sql), re.IGNORECASE))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
