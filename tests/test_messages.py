"""The texts: golden files for every kind and language, tables for numbers, plurals and times, laws for escaping and length.

After a change of words: GOLDEN_UPDATE=1 make test, then read the difference as a person woken at 3 a.m.
"""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alerting import messages
from alerting.messages import system
from alerting.messages.format import ClockFormat, NumberFormat, change, duration, format_number
from alerting.messages.root_cause import root_cause_reply
from alerting.messages.system import (
    DailySummary,
    acknowledged_reply,
    as_drill,
    daily_message,
    digest_message,
    labelled_reply,
    silenced_reply,
    unsilenced_reply,
)
from alerting.messages.text import inside_sentence
from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS, plural
from alerting.model.incident import Event, Incident, Member, Rarity, RootCause, Segment, SimilarIncident
from alerting.model.message import Action, Message
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.routing import parse_routes
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict

GOLDEN = Path(__file__).parent / "golden"
NAN = float("nan")
MONDAY = datetime(2026, 10, 12, tzinfo=UTC)  # times below are Moscow's, three hours ahead
STEP = timedelta(minutes=15)


def moscow(clock: str, days: int = 0) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=days, hours=hour - 3, minutes=minute)


def metric(name: str = "likes", form: str = "count", **more) -> Metric:
    titles = {
        "likes": {"en": "Likes", "ru": "Лайки"},
        "ctr": {"en": "CTR", "ru": "CTR"},
        "views": {"en": "Views", "ru": "Просмотры"},
    }
    return Metric(name, titles[name], "feed_actions", lambda counts: counts, None, form=form, **more)


def anomalous(bucket: datetime, value: float, low: float, expected: float, high: float) -> Verdict:
    return Verdict("likes", bucket, Status.ANOMALOUS, value, low, expected, high, score=-3.0)


def normal(bucket: datetime, value: float = 2015, low: float = 1930, expected: float = 2020, high: float = 2110) -> Verdict:
    return Verdict("likes", bucket, Status.NORMAL, value, low, expected, high, score=0.1)


def missing(bucket: datetime, reason: str = "") -> Verdict:
    return Verdict("likes", bucket, Status.MISSING, low=1930, expected=2020, high=2110, reason=reason)


def event(kind: EventKind, verdict: Verdict, **episode) -> Event:
    return Event(kind, verdict.metric, verdict.bucket, verdict, Episode(verdict.metric, EpisodeState.FIRING, **episode))


def reader(language: str = "en", now: datetime | None = None, **more) -> messages.Audience:
    run = "https://alerts.example.org/runs/2026-10-12/alert-1135Z.html"
    return messages.Audience(language, "Europe/Moscow", now or moscow("14:35"), **{"run_link": run, "owner": "@duty", **more})


def context(metric: Metric, reader: messages.Audience, **more) -> messages.MessageContext:
    return messages.MessageContext(metric, reader, dashboard="https://bi.example.org/d/feed?from=1&to=2", **more)


DROP = anomalous(moscow("14:15"), 1240, 1930, 2020.4, 2110)
WORST = anomalous(moscow("15:30"), 960, 1910, 2000, 2090)
NORMALS = {"en": ("Views", "Feed users", "Messages"), "ru": ("Просмотры", "Пользователи ленты", "Сообщения")}


def opened(language: str) -> messages.Message:
    said = event(EventKind.OPENED, DROP, since=moscow("14:00"), worst=DROP, last=DROP)
    about = context(metric(), reader(language), yesterday=2015, week_ago=1960, normal=NORMALS[language])
    return messages.compose(said, about)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("rule", ["sudden", "sustained", "level"])
def test_which_rule_fired_is_said_in_words(rule, language):
    fired = event(EventKind.OPENED, replace(DROP, reason=rule))
    told = messages.compose(fired, context(metric(), reader(language))).text.splitlines()
    assert WORDS[language][f"rule {rule}"] in told
    assert WORDS[language][f"rule {rule}"] not in opened(language).text


def worsened(language: str) -> messages.Message:
    said = event(EventKind.WORSENED, WORST, since=moscow("14:00"), worst=WORST, last=WORST, last_notified_verdict=DROP)
    return messages.compose(said, context(metric(), reader(language, moscow("15:50")), yesterday=2015, week_ago=1960))


def opened_late_ratio(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.131, 0.204, 0.21, 0.216)
    here = reader(language, now=moscow("15:20"), run_link="/srv/alerts/reports/runs/2026-10-12/alert-20261012T1220Z.ipynb")
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return messages.compose(said, context(metric("ctr", "ratio"), here, week_ago=0.2112))


def opened_zero(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.0, 41_000, 42_512, 44_000)
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return messages.compose(said, context(metric("views"), reader(language), yesterday=42_201, week_ago=41_990))


def opened_spike(language: str) -> messages.Message:
    verdict = anomalous(moscow("23:45", -1), 24_310, -310, 2020, 4110)
    said = event(EventKind.OPENED, verdict, since=moscow("23:45", -1), worst=verdict, last=verdict)
    return messages.compose(said, context(metric(), reader(language, now=moscow("00:05"))))


def opened_from_nothing(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 35, 0, 0, 4)
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    about = messages.MessageContext(metric(), reader(language, run_link="", owner=""), yesterday=0, week_ago=0)
    return messages.compose(said, about)


def reminder(language: str) -> messages.Message:
    verdict = anomalous(moscow("17:00"), 1240, 2010, 2102, 2200)
    said = event(EventKind.REMINDER, verdict, since=moscow("14:00"), worst=WORST, last=verdict)
    here = reader(language, now=moscow("17:20"))
    return messages.compose(said, context(metric(), here, yesterday=2015, week_ago=1960))


def reminder_no_data(language: str) -> messages.Message:
    said = event(EventKind.REMINDER, missing(moscow("15:15")), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("15:35"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def resolved(language: str) -> messages.Message:
    said = event(EventKind.RESOLVED, normal(moscow("17:00")), since=moscow("14:00"), worst=WORST, normal_since=moscow("16:45"))
    return messages.compose(said, context(metric(), reader(language, now=moscow("17:20"))))


def no_data(language: str) -> messages.Message:
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def no_data_of_one_metric(language: str) -> messages.Message:
    trouble = "ValueError: could not convert string to float: 'n/a'"
    said = event(EventKind.NO_DATA, missing(moscow("12:30"), trouble), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:44")))


def data_back(language: str) -> messages.Message:
    said = event(
        EventKind.DATA_BACK, normal(moscow("13:00")), gap_since=moscow("12:15"), gap_notified=True, last=normal(moscow("12:00"))
    )
    return messages.compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def data_back_low(language: str) -> messages.Message:
    said = event(EventKind.DATA_BACK, replace(DROP, bucket=moscow("13:00")), gap_since=moscow("11:45"), gap_notified=True)
    return messages.compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def run_failed(language: str) -> messages.Message:
    reason = "ClickHouse did not answer within 10 s (3 tries)"
    here = reader(language, now=moscow("12:16"))
    return system.run_failed(moscow("12:15"), reason, moscow("12:00"), moscow("12:30"), here)


def caught_up(language: str) -> messages.Message:
    return system.caught_up(moscow("11:30"), moscow("12:00"), (), reader(language, now=moscow("12:15")))


def caught_up_unusual(language: str) -> messages.Message:
    titles = {"en": ("Likes", "CTR"), "ru": ("Лайки", "CTR")}[language]
    return system.caught_up(moscow("12:00"), moscow("12:00"), titles, reader(language, now=moscow("12:15")))


# Incidents: likes are the root, CTR and messages come with them.

TITLES = {
    "likes": {"en": "Likes", "ru": "Лайки"},
    "ctr": {"en": "CTR", "ru": "CTR"},
    "views": {"en": "Views", "ru": "Просмотры"},
    "messages": {"en": "Messages", "ru": "Сообщения"},
    "feed_users": {"en": "Feed users", "ru": "Люди в ленте"},
    "messenger_users": {"en": "Messenger users", "ru": "Люди в мессенджере"},
}
PARENTS = {"views": ("feed_users",), "likes": ("views",), "ctr": ("likes", "views"), "messages": ("messenger_users",)}
EDGES = {"likes": (1930, 2020.4, 2110), "ctr": (0.204, 0.21, 0.216), "views": (41_000, 42_512, 44_000),
         "messages": (880, 940, 1000), "feed_users": (3900, 4100, 4300), "messenger_users": (1250, 1325, 1400)}  # fmt: skip


def watched(name: str) -> Metric:
    table = "message_actions" if name.startswith("mess") else "feed_actions"
    product, form = table.split("_")[0], "ratio" if name == "ctr" else "count"
    more = {"form": form, "adds": "users" not in name, "parents": PARENTS.get(name, ()), "product": product}
    return Metric(name, TITLES[name], table, lambda counts: counts, None, **more)


def odd(name: str, bucket: datetime, value: float, score: float = -3.0) -> Verdict:
    return Verdict(name, bucket, Status.ANOMALOUS, value, *EDGES[name], score=score)


def gone(name: str, bucket: datetime) -> Verdict:
    return Verdict(name, bucket, Status.MISSING)


def member(name: str, since: str = "14:00", value: float = 1240, **more) -> Member:
    more = {"joined": moscow("14:15"), "first": odd(name, moscow("14:15"), value), **more}
    return Member(name, moscow(since), **more)


def incident(*members: Member, **more) -> Incident:
    opened = members[0].joined
    about = {"last_notified": opened, **more}
    return Incident(f"{opened:%Y%m%dT%H%MZ}-{members[0].metric}", opened, members, **about)


def part(member: Member, verdict: Verdict | None = None) -> messages.MemberContext:
    return messages.MemberContext(watched(member.metric), member, verdict)


CTR = member("ctr", value=0.131)
SILENT = member("messages", since="14:00", first=gone("messages", moscow("14:15")), gap=True)
DOWN = odd("likes", moscow("14:15"), 1240, -2.3)
DEEPER = odd("likes", moscow("15:30"), 960, -6.2)
RELEASE = CalendarEvent(moscow("14:05"), moscow("14:05"), "release", "Release 2.3")
HOLIDAY = CalendarEvent(moscow("00:00"), moscow("00:00", 1), "holiday", "Columbus Day")


def told(
    kind: EventKind, verdict: Verdict, story: Incident, language: str, now: str, parts: tuple = (), **more
) -> messages.Message:
    """The text of an incident's event. What is no field of the context belongs to the event, or to its episode."""
    facts = {name: more.pop(name) for name in list(more) if name in messages.MessageContext.__dataclass_fields__}
    about = {name: more.pop(name) for name in ("also", "quiet", "again") if name in more}
    here = reader(language, now=moscow(now))
    what = replace(event(kind, verdict, **more), incident=story, **about)
    return messages.compose(what, context(watched(verdict.metric), here, members=parts, **facts))


def opened_incident(language: str) -> messages.Message:
    story = incident(member("likes"), CTR, SILENT)
    parts = (part(CTR), part(SILENT))
    normal = {"en": ("Views", "Feed users"), "ru": ("Просмотры", "Люди в ленте")}[language]
    more = {"yesterday": 2015, "week_ago": 1960, "normal": normal, "calendar": (RELEASE, HOLIDAY)}
    down = replace(DOWN, reason="sudden")
    return told(EventKind.OPENED, down, story, language, "14:35", parts, since=moscow("14:00"), worst=DOWN, **more)


def opened_warning(language: str) -> messages.Message:
    near = odd("likes", moscow("14:15"), 1880, -1.4)
    story = incident(member("likes", since="14:15", first=near))
    return told(EventKind.OPENED, near, story, language, "14:35", since=moscow("14:15"), worst=near, yesterday=2015)


def opened_incident_edited(language: str) -> messages.Message:
    ctr, silent = replace(CTR, until=moscow("15:15")), SILENT
    story = incident(member("likes"), ctr, silent, acknowledged_by="Anna", snoozed_until=moscow("16:35"))
    parts = (part(ctr, normal(moscow("15:30"))), part(silent, gone("messages", moscow("15:30"))))
    more = {"latest": DEEPER, "yesterday": 2015, "calendar": (RELEASE,)}
    return told(EventKind.OPENED, DOWN, story, language, "15:50", parts, since=moscow("14:00"), worst=DEEPER, **more)


def opened_incident_over(language: str) -> messages.Message:
    likes, ctr = member("likes", until=moscow("16:45")), replace(CTR, until=moscow("15:15"))
    story = incident(likes, ctr, closed=moscow("17:00"), label=Label.REAL, labelled_by="Anna", acknowledged_by="Anna")
    more = {"latest": replace(normal(moscow("17:00")), metric="likes"), "yesterday": 2015, "calendar": (RELEASE,)}
    return told(EventKind.OPENED, DOWN, story, language, "17:20", (part(ctr),), since=moscow("14:00"), worst=DEEPER, **more)


def opened_again(language: str) -> messages.Message:
    story = incident(member("likes"), CTR, reopened=1)
    verdict = odd("likes", moscow("18:00"), 1310)
    return told(EventKind.OPENED, verdict, story, language, "18:20", since=moscow("18:00"), worst=verdict, again=True)


def everything(**more) -> tuple[Incident, tuple]:
    names = {"feed_users": 312, "views": 3900, "likes": 150, "ctr": 0.08, "messenger_users": 130, "messages": 75}
    first = {name: odd(name, moscow("12:15"), value, -24.0) for name, value in names.items()}
    members = [
        Member(name, moscow("12:15"), moscow("12:15"), verdict, worst=verdict, lost=9 * verdict.loss, **more)
        for name, verdict in first.items()
    ]
    return incident(*members), tuple(part(m) for m in members[1:])


def platform(language: str) -> messages.Message:
    story, parts = everything()
    verdict = story.root.first
    return told(EventKind.OPENED, verdict, story, language, "12:35", parts, since=moscow("12:15"), is_platform=True)


def platform_over(language: str) -> messages.Message:
    story, parts = everything(until=moscow("14:30"))
    story = replace(story, closed=moscow("14:45"))
    verdict = replace(normal(moscow("14:45"), 4080, *EDGES["feed_users"]), metric="feed_users")
    return told(EventKind.RESOLVED, verdict, story, language, "15:05", parts, is_platform=True)


def worsened_incident(language: str) -> messages.Message:
    also = (Event(EventKind.OPENED, "messages", moscow("15:30"), odd("messages", moscow("15:30"), 376), Episode("messages")),)
    story = incident(member("likes"), CTR, member("messages", joined=moscow("15:30")), acknowledged_by="Anna")
    parts = (part(CTR), part(member("messages")))
    more = {"also": also, "last_notified_verdict": DOWN, "yesterday": 2015}
    return told(EventKind.WORSENED, DEEPER, story, language, "15:50", parts, since=moscow("14:00"), worst=DEEPER, **more)


def joined(language: str) -> messages.Message:
    verdict = odd("messages", moscow("15:30"), 376)
    mine = member("messages", since="15:30", first=verdict, joined=moscow("15:30"))
    story = incident(member("likes"), CTR, mine)
    parts = (part(member("likes"), DEEPER), part(CTR))
    return told(EventKind.WORSENED, verdict, story, language, "15:50", parts, since=moscow("15:30"), worst=verdict)


def joined_no_data(language: str) -> messages.Message:
    mine = member("messages", since="15:15", first=gone("messages", moscow("15:30")), gap=True)
    mine = replace(mine, joined=mine.first.bucket)
    story = incident(member("likes"), mine)
    more = {**TABLE, "table": "message_actions", "newest": moscow("15:09"), "complete_tables": ("feed_actions",)}
    more |= {"gap_since": moscow("15:15")}
    return told(EventKind.WORSENED, mine.first, story, language, "15:50", (part(member("likes"), DEEPER),), **more)


def reminder_taken(language: str) -> messages.Message:
    verdict = odd("likes", moscow("16:45"), 1190)
    story, parts = incident(member("likes"), CTR, acknowledged_by="Anna"), (part(CTR, odd("ctr", moscow("16:45"), 0.14)),)
    return told(EventKind.REMINDER, verdict, story, language, "17:05", parts, since=moscow("14:00"), worst=DEEPER)


def reminder_open(language: str) -> messages.Message:
    verdict = odd("likes", moscow("16:45"), 1190)
    return told(EventKind.REMINDER, verdict, incident(member("likes")), language, "17:05", since=moscow("14:00"), worst=DEEPER)


def reminder_of_followers(language: str) -> messages.Message:
    well = member("likes", until=moscow("16:00"))
    story, parts = incident(well, CTR), (part(CTR, odd("ctr", moscow("16:45"), 0.14)),)
    return told(EventKind.REMINDER, replace(normal(moscow("16:45")), metric="likes"), story, language, "17:05", parts)


def ended_story(**more) -> tuple[Incident, tuple]:
    likes = member("likes", until=moscow("16:45"), worst=DEEPER, lost=7_912)
    views = member("views", until=moscow("16:30"), worst=odd("views", moscow("15:30"), 23_500), lost=41_480)
    ctr, silent = replace(CTR, until=moscow("16:45"), worst=CTR.first), replace(SILENT, until=moscow("15:15"))
    return incident(likes, views, ctr, silent, closed=moscow("17:00"), **more), (part(views), part(ctr), part(silent))


def resolved_incident(language: str) -> messages.Message:
    story, parts = ended_story()
    calm = replace(normal(moscow("17:00")), metric="likes")
    more = {"since": moscow("14:00"), "worst": DEEPER, "normal_since": moscow("16:45")}
    return told(EventKind.RESOLVED, calm, story, language, "17:20", parts, **more)


def resolved_untold(language: str) -> messages.Message:
    story, parts = ended_story(last_notified=None)
    return told(EventKind.RESOLVED, replace(normal(moscow("17:00")), metric="likes"), story, language, "18:50", parts)


def resolved_by_a_follower(language: str) -> messages.Message:
    likes, ctr = member("likes", until=moscow("16:45"), worst=DEEPER, lost=-61), replace(CTR, until=moscow("17:30"))
    story = incident(likes, ctr, closed=moscow("17:45"), label=Label.FALSE_ALARM, labelled_by="Anna")
    last = Verdict("ctr", moscow("17:45"), Status.NORMAL, 0.209, *EDGES["ctr"], score=-0.1)
    newest = replace(normal(moscow("17:45")), metric="likes")
    return told(EventKind.RESOLVED, last, story, language, "18:05", (part(likes, newest),))


def gaps(*names: str, **more) -> tuple[Incident, tuple]:
    lost = [Member(n, moscow("12:15"), moscow("12:30"), gone(n, moscow("12:30")), gap=True, **more) for n in names]
    return incident(*lost), tuple(part(m, gone(m.metric, moscow("12:30"))) for m in lost[1:])


FEED = ("feed_users", "views", "likes", "ctr")
TABLE = {"table": "feed_actions", "newest": moscow("12:09"), "usual_delay": timedelta(minutes=1)}


def no_data_incident(language: str) -> messages.Message:
    story, parts = gaps(*FEED)
    more = {**TABLE, "complete_tables": ("message_actions",), "gap_since": moscow("12:15"), "last": normal(moscow("12:00"), 4080)}
    return told(EventKind.NO_DATA, gone("feed_users", moscow("12:30")), story, language, "12:45", parts, **more)


def no_data_at_all(language: str) -> messages.Message:
    story, parts = gaps(*FEED, "messenger_users", "messages")
    more = {**TABLE, "is_platform": True, "gap_since": moscow("12:15")}
    return told(EventKind.NO_DATA, gone("feed_users", moscow("12:30")), story, language, "12:45", parts, **more)


def no_data_over(language: str) -> messages.Message:
    story, parts = gaps(*FEED, until=moscow("13:00"))
    story = replace(story, closed=moscow("13:00"))
    more = {**TABLE, "gap_since": moscow("12:15"), "latest": replace(normal(moscow("13:00")), metric="feed_users")}
    return told(EventKind.NO_DATA, gone("feed_users", moscow("12:30")), story, language, "13:20", parts, **more)


def data_back_incident(language: str) -> messages.Message:
    story, parts = gaps(*FEED, until=moscow("13:00"))
    verdict = Verdict("feed_users", moscow("13:00"), Status.NORMAL, 4080, *EDGES["feed_users"], score=0.1)
    return told(
        EventKind.DATA_BACK, verdict, replace(story, closed=moscow("13:00")), language, "13:20", parts, gap_since=moscow("12:15")
    )


def corrected(language: str) -> messages.Message:
    story = incident(member("views", value=26_357), closed=moscow("15:00"), corrected=True)
    verdict = Verdict("views", moscow("14:15"), Status.NORMAL, 42_300, *EDGES["views"], score=-0.1)
    return told(EventKind.CORRECTED, verdict, story, language, "15:05")


def corrected_edited(language: str) -> messages.Message:
    story = incident(member("views", value=26_357), closed=moscow("15:00"), corrected=True)
    latest = Verdict("views", moscow("14:45"), Status.NORMAL, 42_300, *EDGES["views"], score=-0.1)
    return told(EventKind.OPENED, story.root.first, story, language, "15:05", latest=latest)


def corrected_gap(language: str) -> messages.Message:
    story, parts = gaps("feed_users", "views")
    story = replace(story, closed=moscow("13:00"), corrected=True)
    verdict = Verdict("feed_users", moscow("12:30"), Status.NORMAL, 4080, *EDGES["feed_users"], score=0.1)
    return told(EventKind.CORRECTED, verdict, story, language, "13:05", parts, gap_since=moscow("12:15"))


def corrected_in_part(language: str) -> messages.Message:
    views = member("views", value=26_357)
    story = incident(member("likes"), CTR)
    verdict = Verdict("views", moscow("14:15"), Status.NORMAL, 42_300, *EDGES["views"], score=-0.1)
    return told(EventKind.CORRECTED, verdict, story, language, "15:05", (part(story.root), part(CTR), part(views)))


# Causes: a slice is written as in a bench, os=iOS&country=Russia;os=iPadOS


def where(text: str, value: float, expected: float) -> Segment:
    elements = [tuple(tuple(pair.split("=", 1)) for pair in element.split("&")) for element in text.split(";")]
    return Segment(tuple(elements), value, expected)


ATTRIBUTES = ("os", "source", "country", "city")
IOS = RootCause(
    "carried",
    slice=where("os=iOS", 460, 1210),
    share=0.98,
    rest=where("os=", 800, 808),
    others=(where("os=Android", 640, 646), where("os=web", 160, 162)),
    attributes=ATTRIBUTES,
)
GROUPS = tuple(where(f"exp_group={n}", 400, 404) for n in (0, 1, 2, 4))
EXPERIMENT = RootCause(
    "carried",
    slice=where("exp_group=3", 21, 404),
    share=0.96,
    rest=where("exp_group=", 1600, 1616),
    others=GROUPS,
    experiment=True,
)
PAIR = replace(
    IOS,
    slice=where("country=Russia&source=ads", 310, 1090),
    share=1.12,
    rest=where("os=", 968, 930),
    others=(where("country=Russia&source=organic", 610, 600), where("country=Belarus&source=ads", 84, 83)),
)
SEVERAL = replace(IOS, slice=where("os=iOS;os=iPadOS", 310, 1090), share=0.998, others=IOS.others[:1], overlap=True)
RATE = RootCause(
    "carried",
    "rate",
    where("source=ads", 0.081, 0.152),
    0.9,
    where("source=", 0.229, 0.231),
    (where("source=organic", 0.229, 0.231),),
)
MIX = RootCause("carried", "mix", where("source=ads", 0.41, 0.2), 0.93, where("source=", 0.59, 0.8))
ALIKE = RootCause("alike", attributes=ATTRIBUTES)
STRANGE = RootCause(
    "unclear",
    imbalance=(where("exp_group=3", 0.31, 0.2), where("exp_group=0", 0.09, 0.2)),
    new=(where("os=HarmonyOS", 0.12, 0),),
    gone=(where("source=push", 0, 0.08),),
)
RARE = {"rarity": Rarity(12, 0, 9.3, 1)}
LIKE = SimilarIncident(
    moscow("09:00", -38),
    Label.REAL,
    "https://alerts.example.org/runs/2026-09-04/a.html",
    odd("likes", moscow("09:00", -38), 1293),
)


def explained(cause: RootCause, name: str = "likes", value: float = 1240):
    """The opening of an incident with that cause, as it is when all is known."""

    def make(language: str) -> messages.Message:
        verdict = odd(name, moscow("14:15"), value, -2.3)
        story = incident(member(name, first=verdict), SILENT, cause=cause)
        normal = {"en": ("Views",), "ru": ("Просмотры",)}[language]
        past = {} if name == "ctr" else {"yesterday": 2015, "week_ago": 1960}
        more = {"normal": normal, "similar": LIKE, "calendar": (RELEASE,), **past, **RARE}
        return told(EventKind.OPENED, verdict, story, language, "14:35", (part(SILENT),), since=moscow("14:00"), **more)

    return make


def cause_count(language: str) -> messages.Message:
    return explained(IOS)(language)


def cause_pair(language: str) -> messages.Message:
    return explained(PAIR)(language)


def cause_several(language: str) -> messages.Message:
    return explained(SEVERAL)(language)


def cause_experiment(language: str) -> messages.Message:
    return explained(EXPERIMENT)(language)


def cause_rate(language: str) -> messages.Message:
    return explained(RATE, "ctr", 0.131)(language)


def cause_mix(language: str) -> messages.Message:
    return explained(MIX, "ctr", 0.181)(language)


def cause_alike(language: str) -> messages.Message:
    return explained(ALIKE)(language)


def cause_beside(language: str) -> messages.Message:
    return explained(replace(IOS, imbalance=STRANGE.imbalance, new=STRANGE.new, gone=STRANGE.gone))(language)


def cause_unclear(language: str) -> messages.Message:
    return explained(STRANGE)(language)


def cause_of_a_rise(language: str) -> messages.Message:
    rise = RootCause(
        "carried", slice=where("os=Android", 3900, 1300), share=0.5, rest=where("os=", 1900, 720), attributes=ATTRIBUTES
    )
    return explained(rise, value=4640)(language)


def cause_worsened(language: str) -> messages.Message:
    story = incident(member("likes"), CTR, cause=IOS, acknowledged_by="Anna")
    more = {"last_notified_verdict": DOWN, "yesterday": 2015, "rarity": Rarity(12, 0, 9.3, 0), "similar": replace(LIKE, url="")}
    return told(EventKind.WORSENED, DEEPER, story, language, "15:50", (part(CTR),), since=moscow("14:00"), worst=DEEPER, **more)


def cause_edited(language: str) -> messages.Message:
    story = incident(member("likes"), CTR, cause=IOS, acknowledged_by="Anna")
    more = {"latest": DEEPER, "yesterday": 2015, **RARE}
    return told(EventKind.OPENED, DOWN, story, language, "15:50", (part(CTR),), since=moscow("14:00"), worst=DEEPER, **more)


def cause_platform(language: str) -> messages.Message:
    story, parts = everything()
    story = replace(story, cause=ALIKE)
    more = {"is_platform": True, "similar": LIKE, **RARE}
    return told(EventKind.OPENED, story.root.first, story, language, "12:35", parts, since=moscow("12:15"), **more)


def cause_resolved(language: str) -> messages.Message:
    story, parts = ended_story(cause=EXPERIMENT)
    more = {"since": moscow("14:00"), "worst": DEEPER, "normal_since": moscow("16:45")}
    return told(EventKind.RESOLVED, replace(normal(moscow("17:00")), metric="likes"), story, language, "17:20", parts, **more)


def cause_found(language: str) -> messages.Message:
    return root_cause_reply(incident(member("likes"), cause=IOS), moscow("14:15"), reader(language), watched("likes"))


def cause_found_experiment(language: str) -> messages.Message:
    both = replace(EXPERIMENT, imbalance=STRANGE.imbalance[:1])
    return root_cause_reply(incident(member("likes"), cause=both), moscow("14:15"), reader(language), watched("likes"))


def cause_found_alike(language: str) -> messages.Message:
    return root_cause_reply(incident(member("likes"), cause=ALIKE), moscow("14:15"), reader(language), watched("likes"))


CAUSES = [
    cause_count, cause_pair, cause_several, cause_experiment, cause_rate, cause_mix, cause_alike, cause_beside, cause_unclear,
    cause_of_a_rise, cause_worsened, cause_edited, cause_platform, cause_resolved,
]  # fmt: skip
FOUND = [cause_found, cause_found_experiment, cause_found_alike]


def taken(language: str) -> messages.Message:
    return acknowledged_reply(incident(member("likes"), acknowledged_by="Anna"), "Anna", moscow("14:40"), reader(language))


def silenced(language: str) -> messages.Message:
    snoozed = incident(member("likes"), snoozed_until=moscow("15:35"))
    return silenced_reply(snoozed, "Anna", moscow("14:40"), reader(language))


def muted(language: str) -> messages.Message:
    return silenced_reply(incident(member("likes"), muted=True), "Anna", moscow("14:40"), reader(language))


def unsilenced(language: str) -> messages.Message:
    return unsilenced_reply(incident(member("likes")), "Anna", moscow("14:40"), reader(language))


def labelled(label: Label):
    def make(language: str) -> messages.Message:
        return labelled_reply(incident(member("likes"), label=label), "Anna", moscow("14:40"), reader(language))

    make.__name__ = f"labelled_{label.value.replace(' ', '_')}"
    return make


def digest(language: str) -> messages.Message:
    late = [resolved_incident(language), opened_incident(language), no_data_incident(language)]
    late.append(Message("x/picture", EventKind.OPENED, "likes", moscow("14:15"), "x", b"png", reply_to=late[1].key))
    return digest_message(late, moscow("17:30"), reader(language, now=moscow("17:30")))


def daily(language: str) -> messages.Message:
    title = {"en": ("Likes", "Messages"), "ru": ("Лайки", "Сообщения")}[language]
    closest = ("CTR", -0.83, moscow("03:45", -1))
    day = DailySummary(96, 96, 0, 0, ((title[0], Label.REAL),), 0, title[1], closest, moscow("00:00"))
    return daily_message(day, reader(language, now=moscow("00:01")))


def daily_bad(language: str) -> messages.Message:
    likes, views = {"en": ("Likes", "Views"), "ru": ("Лайки", "Просмотры")}[language]
    slices = ((views, "source=ads", -0.61, 12), (likes, "os=iOS", 1.2, 1))
    day = DailySummary(93, 96, 1, 12, ((likes, Label.FALSE_ALARM), (views, None)), 1, "", None, moscow("09:00"), slices)
    return daily_message(day, reader(language, now=moscow("09:01")))


def daily_quiet(language: str) -> messages.Message:
    day = DailySummary(96, 96, 0, 0, (), 0, "CTR", ("CTR", 0.4, moscow("03:45")), moscow("09:00"))
    return daily_message(day, reader(language, now=moscow("09:01"), run_link=""))


def drill(language: str) -> messages.Message:
    return as_drill(opened_incident(language), language)


TEXTS = [
    opened, worsened, opened_late_ratio, opened_zero, opened_spike, opened_from_nothing, reminder, reminder_no_data, resolved,
    no_data, no_data_of_one_metric, data_back, data_back_low, run_failed, caught_up, caught_up_unusual,
    opened_incident, opened_warning, opened_incident_edited, opened_incident_over, opened_again, platform, platform_over,
    worsened_incident, joined, joined_no_data, reminder_taken, reminder_open, reminder_of_followers, resolved_incident,
    resolved_untold, resolved_by_a_follower, no_data_incident, no_data_at_all, no_data_over, data_back_incident, corrected,
    corrected_edited, corrected_gap, corrected_in_part, taken, silenced, muted, unsilenced, *map(labelled, Label),
    digest, daily, daily_bad, daily_quiet, drill, *CAUSES,
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", [*TEXTS, *FOUND], ids=lambda make: make.__name__)
def test_golden_text(make, language):
    path, text = GOLDEN / f"{make.__name__}.{language}.txt", make(language).text
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_the_first_line_fits_a_lock_screen(make, language):
    """What is bold says enough, and is seen whole."""
    first = make(language).text.splitlines()[0]
    assert len(plain(first[: first.find("</b>") + 4])) <= 60
    assert len(plain(first)) <= 90


class Tags(HTMLParser):
    """What Telegram would show, and which tags it would meet."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.shown = [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown += data


def parse(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert tags.seen <= {("b",), ("code",), ("a", "href")}
    return tags


def plain(text: str) -> str:
    return parse(text).shown


@pytest.mark.parametrize("language", ["ru"])
def test_languages_have_the_same_keys_and_fields(language):
    def fields(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    here, english = ({key: fields(text) for key, text in WORDS[chosen].items()} for chosen in (language, "en"))
    assert here == english
    assert NOUNS[language].keys() == NOUNS["en"].keys()
    assert len(WEEKDAYS[language]) == 7
    assert len(MONTHS[language]) == 12


@pytest.mark.parametrize(
    ("count", "noun", "en", "ru"),
    [
        (0, "minute", "0 minutes", "0 минут"),
        (1, "minute", "1 minute", "1 минута"),
        (2, "minute", "2 minutes", "2 минуты"),
        (5, "minute", "5 minutes", "5 минут"),
        (11, "minute", "11 minutes", "11 минут"),
        (12, "minute", "12 minutes", "12 минут"),
        (21, "minute", "21 minutes", "21 минута"),
        (22, "bucket", "22 buckets", "22 интервала"),
        (101, "bucket", "101 buckets", "101 интервал"),
        (111, "bucket", "111 buckets", "111 интервалов"),
        (114, "day", "114 days", "114 дней"),
        (3, "day", "3 days", "3 дня"),
    ],
)
def test_plural(count, noun, en, ru):
    assert [plain_spaces(plural(count, noun, language)) for language in ("en", "ru")] == [en, ru]


def plain_spaces(text: str) -> str:
    return re.sub(r"[\u00a0\u202f]", " ", text)


@pytest.mark.parametrize(
    ("minutes", "en", "ru"),
    [
        (0, "less than a minute", "меньше минуты"),
        (45, "45 min", "45 мин"),
        (60, "1 h", "1 ч"),
        (165, "2 h 45 min", "2 ч 45 мин"),
        (1440, "1 day", "1 день"),
        (1440 * 2 + 185, "2 days 3 h", "2 дня 3 ч"),
        (1440 * 12 + 185, "12 days", "12 дней"),
    ],
)
def test_duration(minutes, en, ru):
    assert [plain_spaces(duration(timedelta(minutes=minutes), language)) for language in ("en", "ru")] == [en, ru]


@pytest.mark.parametrize(
    ("form", "band", "value", "said"),
    [
        ("count", (1930, 2020, 2110), 1240, "1,240 | 1,930–2,110 | −780"),
        ("count", (-40, 300.4, 640), 0, "0 | 0–640 | −300"),
        ("count", (0.5, 2.5, 4.5), 7, "7 | 0.5–4.5 | +4.5"),
        ("count", (0, 0.02, 0.1), 3, "3 | 0–0.1 | +3"),
        ("count", (9e5, 1e6, 1.1e6), 1234567, "1,234,567 | 900,000–1,100,000 | +234,567"),
        ("count", (1e9, 2e9, 3e9), 12.34e12, "12.3 tn | 1.00 bn–3.00 bn | +12.3 tn"),
        ("ratio", (0.204, 0.21, 0.216), 0.131, "13.1 % | 20.4–21.6 % | −7.9 pp"),
        ("ratio", (0.99950, 0.99970, 0.99990), 0.998, "99.80 % | 99.95–99.99 % | −0.17 pp"),
        ("ratio", (-0.001, 0.0021, 0.0042), 0.0, "0 % | 0–0.42 % | −0.21 pp"),
        ("ratio", (0.2, 0.3, 0.4), 0.00001, "0.001 % | 20.0–40.0 % | −30.0 pp"),
        ("number", (-5, -2, 1), -7.25, "−7.25 | −5.00…1.00 | −5.25"),
        ("number", (-5, -4, -3), -7, "−7 | −5…−3 | −3"),
        ("number", (36.1, 36.6, 37.1), 39, "39.0 | 36.1–37.1 | +2.4"),
        ("number", (10, 20, 30), 7, "7 | 10–30 | −13"),
        ("number", (0.0030, 0.0032, 0.0034), 0.001, "0.00100 | 0.00300–0.00340 | −0.00220"),
        ("number", (1e-12, 2e-12, 3e-12), 1.25e17, "1.2·10¹⁷ | 1.0·10⁻¹²–3.0·10⁻¹² | +1.2·10¹⁷"),
        ("number", (0, 1, 2), float("inf"), "∞ | 0–2 | +∞"),
        ("count", (NAN, NAN, NAN), 12, "12 |  | "),
        ("count", (0, 4, 9), NAN, " | 0–9 | "),
        ("count", (0, 0, 0), 9, "9 | 0 | +9"),
        ("count", (3, 4, 5), 4, "4 | 3–5 | "),
    ],
)
def test_numbers(form, band, value, said):
    low, expected, high = band
    n = NumberFormat.of(form, "en", anomalous(MONDAY, value, *band))
    assert plain_spaces(f"{n.value(value)} | {n.range(low, high)} | {n.difference(value - expected)}") == said


def test_numbers_in_russian():
    n = NumberFormat.of("ratio", "ru", anomalous(MONDAY, 0.131, 0.204, 0.21, 0.216))
    assert [n.value(0.131), n.difference(-0.079)] == ["13,1\u202f%", "−7,9\u00a0п. п."]
    n = NumberFormat.of("count", "ru", anomalous(MONDAY, 12.34e12, 1e9, 2e9, 3e9))
    assert n.range(1e9, 1234567) == "1,00\u00a0млрд–1\u202f234\u202f567"


def test_groups_and_units_never_break_a_line():
    assert format_number(1234567, 0, "ru") == "1\u202f234\u202f567"
    assert change(DROP, "en") == "−39\u202f%"
    assert duration(timedelta(minutes=165), "ru") == "2\u00a0ч\u00a045\u00a0мин"


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        (1240, 2000, "−38 %"),
        (2084, 2000, "+4.2 %"),
        (1999, 2000, "−0.05 %"),
        (2000, 2000, "0 %"),
        (2000.01, 2000, "0 %"),
        (0, 2000, "−100 %"),
        (1, 2000, "−99.9 %"),
        (1, 2_000_000, "−99.9 %"),
        (8000, 2000, "+300 %"),
        (10_400, 2000, "×5.2"),
        (24_310, 2000, "×12"),
        (2_468_000, 2, "×1,234,000"),
        (5e12, 1, "×5.00 tn"),
        (-3, 2, "−250 %"),
        (-3, -2, "−50 %"),
        (3, -2, "+250 %"),
        (35, 0, ""),
        (35, NAN, ""),
        (NAN, 35, ""),
        (float("inf"), 35, ""),
        (1e308, 1e-308, ""),
    ],
)
def test_change(value, expected, said):
    assert plain_spaces(change(anomalous(MONDAY, value, NAN, expected, NAN), "en")) == said


BERLIN_BACK = datetime(2026, 10, 25, tzinfo=UTC)  # 01:00 UTC: 03:00 becomes 02:00
BERLIN_ON = datetime(2026, 3, 29, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 03:00


@pytest.mark.parametrize(
    ("start", "minutes", "said"),
    [
        (BERLIN_BACK - timedelta(minutes=15), 15, "Sun 01:45–02:00"),
        (BERLIN_BACK + timedelta(minutes=30), 15, "Sun 02:30–02:45 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=45), 15, "Sun 02:45–03:00 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=60), 15, "Sun 02:00–02:15 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=90), 15, "Sun 02:30–02:45 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=120), 15, "Sun 03:00–03:15"),
        (BERLIN_ON + timedelta(minutes=45), 15, "Sun 01:45–03:00"),
        (BERLIN_ON + timedelta(minutes=60), 15, "Sun 03:00–03:15"),
    ],
)
def test_a_bucket_around_a_clock_change_has_its_true_local_time(start, minutes, said):
    clock = ClockFormat("Europe/Berlin", "en", start + timedelta(hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(minutes=minutes))) == said


def test_time_across_a_clock_change_is_counted_true():
    said = event(EventKind.RESOLVED, normal(BERLIN_BACK + timedelta(hours=5)), since=BERLIN_BACK - timedelta(hours=1))
    here = messages.Audience("en", "Europe/Berlin", BERLIN_BACK + timedelta(hours=5, minutes=20))
    assert plain_spaces(messages.compose(said, messages.MessageContext(metric(), here)).text).splitlines()[::2] == [
        "🟢 <b>Likes normal again</b> since 06:00 · lasted 6 h",
        "Off Sun 01:00–06:00",  # six hours, though the clock says five
    ]


@pytest.mark.parametrize(
    ("start", "hours", "now_days", "zone", "said"),
    [
        (MONDAY, 0.25, 0, "Asia/Kathmandu", "Mon 05:45–06:00"),
        (MONDAY + timedelta(hours=20.75), 0.25, 0, "Europe/Moscow", "Mon 23:45–00:00"),
        (MONDAY + timedelta(hours=20.5), 2, 0, "Europe/Moscow", "Mon 23:30–Tue 01:30"),
        (MONDAY, 24, 1, "Europe/Moscow", "Mon 03:00–Tue 03:00"),
        (MONDAY, 0.25, 6, "UTC", "Mon 00:00–00:15"),
        (MONDAY, 0.25, 7, "UTC", "12 Oct 00:00–00:15"),
        (MONDAY, 0.25, 100, "UTC", "12 Oct 2026 00:00–00:15"),
    ],
)
def test_span(start, hours, now_days, zone, said):
    clock = ClockFormat(zone, "en", MONDAY + timedelta(days=now_days, hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(hours=hours))) == said


def test_an_instant_names_its_day_only_when_it_must():
    clock = ClockFormat("Europe/Moscow", "ru", moscow("14:35"))
    assert clock.at(moscow("14:00"), near=moscow("14:15")) == "14:00"
    assert clock.at(moscow("23:45", -1), near=moscow("14:15")) == "вс 23:45"
    assert plain_spaces(clock.at(moscow("23:45", -20), near=moscow("14:15"))) == "22 сен 23:45"


TOLD = list(EventKind)[:7]  # kinds of events
NASTY = """<b>&"'</b> {title} <script>\n\r\t</code></a>\u202e\x00\ud800 🔥"""


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
    for message, limit in ((messages.compose(said, about), 4096), (messages.picture_message(said, b"png", about), 1024)):
        assert len(message.text.encode("utf-16-le")) // 2 < limit  # as Telegram counts
        shown = plain(message.text)
        assert shown.strip()
        assert "\u202e" not in shown
        assert "\x00" not in shown


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
        timedelta(days=900), (odd,) * 40, moscow("19:00"),
    )  # fmt: skip
    for message, limit in ((messages.compose(said, about), 4096), (messages.picture_message(said, b"png", about), 1024)):
        assert len(message.text.encode("utf-16-le")) // 2 < limit
        shown = plain(message.text)
        assert shown.strip()
        assert not re.search(r"nan|None|\u202e|\x00", shown)


@pytest.mark.parametrize("odd", [NASTY, "🔥" * 10_000, ""], ids=["html", "long", "none"])
def test_no_name_breaks_a_reply(odd):
    story = incident(member("likes"), muted=True, label=Label.REAL)
    for reply in (acknowledged_reply, silenced_reply, unsilenced_reply, labelled_reply):
        assert len(plain(reply(story, odd, moscow("14:40"), reader()).text)) < 200
    day = DailySummary(1, 1, 0, 0, ((odd, None),) * 50, 3, odd, (odd, 0.5, MONDAY), MONDAY)
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


def test_buttons_go_with_what_can_be_said():
    def actions(message: Message) -> list[list[Action]]:
        return [[button.action for button in row] for row in message.buttons]

    begins = [[Action.TAKE, Action.SNOOZE], [Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED]]
    ends = [[Action.REAL, Action.FALSE_ALARM], [Action.EXPECTED, Action.NEW_TREND]]
    assert actions(opened_incident("en")) == actions(no_data_incident("en")) == actions(opened_incident_edited("en")) == begins
    assert actions(resolved_incident("en")) == actions(resolved_untold("en")) == ends
    for make in (
        opened,
        opened_incident_over,
        no_data_over,
        data_back_incident,
        worsened_incident,
        reminder_open,
        corrected,
        taken,
    ):
        assert actions(make("en")) == [], make
    assert [button.text for row in opened_incident("ru").buttons for button in row] == [
        "Беру", "Тихо 1 ч", "До конца", "Ложная", "Ожидаемо",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_row_of_buttons_fits_a_phone(language):
    for message in (opened_incident(language), resolved_incident(language)):
        assert all(sum(len(button.text) + 2 for button in row) <= 42 for row in message.buttons)


def test_an_incident_is_one_thread():
    first = opened_incident("en")
    assert (first.key, first.reply_to, first.incident) == ("20261012T1115Z-likes/opened/text", "", "20261012T1115Z-likes")
    for make in (opened_again, worsened_incident, joined, reminder_open, resolved_incident, taken, silenced, muted, unsilenced):
        message = make("en")
        assert (message.reply_to, message.incident) == (first.key, first.incident), make
        assert message.key.startswith(f"{first.incident}/"), make
        assert message.key != first.key
    assert opened_incident_edited("en").key == opened_incident_over("en").key == first.key
    assert resolved_untold("en").reply_to == ""  # there is nothing to answer


def test_what_makes_a_sound():
    loud = [opened_incident, no_data_incident, worsened_incident, reminder_open, resolved_incident, corrected, digest]
    assert not any(make("en").quiet for make in loud)
    assert all(make("en").quiet for make in (taken, silenced, muted, unsilenced, daily, labelled(Label.REAL)))
    calm = replace(event(EventKind.RESOLVED, normal(moscow("17:00"))), quiet=True)
    assert messages.compose(calm, context(metric(), reader())).quiet
    assert messages.picture_message(event(EventKind.OPENED, DROP), b"png", context(metric(), reader())).quiet


def test_a_drill_can_be_taken_for_nothing_else():
    real, marked = worsened_incident("en"), as_drill(worsened_incident("en"), "en")
    assert (marked.key, marked.reply_to, marked.edits) == (f"drill/{real.key}", f"drill/{real.reply_to}", "")
    assert marked.text == f"🧪 DRILL {real.text}"
    shown = messages.picture_message(event(EventKind.OPENED, DROP), b"png", context(metric(), reader("ru")))
    assert as_drill(shown, "ru").text.startswith("🧪 УЧЕБНАЯ ТРЕВОГА 🔴")


def test_a_digest_keeps_the_newest_and_counts_the_rest():
    late = [Message(f"m{i}", EventKind.OPENED, "likes", moscow("02:00") + i * STEP, f"<b>{i}</b>\nmore") for i in range(40)]
    lines = digest_message(late, moscow("14:00"), reader()).text.splitlines()
    assert plain_spaces(lines[0]) == "📜 <b>40 messages could not be sent in time</b> (Mon 02:00–11:45)"
    assert lines[1:] == ["25 more before", *(f"<b>{i}</b>" for i in range(25, 40))]
    long = [replace(message, text="🔥" * 900) for message in late]
    assert len(digest_message(long, moscow("14:00"), reader()).text.encode("utf-16-le")) // 2 < 4096
    assert "1\u00a0message " in digest_message(late[:1], moscow("14:00"), reader()).text


@pytest.mark.parametrize("icon", ["🔴", "🚨"])
def test_what_is_critical_is_routed_by_its_severity_and_not_by_its_icon(monkeypatch, icon):
    monkeypatch.setitem(WORDS["en"], "critical icon", icon)
    routes, about = parse_routes("critical -> email; * -> slack", ("telegram", "slack", "email")), context(metric(), reader())
    said = event(EventKind.OPENED, DROP)
    for message in (messages.compose(said, about), messages.picture_message(said, b"png", about), platform("en")):
        assert (message.text.split()[0], routes.of(message)) == (icon, ("email",))
    near = replace(DROP, score=-1.2)
    for calm in (
        event(EventKind.OPENED, near),
        event(EventKind.WORSENED, near, last_notified_verdict=DROP),
        event(EventKind.WORSENED, missing(DROP.bucket), gap_since=DROP.bucket),
        event(EventKind.NO_DATA, missing(DROP.bucket), gap_since=DROP.bucket),
        event(EventKind.REMINDER, DROP, since=DROP.bucket),
        event(EventKind.RESOLVED, normal(DROP.bucket)),
    ):
        assert routes.of(messages.compose(calm, about)) == ("slack",), calm.kind
    taken_back = replace(said, incident=incident(member("likes"), corrected=True))
    assert (opened_incident_over("en").critical, messages.compose(taken_back, about).critical) == (False, False)


@pytest.mark.parametrize(
    ("score", "icon", "said"),
    [
        (-1.01, "🟡", "just past the edge of normal"),
        (1.4, "🟡", "1.4 × the edge of normal"),
        (-2, "🔴", "2 × the edge of normal"),
        (-9.96, "🔴", "10 × the edge of normal"),
        (123.4, "🔴", "120 × the edge of normal"),
        (-1000, "🔴", ""),
        (NAN, "🔴", ""),
    ],
)
def test_severity_is_said_in_words_too(score, icon, said):
    text = messages.compose(event(EventKind.OPENED, replace(DROP, score=score)), context(metric(), reader())).text
    assert text.startswith(icon)
    assert plain_spaces(text.splitlines()[1]).partition("−780")[2].removeprefix(" · ") == said


@pytest.mark.parametrize(("score", "said"), [(2, "2 раза"), (2.3, "2,3 раза"), (5, "5 раз"), (21, "21 раз"), (24, "24 раза")])
def test_how_far_in_russian(score, said):
    text = messages.compose(event(EventKind.OPENED, replace(DROP, score=score)), context(metric(), reader("ru"))).text
    assert f"отклонение в {said} больше допустимого" in plain_spaces(text)


@pytest.mark.parametrize(
    ("lost", "more", "said"),
    [
        (7912, {}, "about 7,900 lost"),
        (-7912, {}, "about 7,900 too many"),
        (101, {}, "about 100 lost"),
        (99, {}, ""),  # less than 5 % of the 2,000 that one bucket was to have
        (0, {}, ""),
        (7912, {"adds": False}, ""),
        (7912, {"form": "number"}, ""),
        (float("inf"), {}, ""),
    ],
)
def test_the_loss_is_said_where_it_can_be_summed(lost, more, said):
    over = event(EventKind.RESOLVED, normal(moscow("17:00")), since=moscow("14:00"), worst=WORST, lost=lost)
    lines = messages.compose(over, context(metric(**more), reader(now=moscow("17:20")))).text.splitlines()
    assert plain_spaces(lines[1]).partition(")")[2].removeprefix(" · ") == said


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (moscow("14:05"), moscow("14:05"), "Push, 14:05"),
        (moscow("14:05"), moscow("14:10"), "Push, 14:05"),
        (moscow("14:00"), moscow("18:00"), "Push, 14:00–18:00"),
        (moscow("23:00", -1), moscow("01:00"), "Push, Sun 23:00–Mon 01:00"),
        (moscow("00:00"), moscow("00:00", 1), "Push"),
        (moscow("00:00", 1), moscow("00:00", 2), "Push, Tue"),
        (moscow("00:00", -2), moscow("00:00", 1), "Push, Sat–Mon"),
    ],
)
def test_the_calendar_says_when(start, end, said):
    about = context(metric(), reader(), calendar=(CalendarEvent(start, end, "push", "Push"),))
    assert f"📅 {said}" in plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text).splitlines()


def test_the_nearest_of_the_calendar_are_named():
    days = tuple(CalendarEvent(moscow("14:00") + n * STEP, moscow("14:00") + n * STEP, "push", f"Push {n}") for n in range(9))
    lines = messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader(), calendar=days)).text.splitlines()
    assert [line.split(",")[0] for line in lines if "📅" in line] == ["📅 Push 1", "📅 Push 0", "📅 Push 2", "📅 6 more"]


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Feed users", "feed users"), ("Люди в ленте", "люди в ленте"), ("Likes", "likes"), ("Likes −38 %", "likes −38 %"),
        ("CTR", "CTR"), ("DAU of Android", "DAU of Android"), ("iOS users", "iOS users"), ("A/B tests", "A/B tests"),
        ("Wi-Fi", "Wi-Fi"), ("X", "X"), ("", ""), ("VoIP calls", "VoIP calls"), ("ДТП", "ДТП"),
    ],
)  # fmt: skip
def test_a_title_within_a_sentence(title, said):
    assert inside_sentence(title) == said


def test_what_left_the_incident_is_named_in_its_correction():
    views = Verdict("views", moscow("14:15"), Status.NORMAL, 42_300, *EDGES["views"], score=-0.1)
    also = (Event(EventKind.CORRECTED, "ctr", moscow("14:15"), views, Episode("ctr")),)
    message = told(EventKind.CORRECTED, views, incident(member("likes")), "en", "15:05", (part(member("likes")),), also=also)
    assert plain_spaces(message.text).splitlines()[:4] == [
        "↩️ <b>Views, ctr: normal after all</b> · late rows of Mon 14:15–14:30",
        "<b>42,300</b> now · expected 42,512 (41,000–44,000)",
        "Sorry.",
        "Still off: Likes 1,240 (expected 1,930–2,110)",
    ]
    stale = told(EventKind.CORRECTED, odd("views", moscow("14:15"), 26_357), incident(member("likes")), "en", "15:05")
    assert "26,357" not in stale.text  # that was before the rows came


def test_the_platform_has_no_data_only_when_none_of_it_has():
    story, parts = gaps("feed_users", "views", "messenger_users")
    odd_one = replace(story.members[2], gap=False, first=odd("messenger_users", moscow("12:15"), 130))
    story, parts = replace(story, members=(*story.members[:2], odd_one)), (parts[0], part(odd_one))
    more = {"is_platform": True, "gap_since": moscow("12:15")}
    text = told(EventKind.NO_DATA, story.root.first, story, "en", "12:45", parts, **more).text
    assert text.startswith("⚫ <b>Feed users: no data</b>")
    assert "Also: Views: no data, Messenger users 130 (expected 1,250–1,400)" in text


def test_the_daily_message_has_one_key_a_day():
    assert daily("en").key == daily("ru").key == "run/daily/20261011T2100Z/text"


def test_an_edit_is_not_late():
    for make in (opened_incident_edited, opened_incident_over, no_data_over):
        assert "⏱" not in make("en").text


def test_a_silence_is_said_while_it_lasts():
    def lines(**more) -> list[str]:
        return messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader(), **more)).text.splitlines()

    assert "🔕 Silent until 16:00" in lines(silenced_until=moscow("16:00"))
    assert not any("🔕" in line for line in lines(silenced_until=moscow("14:00")))


def test_what_joined_is_named_even_when_little_is_known_of_it():
    also = (Event(EventKind.OPENED, "sign_ups", moscow("15:30"), odd("likes", moscow("15:30"), 600), Episode("sign_ups")),)
    text = told(EventKind.WORSENED, DEEPER, incident(member("likes")), "en", "15:50", also=also, last_notified_verdict=DOWN).text
    assert "Also now: sign_ups −70\u202f%" in text


def test_nobody_is_called_when_it_is_over():
    assert "@duty" in opened_incident_edited("en").text
    for make in (opened_incident_over, no_data_over, resolved_incident, resolved_untold, data_back_incident, corrected):
        assert "@duty" not in make("en").text, make


def test_a_name_is_shown_as_it_is():
    text = messages.compose(event(EventKind.OPENED, DROP), context(replace(metric(), title={"en": 'A <b>&"'}), reader())).text
    assert '🔴 <b>A &lt;b&gt;&amp;" −39' in text
    assert plain(text).startswith('🔴 A <b>&" −39')


def test_a_reason_is_cut_and_escaped():
    message = system.run_failed(moscow("12:15"), "<html>" * 10_000, None, None, reader())
    assert plain(message.text).splitlines()[0] == "⚠️ The Mon 12:15 check failed"
    assert len(message.text) < 1024


def test_an_address_that_is_no_web_address_is_shown_not_linked():
    text = messages.compose(
        event(EventKind.OPENED, DROP), messages.MessageContext(metric(), reader(run_link="javascript:alert(1)"))
    ).text
    assert "href" not in text
    assert "<code>javascript:alert(1)</code>" in text


def test_keys_say_what_a_message_is_about():
    likes = context(metric(), reader())
    said = event(EventKind.OPENED, DROP)
    text, shown = messages.compose(said, likes), messages.picture_message(said, b"png", likes)
    assert (text.key, text.photo, text.reply_to) == ("likes/opened/20261012T1115Z/text", None, "")
    assert (shown.key, shown.photo, shown.reply_to) == ("likes/opened/20261012T1115Z/picture", b"png", text.key)
    assert plain_spaces(shown.text) == "🔴 <b>Likes −39 %</b> · Mon 14:15–14:30"


def test_failures_of_one_hour_share_a_key():
    keys = [system.run_failed(moscow(at), "down", None, None, reader()).key for at in ("12:00", "12:15", "12:45", "13:00")]
    assert keys[0] == keys[1] == keys[2] == "run/run-failed/20261012T09Z/text"
    assert keys[3] == "run/run-failed/20261012T10Z/text"


@pytest.mark.parametrize(
    ("now", "step", "late"),
    [("14:50", 15, ""), ("15:00", 15, ""), ("15:01", 15, "31 min"), ("14:46", 1, ""), ("14:47", 1, "31 min"), ("16:00", 60, "")],
)
def test_late_is_said_when_it_is_unusual(now, step, late):
    about = messages.MessageContext(metric(step=timedelta(minutes=step)), reader(now=moscow(now)))
    text = plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text)
    assert ("⏱" in text) == bool(late)
    assert late in text


@pytest.mark.parametrize("kind", TOLD)
def test_little_known_is_little_said(kind):
    """An event with nothing but its verdict, and a context with nothing but the metric, still make a text."""
    for verdict in (Verdict("likes", moscow("14:15"), status) for status in Status):
        about = messages.MessageContext(metric(), reader(run_link="", owner=""))
        text = messages.compose(event(kind, verdict), about).text
        assert text
        assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  ", text, re.M), text


def test_a_value_that_cannot_be_made_is_told_from_rows_that_do_not_come():
    assert "no value can be made" in no_data_of_one_metric("en").text
    assert "as soon as rows arrive" in no_data("en").text


def test_rows_from_the_future_are_not_ago():
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"))
    about = context(metric(), reader(now=moscow("12:50")), table="feed_actions", newest=moscow("13:30"))
    assert "feed_actions: newest row 13:30, later than now" in messages.compose(said, about).text


def test_the_import_is_light():
    code = "import sys, alerting.messages; print(sorted({'pandas', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], cwd=GOLDEN.parent.parent, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def cause_line(cause: RootCause, language: str = "en", first: Verdict = DOWN, name: str = "likes") -> str:
    story = incident(member(name, first=first), cause=cause)
    return plain_spaces(plain(told(EventKind.OPENED, first, story, language, "14:35").text)).splitlines()[2]


@pytest.mark.parametrize(
    ("share", "rest", "said"),
    [
        (0.976, -0.011, "carries 98 % of the drop; the rest −1 %"),
        (0.98, -0.004, "carries 98 % of the drop; the rest as usual"),
        (1.0, 0.0, "carries all of the drop; the rest as usual"),
        (1.049, 0.02, "carries all of the drop; the rest +2 %"),
        (1.3, 0.041, "carries more than all of the drop; the rest rose 4 %"),
        (1.3, -0.041, "carries more than all of the drop; the rest −4 %"),
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
    assert cause_line(rise, first=up) == "Cause: os iOS +98 %, carries more than all of the rise; the rest fell 14 %"
    assert cause_line(rise, "ru", up) == "Причина: ОС iOS +98 %, даёт больше 100 % роста; остальное упало на 14 %"
    new = replace(rise, slice=where("os=Fuchsia", 1190, 0), share=1.0, rest=None)
    assert cause_line(new, first=up) == "Cause: os Fuchsia 1,190 (expected 0), carries all of the rise"
    assert cause_line(ALIKE, first=up) == "Everything alike: every os, source, country and city rose about as much"
    assert cause_line(ALIKE, "ru", up) == "Везде одинаково: все срезы выросли примерно так же (ОС, источник, страна и город)"


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
    assert cause_line(odd_one) == "Cause: exp_group 3 carries 60 % of the drop → probably the experiment; the rest −13 %"
    two = replace(EXPERIMENT, slice=where("exp_group=3;exp_group=4", 40, 808))
    assert cause_line(two).startswith("Cause: exp_group 3 and exp_group 4 carry 96 % of the drop, the other groups")


def test_a_mix_that_is_not_all_says_how_much_it_is():
    half = cause_line(replace(MIX, share=0.6), first=odd("ctr", moscow("14:15"), 0.181), name="ctr")
    assert half == "Cause: a shift of the mix: source ads is 41 % of all (usually 20 %), carries 60 % of the drop"


def test_nothing_is_said_of_a_cause_that_is_not_known():
    for cause in (None, RootCause("unclear"), RootCause("carried"), replace(IOS, slice=where("os=iOS", NAN, 10))):
        assert "Cause" not in told(EventKind.OPENED, DOWN, incident(member("likes"), cause=cause), "en", "14:35").text
        if cause:
            reply = root_cause_reply(incident(member("likes"), cause=cause), moscow("14:15"), reader(), watched("likes"))
            assert reply.text == "🔎 <b>Likes</b>: no slice stands out"
    taken_back = incident(member("likes"), cause=IOS, closed=moscow("15:00"), corrected=True)
    text = told(EventKind.OPENED, DOWN, taken_back, "en", "15:05", **RARE).text
    assert not re.search("Cause|lower than|such a", text)


def test_a_cause_is_the_roots():
    mine = member("ctr", value=0.131)
    story = incident(member("likes"), mine, cause=RATE)
    again = told(EventKind.OPENED, mine.first, story, "en", "14:35", (part(member("likes")),), again=True)
    assert "Cause: likes in source ads" in again.text
    unknown = told(EventKind.OPENED, mine.first, story, "en", "14:35", again=True)
    assert "Cause" not in unknown.text


def test_a_cause_that_comes_later_answers_the_alert():
    late = cause_found("en")
    story = "20261012T1115Z-likes"
    assert (late.key, late.reply_to, late.incident) == (f"{story}/cause/text", f"{story}/opened/text", story)
    assert (late.kind, late.metric, late.quiet, late.buttons) == (EventKind.CAUSE, "likes", True, ())


@pytest.mark.parametrize(
    ("rarity", "en", "ru"),
    [
        ((12, 0, 9.3, 1), "lower than all 12 same-time Mondays · such a drop about once in 9 weeks",
         "ниже всех 12 понедельников в это время · такое бывает примерно раз в 9 недель"),
        ((21, 0, 21.9, 0), "lower than all 21 same-time Mondays · such a drop not once in the 21 weeks before",
         "ниже всех 21 понедельника в это время · за 21 неделю до этого такого не было"),
        ((12, 1, 9, 4), "lower than 11 of 12 same-time Mondays · such a drop about once in 2 weeks",
         "ниже, чем в 11 из 12 понедельников в это время · такое бывает примерно раз в 2 недели"),
        ((12, 6, 9, 8), "such a drop about once a week", "такое бывает примерно раз в неделю"),
        ((2, 0, 9, 27), "such a drop about 3 times a week", "такое бывает примерно 3 раза в неделю"),
        ((2, 0, 9, 45), "such a drop about 5 times a week", "такое бывает примерно 5 раз в неделю"),
        ((3, 0, 1.9, 0), "lower than all 3 same-time Mondays", "ниже всех 3 понедельников в это время"),
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
    for rarity in (Rarity(), Rarity(2, 0, 1.9, 0), Rarity(12, 6), None):
        text = messages.compose(
            event(EventKind.OPENED, DROP, since=moscow("14:00")), context(metric(), reader(), rarity=rarity)
        ).text
        assert "Since 14:00 · 30\u00a0min so far" in text
        assert "same-time" not in text


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (LIKE, "4 Sep (real, −36 %)"),
        (SimilarIncident(moscow("14:00", -5)), "Wed"),
        (SimilarIncident(moscow("09:00"), Label.FALSE_ALARM), "09:00 (false alarm)"),
        (SimilarIncident(moscow("09:00", -9), None, "/srv/runs/a.ipynb", LIKE.off), "3 Oct (−36 %)"),
    ],
)
def test_what_it_is_most_like(past, said):
    text = messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader(), yesterday=2015, similar=past)).text
    assert f"Yesterday 2,015 · most like: {said}" in plain_spaces(plain(text)).splitlines()
    assert (f'<a href="{past.url}">' in text) == past.url.startswith("https")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", [m for m in CAUSES if m not in (cause_resolved, cause_edited)], ids=lambda make: make.__name__)
def test_what_matters_is_in_the_first_six_lines(make, language):
    lines = plain_spaces(plain(make(language).text)).splitlines()[:6]
    for words in ("^(Cause|Everything|Experiment|Причина|Везде|Группы)", "lower|higher|ниже|выше|Lower|Ниже", "ike: |похоже"):
        assert any(re.search(words, line) for line in lines), words


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
                root_cause_reply(story, moscow("14:15"), reader(language), watched("likes")),
            ):
                assert len(message.text.encode("utf-16-le")) // 2 < 4096
                shown = plain(message.text)
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
                for text in (
                    told(EventKind.OPENED, DOWN, story, "en", "14:35").text,
                    root_cause_reply(story, moscow("14:15"), reader(), watched("likes")).text,
                ):
                    assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  |, ,|;$|, *;", text, re.M), text
