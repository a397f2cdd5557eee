"""A cause in words: who is hit, what share of the change that is, who is not hit, and what else stands out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alerting.messages.context import Reader
from alerting.messages.numbers import Numbers, moved, percent, roughly
from alerting.messages.pieces import SHORT, capital, inside, title_of
from alerting.messages.slices import attributes, bare, beside, named
from alerting.messages.words import WORDS
from alerting.model import Cause, Incident, Metric, Slice

CALM = 0.05  # a change that is as good as none, or
CALM_BESIDE = 0.1  # a tenth of the slice's own, where that is more
CARRIES, ALL, MORE = 0.05, 0.995, 1.05  # shares of the change: worth a word, as good as all of it, clearly more than that
MOSTLY = (0.8, 1.25)  # of a ratio's change: so much of it is mix, that the ratios inside are about as usual
UNHIT = 4  # slices named that are not hit
LISTED = 3  # groups out of balance, new values, gone values


@dataclass(frozen=True)
class Why:
    """A cause as it is told to one reader."""

    cause: Cause
    metric: Metric
    reader: Reader
    fell: bool  # the metric did

    @classmethod
    def of(cls, incident: Incident, metric: Metric, reader: Reader) -> Why:
        cause = incident.cause or Cause("unclear")
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
        return capital(said) if self.cause.answer == "alike" else self.reader.say("cause", cause=said)

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
        calm = [beside(other, cause.slice, self.language) for other in cause.others if self._calm(other)]
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

    def _count(self, where: Slice) -> str:
        """os iOS −62 %, carries 98 % of the drop"""
        name, change = named(where, self.language), moved(where.value, where.expected, self.language)
        if not change:
            value, expected = self._numbers(where)
            change = f"{value} ({expected})"
        return ", ".join(filter(None, [f"{name} {change}", self._carries(len(where.elements))]))

    def _rate(self, where: Slice) -> str:
        """CTR in source ads 8.1 % (expected 15.2 %), carries 90 % of the drop"""
        value, expected = self._numbers(where)
        pieces = {"title": self._title(), "slice": named(where, self.language), "value": value, "expected": expected}
        return ", ".join(filter(None, [self.reader.say("in a slice", **pieces), self._carries()]))

    def _mix(self, where: Slice) -> str:
        """a shift of the mix: source ads is 41 % of all (usually 20 %); CTR inside the slices is about as usual"""
        now, usual = percent(where.value, self.language), percent(where.expected, self.language)
        key = "mix of many" if len(where.elements) > 1 else "mix"
        said = self.reader.say(key, slice=named(where, self.language), share=now, usual=usual)
        if MOSTLY[0] <= self.cause.share <= MOSTLY[1]:
            return f"{said}; {self.reader.say('rates as usual', title=self._title())}"
        return ", ".join(filter(None, [said, self._carries()]))

    def _experiment(self, where: Slice) -> str:
        """exp_group 3 carries 96 % of the drop, the other groups are normal → probably the experiment"""
        hit = f"{named(where, self.language)} {self._carries(len(where.elements))}".rstrip()
        others = self.reader.say("other groups") if self._others_calm() else ""
        return f"{', '.join(filter(None, [hit, others]))} → {self.reader.say('experiment')}"

    def _alike(self) -> str:
        """everything alike: every os, source and country fell about as much"""
        looked = attributes(self.cause.attributes, self.language)
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

    def _calm(self, other: Slice) -> bool:
        own = min(abs(self.cause.slice.change), 1.0) if self.cause.slice else 0.0
        return abs(other.change) < max(CALM, CALM_BESIDE * own)

    def _numbers(self, where: Slice) -> tuple[str, str]:
        """8.1 % and expected 15.2 %"""
        numbers = Numbers.fitting(self.metric.form, self.language, where.value, where.expected)
        return numbers.value(where.value), self.reader.say("expected", value=numbers.value(where.expected))

    def _title(self) -> str:
        return inside(title_of(self.metric, self.language, SHORT))

    def _group(self, group: Slice) -> str:
        value = bare(group, self.language, most=1)
        shares = {"share": percent(group.value, self.language), "usual": percent(group.expected, self.language)}
        return self.reader.say("group", group=value, **shares)

    def _part(self, key: str, where: Slice, share: float) -> str:
        return self.reader.say(key, slice=named(where, self.language, most=1), share=percent(share, self.language))


def _listed(pieces: list[str], language: str) -> str:
    """With semicolons: the pieces have commas in them."""
    more = len(pieces) - LISTED
    return "; ".join([*pieces[:LISTED], WORDS[language]["more"].format(count=more)] if more > 0 else pieces)
