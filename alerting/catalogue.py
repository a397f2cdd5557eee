"""Load and check METRICS of alerting/metrics.py, and write widths into it. Each error has its line number and the reason."""

import ast
import importlib
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from pathlib import Path

from alerting.detectors.bands import OneByOne
from alerting.model.clock import DAY
from alerting.model.errors import SettingsError, SourceError
from alerting.model.incident import MetricTree
from alerting.model.metric import BandDetector, Detector, Metric, Policy, Query, check_template
from alerting.sources.base import bind

FILE = Path(__file__).parent / "metrics.py"
FILE_NAME = "alerting/metrics.py"
DEFAULT_WIDTH, WIDTH_POSITION = next((f.default, i + 1) for i, f in enumerate(fields(Metric)) if f.name == "width")
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
        raise SettingsError(f"{FILE_NAME}: METRICS must be a list of Metric(...), and not an empty one")
    names = [metric.name for metric in metrics]
    twice = [name for name, times in Counter(names).items() if times > 1]
    faults = [(name, f"metric {name}: the name is taken; each metric has one of its own") for name in twice]
    for metric in metrics:
        faults += [(metric.name, f"metric {metric.name}: {text}") for text in _faults(metric, names, language, queries, slices)]
    try:
        MetricTree(metrics)
    except (ValueError, RecursionError) as error:
        faults.append((str(error).removeprefix("metric ").split(":")[0], str(error)))
    if faults:
        entries = metric_entries(FILE.read_text(encoding="utf-8"))
        lines = {name: f":{max(call.lineno for call in calls)}" for name, calls in entries.items()}  # of the last entry
        raise SettingsError("; ".join(f"{FILE_NAME}{lines.get(name, '')}: {text}" for name, text in faults))


def _faults(
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
            for value in [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found.setdefault(value.value, []).append(node)
    return found


def pinned(metrics: Sequence[Metric]) -> list[str]:
    """Return the names of the metrics whose entry in metrics.py has a `width=`, or whose width is not the default."""
    entries = metric_entries(FILE.read_bytes())
    given = {name for name, calls in entries.items() if any(word.arg == "width" for call in calls for word in call.keywords)}
    return [metric.name for metric in metrics if metric.name in given or metric.width != DEFAULT_WIDTH]


def width_lines(widths: Mapping[str, float]) -> str:
    """Return the changes of metrics.py for these widths (metric -> width) as a diff; name and width where it cannot be edited."""
    source, lines = FILE.read_bytes(), list[str]()
    for name, width in widths.items():
        try:
            edited = with_widths(source, {name: width})
        except SettingsError:
            lines.append(f"{name}: width={width:g}")
            continue
        texts = (ast.get_source_segment(text.decode(), metric_entries(text)[name][0]) or "" for text in (source, edited))
        before, after = (text.splitlines() for text in texts)
        if before != after and len(before) > 1:
            lines.append(f"# {name}")
        for old, new in zip(before, after, strict=True):
            lines += [f"- {old.strip()}", f"+ {new.strip()}"] if old != new else []
    return "\n".join(lines) or "no line: every width stays as it is"


def with_widths(source: bytes, widths: Mapping[str, float], present: Mapping[str, float] | None = None) -> bytes:
    """Return the source of metrics.py with these widths (metric -> width). All other bytes are unchanged.

    `present`: metric -> the width in force. Raises SettingsError if a metric has no entry of its own, if the width in its entry
    is computed, or if it differs from the width in force.
    """
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]

    def span(node: ast.expr | ast.keyword) -> tuple[int, int]:
        """Return the positions in the source of the first byte of a node and of the first byte after it."""
        return starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)

    edits: list[tuple[int, int, bytes]] = []
    for name, width in widths.items():
        call, given = _editable_entry(source, name, (present or {}).get(name))
        text = f"{width:g}".encode()
        if given:
            edits.append((*span(given), text))
        elif call.keywords:
            before, _ = span(call.keywords[0])
            edits.append((before, before, b"width=" + text + b", "))
        else:
            _, after = span(call.args[-1])
            edits.append((after, after, b", width=" + text))
    edited = source
    for first, last, text in sorted(edits, reverse=True):
        edited = edited[:first] + text + edited[last:]
    if not _differ_in_widths_only(source, edited, widths):
        raise SettingsError(f"{FILE_NAME}: the entries of {', '.join(widths)} cannot be edited safely: write the widths by hand")
    return edited


def _editable_entry(source: bytes, name: str, present: float | None) -> tuple[ast.Call, ast.expr | None]:
    """Return the metric's only entry and the width in it. Raises SettingsError if one number cannot set the width."""
    calls, by_hand = metric_entries(source).get(name, []), "write the width by hand"
    if len(calls) != 1:
        raise SettingsError(f'{FILE_NAME} has {len(calls) or "no"} Metric("{name}", ...): {by_hand}')
    call = calls[0]
    place = f"{FILE_NAME}:{call.lineno}: metric {name}"
    if len(call.args) >= WIDTH_POSITION or any(isinstance(value, ast.Starred) for value in call.args):
        raise SettingsError(f"{place}: its width may be among the arguments without a name: {by_hand}")
    if any(word.arg is None for word in call.keywords):
        raise SettingsError(f"{place}: its width may be in **: {by_hand}")
    given = next((word.value for word in call.keywords if word.arg == "width"), None)
    written = DEFAULT_WIDTH
    if given is not None:
        if not (isinstance(given, ast.Constant) and isinstance(given.value, int | float)):
            raise SettingsError(f"{place}: its width={ast.unparse(given)} is computed: {by_hand}")
        written = float(given.value)
    if present is not None and written != present:
        raise SettingsError(f"{place}: its width is {present:g}, but the entry says {written:g}: {by_hand}")
    return call, given


def _differ_in_widths_only(source: bytes, edited: bytes, widths: Mapping[str, float]) -> bool:
    """Return whether the edited source has these widths and is the same program in all else."""
    try:
        trees = [ast.parse(source), ast.parse(edited)]
    except SyntaxError:
        return False
    after = [call for name in widths for call in metric_entries(edited).get(name, [])]
    numbers = [ast.unparse(word.value) for call in after for word in call.keywords if word.arg == "width"]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call):
            node.keywords = [word for word in node.keywords if word.arg != "width"]
    same = ast.dump(trees[0]) == ast.dump(trees[1])
    return same and [float(number) for number in numbers] == [float(f"{width:g}") for width in widths.values()]


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
