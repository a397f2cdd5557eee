"""The outbox: the order of messages, and the result of each."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.model.message import Action, Button, Receipt
from alerting.model.verdict import EventKind
from alerting.store.state import StateCounts, StateStore
from tests.stored import AT, DAY, HOUR, PNG, STEP, edit, keys, picture, refuse, remember, reply, send, text


@pytest.fixture
def store(tmp_path):
    with closing(StateStore(tmp_path / "alerts.sqlite")) as opened:
        yield opened


def test_texts_go_before_pictures_and_both_in_order(store):
    remember(store, text("a"), picture("a/picture", "a"), text("b"), picture("b/picture", "b"), text("a"))
    assert keys(store) == ["a", "b"]
    store.record(Receipt("b", "sent", message_id="7"), AT)
    assert keys(store) == ["a", "b/picture"]
    store.record(Receipt("a", "sent", message_id="8"), AT)
    assert keys(store) == ["a/picture", "b/picture"]
    assert (store.message_id("a"), store.message_id("b"), store.message_id("a/picture")) == ("8", "7", "")


def test_enqueueing_twice_is_harmless(store):
    for _ in range(2):
        remember(store, text("a"))
        assert keys(store) == ["a"]
    store.record(Receipt("a", "sent", message_id="7"), AT)
    remember(store, text("a"))
    assert keys(store) == []


def test_a_picture_of_a_text_unknown_here_may_go(store):
    remember(store, picture("p/picture", ""))
    remember(store, picture("q/picture", "forgotten long ago"))
    assert keys(store) == ["p/picture", "q/picture"]


def test_a_picture_is_refused_with_its_text(store):
    remember(store, text("a"), picture("a/1/picture", "a"))
    store.record(Receipt("a", "refused", "empty"), AT)
    assert keys(store) == []
    remember(store, picture("a/2/picture", "a"))  # it may also come later
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
    remember(store, text("a"), picture("a/picture", "a"))
    send(store, "a")
    remember(store, edit("a/e1", "a", "1"), text("b"))
    assert keys(store) == ["b", "a/e1", "a/picture"]
    assert (store.text("a"), store.message_id("a/e1")) == ("1", "")
    send(store, "a/e1")
    assert (store.text("a"), store.message_id("a/e1")) == ("1", "id of a")
    remember(store, edit("a/e2", "a", "2"))
    refuse(store, "a/e2")
    assert (store.text("a"), store.text("a/e2")) == ("2", "2"), "what was refused is not tried again"


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


def test_an_edit_without_a_picture_keeps_that_of_the_one_whose_place_it_takes(store):
    remember(store, text("a"))
    send(store, "a")
    remember(store, edit("a/e1", "a", "1", photo=PNG))
    remember(store, edit("a/e2", "a", "2"))
    remember(store, edit("a/e2", "a", "2 again"))
    assert [(m.key, m.text, m.photo) for m in store.waiting()] == [("a/e2", "2 again", PNG)]
    send(store, "a/e2")
    remember(store, edit("a/e3", "a", "3"))
    assert [(m.key, m.photo) for m in store.waiting()] == [("a/e3", None)]


def test_an_edit_of_what_still_waits_changes_it_in_place(store):
    rows = ((Button("I'm on it", Action.TAKE),),)
    remember(store, text("a"), edit("a/e1", "a", "1", buttons=rows))
    assert [(m.key, m.text, m.buttons) for m in store.waiting()] == [("a", "1", rows)]
    store.record(Receipt("a", "kept"), AT)
    remember(store, edit("a/e2", "a", "2"))
    assert [(m.key, m.text, m.buttons) for m in store.waiting()] == [("a", "2", ())]
    send(store, "a")
    assert (keys(store), store.text("a")) == ([], "2")


def test_a_text_with_a_picture_goes_as_a_text(store):
    remember(store, text("a"), replace(picture("r", "a"), text="worse"), text("b"))
    refuse(store, "a")
    assert keys(store) == ["r", "b"], "with its picture it neither waits for the text that it answers nor falls with it"
    remember(store, edit("r/e1", "r", "1", photo=b"new"), edit("b/e1", "b", "2"))
    assert [(m.key, m.text, m.photo) for m in store.waiting()] == [("r", "1", b"new"), ("b", "2", None)]
    assert [m.key for m in store.stale(AT + DAY)] == ["r", "b"]


def test_an_edit_of_what_will_not_be_sent_is_dropped(store):
    remember(store, text("a"), text("b"), text("c"))
    refuse(store, "a")
    store.merge_into_digest(["b"], text("digest"))
    remember(store, withdrawn_keys=["c"])
    remember(store, *[edit(f"{key}/e", key) for key in ("a", "b", "c", "unknown")])
    assert (keys(store), store.text("a"), store.text("unknown")) == (["digest"], "text of a", "")


def test_what_is_withdrawn_is_never_sent_nor_its_pictures(store):
    remember(store, text("a"), picture("a/picture", "a"), reply("a/r", "a"), text("b"), picture("b/picture", "b"))
    send(store, "b")
    remember(store, text("new"), edit("b/e", "b"), withdrawn_keys=["a", "b", "b/e", "new", "unknown"])
    assert keys(store) == ["a/r", "b/picture"]
    remember(store, text("a"), picture("a/q/picture", "a"))
    assert keys(store) == ["a/r", "b/picture"]
    assert store.counts() == StateCounts(waiting=2, sent=1, withdrawn=5)
    send(store, "a")  # it was on its way when it was withdrawn
    assert store.message_id("a") == "id of a"


def test_stale_texts_are_folded_into_a_digest(store):
    remember(store, text("a"), picture("a/picture", "a"), reply("a/r", "a"), text("b"), text("c"), at=AT)
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
    remember(store, text("a"), picture("a/picture", "a"), text("b"), text("c"))
    send(store, "a")
    send(store, "a/picture", "b", at=AT + HOUR)
    refuse(store, "c")
    assert [store.sent_since(at, AT + 2 * DAY) for at in (AT, AT + STEP, AT + DAY)] == [3, 2, 0]
    assert store.sent_since(AT, AT) == 1, "what was sent later was sent while the clock was ahead"


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


@pytest.mark.parametrize(("state", "left"), [("kept", PNG), ("sent", b""), ("refused", b"")])
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
        (EventKind.RUN_FAILED, AT, "sent while the clock was ahead", False),
        (EventKind.OPENED, AT, "sent", False),
    ],
)
def test_sent_recently(store, kind, bucket, state, told):
    remember(store, text("a", kind, bucket))
    if state != "waiting":
        hours = -2 if "ago" in state else 24 if "ahead" in state else 0
        store.record(Receipt("a", state.split()[0]), AT + timedelta(hours=hours))
    assert store.sent_recently(EventKind.RUN_FAILED, AT - timedelta(hours=1), AT) is told
    assert not store.sent_recently(EventKind.RUN_FAILED, AT - timedelta(hours=1), AT, "another key")
