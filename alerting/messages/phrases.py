"""What can be said of one event, a line or a piece of a line each. Empty when it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.messages.context import Context, Part
from alerting.messages.numbers import NAN, Numbers, change, off, times
from alerting.messages.pieces import capital, dots, inside, title_of
from alerting.messages.times import duration, elapsed
from alerting.messages.words import plural
from alerting.model import Episode, Event, Incident, Kind, Member, Status, Verdict

LATE = timedelta(minutes=30)  # a text is late when its bucket ended longer ago than this, and than two steps
CUT = 1000.0  # scores end here: beyond it only the sign says anything
BARELY = 1.05


@dataclass(frozen=True)
class Phrases:
    """What can be said of one event to one reader."""

    event: Event
    context: Context

    @property
    def title(self) -> str:
        return title_of(self.context.metric, self.language)

    @property
    def language(self) -> str:
        return self.context.reader.language

    @property
    def incident(self) -> Incident | None:
        return self.event.incident

    @property
    def member(self) -> Member | None:
        """The event's metric as a part of the incident."""
        known = next((part.member for part in self.context.parts if part.metric.name == self.event.metric), None)
        return (self.incident.member(self.event.metric) if self.incident else None) or known

    @property
    def others(self) -> tuple[Part, ...]:
        """The incident's other members, those that are still off first."""
        others = [part for part in self.context.parts if part.metric.name != self.event.metric]
        return tuple(sorted(others, key=lambda part: part.member.until is not None))

    @property
    def end(self) -> datetime:
        """Of the event's bucket."""
        return self.event.bucket + self.context.metric.step

    @property
    def until(self) -> datetime:
        """End of the newest bucket that the text speaks of."""
        latest = self.context.latest
        return latest.bucket + self.context.metric.step if latest else self.end

    @property
    def gap(self) -> datetime:
        """The first missing bucket."""
        return self.event.episode.gap or (self.member.since if self.member and self.member.gap else self.event.bucket)

    @property
    def since(self) -> datetime | None:
        """The first odd bucket."""
        return self.event.episode.since or (self.member.since if self.member else None)

    @property
    def worst(self) -> Verdict | None:
        return self.event.episode.worst or (self.member.worst if self.member else None)

    @property
    def critical(self) -> bool:
        """The severity of what the event tells: when the whole platform is down, the worst metric counts."""
        others = [part.member.first for part in self.others] if self.context.platform else []
        return self.event.is_critical(self.context.metric.policy, others)

    def about(self, part: Part) -> Phrases:
        """The same of another member of the incident."""
        verdict = part.verdict or Verdict(part.metric.name, self.event.bucket, Status.UNKNOWN)
        member = part.member
        gap = member.since if member.gap else None
        episode = Episode(part.metric.name, since=None if gap else member.since, worst=member.worst, lost=member.lost, gap=gap)
        event = replace(self.event, metric=part.metric.name, verdict=verdict, episode=episode)
        own = [Part(self.context.metric, self.member, self.event.verdict)] if self.member else []
        parts = (*own, *self.others)
        context = replace(self.context, metric=part.metric, parts=parts, yesterday=NAN, week_ago=NAN, latest=None, newest=None)
        return Phrases(event, replace(context, table=part.metric.query))

    def say(self, key: str, **pieces: object) -> str:
        return self.context.reader.say(key, **{"title": self.title, "inside": inside(self.title), **pieces})

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        return self.context.reader.clock.at(instant, near or self.context.reader.now)

    def when(self) -> str:
        return self.context.reader.clock.span(self.event.bucket, self.end)

    def lasted(self, start: datetime | None, end: datetime | None = None) -> str:
        """True time from `start` to `end`, or to the end of the newest bucket."""
        return duration(elapsed(start, end or self.until), self.language) if start else ""

    def buckets(self, start: datetime, end: datetime) -> str:
        return plural(round(elapsed(start, end) / self.context.metric.step), "bucket", self.language)

    def off(self, verdict: Verdict) -> str:
        return off(verdict, self.context.metric.form, self.language)

    def bucket(self, *more: str) -> str:
        """Mon 17:00–17:15: 1,240 · expected 2,020 (1,930–2,110) · −780"""
        facts = self.facts(self.event.verdict)
        return capital(f"{self.when()}: {dots(facts, *more)}") if facts or any(more) else ""

    def facts(self, verdict: Verdict, *more: str) -> str:
        """1,240 · expected 2,020 (1,930–2,110) · −780"""
        n = self.numbers(verdict)
        odd = verdict.status is Status.ANOMALOUS and verdict.value and verdict.expected
        difference = n.difference(verdict.value - verdict.expected) if odd else ""
        value = n.value(verdict.value)
        return dots(value and f"<b>{value}</b>", self.expected(verdict), difference, *more)

    def edge(self, verdict: Verdict) -> str:
        """2.3 × the edge of normal: how bad it is, in words. Nothing where the score was cut or is not known."""
        far = abs(verdict.score)
        if verdict.status is not Status.ANOMALOUS or not 1 <= far < CUT:
            return ""
        return self.say("edge", times=times(far, self.language)) if far >= BARELY else self.say("edge, barely")

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
        """deepest −52 % at 15:30 (960, expected 2,000); empty when the event's own bucket is the farthest."""
        worst = self.worst
        if worst is None or worst.bucket == self.event.bucket:
            return ""
        n = self.numbers(worst)
        expected = n.value(worst.expected)
        facts = n.value(worst.value) + (", " + self.say("expected", value=expected) if expected else "")
        share = change(worst, self.language)
        key = ("deepest" if worst.value < worst.expected else "highest") if share else "farthest"
        return self.say(key, change=share, at=self.at(worst.bucket, near=self.event.bucket), facts=facts) if facts else ""

    def state(self, verdict: Verdict) -> str:
        """normal · −38 % · too little history to judge"""
        share = change(verdict, self.language) if verdict.status is Status.ANOMALOUS else ""
        return share or self.say(verdict.status.value)

    def told_late(self) -> str:
        """Nothing on an opening message that is told anew as things move: that is no delay."""
        late = elapsed(self.end, self.context.reader.now)
        usual = max(LATE, 2 * self.context.metric.step)
        begins = self.event.kind in (Kind.OPENED, Kind.NO_DATA)
        anew = begins and (self.context.latest or (self.incident and not self.incident.open))
        return self.say("told late", late=duration(late, self.language)) if late > usual and not anew else ""

    def numbers(self, verdict: Verdict) -> Numbers:
        return Numbers.of(self.context.metric.form, self.language, verdict)
