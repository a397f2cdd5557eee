"""How slices are named: os iOS, country Russia & source ads. Attributes in the reader's words, values as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from alerting.messages.context import Audience
from alerting.messages.facts import EventFacts
from alerting.messages.format import NumberFormat, percent, roughly, signed_percent
from alerting.messages.text import SHORT_TITLE, capitalize, enumerate_words, inside_sentence, join_lines, plain_line, title_of
from alerting.messages.words import WORDS
from alerting.model.incident import Incident, RootCause, Segment
from alerting.model.message import Message
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind

CleanText = Callable[[str], str]  # what makes a text from data fit to be shown

VALUE, ATTRIBUTE = 30, 20  # characters of each (escaped), so that a text stays under Telegram's 4096
ELEMENTS, PAIRS = 3, 3  # of a slice, of an element

escape_text: CleanText = partial(plain_line, limit=VALUE)


def attribute_name(name: str, language: str, clean: CleanText = escape_text) -> str:
    return WORDS[language].get(f"attribute {name}") or clean(name[:ATTRIBUTE])


def attribute_names(names: tuple[str, ...], language: str, most: int = 8) -> str:
    """os, source, country and city; two columns of the same word (age, age_band) are one."""
    return enumerate_words(list(dict.fromkeys(attribute_name(name, language) for name in names)), language, most)


def segment_name(where: Segment, language: str, clean: CleanText = escape_text, most: int = ELEMENTS) -> str:
    """os iOS and os iPadOS · country Russia & source ads"""

    def pair(name: str, value: str) -> str:
        return f"{attribute_name(name, language, clean)} {_value(value, language, clean)}"

    return _slice(where, language, clean, most, pair)


def segment_values(where: Segment, language: str, clean: CleanText = escape_text, most: int = ELEMENTS) -> str:
    """iOS and iPadOS · Russia & ads: where the attributes are said already."""
    return _slice(where, language, clean, most, lambda _, value: _value(value, language, clean))


def sibling_name(other: Segment, of: Segment, language: str) -> str:
    """One of the others of a slice; without its attribute where that is the slice's only one."""
    alone = len(segment_attributes(of)) == 1 and segment_attributes(other) == segment_attributes(of)
    return (segment_values if alone else segment_name)(other, language, most=1)


def segment_attributes(where: Segment) -> tuple[str, ...]:
    """All that it is made of, in order."""
    return tuple(dict.fromkeys(name for pairs in where.elements for name, _ in pairs))


def _slice(where: Segment, language: str, clean: CleanText, most: int, pair: Callable[[str, str], str]) -> str:
    elements = [[pair(*both) for both in pairs[:PAIRS]] + ["…"] * (len(pairs) > PAIRS) for pairs in where.elements[: most + 1]]
    said = [f" {clean('&')} ".join(pieces) for pieces in elements]
    return enumerate_words([*said, *("",) * (len(where.elements) - len(said))], language, most)


def _value(value: str, language: str, clean: CleanText) -> str:
    return clean(value) or WORDS[language]["empty"]


# A cause in words: who is hit, what share of the change that is, who is not hit, and what else stands out.

CALM = 0.05  # a change that is as good as none, or
CALM_BESIDE = 0.1  # a tenth of the slice's own, where that is more
CARRIES, ALL, MORE = 0.05, 0.995, 1.05  # shares of the change: worth a word, as good as all of it, clearly more than that
MOSTLY = (0.8, 1.25)  # of a ratio's change: so much of it is mix, that the ratios inside are about as usual
UNHIT = 4  # slices named that are not hit
LISTED = 3  # groups out of balance, new values, gone values


@dataclass(frozen=True)
class RootCauseText:
    """A cause as it is told to one reader."""

    cause: RootCause
    metric: Metric
    reader: Audience
    fell: bool  # the metric did

    @classmethod
    def of(cls, incident: Incident, metric: Metric, reader: Audience) -> RootCauseText:
        cause = incident.cause or RootCause("unclear")
        first = incident.root.first
        change = first.value - first.expected
        if math.isnan(change) and cause.slice:
            change = cause.slice.change * (1 if cause.share >= 0 else -1)
        return cls(cause, metric, reader, change < 0)

    @property
    def language(self) -> str:
        return self.reader.language

    def line(self) -> str:
        """Cause: os iOS −62 %, carries 98 % of the drop; the rest −1 %; normal: Android, web"""
        said = "; ".join(piece for piece in (self.head(), self.around()) if piece)
        return capitalize(said) if self.cause.answer == "alike" else self.reader.say("cause", cause=said)

    def head(self) -> str:
        """What it is; empty where nothing explains it."""
        cause = self.cause
        if cause.answer == "alike":
            return self._alike()
        if cause.answer != "carried" or cause.slice is None or math.isnan(cause.slice.change):
            return ""
        said = {"mix": self._mix, "rate": self._rate}.get(cause.effect, self._count)
        return (self._experiment if cause.experiment and cause.effect != "mix" else said)(cause.slice)

    def around(self) -> str:
        """The rest −1 %; normal: Android, web"""
        cause = self.cause
        if not self.head() or cause.slice is None or cause.effect == "mix":
            return ""
        if cause.experiment and self._others_calm():  # that is said already
            return ""
        calm = [sibling_name(other, cause.slice, self.language) for other in cause.others if self._calm(other)]
        unhit = self.reader.say("unaffected", slices=", ".join(calm[:UNHIT])) if calm and not cause.experiment else ""
        overlap = self.reader.say("overlap") if cause.overlap else ""
        return " ".join(filter(None, ["; ".join(filter(None, [self._rest(), unhit])), overlap]))

    def beside(self) -> list[str]:
        """Groups out of balance, values never seen before, values that have stopped coming: a line each."""
        lines = {
            "imbalance": [self._group(group) for group in self.cause.imbalance],
            "new values": [self._part("share now", where, where.value) for where in self.cause.new],
            "gone values": [self._part("share before", where, where.expected) for where in self.cause.gone],
        }
        return [self.reader.say(key, slices=_listed(pieces, self.language)) for key, pieces in lines.items() if pieces]

    def _count(self, where: Segment) -> str:
        """os iOS −62 %, carries 98 % of the drop"""
        name, change = segment_name(where, self.language), signed_percent(where.value, where.expected, self.language)
        if not change:
            value, expected = self._numbers(where)
            change = f"{value} ({expected})"
        return ", ".join(filter(None, [f"{name} {change}", self._carries(len(where.elements))]))

    def _rate(self, where: Segment) -> str:
        """CTR in source ads 8.1 % (expected 15.2 %), carries 90 % of the drop"""
        value, expected = self._numbers(where)
        pieces = {"title": self._title(), "slice": segment_name(where, self.language), "value": value, "expected": expected}
        return ", ".join(filter(None, [self.reader.say("in a slice", **pieces), self._carries()]))

    def _mix(self, where: Segment) -> str:
        """a shift of the mix: source ads is 41 % of all (usually 20 %); CTR inside the slices is about as usual"""
        now, usual = percent(where.value, self.language), percent(where.expected, self.language)
        key = "mix of many" if len(where.elements) > 1 else "mix"
        said = self.reader.say(key, slice=segment_name(where, self.language), share=now, usual=usual)
        if MOSTLY[0] <= self.cause.share <= MOSTLY[1]:
            return f"{said}; {self.reader.say('rates as usual', title=self._title())}"
        return ", ".join(filter(None, [said, self._carries()]))

    def _experiment(self, where: Segment) -> str:
        """exp_group 3 carries 96 % of the drop, the other groups are normal → probably the experiment"""
        hit = f"{segment_name(where, self.language)} {self._carries(len(where.elements))}".rstrip()
        others = self.reader.say("other groups") if self._others_calm() else ""
        return f"{', '.join(filter(None, [hit, others]))} → {self.reader.say('experiment')}"

    def _alike(self) -> str:
        """everything alike: every os, source and country fell about as much"""
        looked = attribute_names(self.cause.attributes, self.language)
        key = "alike, fell" if self.fell else "alike, rose"
        return self.reader.say(key, attributes=looked) if looked else self.reader.say("alike")

    def _carries(self, many: int = 1) -> str:
        share = self.cause.share
        if not share >= CARRIES:
            return ""
        said = self.reader.say("more than all") if share > MORE else self.reader.say("all of it")
        said = percent(share, self.language) if share < ALL else said
        move = self.reader.say("the drop" if self.fell else "the rise")
        return self.reader.say("carry" if many > 1 else "carries", share=said, move=move)

    def _rest(self) -> str:
        """the rest −1 %; where the slice carries more than all: the rest rose 4 %"""
        rest = self.cause.rest
        if rest is None or not math.isfinite(rest.change):
            return ""
        change = roughly(rest.change, self.language)
        if not change:
            return self.reader.say("the rest as usual")
        against = self.cause.share > MORE and (rest.change > 0) == self.fell
        if not against:
            return self.reader.say("the rest moved", change=change)
        key = "the rest rose" if rest.change > 0 else "the rest fell"
        return self.reader.say(key, change=roughly(abs(rest.change), self.language).removeprefix("+"))

    def _others_calm(self) -> bool:
        others = self.cause.others or (self.cause.rest,)
        return all(other is not None and self._calm(other) for other in others)

    def _calm(self, other: Segment) -> bool:
        own = min(abs(self.cause.slice.change), 1.0) if self.cause.slice else 0.0
        return abs(other.change) < max(CALM, CALM_BESIDE * own)

    def _numbers(self, where: Segment) -> tuple[str, str]:
        """8.1 % and expected 15.2 %"""
        numbers = NumberFormat.fitting(self.metric.form, self.language, where.value, where.expected)
        return numbers.value(where.value), self.reader.say("expected", value=numbers.value(where.expected))

    def _title(self) -> str:
        return inside_sentence(title_of(self.metric, self.language, SHORT_TITLE))

    def _group(self, group: Segment) -> str:
        value = segment_values(group, self.language, most=1)
        shares = {"share": percent(group.value, self.language), "usual": percent(group.expected, self.language)}
        return self.reader.say("group", group=value, **shares)

    def _part(self, key: str, where: Segment, share: float) -> str:
        return self.reader.say(key, slice=segment_name(where, self.language, most=1), share=percent(share, self.language))


def _listed(pieces: list[str], language: str) -> str:
    """With semicolons: the pieces have commas in them."""
    more = len(pieces) - LISTED
    return "; ".join([*pieces[:LISTED], WORDS[language]["more"].format(count=more)] if more > 0 else pieces)


# What explains an incident: a line in its opening, a reply where it is found later, a word at the end.


def root_cause_lines(p: EventFacts) -> list[str]:
    """The cause in a line, then what else stands out, a line each. Nothing where it was taken back, or the root is not known."""
    incident = p.incident
    metric = next((part.metric for part in p.others if incident and part.metric.name == incident.root.metric), p.context.metric)
    if incident is None or incident.cause is None or incident.corrected or metric.name != incident.root.metric:
        return []
    why = RootCauseText.of(incident, metric, p.context.reader)
    return [*([why.line()] if why.head() else []), *why.beside()]


def root_cause_brief(p: EventFacts) -> str:
    """Cause: exp_group 3"""
    cause = p.incident.cause if p.incident and not p.incident.corrected else None
    if cause is None or cause.answer != "carried" or cause.slice is None:
        return ""
    where = segment_name(cause.slice, p.language)
    return p.say("cause", cause=p.say("mix, short", slice=where) if cause.effect == "mix" else where)


def root_cause_reply(incident: Incident, at: datetime, reader: Audience, metric: Metric) -> Message:
    """The reply that says what explains it, where that was found after the alert had gone. `metric`: the incident's root."""
    why = RootCauseText.of(incident, metric, reader)
    first = reader.say("cause found", title=title_of(metric, reader.language), cause=why.head() or reader.say("no cause"))
    text = join_lines([first, capitalize(why.around()), *why.beside()])
    key = f"{incident.id}/cause/text"
    return Message(key, EventKind.CAUSE, metric.name, at, text, reply_to=incident.key, incident=incident.id, quiet=True)
