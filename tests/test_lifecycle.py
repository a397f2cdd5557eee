"""Incidents from their opening to their end: whatever rows come, late, in part or not at all, and whatever people press, an
incident is open exactly while one of its episodes is.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerting import metric_values, pipeline
from alerting.detectors.auto import AutoDetector
from alerting.detectors.limits import Below
from alerting.incidents.grouping import inconsistencies
from alerting.model.errors import RunFailed
from alerting.model.metric import Metric, Policy, Query, Silence
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import Episode, EventKind, Label
from alerting.notifiers.base import Console
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judged import judge_series, verdicts
from alerting.store.state import StateStore
from tests.ledger import Ledger, rows

STEP = timedelta(minutes=15)
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def metric(name, value, *parents, **policy):
    return Metric(name, {"en": name}, "t", value, Below(50), Policy(**policy), form="number", parents=parents)


ALPHA = metric("alpha", metric_values.count("alpha"))
BRAVO = metric("bravo", metric_values.count("bravo"), "alpha", need=2, window=3)
CHARLIE = replace(
    metric("charlie", lambda counts: counts.charlie / counts.shown * 100, min_volume=10), volume=lambda counts: counts.shown
)
METRICS = [ALPHA, BRAVO, CHARLIE]
NAMES = [each.name for each in METRICS]
VALUES = {"normal": 100.0, "low": 40.0, "lower": 10.0, "none": float("nan")}


def after(bucket):
    """The moment at which a run judges this bucket as its newest."""
    return bucket + STEP + timedelta(minutes=6)


def counts(bucket, **values):
    """Return the rows of one bucket, which end shortly before it does; `few`: too few for charlie to be judged."""
    few = values.pop("few", False)
    row = {name: VALUES[values.get(name, "normal")] for name in NAMES}
    row |= {"shown": 5.0 if few else 100.0, "charlie": row["charlie"] / 20 if few else row["charlie"]}
    return pd.DataFrame([row], [bucket])


def connect(**more):
    """Connections to a table with three quiet hours before START and a state in memory."""
    past = pd.concat([counts(START - n * STEP) for n in range(12, 0, -1)])
    how = {"metrics": METRICS, "source": Ledger(rows(past, within="14min"), after(START - STEP)), "store": StateStore(":memory:")}
    how |= {"queries": {"t": Query("t", "")}, "notifier": Console()}
    return RunContext(**(how | more))


def run(ctx, now):
    """A run of the steps that decide and store, without messages; returns its changes."""
    ctx.source.now = now
    due = pipeline.due(ctx, now)
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, [])
    return changes


courses = st.sampled_from(["normal", "normal", *VALUES]).flatmap(  # of all metrics, or of each its own
    lambda all_: st.just(dict.fromkeys(NAMES, all_)) | st.fixed_dictionaries({name: st.sampled_from([*VALUES]) for name in NAMES})
)


class Life(RuleBasedStateMachine):
    """A table whose rows come in order, late, in two parts or not at all; runs, some missed; people; a catalogue that changes."""

    def __init__(self):
        super().__init__()
        self.ctx, self.bucket = connect(), START
        self.parts = {}  # bucket -> rows that are still to come

    @initialize()
    def first_run(self):
        run(self.ctx, after(START - STEP))

    @rule(values=courses, few=st.booleans())
    def a_bucket_and_a_run(self, values, few):
        self.add(counts(self.bucket, **values, few=few))
        self.run()

    @rule(values=st.fixed_dictionaries({name: st.sampled_from(["low", "normal", "none"]) for name in NAMES}))
    def a_short_incident(self, values):
        for each in (values, {}, {}):
            self.add(counts(self.bucket, **each))
            self.run()

    @rule(within=st.sampled_from(["2min", "14min"]), values=courses, rest=st.booleans())
    def half_a_bucket(self, within, values, rest):
        """The rest comes before the next run, or later; if the first part ends early, the run sees that rows are missing."""
        self.parts[self.bucket] = counts(self.bucket, **values) * 0.7
        self.add(counts(self.bucket, **values) * 0.3, within)
        self.run()
        if rest:
            self.the_rest_comes()
            self.run()

    @rule(runs=st.booleans())
    def nothing_comes(self, runs):
        if runs:
            self.run()
        else:
            self.bucket += STEP

    @rule()
    def the_rest_comes(self):
        for part in self.parts.values():
            self.add(part)
        self.parts = {}

    @rule(back=st.integers(1, 6), values=courses)
    def rows_of_a_judged_bucket_change(self, back, values):
        bucket = self.bucket - back * STEP
        self.parts.pop(bucket, None)
        self.ctx.source.remove(bucket, bucket + STEP)
        self.add(counts(bucket, **values))

    @rule(
        what=st.sampled_from(["snooze", "mute", "silence", "catalogue", *Label]),
        names=st.sets(st.sampled_from(NAMES), min_size=1),
        buckets=st.integers(1, 6),
    )
    def somebody_does_something(self, what, names, buckets):
        until = self.bucket + buckets * STEP
        if what == "catalogue":
            self.ctx = replace(self.ctx, metrics=[each for each in METRICS if each.name in names])
        elif what == "silence":
            self.ctx.store.commit(Commit(silences=[Silence(name, self.bucket, until) for name in names]), self.bucket)
        else:
            values = {"snooze": {"snoozed_until": until}, "mute": {"muted": True}}.get(what, {"label": what})
            pressed = [replace(incident, **values) for incident in self.ctx.store.incidents(self.bucket - HOUR)]
            self.ctx.store.commit(Commit(incidents=pressed), self.bucket)

    @rule()
    def all_is_well_in_the_end(self):
        """Whatever is open then ends, and is told if its opening was."""
        self.the_rest_comes()
        for _ in range(6):
            self.add(counts(self.bucket))
            self.run()
        assert [incident.id for incident in self.ctx.store.incidents() if incident.open] == []

    def add(self, part, within="14min"):
        self.ctx.source.add(rows(part, within=within, delay="0s"))

    def run(self):
        was_open = {incident.id: incident for incident in self.ctx.store.incidents() if incident.open}
        changes = run(self.ctx, after(self.bucket))
        self.bucket += STEP
        told = {event.incident.id for event in changes.events} | {incident.id for incident in changes.unchecked}
        for incident in changes.incidents:
            if incident.id in was_open and not incident.open and incident.last_notified:
                assert incident.id in told, "the end of what was told is told"

    @invariant()
    def an_incident_is_open_exactly_while_one_of_its_episodes_is(self):
        store = self.ctx.store
        assert inconsistencies(store.incidents(), store.episodes()) == []

    def teardown(self):
        self.ctx.store.close()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


# Single courses, with what is told of them


def told(ctx, *buckets):
    """Make the rows of a run each, one bucket after the other from START on; return the texts that they give, without edits.

    A bucket: None for no rows, or the name of alpha's value.
    """
    said, ctx.source.now = [], after(START - STEP)
    for number, value in enumerate(buckets):
        bucket = START + number * STEP
        if value:
            ctx.source.add(rows(counts(bucket, alpha=value), within="14min", delay="0s"))
        said += full_run(ctx, after(bucket))
    return said


def full_run(ctx, now):
    ctx.source.now = now
    due = pipeline.due(ctx, now)
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
    changes = pipeline.advance(ctx, judged, now)
    messages = pipeline.compose(ctx, changes, judged, now)
    pipeline.commit(ctx, judged, changes, messages)
    pipeline.deliver(ctx, now)
    return [message for message in messages if not message.edits]


def kinds(messages):
    return [message.kind for message in messages]


@pytest.fixture
def ctx():
    made = connect()
    run(made, after(START - STEP))
    yield made
    made.store.close()


def change(ctx, bucket, **values):
    ctx.source.remove(bucket, bucket + STEP)
    ctx.source.add(rows(counts(bucket, **values), within="14min", delay="0s"))


def test_a_return_that_late_rows_take_back_leaves_no_incident_open(ctx):
    """Off, normal again, off again within three hours; then a bucket has a part of its rows, and the rest makes all normal."""
    said = told(ctx, "low", "low", "normal", "normal", "low")
    assert kinds(said) == [EventKind.OPENED, EventKind.RESOLVED, EventKind.OPENED]
    change(ctx, START + 4 * STEP)
    (corrected,) = full_run(ctx, after(START + 5 * STEP))
    assert corrected.kind is EventKind.CORRECTED
    assert "rows of Fri 13:00–13:15" in corrected.text
    (incident,) = ctx.store.all_incidents(START)
    assert (incident.open, incident.corrected) == (False, False)  # what was before did happen
    assert [(member.since, member.until) for member in incident.members] == [(START, START + 2 * STEP)]


def test_where_late_rows_take_back_a_recovery_the_incident_goes_on(ctx):
    assert kinds(told(ctx, "low", "low", "normal", "normal")) == [EventKind.OPENED, EventKind.RESOLVED]
    change(ctx, START + 3 * STEP, alpha="low")
    ctx.source.add(rows(counts(START + 4 * STEP, alpha="low"), within="14min", delay="0s"))
    (again,) = full_run(ctx, after(START + 4 * STEP))
    assert again.kind is EventKind.OPENED
    assert "again" in again.text
    (incident,) = ctx.store.incidents()
    assert incident.open
    for number in (5, 6):
        ctx.source.add(rows(counts(START + number * STEP), within="14min", delay="0s"))
        said = full_run(ctx, after(START + number * STEP))
    assert kinds(said) == [EventKind.RESOLVED]


@pytest.mark.parametrize(
    ("buckets", "said"), [(["low", "low"], "Beyond a limit"), (["low", "none"], "Now (12:15–12:30): no value")]
)
def test_a_run_without_a_new_bucket_leaves_an_entry_as_it_is(ctx, buckets, said):
    """An hourly metric has three such runs an hour: they took away what its newest bucket is, and why it was told."""
    told(ctx, *buckets)
    (incident,) = ctx.store.incidents()
    entry = ctx.store.text(incident.key)
    assert said in entry
    assert full_run(ctx, after(START + (len(buckets) - 1) * STEP) + timedelta(minutes=4)) == []
    assert ctx.store.text(incident.key) == entry


def test_a_catch_up_does_not_call_an_incident_that_goes_on_nothing_unusual(ctx):
    assert kinds(told(ctx, "low")) == [EventKind.OPENED]
    for number in range(1, 5):
        ctx.source.add(rows(counts(START + number * STEP, alpha="low"), within="14min", delay="0s"))
    (late,) = full_run(ctx, after(START + 4 * STEP))
    assert late.kind is EventKind.CAUGHT_UP
    assert "still off: alpha" in late.text


LOW, CALM = {"alpha": "low"}, {}


@pytest.mark.parametrize(
    ("before", "missed", "said"),
    [
        (["normal"], [CALM, CALM, CALM, {"charlie": "none"}], "nothing unusual"),  # its rows may only be late
        (["low"], [{"alpha": "lower"}, CALM, CALM, CALM], "unusual: alpha"),  # it became worse, and has ended
        (["normal"], [CALM, {"bravo": "low", "charlie": "none"}, CALM, CALM], "unusual: bravo, charlie"),  # too short to be told
        (["low"], [LOW, LOW | {"bravo": "low"}, LOW, LOW], "unusual: bravo\nStill off: alpha"),
    ],
)
def test_a_catch_up_names_every_metric_that_was_off_in_its_time(ctx, before, missed, said):
    told(ctx, *before)
    for number, values in enumerate(missed, len(before)):
        ctx.source.add(rows(counts(START + number * STEP, **values), within="14min", delay="0s"))
    late = full_run(ctx, after(START + 4 * STEP))[0]
    assert late.kind is EventKind.CAUGHT_UP
    assert late.text.partition("\n<a")[0].endswith(f" ran now, {said}")


def test_an_opening_of_a_catch_up_begins_where_the_metric_is_off_now(ctx):
    """While no run took place it was off, normal for half an hour, and off again. The next run leaves the entry as it is."""
    told(ctx, "normal")
    for number, value in enumerate(["low", "normal", "normal", "low", "low"], 1):
        ctx.source.add(rows(counts(START + number * STEP, alpha=value), within="14min", delay="0s"))
    late, opened = full_run(ctx, after(START + 5 * STEP))
    assert (late.kind, opened.kind) == (EventKind.CAUGHT_UP, EventKind.OPENED)
    assert "\nSince 13:00 · " in opened.text
    assert full_run(ctx, after(START + 5 * STEP) + timedelta(minutes=4)) == []
    (incident,) = ctx.store.incidents()
    assert ctx.store.text(incident.key) == opened.text


def test_a_violation_ends_the_run_red_and_names_the_incident(ctx):
    told(ctx, "low")
    (incident,) = ctx.store.incidents()
    ctx.store.commit(Commit(episodes=[Episode("alpha")]), START)
    with pytest.raises(RunFailed, match=f"incident {incident.id} is open, but none of its metrics is off"):
        pipeline.finish(ctx, Reading({}), [])
    ctx.store.commit(Commit(episodes=[Episode("bravo", opened=START)]), START)
    with pytest.raises(RunFailed, match="bravo is off, but no incident is open"):
        pipeline.finish(ctx, Reading({}), [])


def test_an_incident_that_an_earlier_version_left_open_ends_with_the_next_run(ctx):
    told(ctx, "low")
    ctx.store.commit(Commit(episodes=[Episode("alpha")]), START)
    ctx.source.add(rows(counts(START + STEP), within="14min", delay="0s"))
    assert kinds(full_run(ctx, after(START + STEP))) == [EventKind.RESOLVED]
    assert not [incident for incident in ctx.store.incidents() if incident.open]


def test_an_incident_ends_with_words_when_its_metric_is_not_checked_any_more(ctx):
    (opened,) = told(ctx, "low")
    fewer = replace(ctx, metrics=[BRAVO, CHARLIE])
    ctx.source.add(rows(counts(START + STEP, alpha="low"), within="14min", delay="0s"))
    (ended,) = full_run(fewer, after(START + STEP))
    assert (ended.reply_to, ended.text.splitlines()[0]) == (
        opened.key, "⚪ <b>alpha: not checked any more</b> since 12:15, so the incident is closed"
    )  # fmt: skip
    assert full_run(fewer, after(START + 2 * STEP)) == []
    assert pipeline.finish(fewer, Reading({}), []) == "all seen; 0 messages sent"


@pytest.mark.parametrize(("back", "said"), [("low", [EventKind.OPENED]), ("normal", [])])
def test_a_metric_that_is_checked_again_was_never_back_to_normal(ctx, back, said):
    """Out of the catalogue for two runs while it is off. What it still is when it is back is told; its old entry stays."""
    (opened,) = told(ctx, "low")
    entry, fewer = ctx.store.text(opened.key), replace(ctx, metrics=[BRAVO, CHARLIE])
    for number in (1, 2, 3, 4):
        ctx.source.add(rows(counts(START + number * STEP, alpha=back), within="14min", delay="0s"))
        texts = full_run(ctx if number > 2 else fewer, after(START + number * STEP))
        texts = [text for text in texts if text.kind is not EventKind.CAUGHT_UP]
        assert kinds(texts) == {1: [EventKind.RESOLVED], 3: said}.get(number, [])
    assert ctx.store.text(opened.key) == entry
    assert "alpha 40" in entry
    assert [incident.root.metric for incident in ctx.store.incidents() if incident.open] == ["alpha"] * len(said)


def test_of_an_incident_only_the_metric_that_is_not_checked_any_more_ends(ctx):
    ctx.source.add(rows(counts(START, alpha="low", charlie="low"), within="14min", delay="0s"))
    assert kinds(full_run(ctx, after(START))) == [EventKind.OPENED]
    fewer = replace(ctx, metrics=[BRAVO, CHARLIE])
    for number in (1, 2):
        ctx.source.add(rows(counts(START + number * STEP), within="14min", delay="0s"))
        said = full_run(fewer, after(START + number * STEP))
    assert kinds(said) == [EventKind.RESOLVED]


@pytest.mark.parametrize("how", ["snoozed", "muted", "silenced"])
def test_a_correction_makes_no_sound_while_the_incident_is_silent_and_names_the_buckets_whose_rows_came(ctx, how):
    """No data from 12:00 on; at 13:21 the rows of 12:00 to 13:30 are there."""
    (opened,) = told(ctx, None, None, None, None, None)
    assert (opened.kind, opened.quiet) == (EventKind.NO_DATA, False)
    (incident,) = ctx.store.incidents()
    until = START + 3 * HOUR
    silent = replace(incident, muted=how == "muted", snoozed_until=until if how == "snoozed" else None)
    silences = [Silence("*", START + HOUR, until)] if how == "silenced" else []
    ctx.store.commit(Commit(incidents=[silent], silences=silences), START)
    for number in range(6):
        ctx.source.add(rows(counts(START + number * STEP), within="14min", delay="0s"))
    (corrected,) = full_run(ctx, after(START + 5 * STEP))
    assert (corrected.kind, corrected.quiet) == (EventKind.CORRECTED, True)
    assert "rows of Fri 12:00–13:15" in corrected.text


def test_a_correction_rings_otherwise_and_names_each_span_of_late_rows(ctx):
    told(ctx, None, None, None, None)
    for number in (0, 2, 3, 4):
        ctx.source.add(rows(counts(START + number * STEP), within="14min", delay="0s"))
    (corrected,) = full_run(ctx, after(START + 4 * STEP))
    assert not corrected.quiet
    assert "rows of Fri 12:00–12:15, Fri 12:30–13:00" in corrected.text


@pytest.mark.parametrize("form", ["count", "number"])
@pytest.mark.parametrize("gap", [timedelta(minutes=30), 6 * HOUR, 40 * HOUR], ids=str)
def test_after_a_gap_the_data_are_judged_against_the_level_before_it(gap, form):
    """Eight weeks of history; what comes back at a third of it keeps the incident open, whatever the length of the gap."""
    index = pd.date_range(START - timedelta(days=56), START + gap + 2 * HOUR, freq=STEP, inclusive="left")
    rhythm = 1000 + 300 * np.sin(2 * np.pi * (index.hour + index.minute / 60).to_numpy() / 24)
    values = pd.Series((rhythm * np.random.default_rng(0).lognormal(0, 0.03, len(index))).round(), index)
    values[index >= START] = np.nan
    back = index >= START + gap
    values[back] = (rhythm[back] * np.r_[np.full(4, 0.33), np.ones(back.sum() - 4)]).round()
    watched = replace(ALPHA, rule=AutoDetector(), form=form)
    due = DueBuckets(watched, START - HOUR, index[-1].to_pydatetime())
    found = verdicts([due], {"alpha": judge_series(watched, values, "UTC")})
    _, events = fold_episodes([watched], found, {})
    assert [(e.kind, e.bucket - START) for e in events if e.kind not in (EventKind.REMINDER, EventKind.WORSENED)] == [
        (EventKind.NO_DATA, STEP),
        (EventKind.DATA_BACK, gap),
        (EventKind.OPENED, gap),
        (EventKind.RESOLVED, gap + 5 * STEP),
    ]


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        ({"alpha": "low", "charlie": "lower"}, "🔴 <b>charlie 10</b> · Fri 12:45–13:00"),  # not "(was 10)": nobody was told
        ({"alpha": "none"}, "⚫ <b>alpha: no data</b> since 12:15 · 45"),
    ],
)
def test_what_began_in_a_silence_is_told_in_full_when_it_is_over(ctx, hidden, said):
    ctx.store.commit(Commit(silences=[Silence("*", START + STEP, START + 3 * STEP)]), START)
    assert kinds(told(ctx, "low")) == [EventKind.OPENED]
    for number in (1, 2, 3):
        ctx.source.add(rows(counts(START + number * STEP, **hidden), within="14min", delay="0s"))
        late = full_run(ctx, after(START + number * STEP))
        assert [each.text.startswith(said) for each in late] == [True] * (number == 3)


@pytest.mark.parametrize("silences", [[], [Silence("alpha", START + HOUR, START + 2 * HOUR)]], ids=["told", "silenced"])
def test_a_catch_up_obeys_a_silence_by_the_time_of_the_bucket(ctx, silences):
    """After three days without a run; the silence ended long ago, and so did the incident."""
    told(ctx)
    full_run(ctx, after(START - STEP))
    ctx.store.commit(Commit(silences=silences), START)
    low = range(4, 6)
    past = [counts(START + n * STEP, alpha="low" if n in low else "normal") for n in range(3 * 96)]
    ctx.source.add(rows(pd.concat(past), within="14min"))
    said = full_run(ctx, after(START + (3 * 96 - 1) * STEP))
    ends = [message for message in said if message.kind is EventKind.RESOLVED]
    assert len(ends) == (0 if silences else 1)
