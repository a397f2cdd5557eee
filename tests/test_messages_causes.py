"""Root causes, rarity and similar incidents in words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from alerting import messages
from alerting.model.incident import Rarity, RootCause, SimilarIncident
from alerting.model.verdict import EventKind, Label, Verdict
from tests.texts import (
    DOWN,
    DROP,
    NAN,
    context,
    event,
    incident,
    member,
    metric,
    moscow,
    odd,
    part,
    plain,
    plain_spaces,
    reader,
    told,
)
from tests.texts_of_causes import ALIKE, EXPERIMENT, GROUPS, IOS, LIKE, MIX, RARE, RATE, where


def cause_line(cause: RootCause, language: str = "en", first: Verdict = DOWN, name: str = "likes") -> str:
    story = incident(member(name, first=first), cause=cause)
    return plain_spaces(plain(told(EventKind.OPENED, first, story, language, "14:35").text)).splitlines()[2]


@pytest.mark.parametrize(
    ("share", "rest", "said"),
    [
        (0.976, -0.011, "explains 98 % of the drop; the rest −1 %"),
        (0.98, -0.004, "explains 98 % of the drop; the rest as usual"),
        (1.0, 0.0, "explains the whole drop; the rest as usual"),
        (1.049, 0.02, "explains the whole drop; the rest +2 %"),
        (1.3, 0.041, "explains the whole drop; everything else is up 4 %"),
        (1.3, -0.041, "explains the whole drop; the rest −4 %"),
        (0.04, -0.2, "the rest −20 %"),
        (-0.5, -0.2, "the rest −20 %"),
        (NAN, -0.2, "the rest −20 %"),
    ],
)
def test_the_share_that_is_carried(share, rest, said):
    cause = replace(IOS, share=share, rest=where("os=", 1000 * (1 + rest), 1000), others=())
    assert re.split(", |; ", cause_line(cause), maxsplit=1)[1] == said


def test_a_rise_is_carried_too():
    up = odd("likes", moscow("14:15"), 3100, 4.0)
    rise = replace(IOS, slice=where("os=iOS", 2400, 1210), share=1.2, rest=where("os=", 700, 810), others=())
    assert cause_line(rise, first=up) == "Likely cause: os iOS +98 %, explains the whole rise; everything else is down 14 %"
    assert cause_line(rise, "ru", up) == "Вероятная причина: ОС iOS +98 %, объясняет весь рост; остальное упало на 14 %"
    new = replace(rise, slice=where("os=Fuchsia", 1190, 0), share=1.0, rest=None)
    assert cause_line(new, first=up) == "Likely cause: os Fuchsia 1,190 (expected 0), explains the whole rise"
    assert cause_line(ALIKE, first=up) == "The rise is the same across os, source, country and city"
    assert cause_line(ALIKE, "ru", up) == "Выросло одинаково во всех срезах (ОС, источник, страна и город)"


def test_who_is_not_affected_is_named():
    others = tuple(where(f"os={n}", value, 1000) for n, value in (("a", 961), ("b", 1049), ("c", 900), ("d", 1000), ("e", 990)))
    assert cause_line(replace(IOS, rest=None, others=others)).endswith("; normal: a, b, d, e")
    assert cause_line(replace(IOS, rest=None, others=others * 2)).endswith("; normal: a, b, d, e")
    none = replace(IOS, rest=None, others=others[2:3])
    assert "normal" not in cause_line(none)
    pair = replace(none, others=(where("os=web&source=ads", 1000, 1000), where("os=", 1000, 1000)))
    assert cause_line(pair).endswith("; normal: os web & source ads, (empty)")


def test_the_experiment_is_only_said_to_be_alone_where_the_others_are_normal():
    odd_one = replace(
        EXPERIMENT, share=0.6, rest=where("exp_group=", 1400, 1616), others=(where("exp_group=1", 300, 404), *GROUPS[1:])
    )
    assert cause_line(odd_one) == "Likely cause: exp_group 3 explains 60 % of the drop → probably the experiment; the rest −13 %"
    two = replace(EXPERIMENT, slice=where("exp_group=3;exp_group=4", 40, 808))
    assert cause_line(two).startswith("Likely cause: exp_group 3 and exp_group 4 explain 96 % of the drop; other groups")


def test_a_mix_that_is_not_all_says_how_much_it_is():
    half = cause_line(replace(MIX, share=0.6), first=odd("ctr", moscow("14:15"), 0.181), name="ctr")
    assert half == "Likely cause: a shift of the mix: source ads is 41 % of all (usually 20 %), explains 60 % of the drop"


def test_nothing_is_said_of_a_cause_that_is_not_known():
    for cause in (None, RootCause("unclear"), RootCause("carried"), replace(IOS, slice=where("os=iOS", NAN, 10))):
        assert "cause" not in told(EventKind.OPENED, DOWN, incident(member("likes"), cause=cause), "en", "14:35").text
    taken_back = incident(member("likes"), cause=IOS, closed=moscow("15:00"), corrected=True)
    text = told(EventKind.OPENED, DOWN, taken_back, "en", "15:05", **RARE).text
    assert not re.search("cause|happens|no such", text)


def test_a_cause_is_that_of_the_metric_of_the_text():
    mine = member("ctr", value=0.131)
    parts = (part(member("likes")),)
    of_likes = told(EventKind.OPENED, mine.first, incident(member("likes"), mine, cause=RATE), "en", "14:35", parts)
    assert "cause" not in of_likes.text
    own = incident(member("likes"), mine, cause=replace(RATE, metric="ctr", at=mine.first.bucket))
    assert "Likely cause: CTR in source ads" in told(EventKind.OPENED, mine.first, own, "en", "14:35", parts).text


@pytest.mark.parametrize(
    ("rarity", "en", "ru"),
    [
        ((12, 0, 9.3, 1), "happens about once in 9 weeks", "бывает примерно раз в 9 недель"),
        ((21, 0, 21.9, 0), "no such drop in the previous 21 weeks", "за предыдущие 21 неделю такого падения не было"),
        ((12, 1, 9, 4), "happens about once in 2 weeks", "бывает примерно раз в 2 недели"),
        ((12, 6, 9, 8), "happens about once a week", "бывает примерно раз в неделю"),
        ((2, 0, 9, 27), "happens about 3 times a week", "бывает примерно 3 раза в неделю"),
        ((2, 0, 9, 45), "happens about 5 times a week", "бывает примерно 5 раз в неделю"),
    ],
)  # fmt: skip
def test_how_unusual_it_is_in_words(rarity, en, ru):
    since = {"en": "Since 14:00 · ", "ru": "С 14:00 · "}
    for language, said in (("en", en), ("ru", ru)):
        about = context(metric(), reader(language), rarity=Rarity(*rarity))
        lines = plain_spaces(messages.compose(event(EventKind.OPENED, DROP, since=moscow("14:00")), about).text).splitlines()
        assert since[language] + said in lines
        lines = plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text).splitlines()
        assert said[0].upper() + said[1:] in lines


def test_what_is_not_known_to_be_unusual_is_not_said():
    for rarity in (Rarity(), Rarity(2, 0, 1.9, 0), None):
        text = messages.compose(
            event(EventKind.OPENED, DROP, since=moscow("14:00")), context(metric(), reader(), rarity=rarity)
        ).text
        assert "Since 14:00" in text.splitlines()


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (LIKE, "4 Sep (real, −36 %)"),
        (SimilarIncident(moscow("14:00", -5)), "Wed"),
        (SimilarIncident(moscow("09:00"), Label.FALSE_ALARM), "09:00 (false alarm)"),
        (SimilarIncident(moscow("09:00", -9), None, "/srv/runs/a.ipynb", LIKE.off), "3 Oct (−36 %)"),
    ],
)
def test_the_most_similar_incident_is_named(past, said):
    text = messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader(), yesterday=2015, similar=past)).text
    assert f"Most like {said}" in plain_spaces(plain(text)).splitlines()
    assert (f'<a href="{past.url}">' in text) == past.url.startswith("https")
