"""A page: its language, time zone, words and template. A content security policy blocks any script but its own."""

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alerting.messages.format import POINT, ClockFormat, segment_words
from alerting.model.clock import offset_if_twice
from alerting.model.metric import SEGMENTS_SUFFIX
from alerting.reporting.sanitize import printable
from alerting.reporting.words import WORDS


class MetricTitle(NamedTuple):
    """The title of a metric, and what else a page shows of the catalogue. `form`: as `Metric.form`."""

    words: str
    form: str = "number"
    step: int = 0  # seconds between two buckets; 0: unknown
    code: str = ""  # source of the entry


@dataclass(frozen=True)
class PageContext:
    """The language and time zone of the readers, the moment of writing (aware UTC), and metric -> title."""

    language: str
    zone: str
    now: datetime
    titles: dict[str, MetricTitle] = field(default_factory=dict)

    def text(self, key: str, **values: object) -> str:
        """Return the words for `key` in the language of the readers."""
        return WORDS[self.language][key].format(**values)

    def metric(self, name: str) -> MetricTitle:
        """Return the title of a metric; for a stand-in, the title of the metric whose segments it watches."""
        name = name.removesuffix(SEGMENTS_SUFFIX)
        return self.titles.get(name, MetricTitle(name))

    def title(self, name: str, segment: str = "") -> str:
        """Return the title of a metric. The title of a stand-in includes its segment, if it has one."""
        title = self.metric(name).words
        if segment:
            return f"{title} ({segment_words(segment, self.language)})"
        return self.text("segments of", metric=title) if name.endswith(SEGMENTS_SUFFIX) else title

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))

    def time(self, instant: datetime) -> str:
        """Format an instant in local time: 2026-11-25 10:15"""
        local = self.local(instant)
        return f"{local:%Y-%m-%d %H:%M} {offset_if_twice(local)}".rstrip()

    def moment(self, instant: datetime) -> str:
        """Format an instant in local time for a narrow column: 10:15, or Mon 10:15, or 12 Oct 10:15."""
        return ClockFormat(self.language, self.zone, self.now).at(instant, self.now)

    def seconds(self, count: float) -> str:
        """Format a duration: 1.5 s"""
        return self.text("seconds", count=f"{count:.1f}".replace(".", POINT[self.language]))

    def wall_time(self, instant: datetime) -> int:
        """Return the local time as if it were UTC, in seconds since 1970: the filter compares it with local dates."""
        return int(self.local(instant).replace(tzinfo=UTC).timestamp())


def render(template: str, page: PageContext, **values: object) -> str:
    """Return the HTML of `templates/TEMPLATE.html.j2`. The template sees `values`, `page`, and `text` for the words of the page.

    Every value is escaped, unless it is `Markup`; unprintable characters are replaced.
    """
    html = _environment().get_template(f"{template}.html.j2").render(values, page=page, text=page.text)
    return printable(html).replace("&#34;", "&quot;").replace("&#39;", "&#x27;")  # the encodings that `redact` searches for


@cache
def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("alerting.reporting", "templates"), PackageLoader("alerting.reporting", "static")])
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **options)
    for name, file in (("style", "style.css"), ("filter_script", "filter.js")):
        code = loader.get_source(environment, file)[0]
        # The policy contains the hash of each inlined style and script.
        sha = b64encode(sha256(code.encode()).digest()).decode()
        environment.globals.update({name: Markup(code), f"{name}_hash": f"sha256-{sha}"})
    return environment
