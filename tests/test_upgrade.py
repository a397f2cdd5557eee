"""This version continues with the data/, reports/ and catalogue of an older version (see fixtures/state/README.md).

Never change the fixture when classes, fields or modules are renamed: the test exists to detect such changes.
"""

import gzip
import importlib.util
import json
import lzma
import math
import os
import subprocess
import sys
import tarfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from alerting import pipeline
from alerting.catalogue import check_metrics
from alerting.connections import load_queries, open_notifier, open_store
from alerting.metrics import METRICS
from alerting.model.errors import StoreError
from alerting.model.incident import Event
from alerting.model.verdict import Label, Verdict
from alerting.pipeline.context import RunContext
from alerting.pipeline.judged import judge_series
from alerting.reporting.prune import prune_records
from alerting.reporting.publish import write_index
from alerting.sample.folder import planted_truth
from alerting.settings import RETIRED, load_settings
from alerting.sources.base import BaseSource
from alerting.store import codec
from alerting.store.codec import GONE, STORED, VALUES
from tests.servers import says

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(__file__).parent / "fixtures" / "state"
EXPECTED = json.loads((STATE / "expected.json").read_text(encoding="utf-8"))
STEP = timedelta(minutes=15)
LAST = datetime(2026, 11, 21, 12, 6, tzinfo=UTC)  # the moment of the last run of the fixture
NOW = LAST + 2 * STEP
EVER, NEVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
TOLD_BEFORE = 40  # more messages than the fixture's runs had sent, so that what they edit is in the chat


@pytest.fixture
def house(tmp_path, bot, web):
    """Settings of a house whose folders an older version has left."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "alerts.sqlite").write_bytes(lzma.decompress((STATE / "alerts.sqlite.xz").read_bytes()))
    with tarfile.open(STATE / "reports.tar.xz") as kept:
        kept.extractall(tmp_path, filter="data")
    web.will(says("ok"))
    for _ in range(TOLD_BEFORE):
        bot.inside.send({"chat_id": bot.chat, "text": "from before"}, None)
    given = {
        "ALERTING_DATA": str(tmp_path / "data"),
        "ALERTING_REPORTS": str(tmp_path / "reports"),
        "ALERTING_ZONE": "UTC",
        "ALERTING_LANGUAGE": "en",
        "ALERTING_TELEGRAM_TOKEN": bot.token,
        "ALERTING_TELEGRAM_CHAT": bot.chat,
        "ALERTING_TELEGRAM_URL": bot.url,
        "ALERTING_TELEGRAM_USERS": "4242",
        "ALERTING_WEBHOOK_URL": f"{web.url}/hook",
        "ALERTING_ROUTES": "messages -> telegram, webhook; * -> telegram",
    }
    return load_settings(given, Path(os.devnull))


@pytest.fixture
def store(house):
    with closing(open_store(house)) as store:
        yield store


# As they are stored: the left side never changes


def at(instant):
    return instant.isoformat() if instant else None


def number(value):
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)


def maybe(facts, part):
    return None if part is None else facts(part)


def of_verdict(v):
    return {
        "metric": v.metric,
        "bucket": at(v.bucket),
        "status": v.status.value,
        "value": number(v.value),
        "low": number(v.low),
        "expected": number(v.expected),
        "high": number(v.high),
        "score": number(v.score),
        "reason": v.reason,
        "news": v.is_new,
        "usual": number(v.usual),
    }


def of_episode(e):
    return {
        "metric": e.metric,
        "state": e.state.value,
        "since": at(e.since),
        "opened": at(e.opened),
        "told": at(e.last_notified),
        "said": maybe(of_verdict, e.last_notified_verdict),
        "share": number(e.expected_share),
        "fell_to": number(e.fell_to),
        "worst": maybe(of_verdict, e.worst),
        "last": maybe(of_verdict, e.last),
        "recent": e.recent,
        "answers": e.answers,
        "calm_since": at(e.normal_since),
        "lost": number(e.lost),
        "gap": at(e.gap_since),
        "gap_told": e.gap_notified,
    }


def of_member(m):
    return {
        "metric": m.metric,
        "since": at(m.since),
        "joined": at(m.joined),
        "first": of_verdict(m.first),
        "gap": m.gap,
        "until": at(m.until),
        "worst": maybe(of_verdict, m.worst),
        "lost": number(m.lost),
    }


def of_slice(s):
    return {"elements": listed(s.elements), "value": number(s.value), "expected": number(s.expected)}


def listed(part):
    return [listed(item) for item in part] if isinstance(part, tuple) else part


def of_cause(c):
    return {
        "answer": c.answer,
        "effect": c.effect,
        "slice": maybe(of_slice, c.slice),
        "share": number(c.share),
        "rest": maybe(of_slice, c.rest),
        "others": [of_slice(s) for s in c.others],
        "experiment": c.experiment,
        "imbalance": [of_slice(s) for s in c.imbalance],
        "new": [of_slice(s) for s in c.new],
        "gone": [of_slice(s) for s in c.gone],
        "attributes": listed(c.attributes),
        "overlap": c.overlap,
    }


def of_incident(i):
    return {
        "id": i.id,
        "opened": at(i.opened),
        "members": [of_member(m) for m in i.members],
        "closed": at(i.closed),
        "told": at(i.last_notified),
        "reopened": i.reopened,
        "taken": i.acknowledged_by,
        "snoozed": at(i.snoozed_until),
        "muted": i.muted,
        "label": i.label and i.label.value,
        "labelled": i.labelled_by,
        "corrected": i.corrected,
        "cause": maybe(of_cause, i.cause),
        "rarity": maybe(
            lambda r: {"same": r.same, "beyond": r.beyond, "weeks": number(r.weeks), "times": r.times},
            i.rarity,
        ),
        "similar": maybe(
            lambda s: {"at": at(s.at), "label": s.label and s.label.value, "url": s.url, "off": maybe(of_verdict, s.off)},
            i.similar,
        ),
        "run": i.run,
    }


def of_message(m):
    return {
        "key": m.key,
        "kind": m.kind.value,
        "metric": m.metric,
        "bucket": at(m.bucket),
        "text": m.text,
        "photo": m.photo and len(m.photo),
        "reply_to": m.reply_to,
        "edits": m.edits,
        "incident": m.incident,
        "quiet": m.quiet,
        "buttons": [[{"text": b.text, "action": b.action.value} for b in row] for row in m.buttons],
    }


def test_every_fact_of_the_database_is_there(store):
    assert [of_incident(i) for i in store.incidents(EVER)] == EXPECTED["incidents"]
    assert [of_episode(e) for e in store.episodes().values()] == EXPECTED["episodes"]
    assert of_episode(store.episode_before("likes", datetime(2026, 11, 21, 12, tzinfo=UTC))) == EXPECTED["before"]
    judged = store.judged()
    assert len(judged) == EXPECTED["verdicts"]["count"]
    newest = EXPECTED["verdicts"]["newest"]
    assert [of_verdict(v) for v in judged[-len(newest) :]] == newest
    waiting = [m for m in EXPECTED["messages"] if m["photo"] is None and not m["edits"]]
    assert [of_message(m) for m in store.stale(NEVER)] == waiting != []
    arrivals = [
        {"query": a.query, "at": at(a.at), "bucket": at(a.bucket), "rows": a.rows, "newest": at(a.newest)}
        for a in store.arrivals(EVER)
    ]
    assert arrivals == EXPECTED["arrivals"]
    silences = [
        {"scope": s.scope, "start": at(s.start), "until": at(s.until), "why": s.why, "by": s.by, "id": s.id}
        for s in store.silences(EVER)
    ]
    assert silences == EXPECTED["silences"]
    runs = [
        {"started": at(r.started), "at": at(r.at), "ended": at(r.ended), "well": r.ok, "said": r.outcome}
        for r in store.runs(EVER)
    ]
    assert runs == EXPECTED["runs"]
    assert store.next_update() == EXPECTED["heard"]
    assert len(store.nightly_statistics()) == EXPECTED["figures"]
    states = Counter(EXPECTED["states"].values())
    counts = store.counts()
    assert (counts.open, counts.waiting, counts.sent, counts.folded) == (2, states["waiting"], states["sent"], states["folded"])
    assert {i["label"] for i in EXPECTED["incidents"]} == {"real", "false alarm", "expected", "new trend", None}


def test_what_was_read_of_the_past_is_still_held(store):
    for held in EXPECTED["histories"]:
        span = store.cached_span(held["key"])
        assert (span.start.timestamp(), span.until.timestamp()) == (held["start"], held["until"])
        past = store.read(held["key"], span.start, span.until)
        assert len(past) == (span.until - span.start) // span.step > 2000
        assert (past.drop(columns="newest", errors="ignore").sum() > 0).all()


class Counts(BaseSource):
    """The source as the fixture's runs saw it: what they hold of it, then what they judged; since then messages are back, and
    there are still few likes."""

    def __init__(self, store):
        self.store = store
        self.keys = {held["query"]: held["key"] for held in EXPECTED["histories"]}

    def fetch(self, query, start, end):
        span = self.store.cached_span(self.keys[query.name])
        held = self.store.read(self.keys[query.name], span.start, span.until)
        columns = {"feed_actions": ["views", "likes"], "message_actions": ["messages"]}[query.name]
        judged = {name: {v.bucket: v.value for v in self.store.judged(name, span.until)} for name in columns}
        seen = pd.DataFrame(judged).rename_axis("bucket").sort_index()
        seen.index = pd.DatetimeIndex(seen.index, tz="UTC").as_unit("ns")
        last = seen.index[-1]
        since = pd.date_range(last + STEP, end - STEP, freq=STEP)
        week = held.reindex(since - timedelta(days=7))[columns].set_axis(since)
        if "likes" in week:
            week["likes"] *= 0.3
        whole = pd.concat([held[columns], seen, week]).dropna().round().loc[start : end - STEP].rename_axis("bucket")
        return whole.assign(users=100.0, newest=whole.index.as_unit("s").asi8 + 899.0)


def run(house, store, now):
    """A run as the notebook makes it; gives its receipts and its last word."""
    watched = [metric for metric in METRICS if metric.name in ("views", "likes", "ctr", "messages")]
    ctx = RunContext(
        metrics=watched,
        queries=load_queries(),
        source=Counts(store),
        store=store,
        notifier=open_notifier(house)[0],
        started=now,
    )
    pipeline.begin_run(ctx, now)
    reading = pipeline.read(ctx, pipeline.due(ctx, now), 29, now)
    pipeline.read_feedback(ctx, now)
    judged = pipeline.judge(ctx, pipeline.due(ctx, now), reading, now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    receipts = pipeline.deliver(ctx, now)
    return receipts, pipeline.finish(ctx, reading, receipts, now)


def test_a_run_goes_on_where_the_older_version_stopped(house, store, bot, web):
    receipts, said = run(house, store, NOW)
    assert said.startswith("all seen"), said
    assert {r.state for r in receipts} == {"sent"}
    known = {i.id: i for i in store.incidents(EVER)}
    likes, messages = known["20261121T1115Z-likes"], known["20261121T0815Z-messages"]
    assert (likes.open, likes.acknowledged_by, at(likes.snoozed_until)) == (True, "Anna", "2026-11-21T13:06:00+00:00")
    assert at(messages.closed) == "2026-11-21T12:00:00+00:00"
    assert messages.label.value == "expected"
    assert len(known) == len(EXPECTED["incidents"]), "nothing was opened anew"
    waited = [key for key, state in EXPECTED["states"].items() if state == "waiting"]
    assert {*waited} <= {r.key for r in receipts if r.state == "sent"}
    texts = [m.plain.splitlines()[0] for m in bot.messages[TOLD_BEFORE:]]
    assert [text for text in texts if "Anna" in text][:2] == ["👀 Anna is on it", "🔕 Anna: silent until 13:06"]  # they waited
    assert sum("Messages: data is back since 12:00" in text for text in texts) == 1
    posted = {json.loads(asked.body)["key"].removeprefix("webhook:") for asked in web.asked}
    assert {key.removeprefix("webhook:") for key in waited if key.startswith("webhook:")} <= posted
    assert store.counts().waiting == 0

    run(house, store, NOW + STEP)  # and the next run has nothing to repeat
    assert len(bot.messages[TOLD_BEFORE:]) == len(texts)


def test_a_button_under_an_old_message_still_counts(house, store, bot):
    pressed = "real:72e854dc7780ba4e:b9945c371d9538998b3a5d80cae9d033"  # under a message that the older version had sent
    for _ in range(8):  # updates that were read before have the first numbers
        bot.press(101, "", data=pressed, user={"id": 4242, "first_name": "Boris"})
    run(house, store, NOW)
    labelled = {i.id: (i.label.value, i.labelled_by) for i in store.incidents(EVER) if i.label}
    assert labelled["20261120T1000Z-messages"] == ("real", "Boris")


# Records and pages


def entries(house):
    return [
        (path.parent.name, json.loads(line))
        for path in sorted((house.reports / "runs").glob("*/runs.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_old_runs_and_incidents_have_their_pages(house):
    (house.reports / "index.html").unlink()
    for page in (house.reports / "incidents").iterdir():
        page.unlink()
    write_index(house, fresh=True, now=NOW)
    index = (house.reports / "index.html").read_text(encoding="utf-8")
    told = entries(house)
    assert {(entry["ok"], entry["kind"]) for _, entry in told} == {(True, "alert"), (False, "alert")}
    for day, entry in told:
        name = entry["name"].removesuffix(".ipynb")
        kept = [path.name for path in (house.reports / "runs" / day).glob(f"{name}.ipynb*")]
        assert (f'href="runs/{day}/{name}.html"' in index) == bool(kept)
        assert (house.reports / "runs" / day / f"{name}.html").is_file() == bool(kept), "also of the one that had none"
    assert "were not judged: ClickHouse" in index
    for incident in EXPECTED["incidents"]:
        page = (house.reports / "incidents" / f"{incident['id']}.html").read_text(encoding="utf-8")
        assert f"incidents/{incident['id']}.html" in index
        for who in filter(None, (incident["taken"], incident["labelled"])):
            assert who.replace("&", "&amp;") in page
    whole = (house.reports / "incidents" / "20261118T1500Z-views.html").read_text(encoding="utf-8")
    assert "iOS" in whole
    messages = (house.reports / "incidents" / "20261120T1000Z-messages.html").read_text(encoding="utf-8")
    assert "../runs/2026-11-20/alert-20261120T102111Z.2.png" in messages, "the picture of the run that told of it"


def test_what_was_kept_for_the_pages_does_not_stand_in_their_way(house):
    write_index(house, now=NOW)
    kept = (house.reports / "index.html").read_text(encoding="utf-8")
    write_index(house, fresh=True, now=NOW)
    fresh = (house.reports / "index.html").read_text(encoding="utf-8")
    name = "alert-20261121T083611Z"  # its page is made by the second
    assert kept.replace(f"{name}.ipynb", f"{name}.html") == fresh


def test_old_runs_are_packed_and_packed_ones_stay_readable(house):
    day = house.reports / "runs" / "2026-11-21"
    told = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in day.glob("*.ipynb")}
    assert prune_records(house, 90, now=NOW + timedelta(days=10)).startswith("0 runs deleted, 4 packed")
    assert len(told) == 4
    assert not list(day.glob("*.ipynb"))
    for name, notebook in told.items():
        packed = json.loads(gzip.decompress((day / f"{name}.gz").read_bytes()))
        assert [cell["source"] for cell in packed["cells"]] == [cell["source"] for cell in notebook["cells"]]
        assert (day / name).with_suffix(".html").is_file()
    assert len(list((house.reports / "runs" / "2026-11-20").glob("*.ipynb.gz"))) == 3


# The catalogue, the sample app, what people type


def test_a_catalogue_that_a_user_has_written_is_read_and_judges():
    found = catalogue_of(STATE / "user" / "metrics.txt")
    sql = STATE / "user" / "sql"
    check_metrics(found, "en", load_queries(sql), load_queries(sql / "slices"))
    odd = {metric.name for metric in found if newest_is_odd(metric)}
    assert odd == {"ctr", "likes_per_reader", "ctr_ios", "revenue", "check", "slow"}, "likes tells of falls only"


def newest_is_odd(metric):
    """Judged over forty calm days, and a last bucket in which everything but views, people and numbers of rows has risen."""
    index = pd.date_range("2026-10-12", "2026-11-21T12:00", freq=metric.step, tz="UTC")
    rhythm = 1000 + 300 * np.sin(2 * np.pi * (index.hour * 60 + index.minute).to_numpy() / 1440)
    many = rhythm * np.random.default_rng(1).normal(1, 0.02, len(index))
    few = many * np.where(index == index[-1], 0.9, 0.2)
    of_many = dict.fromkeys(("users", "messages", "payments", "views", "views[os=iOS]"), many)
    of_few = dict.fromkeys(("likes", "likes[os=iOS]", "revenue", "slow"), few)
    counts = pd.DataFrame({**of_many, **of_few, "groups": 1.0}, index)
    statuses = judge_series(metric, metric.value(counts), "UTC")["status"].astype(str)
    assert (statuses.iloc[-200:-1] == "normal").mean() > 0.9, metric.name
    return statuses.iloc[-1] == "anomalous"


def catalogue_of(path):
    """METRICS of a file that stands where alerting/metrics.py does."""
    loader = SourceFileLoader("a_users_metrics", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look for it there
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        del sys.modules[loader.name]
    return module.METRICS


def test_the_sample_app_lives_on(tmp_path):
    (tmp_path / "state.json").write_bytes((STATE / "app_state.json").read_bytes())
    assert planted_truth(tmp_path) == []


def test_settings_and_commands_keep_their_names():
    def said(*words):
        return subprocess.run(
            [sys.executable, "-m", "alerting", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
        ).stdout

    listed, commands = said("settings"), said("--help")
    kept = set(EXPECTED["settings"]) - RETIRED  # those are still accepted, with a note
    assert [name for name in sorted(kept) if name not in listed] == []
    shown = [name for name in EXPECTED["commands"] if name != "rollup"]  # which still answers, and is not listed
    assert [name for name in shown if name not in commands] == []


# The map of stored names


def reached(hint):
    """Dataclasses and enums that values of this type are made of."""
    for part in get_args(hint):
        yield from reached(part)
    if isinstance(hint, type) and issubclass(hint, Enum):
        yield hint
    if is_dataclass(hint):
        yield hint
        for each in get_type_hints(hint).values():
            yield from reached(each)


@pytest.mark.parametrize("noun", STORED, ids=lambda noun: noun.__name__)
def test_every_class_that_is_stored_has_a_name_for_every_field(noun):
    for kind in {*reached(noun)}:
        if issubclass(kind, Enum):
            assert {*VALUES[kind].values()} == {*kind}
        else:
            assert kind in STORED
            assert [*codec.unmapped(kind)] == []
            assert len({*STORED[kind].values()}) == len(STORED[kind]), "a field has two names"
            assert not {*STORED[kind]} & GONE.get(kind, set())


def test_the_stored_values_are_those_of_the_older_versions():
    assert {kind.__name__: [*values] for kind, values in VALUES.items()} == {
        "Status": ["normal", "anomalous", "missing", "unknown"],
        "EpisodeState": ["ok", "pending", "firing", "recovering"],
        "EventKind": [
            *("opened", "worsened", "reminder", "resolved", "no data", "data back", "corrected", "cause", "taken", "silenced"),
            *("labelled", "run failed", "run recovered", "caught up", "digest", "daily"),
            *("escalated", "asked", "answer"),
        ],
        "Label": ["real", "false alarm", "expected", "new trend"],
        "Action": ["take", "snooze", "mute", "real", "false", "expected", "trend"],
    }
    assert [VALUES[Label][value] for value in ("real", "false alarm", "expected", "new trend")] == [
        *(Label.REAL, Label.FALSE_ALARM, Label.EXPECTED, Label.NEW_TREND)
    ]


def test_a_field_without_a_stored_name_is_an_error():
    @dataclass(frozen=True)
    class Fresh:
        metric: str = "views"

    assert [*codec.unmapped(Fresh)] == ["Fresh.metric has no stored name"]
    with pytest.raises(StoreError, match=r"Fresh\.metric has no stored name"):
        codec.to_row(Fresh())
    with pytest.raises(StoreError, match="has no stored name"):
        codec.to_row(Event(None, "views", NOW, Verdict("views", NOW, None), None))
