"""Random operations on the state by two processes, with kills: the state always equals that of a plain model."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerting.model.incident import Incident, Member
from alerting.model.message import Action, Button, Message, Receipt
from alerting.model.metric import Silence
from alerting.model.protocols import Commit
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict
from alerting.store.state import StateCounts, StateStore

AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
EVER = datetime(1, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEXTS = "abc"
STATES = ("waiting", "sent", "refused", "folded", "withdrawn")
OVER = STATES[2:]


def is_picture(message):
    """Whether it is a picture apart from its text, as older versions made them."""
    return message.key.endswith("/picture")


@dataclass
class Row:
    """A message, what became of it and since when, until when it is held back."""

    message: Message
    created: datetime
    state: str = "waiting"
    changed: datetime | None = None
    due: datetime = EVER
    id: str = ""


@dataclass
class Model:
    """The memory as one would say it in words: dictionaries, no SQL. `rows` are in the order of creation."""

    rows: dict[str, Row] = field(default_factory=dict)
    verdicts: dict = field(default_factory=dict)
    episodes: dict = field(default_factory=dict)
    incidents: dict = field(default_factory=dict)
    trail: dict = field(default_factory=dict)
    arrivals: dict = field(default_factory=dict)
    silences: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    heard: int = 0

    def commit(self, memory, at):
        self.verdicts |= {(v.metric, v.bucket): v for v in memory.verdicts}
        self.episodes |= {e.metric: e for e in memory.episodes}
        self.incidents |= {i.id: i for i in memory.incidents}
        self.heard = self.heard if memory.next_update is None else memory.next_update
        for bucket, episode in memory.episode_trail:
            self.trail[episode.metric, bucket] = episode
        for metric in {episode.metric for _, episode in memory.episode_trail}:
            old = max(b for m, b in self.trail if m == metric) - 3 * DAY
            self.trail = {(m, b): e for (m, b), e in self.trail.items() if m != metric or b >= old}
        self.arrivals |= {(a.query, a.at): a for a in memory.arrivals}
        for new in memory.arrivals:
            self.arrivals = {k: a for k, a in self.arrivals.items() if k[0] != new.query or k[1] >= new.at - 15 * DAY}
        for silence in memory.silences:
            self.add_silence(silence)
        for message in memory.messages:
            self.enqueue(message, at or message.bucket)
        for key in memory.withdrawn_keys:
            self.finish(key, "withdrawn", at)
        self.follow()

    def add_silence(self, silence):
        id = silence.id or max(self.silences, default=0) + 1
        self.silences[id] = replace(silence, id=id)
        return id

    def enqueue(self, message, at):
        before = self.rows.get(message.edits)
        if not message.edits:
            self.rows.setdefault(message.key, Row(message, at))
        elif before and before.state == "waiting":
            before.message = replace(before.message, text=message.text, buttons=message.buttons)
        elif before and before.state == "sent":
            known = self.rows.get(message.key)
            if not known or (known.state == "waiting" and known.message.edits == message.edits):
                for key in [k for k, row in self.rows.items() if self.waits(row) and row.message.edits == message.edits]:
                    del self.rows[key]
                self.rows[message.key] = Row(message, at)

    def waits(self, row):
        return row.state == "waiting"

    def before(self, row):
        """Return the row of the message that this one answers or edits, if it is known."""
        key = row.message.edits or row.message.reply_to
        return self.rows.get(key) if key and key != row.message.key else None

    def finish(self, key, state, at, id="", due=EVER):
        row = self.rows.get(key)
        if row and (self.waits(row) or state == "sent"):
            row.state, row.changed, row.id, row.due = state, at, id, due

    def follow(self):
        """Pictures and edits that still wait at the end of a transaction share what befell their text."""
        for row in self.rows.values():
            before = self.before(row)
            if self.waits(row) and (is_picture(row.message) or row.message.edits) and before and before.state in OVER:
                row.state, row.changed = before.state, before.changed

    def fold(self, keys, digest, at):
        if digest.key not in self.rows:
            for key in keys:
                self.finish(key, "folded", at)
        self.enqueue(digest, at)
        self.follow()

    def waiting(self, at=None):
        ready = [row for row in self.rows.values() if self.waits(row) and (at is None or row.due <= at)]
        ready = [row for row in ready if not (before := self.before(row)) or not self.waits(before)]
        rank = {m.key: 1 if m.edits else 2 if is_picture(m) else 0 for m in (row.message for row in ready)}
        return sorted((row.message for row in ready), key=lambda m: rank[m.key])

    def stale(self, at):
        texts = [row for row in self.rows.values() if self.waits(row) and not is_picture(row.message) and not row.message.edits]
        return [row.message for row in texts if row.created < at]

    def message_id(self, key):
        row = self.rows.get(key)
        if not row or row.state != "sent":
            return ""
        return self.before(row).id if row.message.edits else row.id

    def text(self, key):
        said = [row.message.text for k, row in self.rows.items() if k == key]
        edits = [row for row in self.rows.values() if row.message.edits == key and row.state in ("waiting", "sent", "refused")]
        return ["", *said, *(row.message.text for row in edits)][-1]

    def counts(self):
        states = [row.state for row in self.rows.values()]
        opened = sum(incident.closed is None for incident in self.incidents.values())
        newest = max((bucket for _, bucket in self.verdicts), default=None)
        return StateCounts(opened, **{state: states.count(state) for state in STATES}, last_judged=newest)


def after(unit, *amounts):
    return st.sampled_from(amounts).map(lambda n: AT + n * unit)


moments, days = after(timedelta(minutes=1), *range(9)), after(DAY, 0, 1, 2, 3, 4, 5, 15, 16, 20)  # so few that edges are met
metrics, names, said = st.sampled_from(["views", "likes"]), st.sampled_from(TEXTS), st.sampled_from(["x", "y", "z"])
small = st.integers(0, 2)
rows = st.sampled_from([(), ((Button("I'm on it", Action.TAKE), Button("Not real", Action.FALSE_ALARM)),)])


@st.composite
def texts(draw):
    """Each may answer itself and those before it in the alphabet, whichever is enqueued first."""
    key = draw(names)
    to = draw(st.sampled_from(["", "unknown", *TEXTS[: TEXTS.index(key) + 1]]))
    return Message(key, EventKind.OPENED, "views", AT, draw(said), reply_to=to, buttons=draw(rows), quiet=draw(st.booleans()))


pictures = st.builds(
    lambda ctx, n: Message(f"{ctx}/p{n}/picture", EventKind.OPENED, "views", AT, "caption", b"png", ctx), names, small
)
edits = st.builds(
    lambda ctx, n, text, shown: Message(f"{ctx}/e{n}", EventKind.WORSENED, "views", AT, text, edits=ctx, buttons=shown),
    *(st.sampled_from([*TEXTS, "unknown"]), small, said, rows),
)
odd_edits = st.builds(lambda key, ctx: Message(key, EventKind.OPENED, "views", AT, "odd", edits=ctx), names, names)
keys = names | pictures.map(lambda m: m.key) | edits.map(lambda m: m.key)
verdicts = st.builds(lambda metric, day, value: Verdict(metric, day, Status.NORMAL, *[value] * 5), metrics, days, st.floats(0, 9))
episodes = st.builds(lambda metric, recent: Episode(metric, recent=recent), metrics, said)
members = st.builds(lambda metric, verdict: Member(metric, AT, AT, verdict, until=AT), metrics, verdicts)
incidents = st.builds(
    Incident,
    *(said, days, st.lists(members, min_size=1, max_size=2).map(tuple)),
    closed=st.none() | days,
    label=st.none() | st.sampled_from(Label),
)
silences = st.builds(Silence, metrics, moments, moments, said, said, small)
messages = st.lists(texts() | pictures | edits | edits | odd_edits, min_size=1, max_size=4)
judged = st.builds(
    Commit,
    *(st.lists(nouns, max_size=2) for nouns in (verdicts, episodes)),
    incidents=st.lists(incidents, max_size=2),
    episode_trail=st.lists(st.tuples(days, episodes), max_size=3),
    arrivals=st.lists(st.builds(Arrival, said, days, days, st.floats(0, 9), st.none() | days), max_size=2),
    silences=st.lists(silences, max_size=1),
    next_update=st.none() | small,
)
TOO_MUCH = 2**70  # SQLite cannot hold it: the last statement of a commit fails


class Life(RuleBasedStateMachine):
    """Two processes with the file open, `store` and `other`; either writes, either may be gone at any moment."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "alerts.sqlite"
        self.store, self.other, self.gone = StateStore(self.path), StateStore(self.path), []
        self.model, self.now, self.accepted = Model(), AT, []

    def teardown(self):
        for store in (self.store, self.other, *self.gone):
            store.close()
        shutil.rmtree(self.folder)

    # What runs do

    def commit(self, memory, at):
        self.store.commit(memory, at)
        self.model.commit(memory, at)

    @initialize(known=st.lists(texts(), max_size=2), at=moments)
    def an_earlier_run(self, known, at):
        self.commit(Commit(messages=known), at)
        self.deliver_all(at)

    @rule(messages=messages, at=st.none() | moments)
    def say(self, messages, at):
        self.commit(Commit(messages=messages), at)

    @rule(data=st.data(), n=small, text=said, memory=judged, at=moments)
    def change(self, data, n, text, memory, at):
        """A message that is known, whatever became of it."""
        target = data.draw(st.sampled_from([key for key in self.model.rows if key in TEXTS] or ["unknown"]))
        edit = Message(f"{target}/e{n}", EventKind.WORSENED, "views", AT, text, edits=target)
        self.commit(replace(memory, messages=[edit]), at)

    @rule(keys=st.lists(keys, min_size=1, max_size=2), messages=st.just([]) | messages, at=st.none() | moments)
    def withdraw(self, keys, messages, at):
        self.commit(Commit(messages=messages, withdrawn_keys=keys), at)

    @rule(memory=judged)
    def judge(self, memory):
        self.commit(memory, None)

    @rule(data=st.data(), state=st.sampled_from(["sent", "kept", "refused"]), id=said, at=moments, later=small)
    def record(self, data, state, id, at, later):
        """Record a receipt of any message, also of an unknown one, as a slow process might."""
        key = data.draw(st.sampled_from([*self.model.rows, "unknown"]))
        self.settle(Receipt(key, state, "", id if state == "sent" else ""), at, later)

    @rule(data=st.data(), at=moments)
    def deliver(self, data, at):
        """Send as a run does: read the outbox until nothing new comes, and record each answer at once."""
        self.now, seen = at, set()
        while batch := [m for m in self.store.waiting(at) if m.key not in seen]:
            for message in batch:
                seen.add(message.key)
                self.answer(message, data.draw(st.sampled_from(["sent", "sent", "kept", "refused"])), at)

    @rule(at=moments)
    def deliver_all(self, at):
        """On a good day nothing is left."""
        while batch := self.store.waiting():
            for message in batch:
                self.answer(message, "sent", at)
        assert self.store.counts().waiting == 0

    @rule(before=moments, at=moments, digest=names)
    def fold(self, before, at, digest):
        """Merge the stale messages into a digest, and one message that is not stale."""
        digest = Message(f"{digest}/digest", EventKind.DIGEST, "views", AT, "digest")
        stale = [*(message.key for message in self.store.stale(before)), "a/p0"]
        self.store.merge_into_digest(stale, digest, at)
        self.model.fold(stale, digest, at)

    @rule(run=st.builds(Run, moments, days, st.none() | days, st.booleans(), said))
    def begin_and_end(self, run):
        begun = replace(run, ended=None, ok=False, outcome="")
        self.store.save_run(begun)
        self.model.runs.setdefault(run.started, begun)
        if run.ended:
            self.store.save_run(run)
            self.model.runs[run.started] = run

    @rule(silence=silences, id=small, at=moments)
    def silence(self, silence, id, at):
        assert self.store.add_silence(silence) == self.model.add_silence(silence)
        known = self.model.silences.get(id)
        assert self.store.end_silence(id, at) is bool(known and known.until > at)
        if known:
            self.model.silences[id] = replace(known, until=min(known.until, at))

    # What happens to them

    @rule(how=st.sampled_from(["closed", "killed", "killed in a transaction", "paused"]))
    def gone_and_back(self, how):
        """Whoever is killed is gone without a word; the handle stays open as long as the operating system likes."""
        if how == "killed in a transaction":
            self.write_half()
        if how == "closed":
            self.store.close()
        self.gone.append(self.store)
        self.store, self.other = self.other, self.store if how == "paused" else StateStore(self.path)

    @rule(memory=judged, messages=messages)
    def fail_at_the_end_of_a_commit(self, memory, messages):
        with pytest.raises(OverflowError):
            self.store.commit(replace(memory, messages=messages, next_update=TOO_MUCH))

    def write_half(self):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE messages SET state = 'sent'")
            db.execute("DELETE FROM incidents")

    # What must hold

    def answer(self, message, state, at):
        """The chat takes a message once, and after what it answers or changes; or it does not."""
        assert message.key not in self.accepted
        before = self.model.rows.get(message.edits or message.reply_to)
        assert before is None or before.state != "waiting" or before.message.key == message.key
        assert not message.edits or before.state == "sent"
        id = f"id of {message.key}" if state == "sent" and not message.edits else ""
        self.settle(Receipt(message.key, state, message_id=id), at, 60)

    def settle(self, receipt, at, later):
        self.store.record(receipt, at, later)
        if receipt.state == "sent" and receipt.key in self.model.rows:
            self.accepted.append(receipt.key)
        state, due = "waiting" if receipt.state == "kept" else receipt.state, at + timedelta(seconds=later) if later else EVER
        self.model.finish(receipt.key, state, at, receipt.message_id, due)
        self.model.follow()

    @invariant()
    def the_outbox_is_as_the_model_has_it(self):
        for store in (self.store, self.other):
            assert store.waiting() == self.model.waiting()
        assert self.store.waiting(self.now) == self.model.waiting(self.now)
        for key in {*TEXTS, *self.model.rows, "unknown"}:
            assert (self.store.message_id(key), self.store.text(key)) == (self.model.message_id(key), self.model.text(key)), key
        assert [m.key for m in self.store.stale(self.now)] == [m.key for m in self.model.stale(self.now)]
        sent = [row for row in self.model.rows.values() if row.state == "sent"]
        assert self.store.sent_since(self.now, self.now) == sum(row.changed == self.now for row in sent)
        assert self.store.counts() == self.model.counts()

    @invariant()
    def every_message_is_in_one_state_and_sent_stays_sent(self):
        with closing(sqlite3.connect(self.path)) as db:
            found = db.execute("SELECT key, state FROM messages ORDER BY id").fetchall()
        assert found == [(key, row.state) for key, row in self.model.rows.items()]
        assert all(dict(found)[key] == "sent" for key in self.accepted)

    @invariant()
    def the_rest_is_as_the_model_has_it(self):
        model, store = self.model, self.store
        assert repr(store.judged()) == repr(sorted(model.verdicts.values(), key=lambda v: (v.bucket, v.metric)))
        assert store.last_judged() == {m: max(b for n, b in model.verdicts if n == m) for m in {n for n, _ in model.verdicts}}
        assert repr(store.episodes()) == repr(dict(sorted(model.episodes.items())))
        for bucket in (AT, AT + DAY, AT + 19 * DAY):
            past = [e for (m, b), e in sorted(model.trail.items(), key=lambda item: item[0]) if m == "views" and b < bucket]
            assert repr(store.episode_before("views", bucket)) == repr(past[-1] if past else None)

    @invariant()
    def and_what_runs_leave_for_each_other(self):
        model, store, since = self.model, self.store, AT + 5 * DAY
        known = sorted(model.incidents.values(), key=lambda i: (i.opened, i.id))
        assert repr(store.incidents()) == repr([i for i in known if i.open])
        assert repr(store.incidents(since)) == repr([i for i in known if i.open or i.closed > since])
        assert store.arrivals(EVER) == sorted(model.arrivals.values(), key=lambda a: (a.at, a.query))
        lasting = [s for s in model.silences.values() if s.until > self.now]
        assert store.silences(self.now) == sorted(lasting, key=lambda s: (s.start, s.id))
        assert store.runs(since) == sorted((r for r in model.runs.values() if r.at > since), key=lambda r: (r.at, r.started))
        assert store.next_update() == model.heard
        assert store.notes == []


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=70, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_a_picture_that_its_own_commit_withdraws_is_withdrawn_though_its_text_was_folded():
    """It waits until the end of the commit, where `withdrawn_keys` say what becomes of it. Other pictures follow their text."""
    text = Message("a", EventKind.OPENED, "views", AT, "x")
    withdrawn, other = (Message(f"a/p{n}/picture", EventKind.OPENED, "views", AT, "caption", b"png", "a") for n in (0, 1))
    life = Life()
    try:
        life.say([text], None)
        life.fold(AT + timedelta(minutes=1), AT, "a")
        life.withdraw([withdrawn.key], [withdrawn, other], None)
        life.every_message_is_in_one_state_and_sent_stays_sent()
        states = {key: row.state for key, row in life.model.rows.items()}
        assert states == {"a": "folded", "a/digest": "waiting", "a/p0/picture": "withdrawn", "a/p1/picture": "folded"}
    finally:
        life.teardown()
