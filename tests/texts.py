"""Events, incidents and messages for the tests of texts. Likes are the root metric; CTR and messages are the other members."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from alerting import messages
from alerting.messages.answers import silence_text
from alerting.messages.compose import DailySummary, as_drill, daily_message, digest_message, escalation, status_edit
from alerting.messages.compose import caught_up as caught_up_notice
from alerting.messages.compose import run_failed as run_failed_notice
from alerting.messages.compose import run_recovered as run_recovered_notice
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import NO_END, CalendarEvent, Metric, Silence
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict

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
    about = {"run_link": run, "pages": "https://alerts.example.org", "owner": "@duty", **more}
    return messages.Audience(language, "Europe/Moscow", now or moscow("14:35"), **about)


def context(metric: Metric, reader: messages.Audience, **more) -> messages.MessageContext:
    return messages.MessageContext(metric, reader, dashboard="https://bi.example.org/d/feed?from=1&to=2", **more)


DROP = anomalous(moscow("14:15"), 1240, 1930, 2020.4, 2110)
WORST = anomalous(moscow("15:30"), 960, 1910, 2000, 2090)
NORMALS = {"en": ("Views", "Feed users", "Messages"), "ru": ("Просмотры", "Пользователи ленты", "Сообщения")}


MADE: dict[str, tuple[Event, messages.MessageContext]] = {}  # text -> what it was made of


def compose(event: Event, context: messages.MessageContext) -> messages.Message:
    message = messages.compose(event, context)
    MADE[message.text] = event, context
    return message


def opened(language: str) -> messages.Message:
    said = event(EventKind.OPENED, DROP, since=moscow("14:00"), worst=DROP, last=DROP)
    about = context(metric(), reader(language), yesterday=2015, week_ago=1960, normal=NORMALS[language])
    return compose(said, about)


def worsened(language: str) -> messages.Message:
    said = event(EventKind.WORSENED, WORST, since=moscow("14:00"), worst=WORST, last=WORST, last_notified_verdict=DROP)
    return compose(said, context(metric(), reader(language, moscow("15:50")), yesterday=2015, week_ago=1960))


def opened_late_ratio(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.131, 0.204, 0.21, 0.216)
    here = reader(language, now=moscow("15:20"), run_link="/srv/alerts/reports/runs/2026-10-12/alert-20261012T1220Z.ipynb")
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return compose(said, context(metric("ctr", "ratio"), here, week_ago=0.2112))


def opened_zero(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.0, 41_000, 42_512, 44_000)
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return compose(said, context(metric("views"), reader(language), yesterday=42_201, week_ago=41_990))


def opened_spike(language: str) -> messages.Message:
    verdict = anomalous(moscow("23:45", -1), 24_310, -310, 2020, 4110)
    said = event(EventKind.OPENED, verdict, since=moscow("23:45", -1), worst=verdict, last=verdict)
    return compose(said, context(metric(), reader(language, now=moscow("00:05"))))


def opened_from_nothing(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 35, 0, 0, 4)
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    about = messages.MessageContext(metric(), reader(language, run_link="", owner=""), yesterday=0, week_ago=0)
    return compose(said, about)


def opened_limit(language: str) -> messages.Message:
    verdict = replace(anomalous(moscow("14:15"), 0.131, 0.2, NAN, float("inf")), score=-1.3, reason="limit")
    said = event(EventKind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return compose(said, context(metric("ctr", "ratio"), reader(language), yesterday=0.211, week_ago=0.2112))


def resolved_limit(language: str) -> messages.Message:
    worst = replace(anomalous(moscow("15:30"), 5200, float("-inf"), NAN, 4000), reason="limit")
    said = event(
        EventKind.RESOLVED, normal(moscow("17:00"), 3950, float("-inf"), NAN, 4000),
        since=moscow("14:00"), worst=worst, normal_since=moscow("16:45"),
    )  # fmt: skip
    return compose(said, context(metric(), reader(language, now=moscow("17:20"))))


def reminder(language: str) -> messages.Message:
    verdict = anomalous(moscow("17:00"), 1240, 2010, 2102, 2200)
    said = event(EventKind.REMINDER, verdict, since=moscow("14:00"), worst=WORST, last=verdict)
    here = reader(language, now=moscow("17:20"))
    return compose(said, context(metric(), here, yesterday=2015, week_ago=1960))


def reminder_no_data(language: str) -> messages.Message:
    said = event(EventKind.REMINDER, missing(moscow("15:15")), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("15:35"))
    return compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def resolved(language: str) -> messages.Message:
    said = event(EventKind.RESOLVED, normal(moscow("17:00")), since=moscow("14:00"), worst=WORST, normal_since=moscow("16:45"))
    return compose(said, context(metric(), reader(language, now=moscow("17:20"))))


def no_data(language: str) -> messages.Message:
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def no_data_of_one_metric(language: str) -> messages.Message:
    trouble = "ValueError: could not convert string to float: 'n/a'"
    said = event(EventKind.NO_DATA, missing(moscow("12:30"), trouble), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:44")))


def no_data_gone(language: str) -> messages.Message:
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"), last=normal(moscow("12:00")))
    return messages.compose(said, context(metric(), reader(language, now=moscow("12:50")), table="likes", is_gone=True))


def not_composed(language: str) -> messages.Message:
    return messages.plain_text(event(EventKind.OPENED, DROP), metric(), reader(language))


def data_back(language: str) -> messages.Message:
    said = event(
        EventKind.DATA_BACK, normal(moscow("13:00")), gap_since=moscow("12:15"), gap_notified=True, last=normal(moscow("12:00"))
    )
    return compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def data_back_low(language: str) -> messages.Message:
    said = event(EventKind.DATA_BACK, replace(DROP, bucket=moscow("13:00")), gap_since=moscow("11:45"), gap_notified=True)
    return compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def run_failed(language: str) -> messages.Message:
    reason = "ClickHouse did not answer within 10 s (3 tries)"
    here = reader(language, now=moscow("12:16"))
    return run_failed_notice(moscow("12:15"), reason, moscow("12:00"), moscow("12:30"), here)


def run_killed(language: str) -> messages.Message:
    here = reader(language, now=moscow("12:16"))
    return run_failed_notice(moscow("12:00"), "the run ended", None, None, here, made_up=moscow("12:15"))


def run_recovered(language: str) -> messages.Message:
    here = reader(language, now=moscow("12:45"))
    return run_recovered_notice(moscow("12:45"), moscow("12:15"), 0, here)


def run_recovered_unusual(language: str) -> messages.Message:
    here = reader(language, now=moscow("12:45"))
    return run_recovered_notice(moscow("12:45"), moscow("20:15", days=-1), 2, here)


def caught_up(language: str) -> messages.Message:
    return caught_up_notice(moscow("11:30"), moscow("12:00"), (), reader(language, now=moscow("12:15")))


def caught_up_going_on(language: str) -> messages.Message:
    titles = {"en": ("Likes", "CTR"), "ru": ("Лайки", "CTR")}[language]
    return caught_up_notice(moscow("11:30"), moscow("12:00"), (), reader(language, now=moscow("12:15")), titles)


def caught_up_unusual(language: str) -> messages.Message:
    titles = {"en": ("Likes", "CTR"), "ru": ("Лайки", "CTR")}[language]
    return caught_up_notice(moscow("12:00"), moscow("12:00"), titles, reader(language, now=moscow("12:15")))


def caught_up_both(language: str) -> messages.Message:
    unusual, going_on = {"en": (("Likes",), ("CTR",)), "ru": (("Лайки",), ("CTR",))}[language]
    return caught_up_notice(moscow("11:30"), moscow("12:00"), unusual, reader(language, now=moscow("12:15")), going_on)


TITLES = {
    "likes": {"en": "Likes", "ru": "Лайки"},
    "ctr": {"en": "CTR", "ru": "CTR"},
    "views": {"en": "Views", "ru": "Просмотры"},
    "messages": {"en": "Messages", "ru": "Сообщения"},
    "feed_users": {"en": "Feed users", "ru": "Пользователи ленты"},
    "messenger_users": {"en": "Messenger users", "ru": "Пользователи мессенджера"},
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
    return compose(what, context(watched(verdict.metric), here, members=parts, **facts))


def opened_incident(language: str) -> messages.Message:
    story = incident(member("likes"), CTR, SILENT)
    parts = (part(CTR), part(SILENT))
    normal = {"en": ("Views", "Feed users"), "ru": ("Просмотры", "Пользователи ленты")}[language]
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


def confirmed(story: Incident, kind: EventKind, language: str) -> messages.Message:
    return status_edit(story, kind, opened_incident(language).text, moscow("14:40"), reader(language))


def taken(language: str) -> messages.Message:
    return confirmed(incident(member("likes"), acknowledged_by="Anna"), EventKind.TAKEN, language)


def silenced(language: str) -> messages.Message:
    snoozed = incident(member("likes"), snoozed_until=moscow("15:35"))
    return confirmed(snoozed, EventKind.SILENCED, language)


def muted(language: str) -> messages.Message:
    return confirmed(incident(member("likes"), muted=True), EventKind.SILENCED, language)


def labelled(label: Label):
    def make(language: str) -> messages.Message:
        story = incident(member("likes"), label=label, labelled_by="Anna", acknowledged_by="Anna")
        return confirmed(story, EventKind.LABELLED, language)

    make.__name__ = f"labelled_{label.value.replace(' ', '_')}"
    return make


def digest(language: str) -> messages.Message:
    late = [resolved_incident(language), opened_incident(language), no_data_incident(language)]
    return digest_message(late, moscow("17:30"), reader(language, now=moscow("17:30")))


def quiet_summary(language: str) -> messages.Message:
    over, going_on = opened_incident_over(language), replace(opened_warning(language), bucket=moscow("04:45"))
    return digest_message([replace(over, bucket=moscow("02:15")), going_on], moscow("08:05"), reader(language), "quiet_hours")


def escalated(language: str) -> messages.Message:
    entry = opened_incident(language).text
    return escalation(incident(member("likes")), entry, timedelta(minutes=35), reader(language), "@anna")


def daily_silenced(language: str) -> messages.Message:
    said = reader(language, now=moscow("00:01"))
    weekly = Silence("*", moscow("00:00"), NO_END, weekly="Sat 23:00-02:00", zone="Europe/Moscow")
    silences = tuple(silence_text(it, {}, said) for it in (Silence("ctr", moscow("00:00"), moscow("16:00")), weekly))
    return daily_message(DailySummary(96, 96, 0, 0, (), 0, None, moscow("00:00"), silences=silences), said)


def daily(language: str) -> messages.Message:
    title = {"en": ("Likes",), "ru": ("Лайки",)}[language]
    closest = ("CTR", -0.83, moscow("03:45", -1))
    day = DailySummary(96, 96, 0, 0, ((title[0], Label.REAL),), 0, closest, moscow("00:00"))
    return daily_message(day, reader(language, now=moscow("00:01")))


def daily_bad(language: str) -> messages.Message:
    likes, views = {"en": ("Likes", "Views"), "ru": ("Лайки", "Просмотры")}[language]
    slices = ((views, "source=ads", -0.61, 12), (likes, "os=iOS", 1.2, 1))
    day = DailySummary(93, 96, 1, 12, ((likes, Label.FALSE_ALARM), (views, None)), 1, None, moscow("09:00"), slices)
    return daily_message(day, reader(language, now=moscow("09:01")))


def daily_quiet(language: str) -> messages.Message:
    day = DailySummary(96, 96, 0, 0, (), 0, ("CTR", 0.4, moscow("03:45")), moscow("09:00"))
    return daily_message(day, reader(language, now=moscow("09:01"), run_link=""))


def drill(language: str) -> messages.Message:
    return as_drill(opened_incident(language), language)


class Tags(HTMLParser):
    """The text that Telegram would show, and the tags that it would find."""

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


def plain_spaces(text: str) -> str:
    return re.sub(r"[\u00a0\u202f]", " ", text)


TOLD = list(EventKind)[:7]  # kinds of events
NASTY = """<b>&"'</b> {title} <script>\n\r\t</code></a>\u202e\x00\ud800 🔥"""


TEXTS = [
    opened, worsened, opened_late_ratio, opened_zero, opened_spike, opened_from_nothing, opened_limit, reminder, reminder_no_data,
    resolved, resolved_limit,
    no_data, no_data_of_one_metric, no_data_gone, not_composed, data_back, data_back_low, run_failed, run_killed, run_recovered,
    run_recovered_unusual, caught_up, caught_up_going_on, caught_up_unusual, caught_up_both,
    opened_incident, opened_warning, opened_incident_edited, opened_incident_over, opened_again, platform, platform_over,
    worsened_incident, joined, joined_no_data, reminder_taken, reminder_open, reminder_of_followers, resolved_incident,
    resolved_untold, resolved_by_a_follower, no_data_incident, no_data_at_all, no_data_over, data_back_incident, corrected,
    corrected_edited, corrected_gap, corrected_in_part, taken, silenced, muted, *map(labelled, Label),
    digest, quiet_summary, escalated, daily, daily_silenced, daily_bad, daily_quiet, drill,
]  # fmt: skip
