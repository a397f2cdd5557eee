"""The tables of the state database, and the conversion of records of `alerting.model` to rows and JSON, and back.

Times are ISO text in UTC, NaN is NULL. Records that get new fields in new versions are JSON, so that no migration is needed.

STORED gives the stored name of each field. To rename a field, write its new name after the stored one, as in
`told=last_notified`: the left side is in the databases of users. The type hints of a class determine how its values are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from math import isfinite, isnan
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member, Rarity, RootCause, Segment, SimilarIncident
from alerting.model.message import Action, Button, Message, ThreadMessage
from alerting.model.metric import Silence
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict

T = TypeVar("T")
LATER = "later than any time"  # sorts after every ISO time
SQL_TYPES = (str, int, float, bytes, type(None))  # SQLite takes them as they are


MIGRATIONS = (  # statements from each version of the schema to the next; never edit one that was released
    (
        """CREATE TABLE verdicts (metric TEXT, bucket TEXT, status TEXT NOT NULL, value REAL, low REAL, expected REAL, high REAL,
           score REAL, reason TEXT NOT NULL, news INTEGER NOT NULL, usual REAL, PRIMARY KEY (metric, bucket)) WITHOUT ROWID""",
        "CREATE TABLE episodes (metric TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE messages (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, metric TEXT NOT NULL,
           bucket TEXT NOT NULL, text TEXT NOT NULL, photo BLOB, reply_to TEXT NOT NULL,
           state TEXT NOT NULL DEFAULT 'waiting', due TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
           reason TEXT NOT NULL DEFAULT '', message_id TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX outbox ON messages (id) WHERE state = 'waiting'",
    ),
    (
        "ALTER TABLE messages ADD COLUMN edits TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN incident TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE messages ADD COLUMN buttons TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE messages ADD COLUMN created TEXT NOT NULL DEFAULT ''",
        "UPDATE messages SET created = bucket",
        "CREATE INDEX edited ON messages (edits) WHERE edits <> ''",
        "CREATE TABLE incidents (id TEXT PRIMARY KEY, opened TEXT NOT NULL, closed TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE trail (metric TEXT, bucket TEXT, body TEXT NOT NULL, PRIMARY KEY (metric, bucket))",
        """CREATE TABLE arrivals (query TEXT, at TEXT, bucket TEXT NOT NULL, rows REAL, newest TEXT, PRIMARY KEY (query, at))
           WITHOUT ROWID""",
        """CREATE TABLE silences (id INTEGER PRIMARY KEY, scope TEXT NOT NULL, start TEXT NOT NULL, until TEXT NOT NULL,
           why TEXT NOT NULL, by TEXT NOT NULL)""",
        """CREATE TABLE runs (started TEXT PRIMARY KEY, at TEXT NOT NULL, ended TEXT, well INTEGER NOT NULL, said TEXT NOT NULL)
           WITHOUT ROWID""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE histories (key TEXT PRIMARY KEY, query TEXT NOT NULL, step INTEGER NOT NULL, start INTEGER NOT NULL,
           until INTEGER NOT NULL, used TEXT NOT NULL, rebuilt TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE history (key TEXT, page INTEGER, columns TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (key, page))",
        "CREATE TABLE figures (key BLOB PRIMARY KEY, made TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
    ),
    ("ALTER TABLE messages ADD COLUMN critical INTEGER NOT NULL DEFAULT 0",),
    (
        "ALTER TABLE silences ADD COLUMN weekly TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE silences ADD COLUMN zone TEXT NOT NULL DEFAULT 'UTC'",
        "CREATE INDEX held ON messages (id) WHERE state = 'held'",
    ),
)


def _names(text: str) -> dict[str, str]:
    """Return stored name -> field, from words NAME (both are the same) and STORED=FIELD."""
    words = (word.partition("=") for word in text.split())
    return {stored: field or stored for stored, _, field in words}


# For Verdict, Message, Arrival, Silence and Run these are columns, in the order of their tables. For ThreadMessage they are
# columns, too.
STORED: dict[type[Any], dict[str, str]] = {
    Verdict: _names("metric bucket status value low expected high score reason news=is_new usual"),
    Episode: _names(
        "metric state since opened told=last_notified said=last_notified_verdict share=expected_share fell_to worst last recent "
        "answers calm_since=normal_since lost gap=gap_since gap_told=gap_notified back_since resolved "
        "resolved_worst unchecked"
    ),
    Member: _names("metric since joined first gap until worst lost ended notified unannounced"),
    Incident: _names(
        "id opened members closed told=last_notified reopened taken=acknowledged_by snoozed=snoozed_until muted label "
        "labelled=labelled_by corrected unchecked cause rarity similar run"
    ),
    RootCause: _names("answer effect slice share rest others experiment imbalance new gone attributes overlap metric at"),
    Segment: _names("elements value expected"),
    Rarity: _names("same beyond weeks times"),
    SimilarIncident: _names("at label url off"),
    Message: _names("key kind metric bucket text photo reply_to edits incident quiet buttons critical"),
    Button: _names("text action"),
    ThreadMessage: _names("key kind text state created reply_to edits reason changed buttons photo"),
    Arrival: _names("query at bucket rows newest"),
    Silence: _names("scope start until why by id weekly zone"),
    Run: _names("started at ended well=ok said=outcome"),
}
# Names that older versions stored and that are ignored now.
GONE: dict[type[Any], frozenset[str]] = {Episode: frozenset({"calm"})}
# Stored value -> member.
VALUES: dict[type[StrEnum], dict[str, StrEnum]] = {
    kind: {member.value: member for member in kind} for kind in (Status, EpisodeState, EventKind, Label, Action)
}


def iso(at: datetime | None) -> str:
    """Return ISO text in UTC, which sorts by time; "" for None. Raises ValueError for a time without a zone."""
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: times are aware UTC")
    return at.astimezone(UTC).isoformat()


# Writing


def to_row(record: Any) -> tuple[Any, ...]:
    """Return the values of the record's columns: times as ISO text, tuples as JSON. SQLite stores NaN as NULL.

    Raises StoreError for a class that STORED does not describe.
    """
    return tuple(_column(getattr(record, field)) for field, _ in _fields(record.__class__).values())


def _column(value: Any) -> Any:
    if isinstance(value, SQL_TYPES):
        return value
    if isinstance(value, datetime):
        return iso(value)
    return to_json(value) if isinstance(value, tuple) else float(value)  # a number of numpy


def to_json(value: Any) -> str:
    """Return JSON: a record as an object with its stored names, a time as ISO text, NaN as null, infinity as text."""
    return json.dumps(value, default=_json_part, separators=(",", ":"))


def _json_part(value: Any) -> Any:
    """Return what `json` can write for a value that it does not know: a time, a record or a number of numpy."""
    if isinstance(value, datetime):
        return iso(value)
    if not is_dataclass(value):
        return _json_number(float(value))  # a number of numpy
    parts = {name: getattr(value, field) for name, (field, _) in _fields(value.__class__).items()}
    return {name: _json_number(part) if isinstance(part, float) else part for name, part in parts.items()}


def _json_number(number: float) -> float | str | None:
    return number if isfinite(number) else None if isnan(number) else str(number)


# Reading: an invalid value raises ValueError, KeyError, TypeError or AttributeError


def from_row(kind: type[T]) -> Callable[..., T]:
    """Return a function that takes the columns of a row and returns a record of this class."""
    return lambda *row: _record(kind, dict(zip(STORED[kind], row, strict=True)))


def from_json(kind: type[T]) -> Callable[[str], T]:
    """Return a function that takes JSON and returns a record of this class."""
    return lambda body: _record(kind, json.loads(body))


def enum_member(kind: type[StrEnum], stored: str) -> Any:
    """Return the member with this stored value. Raises ValueError for a value that this version does not know."""
    try:
        return VALUES[kind][stored]
    except KeyError:
        raise ValueError(f"{kind.__name__} has no value {stored!r}") from None


def _record(kind: Any, stored: Mapping[str, Any]) -> Any:
    """Return a record. A field that an older version did not store has its default. Raises ValueError for an unknown name."""
    known, values = _fields(kind), {}
    for name, part in stored.items():
        if name in known:
            field, read = known[name]
            values[field] = read(part)
        elif name not in GONE.get(kind, ()):
            raise ValueError(f"nothing of {kind.__name__} is stored as {name!r}")
    return kind(**values)


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that converts a stored value to this type."""
    if get_origin(hint) is UnionType:  # X | None
        read = _reader(get_args(hint)[0])
        return lambda part: None if part is None else read(part)
    if get_origin(hint) is tuple:  # a column holds it as JSON
        read = _reader(get_args(hint)[0])
        return lambda parts: tuple(map(read, json.loads(parts) if isinstance(parts, str) else parts))
    if is_dataclass(hint):
        return partial(_record, hint)
    if hint in VALUES:
        return partial(enum_member, hint)
    if hint is float:
        return lambda part: float("nan" if part is None else part)
    return datetime.fromisoformat if hint is datetime else hint


# Compare STORED with the classes


def unmapped(kind: Any) -> Iterator[str]:
    """Yield each difference between the fields of a class and STORED."""
    declared, named = {field.name for field in fields(kind)}, {*STORED.get(kind, {}).values()}
    yield from (f"{kind.__name__}.{name} has no stored name" for name in sorted(declared - named))
    yield from (f"{kind.__name__} has no field {name}" for name in sorted(named - declared))


@cache
def _fields(kind: Any) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Return stored name -> field, and the function that reads its value. Raises StoreError if STORED does not fit the class."""
    if wrong := list(unmapped(kind)):
        raise StoreError(f"{'; '.join(wrong)}: see STORED in the store's codec")
    hints = get_type_hints(kind)
    return {name: (field, _reader(hints[field])) for name, field in STORED[kind].items()}
