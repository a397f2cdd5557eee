"""The facts of a root cause, and how segments are named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from alerting.messages.context import Audience
from alerting.messages.format import (
    MAX_SHORT_TITLE,
    NumberFormat,
    enumerate_words,
    inside_sentence,
    percent,
    plain_line,
    roughly,
    signed_percent,
    title_of,
)
from alerting.messages.words import WORDS
from alerting.model.incident import Incident, RootCause, Segment
from alerting.model.metric import Metric

CleanText = Callable[[str], str]  # makes a text from data fit to be shown

MAX_VALUE, MAX_ATTRIBUTE = 30, 20  # characters of each (escaped), so that a text stays under Telegram's 4096
MAX_ELEMENTS, MAX_PAIRS = 3, 3  # of a segment, of an element
MAX_ATTRIBUTES = 8  # named where all moved alike
MAX_UNAFFECTED = 4  # segments named that are not affected
MAX_LISTED = 3  # segments named that are out of balance, new or gone

NORMAL_CHANGE = 0.05  # a segment that changed less is normal, or
NORMAL_PART = 0.1  # less than a tenth of the change of the cause, where that is more
MIN_SHARE, ALL, MORE_THAN_ALL = 0.05, 0.995, 1.05  # shares of the change: worth a word, as good as all, clearly more than all
MIX_ONLY = (0.8, 1.25)  # a mix effect of this share of a ratio's change: the ratios inside are about as usual

escape_text: CleanText = partial(plain_line, limit=MAX_VALUE)


def attribute_name(name: str, language: str, clean: CleanText = escape_text) -> str:
    """Return the reader's word for an attribute, or the attribute itself."""
    return WORDS[language].get(f"attribute {name}") or clean(name[:MAX_ATTRIBUTE])


def segment_name(
    where: Segment, language: str, clean: CleanText = escape_text, most: int = MAX_ELEMENTS, with_attributes: bool = True
) -> str:
    """os iOS and os iPadOS · country Russia & source ads: attributes in the reader's words, values as they are.

    Each text from data passes `clean`, as does the &. More than `most` elements are counted.
    """
    elements = []
    for pairs in where.elements[:most]:
        pieces = []
        for name, value in pairs[:MAX_PAIRS]:
            shown = clean(value) or WORDS[language]["empty"]
            pieces.append(f"{attribute_name(name, language, clean)} {shown}" if with_attributes else shown)
        elements.append(f" {clean('&')} ".join([*pieces, "…"] if len(pairs) > MAX_PAIRS else pieces))
    return enumerate_words(elements, language, hidden=len(where.elements) - len(elements))


def segment_attributes(where: Segment) -> tuple[str, ...]:
    """Return the names of the attributes of a segment, in order."""
    return tuple(dict.fromkeys(name for pairs in where.elements for name, _ in pairs))


@dataclass(frozen=True)
class SegmentFacts:
    """A segment whose share of all has changed."""

    name: Markup
    share: str  # 31 %: now
    usual: str  # 20 %


@dataclass(frozen=True)
class SegmentList:
    """The first of several such segments, and how many more there are."""

    shown: tuple[SegmentFacts, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class RootCauseFacts:
    """A root cause as templates show it. Texts are empty where there is nothing to show."""

    findings: tuple[str, ...] = ()  # those that have a line, the most telling first: cause | imbalance | new | gone
    effect: str = ""  # alike | mix | rate | experiment | count; empty where nothing explains the change
    is_drop: bool = False  # of the metric
    title: str = ""  # of the metric, as it is written within a sentence
    segment: Markup = Markup("")
    is_several: bool = False  # the segment has several elements
    change: str = ""  # of the segment: −62 %
    value: str = ""  # of the segment
    expected: str = ""
    share: str = ""  # of the metric's change: 98 %
    is_all: bool = False  # the segment explains as good as all of the change
    is_more_than_all: bool = False  # the rest went the other way
    is_mix_only: bool = False
    usual_share: str = ""  # of a mix effect: the segment's share of all before
    current_share: str = ""  # and now
    rest: str = ""  # change of everything else: −1 %
    is_rest_usual: bool = False
    is_rest_opposite: bool = False  # it went the other way: `rest` has no sign
    is_rest_up: bool = False
    are_others_normal: bool = False
    unaffected: tuple[Markup, ...] = ()  # segments that are normal
    is_overlap: bool = False
    attributes: Markup = Markup("")  # that were searched, where all moved alike
    imbalance: SegmentList = SegmentList()
    new: SegmentList = SegmentList()
    gone: SegmentList = SegmentList()


def root_cause_facts(incident: Incident, metric: Metric, reader: Audience) -> RootCauseFacts:
    """Return the facts of an incident's cause. `metric`: the incident's root."""
    cause, language = incident.cause or RootCause("unclear"), reader.language
    first = incident.root.first
    change = first.value - first.expected
    if math.isnan(change) and cause.slice:
        change = cause.slice.change * (1 if cause.share >= 0 else -1)
    facts: dict[str, Any] = {
        "is_drop": change < 0,
        "title": inside_sentence(title_of(metric, language, MAX_SHORT_TITLE)),
        "imbalance": _segment_list(cause.imbalance, language, with_attributes=False),
        "new": _segment_list(cause.new, language),
        "gone": _segment_list(cause.gone, language),
    }
    if cause.answer == "alike":
        names = list(dict.fromkeys(attribute_name(name, language) for name in cause.attributes))  # age, age_band: one name
        attributes = enumerate_words(names[:MAX_ATTRIBUTES], language, hidden=max(0, len(names) - MAX_ATTRIBUTES))
        facts |= {"effect": "alike", "attributes": Markup(attributes)}
    elif cause.answer == "carried" and cause.slice is not None and not math.isnan(cause.slice.change):
        facts |= _segment_facts(cause, cause.slice, metric, language) | _rest_facts(cause, cause.slice, change < 0, language)
    names_of = {"cause": facts.get("effect"), "imbalance": cause.imbalance, "new": cause.new, "gone": cause.gone}
    return RootCauseFacts(tuple(name for name, there in names_of.items() if there), **facts)


def _segment_list(segments: tuple[Segment, ...], language: str, with_attributes: bool = True) -> SegmentList:
    """Return the first segments with their shares; of each the first element."""
    shown = []
    for where in segments[:MAX_LISTED]:
        name = segment_name(where, language, most=1, with_attributes=with_attributes)
        shown.append(SegmentFacts(Markup(name), percent(where.value, language), percent(where.expected, language)))
    return SegmentList(tuple(shown), len(segments) - len(shown))


def _segment_facts(cause: RootCause, where: Segment, metric: Metric, language: str) -> dict[str, Any]:
    """Return the facts of the segment that explains the change: how it changed, and how much of the change it explains."""
    numbers = NumberFormat.of(metric.form, language, (where.value, where.expected))
    return {
        "effect": "experiment" if cause.experiment and cause.effect != "mix" else cause.effect,
        "segment": Markup(segment_name(where, language)),
        "is_several": len(where.elements) > 1,
        "change": signed_percent(where.value, where.expected, language),
        "value": numbers.value(where.value),
        "expected": numbers.value(where.expected),
        "share": percent(cause.share, language) if cause.share >= MIN_SHARE else "",
        "is_all": cause.share >= ALL,
        "is_more_than_all": cause.share > MORE_THAN_ALL,
        "is_mix_only": MIX_ONLY[0] <= cause.share <= MIX_ONLY[1],
        "current_share": percent(where.value, language),
        "usual_share": percent(where.expected, language),
    }


def _rest_facts(cause: RootCause, where: Segment, is_drop: bool, language: str) -> dict[str, Any]:
    """Return the facts of everything but the segment: how it changed, and which of the other segments are normal."""
    limit = max(NORMAL_CHANGE, NORMAL_PART * min(abs(where.change), 1.0))
    normal = [other for other in cause.others if abs(other.change) < limit]
    others, rest = cause.others or (cause.rest,), cause.rest
    facts: dict[str, Any] = {
        "are_others_normal": all(other is not None and abs(other.change) < limit for other in others),
        "is_overlap": cause.overlap,
    }
    if not cause.experiment:
        kind = segment_attributes(where)
        facts["unaffected"] = tuple(
            Markup(segment_name(other, language, most=1, with_attributes=len(kind) > 1 or segment_attributes(other) != kind))
            for other in normal[:MAX_UNAFFECTED]
        )
    if rest is not None and math.isfinite(rest.change):
        opposite = cause.share > MORE_THAN_ALL and (rest.change > 0) == is_drop
        change = roughly(abs(rest.change) if opposite else rest.change, language)
        facts |= {"is_rest_usual": not change, "is_rest_opposite": opposite, "is_rest_up": rest.change > 0}
        facts["rest"] = change.removeprefix("+") if opposite else change
    return facts
