"""Incidents from their opening to their end: whatever rows come, late, in part or not at all, and whatever people press, an
incident is open exactly while one of its episodes is.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerting import metric_values, pipeline
from alerting.detectors.limits import Below
from alerting.incidents.consistency import inconsistencies
from alerting.model.errors import RunFailed
from alerting.model.metric import Metric, Policy, Query, Silence
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import Episode, EpisodeState, Label, Status
from alerting.notifiers.console import Console
from alerting.pipeline.context import RunContext
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
    return RunContext(queries={"t": Query("t", "")}, notifier=Console(), **(how | more))


def run(ctx, now):
    """A run of the steps that decide and store, without messages; returns its changes."""
    ctx.source.now = now
    due = pipeline.due(ctx, now)
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, [])
    return changes


class Life(RuleBasedStateMachine):
    """A table whose rows come in order, late, in two parts or not at all; runs, some missed; people; a catalogue that changes."""

    def __init__(self):
        super().__init__()
        self.ctx, self.bucket = connect(), START
        self.parts = {}  # bucket -> rows that are still to come

    @initialize()
    def first_run(self):
        run(self.ctx, after(START - STEP))

    @rule(values=st.fixed_dictionaries({name: st.sampled_from(["normal", "normal", *VALUES]) for name in NAMES}), few=st.booleans())
    def a_bucket_and_a_run(self, values, few):
        self.add(counts(self.bucket, **values, few=few))
        self.run()

    @rule(values=st.fixed_dictionaries({name: st.sampled_from([*VALUES]) for name in NAMES}))
    def a_bucket_without_a_run(self, values):
        self.add(counts(self.bucket, **values))
        self.bucket += STEP

    @rule(within=st.sampled_from(["2min", "14min"]), values=st.fixed_dictionaries({name: st.sampled_from([*VALUES]) for name in NAMES}))
    def half_a_bucket(self, within, values):
        """The rest comes by and by; where the first part ends early, the run can see that it is incomplete."""
        self.parts[self.bucket] = counts(self.bucket, **values) * 0.7
        self.add(counts(self.bucket, **values) * 0.3, within)
        self.run()

    @rule()
    def nothing_comes(self):
        self.run()

    @rule()
    def the_rest_comes(self):
        for part in self.parts.values():
            self.add(part)
        self.parts = {}

    @rule(back=st.integers(1, 8), values=st.fixed_dictionaries({name: st.sampled_from([*VALUES]) for name in NAMES}))
    def rows_of_a_judged_bucket_change(self, back, values):
        bucket = self.bucket - back * STEP
        self.parts.pop(bucket, None)
        self.ctx.source.remove(bucket, bucket + STEP)
        self.add(counts(bucket, **values))

    @rule(press=st.sampled_from(["snooze", "mute", *Label]))
    def a_person_presses(self, press):
        def pressed(incident):
            if press == "snooze":
                return replace(incident, snoozed_until=self.bucket + HOUR)
            return replace(incident, muted=True) if press == "mute" else replace(incident, label=press)

        incidents = self.ctx.store.incidents(self.bucket - HOUR)
        self.ctx.store.commit(Commit(incidents=[pressed(incident) for incident in incidents]), self.bucket)

    @rule(scope=st.sampled_from(["*", *NAMES]), buckets=st.integers(1, 6))
    def a_silence_is_planned(self, scope, buckets):
        self.ctx.store.commit(Commit(silences=[Silence(scope, self.bucket, self.bucket + buckets * STEP)]), self.bucket)

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def the_catalogue_changes(self, names):
        self.ctx = replace(self.ctx, metrics=[each for each in METRICS if each.name in names])

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
TestLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
