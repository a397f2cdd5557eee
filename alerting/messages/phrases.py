"""The lines and pieces of lines that the texts are made of. Each is empty when it has nothing to say."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import accumulate

from alerting.messages.numbers import NAN, Numbers, change, off
from alerting.messages.times import Clock, duration, elapsed
from alerting.messages.words import WORDS, plural
from alerting.model import Event, Metric, Status, Verdict

TITLE, REASON, PATH, URL = 60, 300, 300, 900  # characters kept of each (escaped), so that a text stays under Telegram's 4096
NAMED = 6  # metrics named in one line
LATE = timedelta(minutes=30)  # a text is late when its bucket ended longer ago than this, and than two steps


@dataclass(frozen=True)
class Reader:
    """Whom a run writes to, when and where: the same for all its messages."""

    language: str  # en | ru
    zone: str  # IANA name: all times are written in its local time
    now: datetime  # aware
    run: str = ""  # the saved run: URL, or path
    owner: str = ""  # mentioned for metrics that name no owner

    @property
    def clock(self) -> Clock:
        return Clock(self.zone, self.language, self.now)

    def say(self, key: str, **pieces: object) -> str:
        return WORDS[self.language][key].format(**pieces)


@dataclass(frozen=True)
class Context:
    """What an event's text needs beyond the event. What is unknown (NaN, None, empty) is not mentioned."""

    metric: Metric
    reader: Reader
    yesterday: float = NAN  # value at the same local time the day before
    week_ago: float = NAN  # and seven days before
    dashboard: str = ""  # URL, filled in
    table: str = ""  # the source table
    newest: datetime | None = None  # instant of its newest row
    others: tuple[str, ...] = ()  # titles of the metrics that are normal now


@dataclass(frozen=True)
class Phrases:
    """What can be said of one event to one reader."""

    event: Event
    context: Context

    @property
    def title(self) -> str:
        metric = self.context.metric
        return plain(metric.title.get(self.language) or metric.title.get("en") or metric.name, TITLE)

    @property
    def language(self) -> str:
        return self.context.reader.language

    @property
    def end(self) -> datetime:
        return self.event.bucket + self.context.metric.step

    @property
    def gap(self) -> datetime:
        """The first missing bucket."""
        return self.event.episode.gap or self.event.bucket

    def say(self, key: str, **pieces: object) -> str:
        return self.context.reader.say(key, title=self.title, **pieces)

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        return self.context.reader.clock.at(instant, near or self.context.reader.now)

    def when(self) -> str:
        return self.context.reader.clock.span(self.event.bucket, self.end)

    def lasted(self, start: datetime | None, end: datetime | None = None) -> str:
        """True time from `start` to `end`, or to the end of the event's bucket."""
        return duration(elapsed(start, end or self.end), self.language) if start else ""

    def buckets(self, start: datetime, end: datetime) -> str:
        return plural(round(elapsed(start, end) / self.context.metric.step), "bucket", self.language)

    def off(self, verdict: Verdict) -> str:
        return off(verdict, self.context.metric.form, self.language)

    def bucket(self, *more: str) -> str:
        """Mon 17:00–17:15: 1,240 · expected 2,020 (1,930–2,110) · −780"""
        facts = dots(self.facts(self.event.verdict), *more)
        return capital(f"{self.when()}: {facts}") if facts else ""

    def facts(self, verdict: Verdict) -> str:
        """1,240 · expected 2,020 (1,930–2,110) · −780"""
        n = self.numbers(verdict)
        odd = verdict.status is Status.ANOMALOUS and verdict.value and verdict.expected
        difference = n.difference(verdict.value - verdict.expected) if odd else ""
        value = n.value(verdict.value)
        return dots(value and f"<b>{value}</b>", self.expected(verdict), difference)

    def expected(self, verdict: Verdict) -> str:
        n = self.numbers(verdict)
        expected, edges = n.value(verdict.expected), n.range(verdict.low, verdict.high)
        value = f"{expected} ({edges})" if edges not in ("", expected) else expected
        return self.say("expected", value=value) if expected else ""

    def before(self) -> str:
        """Yesterday 2,015 · a week ago 1,960"""
        n = self.numbers(self.event.verdict)
        past = {"yesterday": n.value(self.context.yesterday), "week ago": n.value(self.context.week_ago)}
        return capital(dots(*(self.say(key, value=value) for key, value in past.items() if value)))

    def farthest(self) -> str:
        """deepest −52 % (15:30: 960, expected 2,000); empty when the event's own bucket is the farthest."""
        worst = self.event.episode.worst
        if worst is None or worst.bucket == self.event.bucket:
            return ""
        n = self.numbers(worst)
        expected = n.value(worst.expected)
        facts = n.value(worst.value) + (", " + self.say("expected", value=expected) if expected else "")
        share = change(worst, self.language)
        key = ("deepest" if worst.value < worst.expected else "highest") if share else "farthest"
        return self.say(key, change=share, at=self.at(worst.bucket, near=self.event.bucket), facts=facts)

    def state(self, verdict: Verdict) -> str:
        """normal · −38 % · too little history to judge"""
        share = change(verdict, self.language) if verdict.status is Status.ANOMALOUS else ""
        return share or self.say(verdict.status.value)

    def last_value(self) -> str:
        last = self.event.episode.last
        value = self.numbers(last).value(last.value) if last else ""
        return self.say("last value", value=value, at=self.at(last.bucket), state=self.state(last)) if last and value else ""

    def has_rows(self) -> bool:
        """The source has rows of the gap's time, so it is the value that cannot be made of them."""
        return self.context.newest is not None and self.gap <= self.context.newest < self.end

    def source(self) -> str:
        """feed_actions: newest row 12:09, 36 min ago"""
        table, newest, reader = plain(self.context.table, TITLE), self.context.newest, self.context.reader
        if not table or newest is None:
            return table and self.say("table", table=table)
        if self.has_rows():
            return self.say("rows, no value", table=table, at=self.at(newest))
        ago = duration(elapsed(newest, reader.now), reader.language)
        return self.say("newest" if newest <= reader.now else "newest, ahead", table=table, at=self.at(newest), ago=ago)

    def told_late(self) -> str:
        late = elapsed(self.end, self.context.reader.now)
        usual = max(LATE, 2 * self.context.metric.step)
        return self.say("told late", late=duration(late, self.language)) if late > usual else ""

    def numbers(self, verdict: Verdict) -> Numbers:
        return Numbers.of(self.context.metric.form, self.language, verdict)


def links(reader: Reader, dashboard: str = "", owner: str = "") -> list[str]:
    """Dashboard · Run · @duty; what is not a web address stands on a line of its own, to be copied."""
    places = {"dashboard": dashboard, "run": reader.run}
    web = [f'<a href="{escape(url)}">{reader.say(key)}</a>' for key, url in places.items() if _is_web(url)]
    rest = [f"{reader.say(key)} <code>{plain(path, PATH)}</code>" for key, path in places.items() if path and not _is_web(path)]
    return [dots(*web, plain(owner, TITLE)), *rest]


def names(titles: tuple[str, ...], language: str) -> str:
    """Likes, Views, 4 more"""
    shown = [plain(title, TITLE) for title in titles[:NAMED]]
    more = len(titles) - len(shown)
    return ", ".join([*shown, WORDS[language]["more"].format(count=more)] if more else shown)


def plain(text: str, limit: int) -> str:
    """`text` from data: one line, nothing unprintable (nor a lone surrogate), at most `limit` characters once escaped."""
    line = "".join(c for c in " ".join(text[: 10 * limit].split()) if c.isprintable())
    ends = list(accumulate(len(escape(c, quote=False)) for c in line))
    fits = bisect_right(ends, limit)
    return escape(line if fits == len(line) else line[: bisect_right(ends, limit - 1)].rstrip() + "…", quote=False)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def dots(*pieces: str) -> str:
    return " · ".join(piece for piece in pieces if piece)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://")) and len(escape(url)) <= URL and url.isprintable() and " " not in url
