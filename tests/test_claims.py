"""What messages claim of causes, segments and other metrics is true for the bucket that they are about.

Every golden text, and every message of stories of a feed whose leaves are known, is read by the same rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerting import pipeline
from alerting.metrics import METRICS
from alerting.model.message import Message
from alerting.model.metric import Query
from alerting.model.protocols import Commit
from alerting.model.verdict import EventKind, Status
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import segment_metrics
from alerting.store.state import StateStore
from tests.segments import SHARES, STEP, STORY, Feed
from tests.texts import plain, plain_spaces
from tests.waiting import PATIENCE

GOLDEN = Path(__file__).parent / "golden"
CAUSE = re.compile(
    r"^Likely cause(?: at (?P<at>\d\d:\d\d))?: (?P<attribute>\w+) (?P<value>\w+)(?: (?P<change>[−+]\d+) %)?"
    r"(?:, explains (?:(?P<share>\d+) % of|the whole) (?:the )?(?:drop|rise))?"
    r"(?:; the rest (?P<rest>[−+]\d+) %)?(?:; the rest as usual)?(?:; normal: (?P<normal>.*))?$"
)
SAME = re.compile(
    r"^(?:At (?P<at>\d\d:\d\d) )?[Tt]he (?:drop|rise) is the same across (?P<attributes>[\w, ]+)"
    r"(?:; most in (?P<attribute>\w+) (?P<value>\w+) \((?P<change>[−+]\d+) %, the rest (?P<rest>[−+]\d+) %\))?$"
)
NORMAL = 0.2  # a true change up to which a metric or a segment of these sizes can be called normal: 3 sigmas of 250 users
ROUGH = 0.08  # difference of a told change and the true one: the expectation is made of noisy days


def lines_of(text: str) -> list[str]:
    return plain_spaces(plain(text)).splitlines()


def number(text: str) -> float:
    return float(text.replace("−", "-")) / 100


METRICS_OF_LIST = re.compile(r", (?=[A-ZА-ЯЁ])")  # titles begin with a capital letter


def named_twice(text: str) -> list[str]:
    """Return the names that a list of metrics has twice."""
    names = []
    for line in lines_of(text):
        values_left_out = re.sub(r"\([^)]*\d[^)]*\)", "", line)
        for listed in re.findall(r"(?:Also|Также|Still off|[Nn]ormal|[Вв] норме): ([^·]*)", values_left_out):
            names += [re.sub(r"(:? нет данных|: no data| [\d.,\s]+%?)\s*$", "", name) for name in METRICS_OF_LIST.split(listed)]
    return sorted({name for name in names if names.count(name) > 1})


def false_share(text: str) -> list[str]:
    """Return the lines with a share above all, or with a segment as the cause where the rest moved by a third of it."""
    found = []
    for line in lines_of(text):
        cause = CAUSE.match(line)
        if any(float(share) > 100 for share in re.findall(r"(?:explains?|объясня[её]т|объясняют) (\d+) %", line)):
            found.append(line)
        if cause and cause["rest"] and number(cause["rest"]) / number(cause["change"]) >= 1 / 3:
            found.append(line)
    return found


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.name)
def test_a_golden_text_names_nothing_twice_and_blames_no_segment_for_what_all_did(path):
    text = path.read_text(encoding="utf-8")
    assert named_twice(text) == []
    assert false_share(text) == []
    if re.search(" again | снова ", text.splitlines()[0]) and not text.startswith("🟢"):
        assert not re.search("on it|Занимается", text), "who took it took what is over"


@dataclass
class Story:
    """The runs over a feed, one a bucket, and what they composed."""

    feed: Feed
    ctx: RunContext

    @classmethod
    def of(cls, feed: Feed, folder: Path, names: tuple[str, ...] = ("feed_users", "views", "likes")) -> Story:
        metrics = [metric for metric in METRICS if metric.name in names]
        store, slices = StateStore(folder / "alerts.sqlite"), {"feed_actions": Query("feed_actions", "")}
        more = {"slices": slices, "segment_metrics": segment_metrics(metrics), "language": "en"}
        return cls(feed, RunContext(metrics, {}, feed, store, Console(), **more))

    def run(self, number: int) -> list[Message]:
        """Judge one bucket of the story, and return the messages as they are stored."""
        ctx, now = self.ctx, STORY + (number + 1) * STEP + timedelta(minutes=6)
        pipeline.begin_run(ctx, now)
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes, explained = pipeline.explain(ctx, pipeline.advance(ctx, judged, now), judged, PATIENCE)
        assert not explained.errors
        assert not explained.pending
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        for message in messages:
            self.check(message, STORY + number * STEP)
        return messages

    def check(self, message: Message, newest: datetime) -> None:
        """Compare what the message claims with the leaves."""
        assert named_twice(message.text) == []
        assert false_share(message.text) == []
        column = message.metric.removesuffix(".slices")
        column = "views" if column == "feed_users" else column
        for line in lines_of(message.text):
            cause = CAUSE.match(line) or SAME.match(line)
            assert cause or not re.match("Likely cause|At|The drop|The rise|Everywhere", line), line
            if cause:
                self.check_cause(cause, column, message)
            calm = re.search("(?:^|· )[Nn]ormal: ([^·]*)$", line)
            if calm and message.kind is EventKind.OPENED and "cause" not in line:
                for title in calm[1].split(", "):
                    (metric,) = (it for it in self.ctx.metrics if it.title["en"].lower() == title.lower())
                    bucket = newest if message.edits else message.bucket
                    changed = self.feed.change("views" if metric.name == "feed_users" else metric.name, bucket)
                    assert abs(changed) < NORMAL, line

    def check_cause(self, cause: re.Match[str], column: str, message: Message) -> None:
        bucket, told = message.bucket, cause.groupdict()
        if told["at"]:
            hour, minute = map(int, told["at"].split(":"))
            bucket = bucket.replace(hour=hour, minute=minute)
        if told["attribute"]:
            where = {told["attribute"]: told["value"]}
            changed = self.feed.change(column, bucket, **where)
            assert abs(changed) > NORMAL, cause[0]
            if told["change"]:
                assert number(told["change"]) == pytest.approx(changed, abs=ROUGH), cause[0]
            if told["rest"]:
                assert number(told["rest"]) == pytest.approx(self.feed.change(column, bucket, rest=True, **where), abs=ROUGH)
        for value in (told.get("normal") or "").split(", "):
            if value:
                assert abs(self.feed.change(column, bucket, **{told["attribute"]: value})) < NORMAL, cause[0]
        for name in re.split(", | and ", told.get("attributes") or ""):
            total = self.feed.change(column, bucket)
            for value in SHARES.get(name, ()):
                assert self.feed.change(column, bucket, **{name: value}) == pytest.approx(total, abs=abs(total) / 2), cause[0]


def first(messages: list[Message], kind: EventKind) -> Message:
    return next(message for message in messages if message.kind is kind and not message.edits)


def words(message: Message) -> str:
    return plain_spaces(plain(message.text))


def test_what_is_told_of_a_cause_is_true_for_the_bucket_of_each_message(tmp_path):
    """iOS falls, then Android as well; all is well; then Android alone is off again, and nobody has taken that."""
    feed = Feed().hit(0.1, 4, 11, os="iOS").hit(0.45, 7, 11, os="Android").hit(0.05, 16, 22, os="Android")
    story, told = Story.of(feed, tmp_path), {}
    for number in range(20):
        told[number] = story.run(number)
        if number == 5:
            (incident,) = story.ctx.store.incidents()
            story.ctx.store.commit(Commit(incidents=[replace(incident, acknowledged_by="Anna")]), STORY)
    everything = [words(message) for messages in told.values() for message in messages]
    assert re.search("^Likely cause: os iOS −.*; normal: Android$", words(first(told[4], EventKind.OPENED)), re.MULTILINE)
    (worse,) = [message for message in told[7] if message.kind is EventKind.WORSENED]
    assert re.search("^The drop is the same across source and gender(;|$)", words(worse), re.MULTILINE), "not across os"
    again = next(message for number in (16, 17, 18) for message in told[number] if " again −" in words(message))
    assert "Likely cause: os Android −9" in words(again)
    assert "on it" not in again.text
    edits = [words(message) for messages in told.values() for message in messages if message.edits]
    assert any("Anna is on it" in text for text in edits)
    assert not any("Anna is on it" in words(message) for number in range(16, 20) for message in told[number])
    assert any(re.search(r"^(At|Likely cause at) \d\d:\d\d", text, re.MULTILINE) for text in edits)
    assert not any("source" in text.splitlines()[0] or "os " in text.splitlines()[0] for text in everything), "no segment's own"


def test_what_all_did_is_no_segments_fault_and_what_moved_is_not_called_normal(tmp_path):
    """Everything comes twice, one age most; then views fall while likes fall half as far, within their band."""
    story = Story.of(Feed().hit(1.7, 4, 6).hit(1.3, 4, 6, gender="1").hit(0.35, 20, 24).hit(2.1, 20, 24, "likes"), tmp_path)
    told = {number: story.run(number) for number in range(22)}
    text = words(first(told[4], EventKind.OPENED))
    assert re.search("^The rise is the same across os(,| and) source", text, re.MULTILINE)
    (opened,) = [message for message in told[20] if message.kind is EventKind.OPENED and not message.edits]
    assert "likes" not in words(opened).lower(), "neither off nor normal"


def test_a_segment_is_named_wherever_it_is_told_and_its_totals_fall_is_the_totals(tmp_path):
    """Ads stop and organic views make up for them; later organic views stop as well."""
    feed = Feed().hit(0.1, 4, 30, source="ads").hit(1.5, 4, 9, source="organic").hit(0.4, 10, 30, source="organic")
    story = Story.of(feed, tmp_path, ("views",))
    told = {number: story.run(number) for number in range(14)}
    opened = first([*told[5], *told[6]], EventKind.OPENED)  # an hour has the evidence; two buckets in a row
    assert words(opened).startswith("🔴 Views (source ads) −9")
    (joined,) = [message for message in told[10] if message.kind is EventKind.WORSENED]
    assert joined.metric == "views"
    edited = [message for message in told[10] if message.edits]
    assert words(edited[-1]).startswith("🔴 Views −"), "the incident is the total's"
    later = [message for number in range(10, 14) for message in told[number]]
    assert not any("source ads" in words(message) for message in later)
    (incident,) = story.ctx.store.incidents()
    assert [member.name for member in incident.members][:1] == ["views"]
    assert "views source=ads" in [member.name for member in incident.members]
    covered = [verdict.status for verdict in story.ctx.store.judged("views.slices", STORY + 10 * STEP)]
    assert covered == [Status.UNKNOWN] * 4, "not off while the total was calm"


def test_a_segment_of_an_incident_of_its_total_that_is_over_is_no_new_one(tmp_path):
    """Half of the hour that is looked at still belongs to the incident when that is resolved."""
    story = Story.of(Feed().hit(0.05, 4, 11, source="ads"), tmp_path)
    kinds = [(message.metric, message.kind) for number in range(20) for message in story.run(number)]
    assert EventKind.RESOLVED in {kind for _, kind in kinds}
    assert not any(metric.endswith(".slices") for metric, kind in kinds if kind is EventKind.OPENED)
    (incident,) = story.ctx.store.all_incidents(STORY)
    assert not any(member.metric.endswith(".slices") for member in incident.members)


def test_likes_of_one_os_that_fall_by_half_are_told_within_the_hour(tmp_path):
    """The likes of the other source rise: the total is as usual."""
    feed = Feed().hit(0.5, 4, 30, "likes", os="iOS").hit(1.33, 4, 30, "likes", os="Android")
    story = Story.of(feed, tmp_path, ("feed_users", "views", "likes", "ctr"))
    told = [(number, message) for number in range(10) for message in story.run(number)]
    number, opened = next((number, message) for number, message in told if message.kind is EventKind.OPENED)
    assert number < 8
    assert words(opened).startswith(("🔴 Likes (os iOS)", "🔴 CTR (os iOS)")), words(opened)


def test_a_handful_carries_no_claim(tmp_path):
    """A dozen likes a bucket, all gone: it is told, and no segment, no value that is gone, nothing that all did."""
    story = Story.of(Feed(level=60).hit(0.0, 4, 9, "likes"), tmp_path, ("likes",))
    texts = [words(message) for number in range(10) for message in story.run(number)]
    assert any("Likes 0" in text for text in texts)
    assert not any(re.search("cause|the same across|Gone|New", text) for text in texts)
