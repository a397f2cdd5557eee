"""What a message says is what the data say: every golden text, and every message and picture of simulated incidents.

The stories run through the steps of a run, bucket by bucket; each number of each message is looked up in the table itself and
in the judged frames, in both languages.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import pipeline
from alerting.detectors.auto import Chosen
from alerting.messages.format import ClockFormat
from alerting.metrics import metrics_of_table
from alerting.model.tables import cell_text
from alerting.model.verdict import EventKind
from alerting.notifiers.base import Console
from alerting.pipeline import display
from alerting.pipeline.advance import verdict_of
from alerting.pipeline.compose import alert_figure, entry_event, event_context
from alerting.pipeline.context import RunContext
from alerting.sources.table import TableSource
from alerting.store.state import StateStore
from tests.claims import WIDE, Claims
from tests.texts import MADE, TEXTS
from tests.texts_of_causes import CAUSES

STEP, MOSCOW = timedelta(minutes=15), "Europe/Moscow"
START = datetime(2026, 11, 18, 10, tzinfo=UTC)  # first bucket of every story
DAYS = 36
OPENINGS = (EventKind.OPENED, EventKind.NO_DATA)
SIZES = {"feed_users": 800, "views": 1700, "likes": 340, "messenger_users": 300, "messages": 480}
PARENTS = {"views": ("feed_users",), "likes": ("views",), "messages": ("messenger_users",)}
EVERYTHING = tuple(SIZES)
NAN = float("nan")
GAP = {"en": r": no data since (.*?\d\d:\d\d)", "ru": r": нет данных с (.*?\d\d:\d\d)"}
NOTHING = Claims("", *[None] * 7)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", [*TEXTS, *CAUSES], ids=lambda make: make.__name__)
def test_a_golden_text_is_true(make, language):
    text = make(language).text
    event, context = MADE.get(text, (None, None))
    claims = Claims.read(text, language)
    if event is None or (claims.value is None and claims.deviation is None):
        return  # a notice of the run, a confirmation, a gap
    members = [*(event.incident.members if event.incident else ()), *(part.member for part in context.members)]
    known = [event.verdict, context.latest, event.episode.worst, event.episode.last_notified_verdict]
    known += [verdict for member in members for verdict in (member.first, member.worst)]
    known += [part.verdict for part in context.members]
    known = [verdict for verdict in known if verdict is not None]
    clock = ClockFormat(language, context.reader.zone, context.reader.now)
    spans = {verdict: clock.span(verdict.bucket, verdict.bucket + context.metric.step) for verdict in known}
    about = [verdict for verdict in known if spans[verdict].lower() in claims.first.lower()]
    if not about:  # the first line is about the worst, or about the end: another line has the numbers
        assert claims.deviation is None or [] in [replace(NOTHING, deviation=claims.deviation).wrong(v, language) for v in known]
        claims, about = replace(claims, deviation=None), [v for v in known if spans[v].lower() in text.lower()] or known
    assert [] in [claims.wrong(verdict, language) for verdict in about], [claims.wrong(verdict, language) for verdict in about]


# A story: what is multiplied by what, from which bucket of the story until before which


STORIES = {
    "likes gone, feed a little": [(("feed_users",), 0.82, 0, 8), (("likes",), 0.0, 1, 8)],
    "feed, then all likes again": [
        (("feed_users", "likes"), 0.6, 0, 4), (("feed_users",), 0.75, 9, 14), (("likes", "views"), 0.02, 9, 14),
    ],
    "deeper and deeper": [(("likes",), 0.68, 0, 1), (("likes",), 0.55, 1, 2), (("likes",), 0.3, 2, 4), (("likes",), 0.12, 4, 9)],
    "everything is zero": [(EVERYTHING, 0.6, 0, 1), (EVERYTHING, 0.0, 1, 6)],
    "no rows at all": [(EVERYTHING, 0.6, 0, 1), (EVERYTHING, NAN, 1, 6)],
    "rows twice": [(("views", "likes"), 2.0, 0, 5)],
    "eight hours": [(("messages",), 0.5, 0, 32)],
    "back and down again": [(("messages",), NAN, 0, 3), (("messages",), 0.4, 3, 6)],
}  # fmt: skip


def table(story):
    """Series of a day's rhythm with little noise, and the story in them."""
    rng, end = np.random.default_rng(7), START + 40 * STEP
    index = pd.date_range(START - timedelta(days=DAYS), end, freq=STEP)
    rhythm = 1 - 0.6 * np.cos(2 * np.pi * (index.hour + index.minute / 60 - 1).to_numpy() / 24)
    out = {}
    for name, size in SIZES.items():
        values = pd.Series(rng.poisson(size * rhythm).astype(float), index)
        for names, factor, first, until in story:
            if name in names:
                values.loc[START + first * STEP : START + (until - 1) * STEP] *= factor
        out[name] = values.round()
    return out


def connected(folder, series, language, rule=None):
    path = folder / "kpi.csv"
    pd.concat([pd.DataFrame({"series": name, "ts": s.index, "value": s.to_numpy()}) for name, s in series.items()]).to_csv(
        path, index=False
    )
    source = TableSource(path)
    metrics = [
        replace(
            metric, parents=PARENTS.get(metric.name, ()), product="messenger" if metric.name.startswith("mess") else "feed",
            form="count", rule=rule or metric.rule,
        )
        for metric in sorted(metrics_of_table(source.steps()), key=lambda metric: [*SIZES].index(metric.name))
    ]  # fmt: skip
    return RunContext(
        metrics=metrics, queries={}, source=source, store=StateStore(folder / "alerts.sqlite"), notifier=Console(),
        zone=MOSCOW, language=language,
    )  # fmt: skip


def runs(ctx, buckets):
    """Make a run after each bucket; yield the bucket, the judged metrics, the changes and the messages."""
    for number in buckets:
        now = START + (number + 1) * STEP + timedelta(minutes=6)
        pipeline.begin_run(ctx, now)
        due = pipeline.due(ctx, now)
        reading = pipeline.read(ctx, due, 0, now)
        judged = pipeline.judge(ctx, due, reading, now)
        changes = pipeline.advance(ctx, judged, now)
        messages = pipeline.compose(ctx, changes, judged, now)
        pipeline.commit(ctx, judged, changes, messages)
        pipeline.deliver(ctx, now)
        yield START + number * STEP, judged, changes, messages


def false_claims(ctx, message, now, judged, changes, series):
    """Return what a text says that is not so. The value is that of the table, the rest of its verdict that of the frame."""
    claims, clock = Claims.read(message.text, ctx.language), ClockFormat(ctx.language, ctx.zone, now)
    metric = ctx.metric(message.metric)
    if metric.title_in(ctx.language).lower() not in claims.first.lower() and claims.deviation:
        return [f"{claims.first} is about {message.metric}"]
    frame, out = changes.compared(judged)[metric.name], []
    about = [at.to_pydatetime() for at in frame.index[-60:] if clock.span(at, at + STEP).lower() in claims.first.lower()]
    episode = changes.episodes[metric.name]
    gap = re.search(GAP[ctx.language], claims.first)
    if gap and gap[1].replace(WIDE, " ") not in clock.at(episode.gap_since).replace(WIDE, " "):
        out.append(f"{claims.first}: since {episode.gap_since}")
    if about:
        out += claims.wrong(verdict_of(metric.name, about[0], frame.loc[about[0]]), ctx.language)
        if claims.value and not claims.value.is_about(series[metric.name][about[0]]):
            out.append(f"the table has {series[metric.name][about[0]]}")
        if claims.since and claims.since not in clock.at(episode.since).replace(WIDE, " "):
            out.append(f"since {claims.since}, not {episode.since}")
    return [f"{message.key} at {now:%H:%M}: {each}" for each in out]


def false_pictures(ctx, message, event, judged, changes, now):
    """Return where the picture of a text and the text differ: in the title, the numbers, the last bucket of the band."""
    if event.kind is EventKind.OPENED:
        event = entry_event(ctx, event, changes, judged)
    figure = alert_figure(ctx, event, event_context(ctx, event, changes, judged, now), judged)
    claims = Claims.read(message.text, ctx.language)
    title, numbers = (text.get_text() for text in figure.texts[:2])
    lines, out = plain(message.text), []
    if event.kind is EventKind.RESOLVED:
        return [] if title.endswith(claims.worst) else [f"title {title}: worst {claims.worst}"]
    if claims.deviation and not title.endswith(claims.deviation):
        out.append(f"title {title}: {claims.first}")
    out += [f"{part} is not in {lines}" for part in re.findall(r"\d[^·]*\d", numbers) if part not in lines]
    (band,) = [artist for artist in figure.axes[0].collections if artist.get_label() == "band"]
    corners = band.get_paths()[-1].vertices
    last = corners[corners[:, 0] == corners[:, 0].max()][:, 1]
    edges = [number for number in (claims.low, claims.high) if number is not None]
    out += [f"the band ends at {last}, not {edge.value}" for edge in edges if not any(map(edge.is_about, last))]
    top = figure.axes[0].get_ylim()[1]
    return [*out, *([f"the band ends at {last}, off the axis ({top})"] if last.max() > 1.5 * top else [])]


def false_table(ctx, message, judged, changes):
    """Return where the table of the run's page and a text about the newest bucket differ."""
    claims, row = (
        Claims.read(message.text, ctx.language),
        display.show_verdicts(ctx, judged, judged.reading, changes).loc[message.metric],
    )
    if message.bucket != changes.newest[message.metric].bucket or claims.high is None:
        return []
    names = ("value", "low", "expected", "high")
    pairs = [(name, getattr(claims, name), float(row[name].replace(",", ""))) for name in names]
    wrong = [name for name, said, shown in pairs if said and abs(said.value - max(shown, 0)) > said.error + 0.001 * abs(shown)]
    marked = row["message about"] == cell_text(message.bucket, ctx.zone)
    return [f"{message.key}: {wrong} of {dict(row)}"] if wrong or not marked else []


def plain(text):
    return re.sub("<[^>]*>", "", text)


@pytest.mark.parametrize(("language", "rule"), [("en", None), ("ru", Chosen())], ids=["the default", "the one before"])
@pytest.mark.parametrize("story", STORIES)
def test_every_message_of_a_story_is_true(tmp_path, story, language, rule):
    series = table(STORIES[story])
    ctx, wrong, seen = connected(tmp_path, series, language, rule), [], 0
    for bucket, judged, changes, messages in runs(ctx, range(-2, 17)):
        now = bucket + STEP + timedelta(minutes=6)
        texts = [message for message in messages if message.metric]
        pictured = {message.key for message in messages if message.photo and not message.edits}
        events = {event.incident.key if event.kind in OPENINGS and not event.again else f"{event.key}/text": event
                  for event in changes.events if event.incident}  # fmt: skip
        for message in texts:
            wrong += false_claims(ctx, message, now, judged, changes, series)
            wrong += false_table(ctx, message, judged, changes)
            if message.key in pictured:
                wrong += false_pictures(ctx, message, events[message.key], judged, changes, now)
                seen += 1
            assert message.critical == message.text.startswith("🔴")
    assert wrong == []
    assert seen or story == "back and down again"


def entries(ctx, buckets):
    """Return incident -> bucket number -> its entry in the chat after that run."""
    out = {}
    for bucket, _, changes, _ in runs(ctx, buckets):
        for incident in changes.incidents:
            if text := ctx.store.text(incident.key):
                out.setdefault(incident.id, {})[(bucket - START) // STEP] = plain(text).split("\n")[0]
    return out


@pytest.mark.parametrize(
    ("story", "first", "later"),
    [
        ("likes gone, feed a little", "🟡 feed_users −", "🔴 likes 0 · "),
        ("deeper and deeper", "🟡 likes −3", "🔴 likes −8"),
        ("everything is zero", "🔴 Whole app: feed_users −4", "🔴 Whole app: feed_users 0, messenger_users 0, 3 more"),
        ("no rows at all", "🔴 Whole app: feed_users −4", "🔴 Whole app: no data since"),
        ("rows twice", "🟡 views +9", "🟡 views +"),
    ],
)
def test_the_first_line_and_the_colour_are_those_of_now(tmp_path, story, first, later):
    (entry,) = entries(connected(tmp_path, table(STORIES[story]), "en"), range(-2, 5)).values()
    numbers = sorted(entry)
    assert entry[numbers[0]].startswith(first)
    assert entry[numbers[-1]].startswith(later)


def test_what_goes_wrong_together_again_is_one_thread_and_the_worst_leads(tmp_path):
    ctx = connected(tmp_path, table(STORIES["feed, then all likes again"]), "en")
    told = [message for *_, messages in runs(ctx, range(-2, 13)) for message in messages]
    again = [plain(message.text).split("\n")[0] for message in told if " again −" in message.text]
    assert [line.startswith("🔴 ") and "feed_users" not in line for line in again] == [True]
    assert len({message.incident for message in told}) == 1


def test_the_picture_of_a_run_marks_all_members_of_an_entry_where_the_entry_shows_them(tmp_path):
    ctx = connected(tmp_path, table([(("views", "likes"), 0.3, 0, 8)]), "en")
    *_, (bucket, _, changes, messages) = runs(ctx, [-2, 2])  # the second catches up: both were off two buckets before
    assert [event.bucket for event in changes.events] == [START]
    (entry,) = [message.text for message in messages if message.metric]
    assert all(name in entry for name in ("views", "likes"))
    marked = display.message_buckets(changes)
    assert {name: marked.get(name) for name in ("views", "likes")} == dict.fromkeys(("views", "likes"), bucket)
