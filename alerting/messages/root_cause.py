"""The facts of a root cause, and how segments are named."""

from __future__ import annotations

import math
from collections.abc import Callable
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


def root_cause_facts(incident: Incident, metric: Metric, reader: Audience) -> dict[str, Any]:
    """Return the facts of an incident's cause. `metric`: the incident's root. Texts are empty where there is nothing to show."""
    cause, language, first = incident.cause or RootCause("unclear"), reader.language, incident.root.first
    change, effect, where = first.value - first.expected, "", cause.slice
    if math.isnan(change) and where:
        change = where.change * (1 if cause.share >= 0 else -1)
    if cause.answer == "alike":
        effect = "alike"
    elif cause.answer == "carried" and where is not None and not math.isnan(where.change):
        effect = "experiment" if cause.experiment and cause.effect != "mix" else cause.effect

    findings = {"cause": effect, "imbalance": cause.imbalance, "new": cause.new, "gone": cause.gone}
    names = list(dict.fromkeys(attribute_name(name, language) for name in cause.attributes))  # age, age_band: one name
    facts = {
        "findings": tuple(name for name, found in findings.items() if found),  # those with a line, the most telling first
        "effect": effect,  # alike | mix | rate | experiment | count; empty where nothing explains the change
        "is_drop": change < 0,  # of the metric
        "title": inside_sentence(title_of(metric, language, MAX_SHORT_TITLE)),
        "attributes": Markup(enumerate_words(names[:MAX_ATTRIBUTES], language, hidden=max(0, len(names) - MAX_ATTRIBUTES))),
        "imbalance": _segment_list(cause.imbalance, language, with_attributes=False),
        "new": _segment_list(cause.new, language),
        "gone": _segment_list(cause.gone, language),
    }
    if where is None or effect in ("", "alike"):
        return facts
    return facts | _segment_facts(cause, where, metric, language) | _rest_facts(cause, where, change < 0, language)


def _segment_list(segments: tuple[Segment, ...], language: str, with_attributes: bool = True) -> dict[str, Any]:
    """Return the first segments with their shares, of each the first element, and how many more there are."""
    shown = [
        {
            "name": Markup(segment_name(where, language, most=1, with_attributes=with_attributes)),
            "share": percent(where.value, language),  # now
            "usual": percent(where.expected, language),
        }
        for where in segments[:MAX_LISTED]
    ]
    return {"shown": shown, "more": len(segments) - len(shown)}


def _segment_facts(cause: RootCause, where: Segment, metric: Metric, language: str) -> dict[str, Any]:
    """Return the facts of the segment that explains the change: how it changed, and how much of the change it explains."""
    numbers = NumberFormat.of(metric.form, language, (where.value, where.expected))
    return {
        "segment": Markup(segment_name(where, language)),
        "is_several": len(where.elements) > 1,
        "change": signed_percent(where.value, where.expected, language),
        "value": numbers.value(where.value),
        "expected": numbers.value(where.expected),
        "share": percent(cause.share, language) if cause.share >= MIN_SHARE else "",  # of the metric's change
        "is_all": cause.share >= ALL,
        "is_more_than_all": cause.share > MORE_THAN_ALL,  # the rest went the other way
        "is_mix_only": MIX_ONLY[0] <= cause.share <= MIX_ONLY[1],
        "current_share": percent(where.value, language),  # of a mix effect: the segment's share of all
        "usual_share": percent(where.expected, language),
    }


def _rest_facts(cause: RootCause, where: Segment, is_drop: bool, language: str) -> dict[str, Any]:
    """Return the facts of everything but the segment: how it changed, and which of the other segments are normal."""
    limit = max(NORMAL_CHANGE, NORMAL_PART * min(abs(where.change), 1.0))
    kind, others, rest = segment_attributes(where), cause.others or (cause.rest,), cause.rest
    normal = [] if cause.experiment else [other for other in cause.others if abs(other.change) < limit]
    is_known = rest is not None and math.isfinite(rest.change)
    change = rest.change if rest is not None and is_known else 0.0
    is_opposite = is_known and cause.share > MORE_THAN_ALL and (change > 0) == is_drop
    shown = roughly(abs(change) if is_opposite else change, language)
    return {
        "rest": shown.removeprefix("+") if is_opposite else shown,
        "is_rest_usual": is_known and not shown,
        "is_rest_opposite": is_opposite,  # it went the other way: `rest` has no sign
        "is_rest_up": change > 0,
        "are_others_normal": all(other is not None and abs(other.change) < limit for other in others),
        "unaffected": tuple(
            Markup(segment_name(other, language, most=1, with_attributes=len(kind) > 1 or segment_attributes(other) != kind))
            for other in normal[:MAX_UNAFFECTED]
        ),
        "is_overlap": cause.overlap,
    }
