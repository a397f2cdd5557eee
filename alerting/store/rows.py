"""Nouns <-> rows. Times are ISO text in UTC, NaN is NULL; what grows is plain JSON, so that a new field needs no migration.

The annotations of a noun say how its values are read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache, partial
from math import isfinite, isnan
from typing import Any, get_args, get_origin, get_type_hints

from alerting.model import Arrival, Episode, Incident, Message, Run, Silence, Verdict

VERDICT = ("metric", "bucket", "status", "value", "low", "expected", "high", "score", "reason", "news", "usual")
NUMBERS = VERDICT[3:8]
MESSAGE = ("key", "kind", "metric", "bucket", "text", "photo", "reply_to", "edits", "incident", "quiet", "buttons")
ARRIVAL = ("query", "at", "bucket", "rows", "newest")
SILENCE = ("scope", "start", "until", "why", "by", "id")
RUN = ("started", "at", "ended", "well", "said")


def iso(at: datetime | None) -> str:
    """Text that sorts as time does; "" for none. Raises ValueError for a time without zone."""
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: times are aware UTC")
    return at.astimezone(UTC).isoformat()


def of(noun: Any, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(_plain(getattr(noun, name)) for name in names)


def of_verdict(v: Verdict) -> tuple[Any, ...]:
    return (v.metric, iso(v.bucket), v.status, *(float(getattr(v, name)) for name in NUMBERS), v.reason, v.news, float(v.usual))


def of_episode(e: Episode) -> tuple[Any, ...]:
    return e.metric, e.state, _body(e)


def of_trail(step: tuple[datetime, Episode]) -> tuple[Any, ...]:
    return step[1].metric, iso(step[0]), _body(step[1])


def of_incident(i: Incident) -> tuple[Any, ...]:
    return i.id, iso(i.opened), iso(i.closed), _body(i)


def of_message(m: Message) -> tuple[Any, ...]:
    return (*of(m, MESSAGE[:-1]), buttons(m))


def buttons(m: Message) -> str:
    return _body(m.buttons)


def message(*row: Any) -> Message:
    found: Message = _from_row(Message, MESSAGE, *row[:-1], json.loads(row[-1]))
    return found


def _from_row(noun: Any, names: Iterable[str], *row: Any) -> Any:
    return _read(noun, dict(zip(names, row, strict=True)))


def _from_body(noun: Any, body: str) -> Any:
    return _read(noun, json.loads(body))


verdict: Callable[..., Verdict] = partial(_from_row, Verdict, VERDICT)
arrival: Callable[..., Arrival] = partial(_from_row, Arrival, ARRIVAL)
silence: Callable[..., Silence] = partial(_from_row, Silence, SILENCE)
run: Callable[..., Run] = partial(_from_row, Run, RUN)
episode: Callable[..., Episode] = partial(_from_body, Episode)
incident: Callable[..., Incident] = partial(_from_body, Incident)


def _read(noun: Any, told: Mapping[str, Any]) -> Any:
    """Also from fewer or more fields than this version knows."""
    return noun(**{name: read(told[name]) for name, read in _readers(noun).items() if name in told})


@cache
def _readers(noun: Any) -> dict[str, Callable[[Any], Any]]:
    return {name: _reader(hint) for name, hint in get_type_hints(noun).items()}


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
    if is_dataclass(part):
        return {name: _plain(getattr(part, name)) for name in _names(kind)}  # type: ignore[arg-type]
    if isinstance(part, tuple | list):
        return [_plain(item) for item in part]
    if isinstance(part, datetime):
        return iso(part)
    return part if isinstance(part, str | int | bytes) else _plain(float(part))  # numpy's too


@cache
def _names(noun: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(noun))
