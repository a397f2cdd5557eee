"""Records of `alerting.model` as rows and JSON of the state database, and back.

Times are ISO text in UTC, NaN is NULL. What grows over the versions is JSON, so that a new field needs no migration.

STORED says under which name each field is stored. To rename a field, change the right side of its entry only: the left side is
in the databases of users. The type hints of a class say how its values are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from math import isfinite, isnan
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member, Rarity, RootCause, Segment, SimilarIncident
from alerting.model.message import Action, Button, Message, ThreadMessage
from alerting.model.metric import Silence
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict

T = TypeVar("T")

# Stored name -> field. Those of Verdict, Message, Arrival, Silence and Run are columns, in the order of their tables;
# those of ThreadMessage are columns, too.
STORED: dict[type[Any], dict[str, str]] = {
    Verdict: {
        "metric": "metric", "bucket": "bucket", "status": "status", "value": "value", "low": "low", "expected": "expected",
        "high": "high", "score": "score", "reason": "reason", "news": "is_new", "usual": "usual",
    },
    Episode: {
        "metric": "metric", "state": "state", "since": "since", "opened": "opened", "told": "last_notified",
        "said": "last_notified_verdict", "share": "expected_share", "fell_to": "fell_to", "worst": "worst", "last": "last",
        "recent": "recent", "answers": "answers", "calm_since": "normal_since", "lost": "lost", "gap": "gap_since",
        "gap_told": "gap_notified",
    },
    Member: {
        "metric": "metric", "since": "since", "joined": "joined", "first": "first", "gap": "gap", "until": "until",
        "worst": "worst", "lost": "lost",
    },
    Incident: {
        "id": "id", "opened": "opened", "members": "members", "closed": "closed", "told": "last_notified",
        "reopened": "reopened", "taken": "acknowledged_by", "snoozed": "snoozed_until", "muted": "muted", "label": "label",
        "labelled": "labelled_by", "corrected": "corrected", "cause": "cause", "rarity": "rarity", "similar": "similar",
        "run": "run",
    },
    RootCause: {
        "answer": "answer", "effect": "effect", "slice": "slice", "share": "share", "rest": "rest", "others": "others",
        "experiment": "experiment", "imbalance": "imbalance", "new": "new", "gone": "gone", "attributes": "attributes",
        "overlap": "overlap",
    },
    Segment: {"elements": "elements", "value": "value", "expected": "expected"},
    Rarity: {"same": "same", "beyond": "beyond", "weeks": "weeks", "times": "times"},
    SimilarIncident: {"at": "at", "label": "label", "url": "url", "off": "off"},
    Message: {
        "key": "key", "kind": "kind", "metric": "metric", "bucket": "bucket", "text": "text", "photo": "photo",
        "reply_to": "reply_to", "edits": "edits", "incident": "incident", "quiet": "quiet", "buttons": "buttons",
    },
    Button: {"text": "text", "action": "action"},
    ThreadMessage: {
        "key": "key", "kind": "kind", "text": "text", "state": "state", "created": "created", "reply_to": "reply_to",
        "edits": "edits", "reason": "reason", "changed": "changed", "buttons": "buttons",
    },
    Arrival: {"query": "query", "at": "at", "bucket": "bucket", "rows": "rows", "newest": "newest"},
    Silence: {"scope": "scope", "start": "start", "until": "until", "why": "why", "by": "by", "id": "id"},
    Run: {"started": "started", "at": "at", "ended": "ended", "well": "ok", "said": "outcome"},
}  # fmt: skip
# Names that an older version stored, and that are ignored: their values are not needed any more.
GONE: dict[type[Any], frozenset[str]] = {Episode: frozenset({"calm"})}
# Fields that are not stored, on purpose.
UNSTORED: dict[type[Any], frozenset[str]] = {Message: frozenset({"critical"})}
# Stored value -> member.
VALUES: dict[type[StrEnum], dict[str, StrEnum]] = {
    Status: {
        "normal": Status.NORMAL, "anomalous": Status.ANOMALOUS, "missing": Status.MISSING, "unknown": Status.UNKNOWN,
    },
    EpisodeState: {
        "ok": EpisodeState.OK, "pending": EpisodeState.PENDING, "firing": EpisodeState.FIRING,
        "recovering": EpisodeState.RECOVERING,
    },
    EventKind: {
        "opened": EventKind.OPENED, "worsened": EventKind.WORSENED, "reminder": EventKind.REMINDER,
        "resolved": EventKind.RESOLVED, "no data": EventKind.NO_DATA, "data back": EventKind.DATA_BACK,
        "corrected": EventKind.CORRECTED, "cause": EventKind.CAUSE, "taken": EventKind.TAKEN, "silenced": EventKind.SILENCED,
        "labelled": EventKind.LABELLED, "run failed": EventKind.RUN_FAILED, "caught up": EventKind.CAUGHT_UP,
        "digest": EventKind.DIGEST, "daily": EventKind.DAILY,
    },
    Label: {
        "real": Label.REAL, "false alarm": Label.FALSE_ALARM, "expected": Label.EXPECTED, "new trend": Label.NEW_TREND,
    },
    Action: {
        "take": Action.TAKE, "snooze": Action.SNOOZE, "mute": Action.MUTE, "real": Action.REAL, "false": Action.FALSE_ALARM,
        "expected": Action.EXPECTED, "trend": Action.NEW_TREND,
    },
}  # fmt: skip
_STORED_VALUES = {kind: {member: value for value, member in values.items()} for kind, values in VALUES.items()}


def iso(at: datetime | None) -> str:
    """Return ISO text in UTC, which sorts as time does; "" for None. Raises ValueError for a time without zone."""
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: times are aware UTC")
    return at.astimezone(UTC).isoformat()


# Writing


def to_row(record: Any) -> tuple[Any, ...]:
    """Return the values of the record's columns, a tuple as JSON. Raises StoreError for a class that STORED does not describe."""
    values = [getattr(record, field) for field in _field_names(record.__class__).values()]
    return tuple(to_json(value) if isinstance(value, tuple) else plain(value) for value in values)


def to_json(value: Any) -> str:
    return json.dumps(plain(value), separators=(",", ":"))


def verdict_row(v: Verdict) -> tuple[Any, ...]:
    """Return the same as `to_row`, faster: a run has thousands of verdicts. Values may be numpy's; SQLite stores NaN as NULL."""
    numbers = map(float, (v.value, v.low, v.expected, v.high, v.score))
    return (v.metric, iso(v.bucket), plain(v.status), *numbers, v.reason, v.is_new, float(v.usual))


def plain(value: Any) -> Any:
    """The value as JSON and SQLite have it: times as ISO text, members as their stored values, NaN as None, infinity as text."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        return value if isfinite(value) else None if isnan(value) else str(value)
    if isinstance(value, datetime):
        return iso(value)
    if kind in _STORED_VALUES:
        return _STORED_VALUES[kind][value]
    if is_dataclass(value):
        return {name: plain(getattr(value, field)) for name, field in _field_names(kind).items()}  # type: ignore[arg-type]
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | bytes) else plain(float(value))  # a number of numpy


# Reading: a value that makes no sense raises ValueError, KeyError, TypeError or AttributeError


def from_row(kind: type[T]) -> Callable[..., T]:
    """Return a function that makes a record of this class of its columns."""
    return lambda *row: _record(kind, dict(zip(STORED[kind], row, strict=True)))


def from_json(kind: type[T]) -> Callable[[str], T]:
    """Return a function that makes a record of this class of its JSON."""
    return lambda body: _record(kind, json.loads(body))


def enum_member(kind: type[StrEnum], stored: str) -> Any:
    """Return the member with this stored value. Raises ValueError for one that this version does not know."""
    try:
        return VALUES[kind][stored]
    except KeyError:
        raise ValueError(f"{kind.__name__} has no value {stored!r}") from None


def _record(kind: Any, stored: Mapping[str, Any]) -> Any:
    """Make a record. A field that an older version did not store takes its default; an unknown name raises ValueError."""
    readers, values = _readers(kind), {}
    for name, part in stored.items():
        if name in readers:
            field, read = readers[name]
            values[field] = read(part)
        elif name not in GONE.get(kind, ()):
            raise ValueError(f"nothing of {kind.__name__} is stored as {name!r}")
    return kind(**values)


@cache
def _readers(kind: Any) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Stored name -> field, and the function that reads its value."""
    hints = get_type_hints(kind)
    return {name: (field, _reader(hints[field])) for name, field in _field_names(kind).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that makes a value of this type of its stored form."""
    if hint is float:
        return lambda part: float("nan" if part is None else part)
    if get_origin(hint) is tuple:
        each = _reader(get_args(hint)[0])
        return lambda parts: tuple(map(each, json.loads(parts) if isinstance(parts, str) else parts))  # a column has JSON
    if get_args(hint):  # X | None
        some = _reader(get_args(hint)[0])
        return lambda part: None if part is None else some(part)
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_record, hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return partial(enum_member, hint)
    return datetime.fromisoformat if hint is datetime else hint


# The map and the classes


def unmapped(kind: Any) -> Iterator[str]:
    """Yield each difference between the fields of a class and STORED."""
    declared = {field.name for field in fields(kind)}
    named = set(STORED.get(kind, {}).values())
    yield from (
        f"{kind.__name__}.{name} has no stored name" for name in sorted(declared - named - UNSTORED.get(kind, frozenset()))
    )
    yield from (f"{kind.__name__} has no field {name}" for name in sorted(named - declared))


@cache
def _field_names(kind: Any) -> dict[str, str]:
    """Stored name -> field. Raises StoreError when STORED does not fit the class."""
    if wrong := list(unmapped(kind)):
        raise StoreError(f"{'; '.join(wrong)}: see STORED in the store's codec")
    return STORED[kind]
