"""Load and check METRICS of alerting/metrics.py. Each error has its line number and the reason."""

from __future__ import annotations

import ast
import importlib
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from alerting.detectors.bands import OneByOne
from alerting.model.clock import DAY
from alerting.model.errors import SettingsError, SourceError
from alerting.model.incident import MetricTree
from alerting.model.metric import BandDetector, Detector, Metric, Policy, Query, check_template
from alerting.sources.base import bind

FILE = Path(__file__).parent / "metrics.py"
FILE_NAME = "alerting/metrics.py"
ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # start of a time window that is filled into a query only to check it


def load_metrics(language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]) -> list[Metric]:
    """Return METRICS. A rule that only computes a band is wrapped in a detector.

    `queries`, `slices`: name -> query in alerting/sql and alerting/sql/slices. Raises one SettingsError that lists all invalid
    lines with their numbers and the reasons.
    """
    try:
        metrics: Sequence[Metric] = importlib.import_module("alerting.metrics").METRICS
    except SyntaxError as error:
        raise SettingsError(f"{FILE_NAME}:{error.lineno}: {error.msg}") from None
    except Exception as error:  # noqa: BLE001  analysts edit the file: any error in it is reported with its line
        lines = [frame.lineno for frame in traceback.extract_tb(sys.exc_info()[2]) if frame.filename == str(FILE)]
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise SettingsError(f"{FILE_NAME}:{lines[-1] if lines else 1}: {text}") from None
    check_metrics(metrics, language, queries, slices)
    return [metric if isinstance(metric.rule, Detector) else replace(metric, rule=OneByOne(metric.rule)) for metric in metrics]


def check_metrics(metrics: Sequence[Metric], language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]) -> None:
    """Raise one SettingsError that lists all errors of the catalogue; return None if there are none."""
    if not metrics or not all(isinstance(metric, Metric) for metric in metrics):
        raise SettingsError(f"{_line_of('')}: METRICS must be a list of Metric(...), and not an empty one")
    names = [metric.name for metric in metrics]
    twice = [name for name, times in Counter(names).items() if times > 1]
    faults = [(name, f"metric {name}: the name is taken; each metric has one of its own") for name in twice]
    for metric in metrics:
        faults += [
            (metric.name, f"metric {metric.name}: {text}") for text in _faults_of(metric, names, language, queries, slices)
        ]
    try:
        MetricTree(metrics)
    except (ValueError, RecursionError) as error:
        faults.append((str(error).removeprefix("metric ").split(":")[0], str(error)))
    if faults:
        raise SettingsError("; ".join(f"{_line_of(name)}: {text}" for name, text in faults))


def _line_of(name: str) -> str:
    """Return the place of the last Metric(...) with this name, such as alerting/metrics.py:57."""
    calls = metric_entries(FILE.read_text(encoding="utf-8")).get(name)
    return f"{FILE_NAME}:{max(call.lineno for call in calls)}" if calls else FILE_NAME


def _faults_of(
    metric: Metric, names: Sequence[str], language: str, queries: Mapping[str, Query], slices: Mapping[str, Query]
) -> Iterator[str]:
    """Yield the errors of one metric. Its arguments may have any type, because analysts write them by hand."""
    if not isinstance(metric.title, Mapping) or not metric.title.get(language):
        yield f"title has no words in {language!r}, the language of messages: {{{language!r}: ...}}"
    query = queries.get(metric.query)
    if query is None:
        yield f"no query {metric.query}: alerting/sql has {', '.join(queries)}"
    elif unbound := unbound_query(replace(query, step=metric.step)):
        yield unbound
    for part, function in (("value", metric.value), ("volume", metric.volume)):
        if not callable(function) and not (part == "volume" and function is None):
            yield f"{part}={function!r} is not callable: count('likes'), ratio('likes', 'views'), or a function of the counts"
    if not (isinstance(metric.rule, BandDetector) and callable(metric.rule.band)):
        yield f"rule={metric.rule!r} is no rule: RULE, or one of alerting/detectors"
    if not isinstance(metric.policy, Policy):
        yield f"policy={metric.policy!r} is no Policy(...)"
    try:
        check_template(str(metric.dashboard))
    except ValueError as error:
        yield f"dashboard={metric.dashboard!r}: it takes {error}"
    if absent := [parent for parent in metric.parents if parent not in names]:
        yield f"parents: no metric {', '.join(absent)}"
    if DAY % metric.step:
        yield f"step={metric.step} does not divide a day: 5, 15 or 30 minutes, 1 hour, 1 day"
    if metric.slices != "off" and query is not None and not (metric.columns and metric.query in slices):
        yield f"slices={metric.slices!r} needs a count, total or ratio, and alerting/sql/slices/{metric.query}.sql"


@cache  # metrics share queries
def unbound_query(query: Query) -> str:
    """Return the reason why the time window and the table cannot be filled into the query; "" if they can."""
    try:
        bind(query, f"`{query.name}`", ANY_DAY, ANY_DAY + DAY)
    except SourceError as error:
        return str(error)
    return ""


def metric_entries(source: str | bytes) -> dict[str, list[ast.Call]]:
    """Return name -> syntax trees of the calls `Metric("name", ...)` and `Metric(name="name", ...)` in the source."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric":
            names = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
            for value in names:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found.setdefault(value.value, []).append(node)
    return found


def write_files(contents: Mapping[Path, bytes], outcome: str = "") -> None:
    """Write files (path -> new content), each atomically and with its present permissions.

    If one cannot be written, restore the others and raise SettingsError, whose text ends with `outcome`.
    """
    written: dict[Path, bytes | None] = {}  # file -> its content before, None for a new one
    try:
        for file, content in contents.items():
            file = file.resolve()  # if it is a link, write the file that it points to
            before = file.read_bytes() if file.exists() else None
            _replace_file(file, content)
            written[file] = before
    except OSError as error:
        for done, before in written.items():
            with suppress(OSError):
                done.unlink() if before is None else _replace_file(done, before)
        raise SettingsError(f"{error.filename or file} cannot be written ({error.strerror}){outcome}") from None


def _replace_file(file: Path, content: bytes) -> None:
    """Replace the file atomically. If that fails, the file is unchanged and OSError is raised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.write_bytes(content)
        if file.exists():
            shutil.copymode(file, temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
