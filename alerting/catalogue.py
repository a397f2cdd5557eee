"""The catalogue as analysts wrote it: read, checked, and what is wrong with it told with the line and the reason."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.detectors.bands import OneByOne
from alerting.incidents.metric_tree import MetricTree
from alerting.model.errors import SettingsError, SourceError
from alerting.model.metric import BandDetector, Detector, Metric, Policy, Query
from alerting.sources.query import bind

FILE = Path(__file__).parent / "metrics.py"
PLACE = "alerting/metrics.py"
NOON = datetime(2026, 1, 1, tzinfo=UTC)  # any window will do to see whether a query can be bound
DAY = timedelta(days=1)


def load_metrics(language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]) -> list[Metric]:
    """METRICS, with detectors for rules. Raises SettingsError that names every line that cannot be watched, and why."""
    found = _imported()
    check_metrics(found, language, queries, slices)
    return [metric if isinstance(metric.rule, Detector) else replace(metric, rule=OneByOne(metric.rule)) for metric in found]


def check_metrics(found: Sequence[Metric], language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]) -> None:
    """Raises SettingsError as `metrics` does."""
    faults = [f"{_place(name)}: {why}" for name, why in _faults(found, language, queries, slices)]
    if faults:
        raise SettingsError("; ".join(faults))


def _imported() -> Sequence[Metric]:
    """What the file holds; a line that cannot even be read is named."""
    try:
        module = importlib.import_module("alerting.metrics")
    except SyntaxError as error:
        raise SettingsError(f"{PLACE}:{error.lineno}: {error.msg}") from None
    except Exception as error:  # noqa: BLE001  an analyst's file: whatever it raises is about one of its lines
        lines = [frame.lineno for frame in traceback.extract_tb(sys.exc_info()[2]) if frame.filename == str(FILE)]
        raise SettingsError(f"{PLACE}:{lines[-1] if lines else 1}: {_said(error)}") from None
    found: Sequence[Metric] = module.METRICS
    return found


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _place(name: str) -> str:
    """metrics.py:57, the last line that makes a metric of this name."""
    calls = [node for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    lines = [call.lineno for call in calls if _names(call, name)]
    return f"{PLACE}:{max(lines)}" if lines else PLACE


def _names(call: ast.Call, name: str) -> bool:
    named = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    made = isinstance(call.func, ast.Name) and call.func.id == "Metric"
    return made and any(isinstance(value, ast.Constant) and value.value == name for value in named)


def _faults(
    found: Sequence[Metric], language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]
) -> Iterator[tuple[str, str]]:
    """Names of metrics, and what is wrong with each."""
    if not found or not all(isinstance(metric, Metric) for metric in found):
        yield "", "METRICS must be a list of Metric(...), and not an empty one"
        return
    names = [metric.name for metric in found]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield name, f"metric {name}: the name is taken; each metric has one of its own"
    for metric in found:
        yield from ((metric.name, f"metric {metric.name}: {why}") for why in _wrong(metric, names, language, queries, slices))
    try:
        MetricTree(found)
    except (ValueError, RecursionError) as error:
        yield str(error).removeprefix("metric ").split(":")[0], str(error)


def _wrong(
    metric: Metric, names: Sequence[str], language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]
) -> Iterator[str]:
    if not isinstance(metric.title, Mapping) or not metric.title.get(language):
        yield f"title has no words in {language!r}, the language of messages: {{{language!r}: ...}}"
    yield from _unreadable(metric, queries)
    for part, made in (("value", metric.value), ("volume", metric.volume)):
        if not callable(made) and not (part == "volume" and made is None):
            yield f"{part}={made!r} is not callable: count('likes'), ratio('likes', 'views'), or a function of the counts"
    if not (isinstance(metric.rule, BandDetector) and callable(metric.rule.band)):
        yield f"rule={metric.rule!r} is no rule: RULE, or one of alerting/detectors"
    if not isinstance(metric.policy, Policy):
        yield f"policy={metric.policy!r} is no Policy(...)"
    if absent := [parent for parent in metric.parents if parent not in names]:
        yield f"parents: no metric {', '.join(absent)}"
    if DAY % metric.step:
        yield f"step={metric.step} does not divide a day: 5, 15 or 30 minutes, 1 hour, 1 day"
    if metric.slices != "off" and metric.query in queries and not (metric.columns and metric.query in slices):
        yield f"slices={metric.slices!r} needs a count, total or ratio, and alerting/sql/slices/{metric.query}.sql"


def _unreadable(metric: Metric, queries: Mapping[str, Query]) -> Iterator[str]:
    query = queries.get(metric.query)
    if query is None:
        yield f"no query {metric.query}: alerting/sql has {', '.join(queries)}"
        return
    if why := unbound_query(Query(metric.query, query.sql, metric.step)):
        yield why


def unbound_query(query: Query, table: Callable[[str], str] = lambda name: f"`{name}`") -> str:
    """Why a run could not put its window and table into the query; "" when it can."""
    try:
        bind(query, table(query.name), NOON, NOON + DAY)
    except SourceError as error:
        return str(error)
    return ""
