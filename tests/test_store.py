"""The memory holds all of a transaction or nothing of it, whatever happens to the process, the file or the disk."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.model.errors import StoreError
from alerting.model.incident import Incident, Member
from alerting.model.message import Action, Button, Message, Receipt
from alerting.model.metric import Silence
from alerting.model.protocols import Commit
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict
from alerting.store.database import MIGRATIONS
from alerting.store.state import StateCounts, StateStore
from tests.waiting import PATIENCE, ended

ROOT = Path(__file__).resolve().parent.parent
AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
STEP, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
EVER = datetime(1, 1, 1, tzinfo=UTC)
PNG = b"\x89PNG picture"


@pytest.fixture
def store(tmp_path):
    with closing(StateStore(tmp_path / "alerts.sqlite")) as opened:
        yield opened


def verdict(metric="views", bucket=AT, value=40.0):
    return Verdict(metric, bucket, Status.ANOMALOUS, value, 90.0, 100.0, 110.0, -6.0, usual=98.0)


def text(key, kind=EventKind.OPENED, bucket=AT):
    return Message(key, kind, "views", bucket, f"text of {key}")


def picture(key, reply_to):
    return Message(key, EventKind.OPENED, "views", AT, "caption", PNG, reply_to)


def edit(key, target, said="changed", **rest):
    return Message(key, EventKind.WORSENED, "views", AT, said, edits=target, **rest)


def reply(key, to):
    return replace(text(key), reply_to=to)


def incident(id="i", opened=AT, **rest):
    return Incident(id, opened, (Member("views", opened, opened, verdict()), Member("ctr", opened, AT, verdict("ctr"))), **rest)


def remember(store, *messages, at=None, **rest):
    store.commit(Commit(messages=messages, **rest), at)


def fill(store, buckets=300):
    """Enough for a file of many pages."""
    remember(
        store,
        text("a"),
        picture("b", "a"),
        verdicts=[verdict(bucket=AT + i * STEP) for i in range(buckets)],
        episodes=[Episode("views")],
    )


def keys(store, at=None):
    return [message.key for message in store.waiting(at)]


def send(store, *names, at=AT):
    for name in names:
        store.record(Receipt(name, "sent", message_id=f"id of {name}"), at)


def refuse(store, *names):
    for name in names:
        store.record(Receipt(name, "refused", "why not"), AT)


# What is remembered

SIMPLE = {
    str: st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    float: st.floats().map(lambda number: number + 0.0),  # SQLite keeps no -0.0
    int: st.integers(0, 99),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    datetime: st.integers(0, 4 * 10**15).map(lambda microseconds: datetime.fromtimestamp(microseconds / 1e6, UTC)),
    **{answers: st.sampled_from(answers) for answers in (Status, EpisodeState, EventKind, Label, Action)},
}


def any_of(kind):
    """A strategy for all fields of a noun, also for those that it will get one day."""
    if get_origin(kind) is tuple:
        return st.lists(any_of(get_args(kind)[0]), max_size=2).map(tuple)
    if get_args(kind):
        return st.none() | any_of(get_args(kind)[0])
    if kind in SIMPLE:
        return SIMPLE[kind]
    return st.builds(kind, **{name: any_of(hint) for name, hint in get_type_hints(kind).items()})


def reprs(nouns):
    """NaN is not equal to itself; a float's repr is exact."""
    return sorted(map(repr, nouns))


@settings(max_examples=50, deadline=None)
@given(*(st.lists(any_of(noun), max_size=3) for noun in (Verdict, Episode, Message)))
def test_every_field_comes_back_as_it_was(seen, changed, told):
    with closing(StateStore(":memory:")) as store:
        told = [replace(m, reply_to="", edits="", critical=False) for m in told]  # severity is for the routes only
        remember(store, *told, verdicts=seen, episodes=changed, episode_trail=[(AT, e) for e in changed])
        newest = {(v.metric, v.bucket): v for v in seen}
        assert repr(store.judged()) == repr(sorted(newest.values(), key=lambda v: (v.bucket, v.metric.encode())))
        assert store.last_judged() == {v.metric: max(o.bucket for o in seen if o.metric == v.metric) for v in seen}
        episodes = {e.metric: e for e in changed}
        assert reprs(store.episodes().values()) == reprs(episodes.values())
        assert reprs(store.episode_before(metric, AT + STEP) for metric in episodes) == reprs(episodes.values())
        assert reprs(store.waiting()) == reprs({m.key: m for m in reversed(told)}.values())


@settings(max_examples=50, deadline=None)
@given(*(st.lists(any_of(noun), max_size=3) for noun in (Incident, Arrival, Silence, Run)))
def test_and_every_field_of_what_runs_leave_for_each_other(incidents, arrivals, silences, runs):
    with closing(StateStore(":memory:")) as store:
        arrivals = [replace(a, at=AT) for a in arrivals]
        silences = [replace(s, id=i + 1) for i, s in enumerate(silences)]
        remember(store, incidents=incidents, arrivals=arrivals, silences=silences, next_update=7)
        for run in runs:
            store.end_run(run)
        assert reprs(store.all_incidents(EVER)) == reprs({i.id: i for i in incidents}.values())
        assert reprs(store.arrivals(AT)) == reprs({a.query: a for a in arrivals}.values())
        assert reprs(store.silences(EVER)) == reprs(silences)
        assert reprs(store.runs(EVER)) == reprs({r.started: r for r in runs}.values())
        assert store.next_update() == 7


def test_a_new_store_knows_nothing(store):
    assert (store.episodes(), store.last_judged(), store.judged(), store.waiting(), store.notes) == ({}, {}, [], [], [])
    assert (store.incidents(EVER), store.arrivals(EVER), store.silences(EVER), store.runs(EVER)) == ([], [], [], [])
    assert (store.episode_before("views", AT), store.next_update(), store.sent_since(EVER), store.stale(AT)) == (None, 0, 0, [])
    assert store.counts() == StateCounts()
    assert (store.message_id("nothing"), store.text("nothing")) == ("", "")


def test_it_is_still_there_when_opened_again(tmp_path):
    for turn in range(2):
        with closing(StateStore(tmp_path / "deep" / "er" / "alerts.sqlite")) as store:
            assert len(store.judged()) == turn
            remember(store, text("a"), verdicts=[verdict()], episodes=[Episode("views", EpisodeState.FIRING, worst=verdict())])
            assert store.episodes()["views"].worst == verdict()


def test_a_bucket_judged_again_takes_the_new_verdict(store):
    remember(store, verdicts=[verdict(value=40.0)])
    remember(store, verdicts=[verdict(value=80.0)])
    assert [v.value for v in store.judged()] == [80.0]


def test_judged_by_metric_and_time(store):
    remember(store, verdicts=[verdict("views"), verdict("likes"), verdict("views", AT + STEP)])
    assert [(v.metric, v.bucket) for v in store.judged()] == [("likes", AT), ("views", AT), ("views", AT + STEP)]
    assert [v.bucket for v in store.judged("views", AT + STEP)] == [AT + STEP]
    assert store.last_judged() == {"likes": AT, "views": AT + STEP}


def test_other_zones_are_the_same_instants_and_no_zone_is_refused(store):
    remember(store, verdicts=[verdict(bucket=AT.astimezone(None))])
    assert store.last_judged() == {"views": AT}
    with pytest.raises(ValueError, match="no time zone"):
        remember(store, verdicts=[verdict(bucket=AT.replace(tzinfo=None))])


def test_a_mangled_name_does_not_cost_the_commit(store):
    remember(store, Message("a", EventKind.OPENED, "views", AT, "Sa\udce3o"))
    assert store.waiting()[0].text == "Sa?o"


def test_numpy_and_pandas_values_come_back_plain(store):
    import numpy as np
    import pandas as pd

    given = Verdict("views", pd.Timestamp(AT), Status.NORMAL, np.float64(1.5), np.int64(1), np.nan, np.float32(2), np.nan)  # type: ignore
    remember(store, verdicts=[given], episodes=[Episode("views", last=given)])
    assert repr(store.judged()[0]) == repr(store.episodes()["views"].last)
    assert type(store.judged()[0].value) is float


def episode(recent):
    return Episode("views", recent=recent)


def test_the_trail_tells_how_an_episode_stood_before_a_bucket(store):
    remember(store, episode_trail=[(AT, episode("n")), (AT + STEP, episode("na")), (AT + 2 * STEP, episode("naa"))])
    remember(store, episode_trail=[(AT + 9 * STEP, Episode("likes"))])
    assert store.episode_before("views", AT) is None
    assert store.episode_before("views", AT + STEP).recent == "n"
    assert store.episode_before("views", AT + DAY).recent == "naa"
    remember(store, episode_trail=[(AT, episode("a"))])  # late rows
    assert store.episode_before("views", AT + STEP).recent == "a"


def test_the_trail_is_three_days_long_for_each_metric(store):
    remember(store, episode_trail=[(AT, episode("n")), (AT, Episode("likes")), (AT + 3 * DAY, episode("n"))])
    assert store.episode_before("views", AT + STEP)
    remember(store, episode_trail=[(AT + STEP, episode("n")), (AT + 3 * DAY + STEP, episode("n"))])
    assert store.episode_before("views", AT + STEP) is None
    assert store.episode_before("views", AT + 2 * STEP)
    assert store.episode_before("likes", AT + STEP)


def test_incidents_that_are_open_and_those_closed_since(store):
    remember(store, incidents=[incident("b", AT + STEP), incident("a", AT), incident("c", AT - DAY, closed=AT)])
    assert [i.id for i in store.incidents()] == ["a", "b"]
    assert [i.id for i in store.incidents(AT - STEP)] == ["c", "a", "b"]
    assert [i.id for i in store.incidents(AT)] == ["a", "b"]
    remember(store, incidents=[incident("a", AT, closed=AT + HOUR, label=Label.EXPECTED, labelled_by="Ann")])
    assert [i.id for i in store.incidents()] == ["b"]
    assert [i.id for i in store.all_incidents(AT - DAY)] == ["c", "a", "b"]
    assert [i.id for i in store.all_incidents(AT, AT + STEP)] == ["a"]
    assert [(i.id, i.label) for i in store.labelled(AT)] == [("a", Label.EXPECTED)]
    assert store.labelled(AT + STEP) == []
    assert store.counts().open == 1


def test_a_silence_lasts_until_it_is_over_or_ended(store):
    deploy = Silence("ctr", AT, AT + HOUR, "deploy", "Ann")
    remember(store, silences=[Silence("*", AT + HOUR, AT + DAY)])
    assert store.add_silence(deploy) == 2
    assert store.silences(AT - HOUR) == [replace(deploy, id=2), Silence("*", AT + HOUR, AT + DAY, id=1)]
    assert [s.id for s in store.silences(AT + HOUR)] == [1]
    assert store.end_silence(2, AT + STEP)
    assert [s.until for s in store.silences(AT)] == [AT + STEP, AT + DAY]
    assert [store.end_silence(id, AT + DAY) for id in (1, 2, 3)] == [False, False, False]  # over or unknown: nothing to end
    remember(store, silences=[replace(deploy, id=1)])
    assert [s.scope for s in store.silences(AT)] == ["ctr", "ctr"]


def test_how_far_the_chat_was_heard(store):
    remember(store, next_update=8)
    remember(store)
    assert store.next_update() == 8
    remember(store, next_update=3)  # after a quiet week the chat counts from anywhere
    assert store.next_update() == 3


def test_arrivals_are_kept_for_15_days(store):
    seen = [Arrival(query, AT + days * DAY, AT, 5.0, AT) for days in (0, 1, 15) for query in ("feed", "messages")]
    remember(store, arrivals=seen)
    assert store.arrivals(EVER) == seen
    assert store.arrivals(AT + DAY) == seen[2:]
    remember(store, arrivals=[Arrival("feed", AT + 16 * DAY, AT, 0.0)])
    assert store.arrivals(EVER) == [*seen[1:], Arrival("feed", AT + 16 * DAY, AT, 0.0)]


def test_runs(store):
    for i in range(3):
        store.begin_run(Run(AT + i * STEP, AT + i * STEP - HOUR))
    store.end_run(Run(AT, AT - HOUR, AT + STEP, True, "all seen"))
    store.begin_run(Run(AT, AT - HOUR))  # it is over: nothing begins it again
    store.end_run(Run(AT + DAY, AT, AT + DAY))  # its start was not written
    assert store.runs(EVER)[0] == Run(AT, AT - HOUR, AT + STEP, True, "all seen")
    assert [run.ended for run in store.runs(AT - HOUR)] == [None, None, AT + DAY]


# The outbox


def test_texts_go_before_pictures_and_both_in_order(store):
    remember(store, text("a"), picture("a/p", "a"), text("b"), picture("b/p", "b"), text("a"))
    assert keys(store) == ["a", "b"]
    store.record(Receipt("b", "sent", message_id="7"), AT)
    assert keys(store) == ["a", "b/p"]
    store.record(Receipt("a", "sent", message_id="8"), AT)
    assert keys(store) == ["a/p", "b/p"]
    assert (store.message_id("a"), store.message_id("b"), store.message_id("a/p")) == ("8", "7", "")


def test_enqueueing_twice_is_harmless(store):
    for _ in range(2):
        remember(store, text("a"))
        assert keys(store) == ["a"]
    store.record(Receipt("a", "sent", message_id="7"), AT)
    remember(store, text("a"))
    assert keys(store) == []


def test_a_picture_of_a_text_unknown_here_may_go(store):
    remember(store, picture("p", ""))
    remember(store, picture("q", "forgotten long ago"))
    assert keys(store) == ["p", "q"]


def test_a_picture_is_refused_with_its_text(store):
    remember(store, text("a"), picture("a/1", "a"))
    store.record(Receipt("a", "refused", "empty"), AT)
    assert keys(store) == []
    remember(store, picture("a/2", "a"))  # it may also come later
    assert keys(store) == []
    assert store.counts().refused == 3


def test_an_answer_does_not_overtake_what_it_answers(store):
    remember(store, reply("a/1", "a"), text("a"), reply("a/2", "a/1"), reply("b", "unknown"), reply("c", "c"))
    assert keys(store) == ["a", "b", "c"]
    store.record(Receipt("a", "kept"), AT, retry_after=30)
    assert keys(store, AT) == ["b", "c"]
    send(store, "a", "b", "c")
    assert keys(store) == ["a/1"]
    refuse(store, "a/1")
    assert keys(store) == ["a/2"]  # it stands alone then


def test_an_edit_of_what_was_sent_goes_after_the_texts_and_before_the_pictures(store):
    remember(store, text("a"), picture("a/p", "a"))
    send(store, "a")
    remember(store, edit("a/e1", "a", "1"), text("b"))
    assert keys(store) == ["b", "a/e1", "a/p"]
    assert (store.text("a"), store.message_id("a/e1")) == ("1", "")
    send(store, "a/e1")
    assert (store.text("a"), store.message_id("a/e1")) == ("1", "id of a")
    remember(store, edit("a/e2", "a", "2"))
    refuse(store, "a/e2")
    assert (store.text("a"), store.text("a/e2")) == ("1", "2")


def test_an_edit_takes_the_place_of_one_that_waits(store):
    remember(store, text("a"), text("b"))
    send(store, "a", "b")
    remember(store, edit("a/e1", "a", "1"), edit("b/e", "b"), edit("a/e2", "a", "2"))
    assert keys(store) == ["b/e", "a/e2"]
    remember(store, edit("a/e2", "a", "2 again"))
    assert [(m.key, m.text) for m in store.waiting()] == [("b/e", "changed"), ("a/e2", "2 again")]
    send(store, "a/e2")
    remember(store, edit("a/e3", "a", "3"))
    remember(store, edit("a/e2", "a", "2 once more"), text("c"), edit("b", "a"), edit("c", "a"))  # keys that are known
    assert (keys(store), store.text("a")) == (["c", "b/e", "a/e3"], "3")


def test_an_edit_of_what_still_waits_changes_it_in_place(store):
    rows = ((Button("I'm on it", Action.TAKE),),)
    remember(store, text("a"), edit("a/e1", "a", "1", buttons=rows))
    assert [(m.key, m.text, m.buttons) for m in store.waiting()] == [("a", "1", rows)]
    store.record(Receipt("a", "kept"), AT)
    remember(store, edit("a/e2", "a", "2"))
    assert [(m.key, m.text, m.buttons) for m in store.waiting()] == [("a", "2", ())]
    send(store, "a")
    assert (keys(store), store.text("a")) == ([], "2")


def test_an_edit_of_what_will_not_be_sent_is_dropped(store):
    remember(store, text("a"), text("b"), text("c"))
    refuse(store, "a")
    store.merge_into_digest(["b"], text("digest"))
    remember(store, withdrawn_keys=["c"])
    remember(store, *[edit(f"{key}/e", key) for key in ("a", "b", "c", "unknown")])
    assert (keys(store), store.text("a"), store.text("unknown")) == (["digest"], "text of a", "")


def test_what_is_withdrawn_is_never_sent_nor_its_pictures(store):
    remember(store, text("a"), picture("a/p", "a"), reply("a/r", "a"), text("b"), picture("b/p", "b"))
    send(store, "b")
    remember(store, text("new"), edit("b/e", "b"), withdrawn_keys=["a", "b", "b/e", "new", "unknown"])
    assert keys(store) == ["a/r", "b/p"]
    remember(store, text("a"), picture("a/q", "a"))
    assert keys(store) == ["a/r", "b/p"]
    assert store.counts() == StateCounts(waiting=2, sent=1, withdrawn=5)
    send(store, "a")  # it was on its way when it was withdrawn
    assert store.message_id("a") == "id of a"


def test_stale_texts_are_folded_into_a_digest(store):
    remember(store, text("a"), picture("a/p", "a"), reply("a/r", "a"), text("b"), text("c"), at=AT)
    remember(store, text("late", bucket=AT - DAY))  # made when it is not said: as old as what it is about
    remember(store, text("new", bucket=AT - DAY), at=AT + HOUR)
    send(store, "b")
    remember(store, edit("b/e", "b"), at=AT)
    assert [m.key for m in store.stale(AT)] == ["late"]
    assert [m.key for m in store.stale(AT + STEP)] == ["a", "a/r", "c", "late"]
    store.merge_into_digest(["a", "a/r", "b", "unknown"], replace(text("digest"), kind=EventKind.DIGEST), AT + HOUR)
    assert keys(store) == ["c", "late", "new", "digest", "b/e"]
    assert store.counts() == StateCounts(waiting=5, sent=1, folded=3)
    assert [m.key for m in store.stale(AT + HOUR + STEP)] == ["c", "late", "new", "digest"]


def test_nothing_is_folded_into_a_digest_that_is_known(store):
    remember(store, text("a"), text("digest"))
    store.merge_into_digest(["a", "digest"], text("digest"))
    assert keys(store) == ["a", "digest"]


def test_how_many_were_sent_since(store):
    remember(store, text("a"), picture("a/p", "a"), text("b"), text("c"))
    send(store, "a")
    send(store, "a/p", "b", at=AT + HOUR)
    refuse(store, "c")
    assert [store.sent_since(at) for at in (AT, AT + STEP, AT + DAY)] == [3, 2, 0]


def test_a_message_is_held_back_as_long_as_the_chat_asked(store):
    remember(store, text("a"), text("b"))
    store.record(Receipt("a", "kept", "429"), AT, retry_after=30)
    store.record(Receipt("b", "kept", "reset"), AT)
    assert keys(store, AT) == ["b"]
    assert keys(store, AT + timedelta(seconds=30)) == ["a", "b"]
    assert keys(store) == ["a", "b"]


def test_sent_stays_sent(store):
    remember(store, text("a"), text("b"))
    for state in ("sent", "kept", "refused"):
        store.record(Receipt("a", state, message_id="7" if state == "sent" else ""), AT)
    store.record(Receipt("b", "refused"), AT)
    store.record(Receipt("b", "kept"), AT)
    store.record(Receipt("unknown", "sent"), AT)
    assert store.message_id("a") == "7"
    assert store.counts() == StateCounts(sent=1, refused=1)


@pytest.mark.parametrize(("state", "left"), [("kept", PNG), ("sent", None), ("refused", None)])
def test_a_picture_is_dropped_when_it_is_done_with(store, tmp_path, state, left):
    remember(store, picture("p", ""))
    store.record(Receipt("p", state), AT)
    with closing(sqlite3.connect(tmp_path / "alerts.sqlite")) as db:
        assert db.execute("SELECT photo, tries FROM messages").fetchall() == [(left, 1)]


@pytest.mark.parametrize(
    ("kind", "bucket", "state", "told"),
    [
        (EventKind.RUN_FAILED, AT, "sent", True),
        (EventKind.RUN_FAILED, AT, "waiting", True),  # it will be said: no need for another
        (EventKind.RUN_FAILED, AT - timedelta(hours=3), "waiting", False),
        (EventKind.RUN_FAILED, AT, "refused", False),
        (EventKind.RUN_FAILED, AT, "sent long ago", False),
        (EventKind.OPENED, AT, "sent", False),
    ],
)
def test_told_recently(store, kind, bucket, state, told):
    remember(store, text("a", kind, bucket))
    if state != "waiting":
        store.record(Receipt("a", state.split()[0]), AT - timedelta(hours=2 if "ago" in state else 0))
    assert store.sent_recently(EventKind.RUN_FAILED, AT - timedelta(hours=1)) is told


# History


def remember_two_years(store):
    old = AT - timedelta(days=500)
    remember(
        store,
        text("old"),
        text("old waiting"),
        text("new"),
        verdicts=[verdict(bucket=old), verdict()],
        episodes=[Episode("views")],
    )
    store.record(Receipt("old", "sent"), old)
    store.record(Receipt("new", "sent"), AT)


def test_what_is_older_than_400_days_is_forgotten_but_not_what_waits(store):
    remember_two_years(store)
    store.forget(AT + STEP)
    assert [v.bucket for v in store.judged()] == [AT]
    assert store.counts() == StateCounts(waiting=1, sent=1, last_judged=AT)


def test_a_clock_in_the_future_forgets_nothing_more(store):
    remember_two_years(store)
    store.forget(AT + timedelta(days=4000))
    assert [v.bucket for v in store.judged()] == [AT]
    assert store.counts().sent == 1


def test_of_very_many_metrics_verdicts_are_forgotten_earlier_but_not_within_two_weeks(store):
    """Two metrics at 960 verdicts: five days of both would be kept, so it is the least."""
    old = [AT - days * DAY for days in (13, 15, 399)]
    remember(store, verdicts=[verdict(bucket=at) for at in (*old, AT)], episodes=[Episode("views"), Episode("likes")])
    store.forget(AT + STEP, verdicts=4_000)
    assert [v.bucket for v in store.judged()] == [AT - 15 * DAY, AT - 13 * DAY, AT], "4,000 are 20 days of two"
    store.forget(AT + STEP, verdicts=960)
    assert [v.bucket for v in store.judged()] == [AT - 13 * DAY, AT]


def test_of_what_is_over_nothing_older_is_kept_either(store):
    old, silences = AT - 500 * DAY, [Silence("ctr", AT - 500 * DAY, at) for at in (AT - 450 * DAY, AT)]
    closed = incident("closed", old, closed=old + HOUR)
    remember(store, verdicts=[verdict()], incidents=[incident("open", old), closed], silences=silences)
    remember(store, arrivals=[Arrival("feed", old, old, 1.0)], episode_trail=[(old, Episode("views"))])
    remember(store, text("a"), text("b"))
    send(store, "a", at=old)
    remember(store, edit("a/e", "a"))
    for at in (old, AT):
        store.begin_run(Run(at, at))
    store.forget(AT + STEP)
    assert [i.id for i in store.incidents(EVER)] == ["open"]
    assert [s.id for s in store.silences(EVER)] == [2]
    assert [run.at for run in store.runs(EVER)] == [AT]
    assert (store.arrivals(EVER), store.episode_before("views", AT), keys(store)) == ([], None, ["b"])


def test_counts(store):
    remember(store, text("a"), verdicts=[verdict()], incidents=[incident("a"), incident("b"), incident("c", closed=AT)])
    remember(store, text("b"), withdrawn_keys=["b"])
    assert store.counts() == StateCounts(open=2, waiting=1, withdrawn=1, last_judged=AT)


@pytest.mark.parametrize("noun", ["episodes", "incidents"])
def test_a_body_of_an_older_version_is_read(store, tmp_path, noun):
    """What it does not have takes its default, and what has gone since is passed over."""
    known = {"episodes": Episode("views", EpisodeState.FIRING, since=AT), "incidents": incident("i", label=Label.REAL)}[noun]
    remember(store, **{noun: [known]})
    gone = {"episodes": {"calm": 3}, "incidents": {}}[noun]
    change_bodies(tmp_path, noun, lambda body: gone | {k: v for k, v in body.items() if k not in ("reopened", "answers", "lost")})
    assert repr(store.episodes() or store.incidents()) == repr({"views": known} if noun == "episodes" else [known])


@pytest.mark.parametrize(
    ("noun", "change"),
    [
        ("episodes", {"fresh": 3}),
        ("incidents", {"calm": 3}),
        ("incidents", {"rarity": {"sames": 1}}),
        ("incidents", {"label": "hoax"}),
        ("episodes", {"state": "FIRING"}),
    ],
)
def test_what_a_body_says_that_is_not_known_is_an_error_and_no_silence(store, tmp_path, noun, change):
    remember(store, **{noun: [{"episodes": Episode("views"), "incidents": incident("i")}[noun]]})
    change_bodies(tmp_path, noun, lambda body: body | change)
    with pytest.raises(StoreError, match=r"nothing of .* is stored as|has no value"):
        getattr(store, noun)()


def change_bodies(folder, table, change):
    with closing(sqlite3.connect(folder / "alerts.sqlite")) as db, db:
        (body,) = db.execute(f"SELECT body FROM {table}").fetchone()
        db.execute(f"UPDATE {table} SET body = ?", (json.dumps(change(json.loads(body))),))


# The file


def test_nobody_else_reads_it(tmp_path):
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        fill(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert modes == {"alerts.sqlite": 0o600, "alerts.sqlite-wal": 0o600, "alerts.sqlite-shm": 0o600}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_what_was_left_open_to_others_is_closed(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
        for suffix, mode in (("", 0o666), ("-wal", 0o640), ("-shm", 0o644)):
            os.chmod(f"{path}{suffix}", mode)
        with closing(StateStore(path)) as again:
            assert keys(again) == ["a"]
            assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {0o600}


V1_ROWS = """
INSERT INTO verdicts VALUES ('views', '2026-11-20T12:15:00+00:00', 'anomalous', 40, 90, 100, 110, -6, 'sudden', 1, NULL);
INSERT INTO episodes VALUES ('views', 'firing', '{"metric": "views", "state": "firing", "opened": "2026-11-20T12:15:00+00:00",
  "calm": 1, "share": null, "worst": {"metric": "views", "bucket": "2026-11-20T12:15:00+00:00", "status": "anomalous",
  "value": 40.0, "low": 90.0, "expected": 100.0, "high": 110.0, "score": -6.0, "reason": "", "news": true, "usual": 98.0}}');
INSERT INTO messages (key, kind, metric, bucket, text, photo, reply_to, state, message_id, changed) VALUES
  ('a', 'opened', 'views', '2026-11-20T12:15:00+00:00', 'said', NULL, '', 'sent', '7', '2026-11-20T12:31:00+00:00'),
  ('a/p', 'opened', 'views', '2026-11-20T12:15:00+00:00', 'caption', x'89504e47', 'a', 'waiting', '', ''),
  ('b', 'run failed', 'views', '2026-11-20T12:15:00+00:00', 'too long', NULL, '', 'refused', '', '2026-11-20T12:31:00+00:00'),
  ('c', 'opened', 'likes', '2026-11-20T12:15:00+00:00', 'to say', NULL, '', 'waiting', '', '');
PRAGMA user_version = 1;
"""


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(";".join(MIGRATIONS[0]) + ";" + V1_ROWS)
    for _ in range(2):
        with closing(StateStore(path)) as store:
            assert repr(store.judged()[0]) == repr(replace(verdict(), reason="sudden", usual=float("nan")))
            assert store.episodes()["views"].worst == verdict()
            assert repr(store.episodes()["views"]) == repr(Episode("views", EpisodeState.FIRING, opened=AT, worst=verdict()))
            assert keys(store) == ["c", "a/p"]
            assert [m.key for m in store.stale(AT + STEP)] == ["c"]
            assert store.counts() == StateCounts(waiting=2, sent=1, refused=1, last_judged=AT)
    with closing(StateStore(path)) as store:
        remember(store, edit("a/e", "a"), edit("c/e", "c"), incidents=[incident()])
        assert [(m.key, m.text) for m in store.waiting()] == [("c", "changed"), ("a/e", "changed"), ("a/p", "caption")]
        assert store.incidents() == [incident()]


def test_an_interrupted_migration_leaves_nothing(tmp_path, monkeypatch):
    from alerting.store import database

    path = tmp_path / "alerts.sqlite"
    monkeypatch.setattr(database, "MIGRATIONS", ((*database.MIGRATIONS[0], "CREATE nonsense"),))
    with pytest.raises(StoreError, match="nonsense"):
        StateStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path, monkeypatch):
    from alerting.store import database

    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ("CREATE TABLE moods (metric TEXT)",)))
    with closing(StateStore(path)) as store, closing(sqlite3.connect(path)) as db:
        assert len(store.judged()) == 300
        assert db.execute("PRAGMA user_version").fetchone() == (len(database.MIGRATIONS),)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"newer version \(99\): update"):
        StateStore(path)
    assert [p.name for p in tmp_path.iterdir()] == ["alerts.sqlite"]


def overwrite(at, data):
    def damage(path):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    return damage


DAMAGE = {
    "another kind of file": lambda path: path.write_bytes(b"<html>" * 4000),
    "header gone": overwrite(0, bytes(100)),
    "schema page gone": overwrite(100, b"\xff" * 3996),
    "a page in the middle gone": overwrite(3 * 4096, b"\xff" * 8 * 4096),
    "cut short": lambda path: os.truncate(path, 3 * 4096),
    "cut very short": lambda path: os.truncate(path, 700),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_corrupted_file_is_moved_aside_loudly_and_the_run_goes_on(tmp_path, damage):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    damage(path)
    spoilt = path.read_bytes()
    with closing(StateStore(path)) as store:
        store.judged()  # some damage shows only when it is read
        remember(store, text("c"), verdicts=[verdict()], episodes=[Episode("views")])
        assert (store.judged(), keys(store)) == ([verdict()], ["c"])
        (note,) = store.notes
    (aside,) = [p for p in tmp_path.iterdir() if p.name.startswith("alerts.sqlite.corrupt-2") and p.suffix.endswith("Z")]
    assert "CORRUPTED" in note
    assert str(aside) in note
    assert aside.read_bytes() == spoilt
    with closing(StateStore(path)) as store:
        assert (len(store.judged()), store.notes) == (1, [])


def test_whoever_has_a_corrupted_file_open_goes_on_with_the_fresh_one(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    with closing(StateStore(path)) as other:
        remember(other, verdicts=[verdict("likes")])  # is in the -wal
        overwrite(4096, b"\xff" * (path.stat().st_size - 4096))(path)
        with closing(StateStore(path)) as store:
            assert store.judged() == []
            remember(other, verdicts=[verdict("messages")])
            assert store.last_judged().keys() == {"messages"}
        assert "opened again" in other.notes[0]
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("-wal")]) == 1


def test_a_folder_removed_under_an_open_store_is_made_again(tmp_path):
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        shutil.rmtree(tmp_path / "data")
        remember(store, verdicts=[verdict()])
        assert "opened again" in store.notes[0]
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        assert len(store.judged()) == 1


def test_damage_in_the_middle_of_a_run(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    with closing(StateStore(path)) as store:
        DAMAGE["another kind of file"](path)
        remember(store, text("c"), verdicts=[verdict()], episodes=[Episode("views")])
        assert keys(store) == ["c"]
        assert len(store.notes) == 1


# What the machine does


@contextmanager
def nobody():
    """Not root for a while: root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        os.chmod(folder, 0o555)
        with nobody(), pytest.raises(StoreError, match="set ALERTING_DATA"):
            StateStore(Path(folder) / "alerts.sqlite")
        os.chmod(folder, 0o755)
        path = Path(folder) / "alerts.sqlite"
        with closing(StateStore(path)) as store:
            fill(store)
        os.chmod(path, 0o444)
        with nobody(), pytest.raises(StoreError, match="let this user write"), closing(StateStore(path)) as store:
            remember(store, verdicts=[verdict()])


@pytest.mark.parametrize("below", ["a file/alerts.sqlite", "a folder", "/proc/alerting/alerts.sqlite"])
def test_a_path_that_cannot_be(tmp_path, below):
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StoreError, match="ALERTING_DATA"):
        StateStore(tmp_path / below)


def test_a_lock_that_is_not_let_go(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path, patience=0.05)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps it locked"):
            remember(store, verdicts=[verdict()])
        assert store.judged() == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        remember(store, verdicts=[verdict()])
        assert len(store.judged()) == 1


def test_a_full_disk_costs_the_commit_and_nothing_else(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # Python ignores the signal: writing fails
        try:
            with pytest.raises(StoreError, match=r"disk .*full"):
                remember(store, Message("big", EventKind.OPENED, "likes", AT, "", bytes(1_000_000)), verdicts=[verdict("likes")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.last_judged().keys() == {"views"}
        assert keys(store) == ["a"]
        remember(store, verdicts=[verdict("likes")])
        assert store.last_judged().keys() == {"likes", "views"}


def python(code, *args):
    return ended(subprocess.Popen([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, text=True, stdout=subprocess.PIPE))


def test_a_night_of_kill_9_leaves_all_of_a_commit_or_nothing(tmp_path):
    path = tmp_path / "alerts.sqlite"
    for turn in range(10):
        with python(COMMITS, path) as child:
            child.stdout.readline()  # it is at it
            time.sleep(0.002 * turn)
            child.send_signal(signal.SIGKILL)
        with closing(StateStore(path)) as store:
            assert store.notes == []
            last = int(store.episodes()["views"].lost)
            assert [v.value for v in store.judged()] == [float(i) for i in range(last + 1) for _ in range(20)]
            assert [m.key for m in store.waiting()] == [str(i) for i in range(last + 1)]
            assert store.episode_before("views", AT + DAY).lost == last
    assert last >= 10


COMMITS = """
import sys
from datetime import UTC, datetime, timedelta
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.verdict import Episode, EventKind, Status, Verdict
from alerting.store.state import StateStore
AT, store, second = datetime(2026, 11, 20, tzinfo=UTC), StateStore(sys.argv[1]), timedelta(seconds=1)
known = store.episodes()
i = int(known["views"].lost) + 1 if known else 0
while True:
    seen = [Verdict(f"m{n}", AT + i * second, Status.NORMAL, i) for n in range(20)]
    said = [Message(str(i), EventKind.OPENED, "views", AT, "", bytes(20_000))]
    store.commit(Commit(seen, [Episode("views", lost=i)], said, episode_trail=[(AT + i * second, Episode("views", lost=i))]))
    print(i, flush=True)
    i += 1
"""


def test_several_processes_at_once_also_on_a_corrupted_file(tmp_path):
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"nonsense " * 1000)
    with ExitStack() as stack:
        children = [stack.enter_context(python(SHARES, path, tmp_path / "go", name)) for name in "abcd"]
        for child in children:
            child.stdout.readline()
        (tmp_path / "go").touch()
        for child in children:
            child.communicate(timeout=PATIENCE)
            assert child.returncode == 0
    with closing(StateStore(path)) as store:
        assert {name: len(store.judged(name)) for name in "abcd"} == dict.fromkeys("abcd", 25)
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("Z")]) == 1


SHARES = """
import os, sys
from datetime import UTC, datetime, timedelta
from alerting.model.protocols import Commit; from alerting.model.verdict import Status, Verdict
from alerting.store.state import StateStore
AT = datetime(2026, 11, 20, tzinfo=UTC)
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    pass
store = StateStore(sys.argv[1])
for i in range(25):
    store.commit(Commit(verdicts=[Verdict(sys.argv[3], AT + timedelta(seconds=i), Status.NORMAL, i)]))
"""
