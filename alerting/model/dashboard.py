"""Links to a dashboard: a template of a URL, filled in with the metric, the time and the segment of an incident."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from string import Formatter
from urllib.parse import quote

from alerting.model.incident import spell_segment

FIELDS = ("start", "end", "metric", "segment", "slice")
ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
FORM = "a URL with no other braces than {start}, {end}, {metric}, {segment} and {slice}"


class LinkTime(datetime):
    """A time in a link: {start} is 2026-11-20T12:00:00Z, {start:ms} and {start:s} are milliseconds and seconds since 1970."""

    def __format__(self, form: str) -> str:
        if form not in ("", "s", "ms"):
            raise ValueError(f"{form!r}: a time is written as {{start}}, {{start:ms}} or {{start:s}}")
        seconds = int(self.timestamp())
        return str(seconds * (1000 if form == "ms" else 1)) if form else quote(f"{self.isoformat()[:19]}Z")


class LinkSegment(dict[str, list[str]]):
    """Attribute -> values in a link: {segment} is os=iOS&source=ads, {segment:var-} is var-os=iOS&var-source=ads."""

    def __format__(self, prefix: str) -> str:
        return "&".join(f"{prefix}{quote(name)}={quote(value, safe='')}" for name, values in self.items() for value in values)


def check_template(template: str) -> None:
    """Raise ValueError for a template with other braces than those of `FIELDS`."""
    try:
        parts = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(template) if name is not None]
        if any(name not in FIELDS or conversion or (form and name in ("metric", "slice")) for name, form, conversion in parts):
            raise ValueError
        dashboard_link(template, "", ANY_TIME, ANY_TIME)
    except (KeyError, ValueError):
        raise ValueError(FORM) from None


def dashboard_link(
    template: str, metric: str, start: datetime, end: datetime, elements: Iterable[Iterable[tuple[str, str]]] = ()
) -> str:
    """Return the link. `start`, `end`: aware UTC. `elements`: conjunctions of (attribute, value), several for a set of segments.

    Raises ValueError for a template that `check_template` refuses.
    """
    conjunctions = [tuple(pairs) for pairs in elements]
    segment = LinkSegment()
    for name, value in dict.fromkeys(pair for pairs in conjunctions for pair in pairs):
        segment.setdefault(name, []).append(value)
    return template.format(
        metric=quote(metric, safe=""),
        start=LinkTime.fromtimestamp(start.timestamp(), start.tzinfo),
        end=LinkTime.fromtimestamp(end.timestamp(), end.tzinfo),
        segment=segment,
        slice=quote(spell_segment(conjunctions, space=""), safe=""),
    )
