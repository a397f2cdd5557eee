"""Nouns <-> rows. Times are ISO text in UTC, NaN is NULL, an episode is plain JSON (so that a new field needs no migration)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Any

from alerting.model import Episode, Kind, Message, State, Status, Verdict

VERDICT = ("metric", "bucket", "status", "value", "low", "expected", "high", "score", "reason", "news", "usual")
NUMBERS = (*VERDICT[3:8], "usual")
EPISODE = {field.name: str(field.type) for field in fields(Episode)}  # the annotations say how to read a value back


def iso(at: datetime | None) -> str:
    """Text that sorts as time does; "" for none. Raises ValueError for a time without zone."""
    if at is None:
        return ""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: times are aware UTC")
    return at.astimezone(UTC).isoformat()


def of_verdict(v: Verdict) -> tuple[Any, ...]:
    return (v.metric, iso(v.bucket), v.status, *(float(getattr(v, name)) for name in NUMBERS[:-1]), v.reason, v.news, v.usual)


def of_episode(e: Episode) -> tuple[Any, ...]:
    return e.metric, e.state, json.dumps(_plain(asdict(e)), separators=(",", ":"))


def of_message(m: Message) -> tuple[Any, ...]:
    return m.key, m.kind, m.metric, iso(m.bucket), m.text, m.photo, m.reply_to


def verdict(*row: Any) -> Verdict:
    return _verdict(dict(zip(VERDICT, row, strict=True)))


def message(key: str, kind: str, metric: str, bucket: str, text: str, photo: bytes | None, reply_to: str) -> Message:
    return Message(key, Kind(kind), metric, datetime.fromisoformat(bucket), text, photo, reply_to)


def episode(body: str) -> Episode:
    """Also from a body with fewer or more fields than this version knows."""
    told = json.loads(body)
    return Episode(**{name: _field(kind, told[name]) for name, kind in EPISODE.items() if name in told})


def _field(kind: str, part: Any) -> Any:
    if kind == "float":
        return float("nan" if part is None else part)
    reading: dict[str, Callable[[Any], Any]] = {"State": State, "datetime": datetime.fromisoformat, "Verdict": _verdict}
    read = reading.get(kind.removesuffix(" | None"))
    return read(part) if read and part is not None else part


def _verdict(told: Mapping[str, Any]) -> Verdict:
    numbers = {name: float("nan" if told[name] is None else told[name]) for name in NUMBERS}
    bucket, status = datetime.fromisoformat(told["bucket"]), Status(told["status"])
    return Verdict(told["metric"], bucket, status, **numbers, reason=told["reason"], news=bool(told["news"]))


def _plain(part: Any) -> Any:
    """As JSON has it: NaN null, infinity a string, times ISO."""
    if isinstance(part, dict):
        return {name: _plain(value) for name, value in part.items()}
    if isinstance(part, datetime):
        return iso(part)
    if part is None or isinstance(part, str | int):
        return part
    number = float(part)  # numpy's too
    return None if isnan(number) else number if isfinite(number) else str(number)
