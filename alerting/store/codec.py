"""Nouns <-> rows. Times are ISO text in UTC, NaN is NULL; what grows is plain JSON, so that a new field needs no migration.

STORED says under which name each field is stored. A field that is renamed changes the right side of its line only: the left side
is what lies in people's databases. The annotations of a noun say how its values are read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from math import isfinite, isnan
from typing import Any, get_args, get_origin, get_type_hints

from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member, Rarity, RootCause, Segment, SimilarIncident
from alerting.model.message import Action, Button, Message
from alerting.model.metric import Silence
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict

# Stored name -> attribute. Of Verdict, Message, Arrival, Silence and Run the names are columns, in the order of their tables.
STORED: dict[type[Any], dict[str, str]] = {
    Verdict: {
        "metric": "metric",
        "bucket": "bucket",
        "status": "status",
        "value": "value",
        "low": "low",
        "expected": "expected",
        "high": "high",
        "score": "score",
        "reason": "reason",
        "news": "is_new",
        "usual": "usual",
    },
    Episode: {
        "metric": "metric",
        "state": "state",
        "since": "since",
        "opened": "opened",
        "told": "last_notified",
        "said": "last_notified_verdict",
        "share": "expected_share",
        "fell_to": "fell_to",
        "worst": "worst",
        "last": "last",
        "recent": "recent",
        "answers": "answers",
        "calm_since": "normal_since",
        "lost": "lost",
        "gap": "gap_since",
        "gap_told": "gap_notified",
    },
    Member: {
        "metric": "metric",
        "since": "since",
        "joined": "joined",
        "first": "first",
        "gap": "gap",
        "until": "until",
        "worst": "worst",
        "lost": "lost",
    },
    Incident: {
        "id": "id",
        "opened": "opened",
        "members": "members",
        "closed": "closed",
        "told": "last_notified",
        "reopened": "reopened",
        "taken": "acknowledged_by",
        "snoozed": "snoozed_until",
        "muted": "muted",
        "label": "label",
        "labelled": "labelled_by",
        "corrected": "corrected",
        "cause": "cause",
        "rarity": "rarity",
        "similar": "similar",
        "run": "run",
    },
    RootCause: {
        "answer": "answer",
        "effect": "effect",
        "slice": "slice",
        "share": "share",
        "rest": "rest",
        "others": "others",
        "experiment": "experiment",
        "imbalance": "imbalance",
        "new": "new",
        "gone": "gone",
        "attributes": "attributes",
        "overlap": "overlap",
    },
    Segment: {
        "elements": "elements",
        "value": "value",
        "expected": "expected",
    },
    Rarity: {
        "same": "same",
        "beyond": "beyond",
        "weeks": "weeks",
        "times": "times",
    },
    SimilarIncident: {
        "at": "at",
        "label": "label",
        "url": "url",
        "off": "off",
    },
    Message: {
        "key": "key",
        "kind": "kind",
        "metric": "metric",
        "bucket": "bucket",
        "text": "text",
        "photo": "photo",
        "reply_to": "reply_to",
        "edits": "edits",
        "incident": "incident",
        "quiet": "quiet",
        "buttons": "buttons",
    },
    Button: {
        "text": "text",
        "action": "action",
    },
    Arrival: {
        "query": "query",
        "at": "at",
        "bucket": "bucket",
        "rows": "rows",
        "newest": "newest",
    },
    Silence: {
        "scope": "scope",
        "start": "start",
        "until": "until",
        "why": "why",
        "by": "by",
        "id": "id",
    },
    Run: {
        "started": "started",
        "at": "at",
        "ended": "ended",
        "well": "ok",
        "said": "outcome",
    },
}
# Names that an older version stored and that are gone: what they say is not needed any more.
GONE: dict[type[Any], frozenset[str]] = {Episode: frozenset({"calm"})}
# Fields that are not stored, on purpose.
UNSTORED: dict[type[Any], frozenset[str]] = {Message: frozenset({"critical"})}
# Stored value -> member.
VALUES: dict[type[StrEnum], dict[str, StrEnum]] = {
    Status: {
        "normal": Status.NORMAL,
        "anomalous": Status.ANOMALOUS,
        "missing": Status.MISSING,
        "unknown": Status.UNKNOWN,
    },
    EpisodeState: {
        "ok": EpisodeState.OK,
        "pending": EpisodeState.PENDING,
        "firing": EpisodeState.FIRING,
        "recovering": EpisodeState.RECOVERING,
    },
    EventKind: {
        "opened": EventKind.OPENED,
        "worsened": EventKind.WORSENED,
        "reminder": EventKind.REMINDER,
        "resolved": EventKind.RESOLVED,
        "no data": EventKind.NO_DATA,
        "data back": EventKind.DATA_BACK,
        "corrected": EventKind.CORRECTED,
        "cause": EventKind.CAUSE,
        "taken": EventKind.TAKEN,
        "silenced": EventKind.SILENCED,
        "labelled": EventKind.LABELLED,
        "run failed": EventKind.RUN_FAILED,
        "caught up": EventKind.CAUGHT_UP,
        "digest": EventKind.DIGEST,
        "daily": EventKind.DAILY,
    },
    Label: {
        "real": Label.REAL,
        "false alarm": Label.FALSE_ALARM,
        "expected": Label.EXPECTED,
        "new trend": Label.NEW_TREND,
    },
    Action: {
        "take": Action.TAKE,
        "snooze": Action.SNOOZE,
        "mute": Action.MUTE,
        "real": Action.REAL,
        "false": Action.FALSE_ALARM,
        "expected": Action.EXPECTED,
        "trend": Action.NEW_TREND,
    },
}
_WRITTEN = {kind: {member: value for value, member in values.items()} for kind, values in VALUES.items()}

VERDICT, MESSAGE, ARRIVAL, SILENCE, RUN = (tuple(STORED[noun]) for noun in (Verdict, Message, Arrival, Silence, Run))


def iso(at: datetime | None) -> str:
    """Text that sorts as time does; "" for none. Raises ValueError for a time without zone."""
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: times are aware UTC")
    return at.astimezone(UTC).isoformat()


def of(noun: Any) -> tuple[Any, ...]:
    """The noun's columns."""
    return tuple(_plain(getattr(noun, attribute)) for attribute in _attributes(noun.__class__).values())


def of_verdict(v: Verdict) -> tuple[Any, ...]:
    numbers = map(float, (v.value, v.low, v.expected, v.high, v.score))
    return (v.metric, iso(v.bucket), _plain(v.status), *numbers, v.reason, v.is_new, float(v.usual))


def of_episode(e: Episode) -> tuple[Any, ...]:
    return e.metric, _plain(e.state), _body(e)


def of_trail(step: tuple[datetime, Episode]) -> tuple[Any, ...]:
    return step[1].metric, iso(step[0]), _body(step[1])


def of_incident(i: Incident) -> tuple[Any, ...]:
    return i.id, iso(i.opened), iso(i.closed), _body(i)


def of_message(m: Message) -> tuple[Any, ...]:
    return (*of(m)[:-1], buttons(m))


def buttons(m: Message) -> str:
    return _body(m.buttons)


def buttons_of(body: str) -> tuple[tuple[Button, ...], ...]:
    """What `buttons` has made of it."""
    return tuple(tuple(_read(Button, button) for button in row) for row in json.loads(body))


def message(*row: Any) -> Message:
    found: Message = _from_row(Message, *row[:-1], json.loads(row[-1]))
    return found


def value(kind: type[StrEnum], stored: str) -> Any:
    """The member that is stored like that. Raises ValueError for one that this version does not know."""
    try:
        return VALUES[kind][stored]
    except KeyError:
        raise ValueError(f"{kind.__name__} has no value {stored!r}") from None


def _from_row(noun: Any, *row: Any) -> Any:
    return _read(noun, dict(zip(_attributes(noun), row, strict=True)))


def _from_body(noun: Any, body: str) -> Any:
    return _read(noun, json.loads(body))


verdict: Callable[..., Verdict] = partial(_from_row, Verdict)
arrival: Callable[..., Arrival] = partial(_from_row, Arrival)
silence: Callable[..., Silence] = partial(_from_row, Silence)
run: Callable[..., Run] = partial(_from_row, Run)
episode: Callable[..., Episode] = partial(_from_body, Episode)
incident: Callable[..., Incident] = partial(_from_body, Incident)


def unmapped(noun: Any) -> Iterator[str]:
    """What STORED does not say of a class that is stored, or says wrongly."""
    known = {field.name for field in fields(noun)}
    named = set(STORED.get(noun, {}).values())
    yield from (f"{noun.__name__}.{name} has no stored name" for name in sorted(known - named - UNSTORED.get(noun, frozenset())))
    yield from (f"{noun.__name__} has no field {name}" for name in sorted(named - known))


@cache
def _attributes(noun: Any) -> dict[str, str]:
    """Stored name -> attribute. Raises StoreError when the map does not fit the class."""
    if wrong := list(unmapped(noun)):
        raise StoreError(f"{'; '.join(wrong)}: see STORED in the store's codec")
    return STORED[noun]


def _read(noun: Any, stored: Mapping[str, Any]) -> Any:
    """A field that an older version did not store takes its default. Raises ValueError for a name that is not known."""
    readers, found = _readers(noun), {}
    for name, part in stored.items():
        if name in readers:
            attribute, read = readers[name]
            found[attribute] = read(part)
        elif name not in GONE.get(noun, ()):
            raise ValueError(f"nothing of {noun.__name__} is stored as {name!r}")
    return noun(**found)


@cache
def _readers(noun: Any) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    hints = get_type_hints(noun)
    return {name: (attribute, _reader(hints[attribute])) for name, attribute in _attributes(noun).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    """What makes a value of this type of its part of a row or a body."""
    if hint is float:
        return lambda part: float("nan" if part is None else part)
    if get_origin(hint) is tuple:
        each = _reader(get_args(hint)[0])
        return lambda parts: tuple(map(each, parts))
    if get_args(hint):  # or None
        some = _reader(get_args(hint)[0])
        return lambda part: None if part is None else some(part)
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_read, hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return partial(value, hint)
    return datetime.fromisoformat if hint is datetime else hint


def _body(part: Any) -> str:
    return json.dumps(_plain(part), separators=(",", ":"))


def _plain(part: Any) -> Any:
    """As JSON has it: NaN null, infinity a string, times ISO."""
    kind = type(part)
    if kind is str or kind is int or part is None or kind is bool:
        return part
    if kind is float:
        return part if isfinite(part) else None if isnan(part) else str(part)
    if kind is datetime:
        return iso(part)
    if kind in _WRITTEN:
        return _WRITTEN[kind][part]
    if is_dataclass(part):
        return {name: _plain(getattr(part, attribute)) for name, attribute in _attributes(kind).items()}  # type: ignore[arg-type]
    if isinstance(part, tuple | list):
        return [_plain(item) for item in part]
    if isinstance(part, datetime):
        return iso(part)
    return part if isinstance(part, str | int | bytes) else _plain(float(part))  # numpy's too
