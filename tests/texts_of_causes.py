"""Root causes, and the messages that report them. A segment is written as os=iOS&country=Russia;os=iPadOS."""

from __future__ import annotations

from dataclasses import replace

from alerting import messages
from alerting.model.incident import Rarity, RootCause, Segment, SimilarIncident
from alerting.model.verdict import EventKind, Label
from tests.texts import (
    CTR,
    DEEPER,
    DOWN,
    RELEASE,
    SILENT,
    ended_story,
    everything,
    incident,
    member,
    moscow,
    normal,
    odd,
    part,
    told,
)


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
    both = replace(IOS, at=moscow("15:30"), slice=where("os=iOS", 180, 1210), rest=where("os=", 780, 810))
    story = incident(member("likes"), CTR, cause=both, acknowledged_by="Anna")
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


CAUSES = [
    cause_count, cause_pair, cause_several, cause_experiment, cause_rate, cause_mix, cause_alike, cause_beside, cause_unclear,
    cause_of_a_rise, cause_worsened, cause_edited, cause_platform, cause_resolved,
]  # fmt: skip
