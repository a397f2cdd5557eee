"""Escaping and length: no text from data breaks a message, and unknown facts are left out."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting import messages
from alerting.messages.compose import DailySummary, daily_message, run_failed, status_edit
from alerting.model.incident import Event, Incident, Member, Rarity, RootCause, Segment, SimilarIncident
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict
from tests.texts import (
    DEEPER,
    DOWN,
    DROP,
    MONDAY,
    NASTY,
    TOLD,
    WORST,
    context,
    event,
    gone,
    incident,
    member,
    metric,
    missing,
    moscow,
    normal,
    part,
    plain,
    reader,
    told,
)
from tests.texts_of_causes import LIKE


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("odd", [NASTY, *(c * 10_000 for c in "й&🔥 "), ""], ids=["html", "й", "&", "🔥", "space", "none"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_name_breaks_the_text(kind, odd, language):
    likes = replace(metric(owner=odd), title={"en": odd, "ru": odd})
    verdict = missing(moscow("14:15"), reason=odd) if kind is EventKind.NO_DATA else DROP
    said = event(kind, verdict, since=moscow("14:00"), gap_since=moscow("13:45"), worst=WORST, last=normal(moscow("12:00")))
    web = f"https://x.org/?q={odd}"
    about = messages.MessageContext(
        likes, reader(language, now=moscow("18:00"), run_link=odd, owner=odd), 1e14, 1e14, web, odd, moscow("12:09"), (odd,) * 50
    )
    text = messages.compose(said, about)
    shown = plain(text.text)
    assert len(shown.encode("utf-16-le")) // 2 <= 1024  # a caption, as Telegram counts
    assert shown.strip()
    assert not re.search(r"\u202e|\x00", shown)


def long_story(odd: str, kind: EventKind, **more) -> tuple[Incident, tuple]:
    """Forty metrics, each with a name of its own that is as odd."""
    members = [
        Member(
            f"m{i}", moscow("14:00"), moscow("14:15"),
            gone(f"m{i}", moscow("14:15")) if i % 3 == 0 else replace(DROP, metric=f"m{i}"),
            gap=i % 3 == 0, worst=WORST, lost=1e5,
        )
        for i in range(40)
    ]  # fmt: skip
    story = Incident(
        "i", moscow("14:15"), (member("likes", gap=kind is EventKind.NO_DATA), *members), last_notified=moscow("14:15"), **more
    )
    metrics = [Metric(m.metric, {"en": odd, "ru": odd}, "feed_actions", lambda counts: counts, None) for m in members]
    return story, tuple(messages.MemberContext(metric, m, m.first) for metric, m in zip(metrics, members, strict=True))


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("odd", [NASTY, *(c * 10_000 for c in "й&🔥 "), ""], ids=["html", "й", "&", "🔥", "space", "none"])
@pytest.mark.parametrize("platform", [False, True])
@pytest.mark.parametrize("closed", [None, moscow("16:45")])
def test_no_incident_breaks_the_text(kind, odd, platform, closed):
    story, parts = long_story(
        odd, kind, closed=closed, acknowledged_by=odd, snoozed_until=moscow("19:00"), label=Label.REAL, labelled_by=odd
    )
    also = tuple(
        Event(EventKind.OPENED, p.metric.name, moscow("14:15"), p.member.first, Episode(p.metric.name)) for p in parts[3:20]
    )
    verdict = missing(moscow("14:15"), reason=odd) if kind is EventKind.NO_DATA else DROP
    happened = event(kind, verdict, gap_since=moscow("13:45"), worst=WORST, last_notified_verdict=WORST)
    said = replace(happened, incident=story, also=also)
    days = tuple(CalendarEvent(moscow("14:05"), moscow("14:05", n), "push", odd) for n in range(9))
    about = messages.MessageContext(
        replace(metric(owner=odd), title={"en": odd}), reader(now=moscow("18:00"), run_link=odd, owner=odd), 1e14, 1e14,
        f"https://x.org/?q={odd}", odd, moscow("12:09"), (odd,) * 50, parts, WORST, platform, days,
        timedelta(days=900), (odd,) * 40,
    )  # fmt: skip
    text = messages.compose(said, about)
    shown = plain(text.text)
    assert len(shown.encode("utf-16-le")) // 2 <= 1024
    assert shown.strip()
    assert not re.search(r"nan|None|\u202e|\x00", shown)


@pytest.mark.parametrize("odd", [NASTY, "🔥" * 10_000, ""], ids=["html", "long", "none"])
def test_no_name_breaks_a_reply(odd):
    story = incident(member("likes"), muted=True, label=Label.REAL)
    for kind in (EventKind.TAKEN, EventKind.SILENCED, EventKind.LABELLED):
        named = replace(story, acknowledged_by=odd, labelled_by=odd)
        assert len(plain(status_edit(named, kind, "x", moscow("14:40"), reader()).text)) < 200
    day = DailySummary(1, 1, 0, 0, ((odd, None),) * 50, 3, (odd, 0.5, MONDAY), MONDAY)
    assert len(plain(daily_message(day, reader()).text)) < 1024


def test_little_known_of_an_incident_is_little_said():
    for kind in TOLD:
        for verdict in (Verdict("likes", moscow("14:15"), status) for status in Status):
            story = incident(member("likes", first=verdict), Member("ctr", moscow("14:00"), moscow("14:15"), verdict))
            for known in (
                story,
                replace(story, closed=moscow("15:00")),
                replace(story, last_notified=None, closed=moscow("15:00")),
            ):
                about = messages.MessageContext(
                    metric(), reader(run_link="", owner=""), members=(part(known.members[1]),), latest=verdict
                )
                text = messages.compose(replace(event(kind, verdict), incident=known), about).text
                assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  ", text, re.M), text


def test_a_name_is_shown_as_it_is():
    text = messages.compose(event(EventKind.OPENED, DROP), context(replace(metric(), title={"en": 'A <b>&"'}), reader())).text
    assert '🟡 <b>A &lt;b&gt;&amp;" −39' in text
    assert plain(text).startswith('🟡 A <b>&" −39')


def test_a_reason_is_cut_and_escaped():
    message = run_failed(moscow("12:15"), "<html>" * 10_000, None, None, reader())
    assert plain(message.text).splitlines()[0] == "⚠️ The Mon 12:15 check failed"
    assert len(message.text) < 1024


def test_an_address_that_is_no_web_address_is_shown_not_linked():
    text = messages.compose(
        event(EventKind.OPENED, DROP), messages.MessageContext(metric(), reader(run_link="javascript:alert(1)"))
    ).text
    assert "href" not in text
    assert "<code>javascript:alert(1)</code>" in text


@pytest.mark.parametrize("kind", TOLD)
def test_little_known_is_little_said(kind):
    """An event with nothing but its verdict, and a context with nothing but the metric, still make a text."""
    for verdict in (Verdict("likes", moscow("14:15"), status) for status in Status):
        about = messages.MessageContext(metric(), reader(run_link="", owner=""))
        text = messages.compose(event(kind, verdict), about).text
        assert text
        assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  ", text, re.M), text


@pytest.mark.parametrize("odd", [NASTY, *(c * 500 for c in "й&🔥< "), ""], ids=["html", "й", "&", "🔥", "<", "space", "none"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_slice_breaks_the_text(odd, language):
    element = tuple((f"{odd}{n}", odd) for n in range(5))
    slices = tuple(Segment((element,) * 9, float(n), 1000.0) for n in range(0, 2000, 50))
    past = SimilarIncident(moscow("09:00", -9), Label.REAL, f"https://x.org/?q={odd}", LIKE.off)
    more = {"rarity": Rarity(10**9, 0, 1e9, 1), "similar": past, "yesterday": 1e14, "week_ago": 1e14}
    for answer in ("carried", "alike", "unclear", odd):
        for effect in ("count", "rate", "mix", odd):
            cause = RootCause(
                answer, effect, slices[0], 0.9, slices[1], slices, answer == odd, slices, slices, slices,
                tuple(name for name, _ in element) * 9, True,
            )  # fmt: skip
            story = incident(member("likes"), cause=cause)
            over = replace(story, closed=moscow("17:00"))
            for message in (
                told(EventKind.OPENED, DOWN, story, language, "14:35", **more),
                told(EventKind.WORSENED, DEEPER, story, language, "15:50", last_notified_verdict=DOWN, **more),
                told(EventKind.RESOLVED, normal(moscow("17:00")), over, language, "17:20"),
            ):
                shown = plain(message.text)
                assert len(shown.encode("utf-16-le")) // 2 <= 1024
                assert not re.search(r"nan|None|\u202e|\x00", shown)
            assert ">Dashboard</a>" in told(EventKind.OPENED, DOWN, story, "en", "14:35", **more).text


def test_the_least_that_is_known_of_a_cause_makes_a_text():
    least = Segment(((("os", "iOS"),),), 0.0, 0.0)
    for answer in ("carried", "alike", "unclear"):
        for effect in ("count", "rate", "mix"):
            for slice in (None, least, replace(least, value=5.0), replace(least, expected=5.0)):
                story = incident(
                    member("likes"), cause=RootCause(answer, effect, slice, experiment=effect == "count", rest=least)
                )
                text = told(EventKind.OPENED, DOWN, story, "en", "14:35").text
                assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  |, ,|;$|, *;", text, re.M), text
