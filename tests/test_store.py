"""The records of the state database are read as they were written, and are deleted when they are old."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.model.errors import StoreError
from alerting.model.incident import Incident
from alerting.model.message import Action, Message, Receipt
from alerting.model.metric import Silence
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict
from alerting.store.state import StateCounts, StateStore
from tests.stored import (
    AT,
    DAY,
    EVER,
    HOUR,
    STEP,
    edit,
    incident,
    keys,
    remember,
    send,
    text,
    verdict,
)


@pytest.fixture
def store(tmp_path):
    with closing(StateStore(tmp_path / "alerts.sqlite")) as opened:
        yield opened


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
        told = [replace(m, reply_to="", edits="") for m in told if m.kind is not EventKind.ASKED]  # those are held
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
def test_every_field_of_incidents_arrivals_silences_and_runs_comes_back(incidents, arrivals, silences, runs):
    with closing(StateStore(":memory:")) as store:
        arrivals = [replace(a, at=AT) for a in arrivals]
        silences = [replace(s, id=i + 1) for i, s in enumerate(silences)]
        remember(store, incidents=incidents, arrivals=arrivals, silences=silences, next_update=7)
        runs = list({r.started: r for r in runs}.values())  # what a second start of the same run does is asked below
        for run in runs:
            store.save_run(run)
        assert reprs(store.all_incidents(EVER)) == reprs({i.id: i for i in incidents}.values())
        assert reprs(store.arrivals(AT)) == reprs({a.query: a for a in arrivals}.values())
        assert reprs(store.silences(EVER)) == reprs(silences)
        assert reprs(store.runs(EVER)) == reprs(runs)
        assert store.next_update() == 7


def test_a_new_store_knows_nothing(store):
    assert (store.episodes(), store.last_judged(), store.judged(), store.waiting(), store.notes) == ({}, {}, [], [], [])
    assert (store.incidents(EVER), store.arrivals(EVER), store.silences(EVER), store.runs(EVER)) == ([], [], [], [])
    assert (store.episode_before("views", AT), store.next_update(), store.sent_since(EVER, AT), store.stale(AT)) == (
        None,
        0,
        0,
        [],
    )
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


def test_the_trail_is_as_long_as_late_rows_are_waited_for(store):
    trail = [(AT + i * STEP, episode("n" * i)) for i in range(5)]
    remember(store, episode_trail=trail, trail_since={"views": AT + 2 * STEP})
    assert store.episode_before("views", AT + 2 * STEP) is None
    assert store.episode_before("views", AT + 3 * STEP).recent == "nn"
    remember(store, episode_trail=[(AT + 5 * STEP, episode("n"))], trail_since={"views": AT + 4 * STEP})
    assert store.episode_before("views", AT + 4 * STEP) is None
    assert store.episode_before("views", AT + 5 * STEP).recent == "nnnn"


def test_incidents_that_are_open_and_those_closed_since(store):
    remember(store, incidents=[incident("b", AT + STEP), incident("a", AT), incident("c", AT - DAY, closed=AT)])
    assert [i.id for i in store.incidents()] == ["a", "b"]
    assert [i.id for i in store.incidents(AT - STEP)] == ["c", "a", "b"]
    assert [i.id for i in store.incidents(AT)] == ["a", "b"]
    remember(store, incidents=[incident("a", AT, closed=AT + HOUR, label=Label.EXPECTED, labelled_by="Ann")])
    assert [i.id for i in store.incidents()] == ["b"]
    assert [i.id for i in store.all_incidents(AT - DAY)] == ["c", "a", "b"]
    assert [i.id for i in store.all_incidents(AT, AT + STEP)] == ["a"]
    assert [(i.id, i.label) for i in store.all_incidents(AT) if i.label] == [("a", Label.EXPECTED)]
    assert [i.label for i in store.all_incidents(AT + STEP)] == [None]
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


def test_the_number_of_the_next_update_is_stored(store):
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
        store.save_run(Run(AT + i * STEP, AT + i * STEP - HOUR))
    store.save_run(Run(AT, AT - HOUR, AT + STEP, True, "all seen"))
    store.save_run(Run(AT, AT - HOUR))  # it is over: nothing begins it again
    store.save_run(Run(AT + DAY, AT, AT + DAY))  # its start was not written
    assert store.runs(EVER)[0] == Run(AT, AT - HOUR, AT + STEP, True, "all seen")
    assert [run.ended for run in store.runs(AT - HOUR)] == [None, None, AT + DAY]


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


def test_old_closed_incidents_silences_and_runs_are_deleted_too(store):
    old, silences = AT - 500 * DAY, [Silence("ctr", AT - 500 * DAY, at) for at in (AT - 450 * DAY, AT)]
    closed = incident("closed", old, closed=old + HOUR)
    remember(store, verdicts=[verdict()], incidents=[incident("open", old), closed], silences=silences)
    remember(store, arrivals=[Arrival("feed", old, old, 1.0)], episode_trail=[(old, Episode("views"))])
    remember(store, text("a"), text("b"))
    send(store, "a", at=old)
    remember(store, edit("a/e", "a"))
    for at in (old, AT):
        store.save_run(Run(at, at))
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
    """A field that the body lacks takes its default, and a field that no longer exists is ignored."""
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
