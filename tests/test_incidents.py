"""The grouping of episodes into incidents, and their notifications. The verdicts of each metric are a string of letters.

N normal, A anomalous (20 % more than the last A: worse), M missing. Notifications are written as kind(metrics), '-' for none.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.incidents.grouping import MAX_REOPEN_MESSAGES, opening_event
from alerting.metrics import METRICS
from alerting.model.incident import Event, Incident, MetricTree, incident_ref
from alerting.model.metric import Metric, Policy, Silence
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict
from alerting.pipeline.advance import PreviousState, advance_state, fold_episodes
from alerting.pipeline.context import DueBuckets

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEP = timedelta(minutes=15)
STATUS = {"N": Status.NORMAL, "A": Status.ANOMALOUS, "W": Status.ANOMALOUS, "M": Status.MISSING, "?": Status.UNKNOWN}
VALUE = {"A": 80.0, "W": 20.0, "N": 100.0}


def answers(seen: dict[str, str]) -> list[list[Verdict]]:
    """Per bucket the verdicts of all metrics; a metric whose letters end stays normal."""
    length = max(len(letters.split()) for letters in seen.values())
    out = []
    for i in range(length):
        row = []
        for name, letters in seen.items():
            letter = [*letters.split(), *["N"] * length][i]
            value = VALUE.get(letter, float("nan"))
            row.append(Verdict(name, START + i * STEP, STATUS[letter], value, 90.0, 100.0, 110.0, (value - 100) / 10, "sudden"))
        out.append(row)
    return out


def live(seen: dict[str, str], metrics=METRICS, silences=(), between=lambda incidents, i: incidents):
    """Return the notifications bucket by bucket, as of separate runs, and the incidents at the end."""
    memory, told = PreviousState(metrics, silences=silences), []
    for i, row in enumerate(answers(seen)):
        due = [DueBuckets(metric, START + i * STEP, START + i * STEP) for metric in metrics if metric.name in seen]
        changes = advance_state(due, row, memory)
        told.append(changes.events)
        known = between(changes.incidents, i)
        memory = replace(memory, episodes=changes.episodes, incidents=known)
    return told, memory.incidents


def words(told: list[list[Event]]) -> str:
    return " ".join("+".join(map(word, events)) or "-" for events in told)


def word(event: Event) -> str:
    names = ",".join([event.metric, *sorted(other.metric for other in event.also)])
    again = "again " if event.again else ""
    return f"{again}{event.kind.value}({names})".replace(" ", "-")


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"likes": "N A A N N"}, "- opened(likes) - - resolved(likes)"),
        # what begins together is one incident, its root first
        ({"ctr": "A A N N", "likes": "A A N N", "views": "N N N N"}, "opened(likes,ctr) - - resolved(likes,ctr)"),
        ({"likes": "A N N", "feed_users": "A N N", "messages": "A N N"}, "opened(feed_users,likes,messages) - resolved("),
        # a follower that comes a little later is an edit, not a message; its end is not the end
        ({"views": "A A A N N N", "likes": "N A A A N N"}, "opened(views) - - - - resolved(likes)"),
        # an unrelated metric is notified, in the same thread
        ({"views": "A A A N N", "messages": "N A A N N"}, "opened(views) worsened(messages) - - resolved(views,messages)"),
        # the root itself, after its follower, is notified
        ({"likes": "A A N N", "views": "N A N N"}, "opened(likes) worsened(views) - resolved(likes,views)"),
        # worsened is sent once for all
        ({"likes": "A W N N", "ctr": "A W N N"}, "opened(likes,ctr) worsened(likes,ctr) - resolved(likes,ctr)"),
        # no data after anomalous data is the same incident
        ({"views": "A M M N N"}, "opened(views) - worsened(views) - resolved(views)"),
        ({"views": "M M N", "likes": "M M N"}, "- no-data(views,likes) data-back(views,likes)"),
        # data is back and low
        ({"views": "M M A N N"}, "- no-data(views) worsened(views) - resolved(views)"),
        # flapping: again in the same thread, twice, then only reminders
        (
            {"likes": "A N N A N N A N N A N N"},
            "opened(likes) - resolved(likes) again-opened(likes) - resolved(likes) again-opened(likes) - resolved(likes) - - ",
        ),
    ],
)
def test_one_incident(seen, told):
    assert words(live(seen)[0]).startswith(told)


def test_an_outage_of_six_metrics_for_four_hours_is_one_thread_of_a_few_messages():
    down = "N " + "A " * 16 + "N N N"
    told, known = live({metric.name: down for metric in METRICS})
    assert words(told).split() == ["-", "opened(feed_users,ctr,likes,messages,messenger_users,views)", *["-"] * 16,
                                   "resolved(feed_users,ctr,likes,messages,messenger_users,views)", "-"]  # fmt: skip
    (incident,) = known
    assert next(member.metric for member in incident.members) == "feed_users"
    assert (incident.opened, incident.closed) == (START + STEP, START + 18 * STEP)
    assert {member.until for member in incident.members} == {START + 17 * STEP}
    assert {member.lost for member in incident.members} == {16 * 20.0}


def test_reminders_are_the_incidents_and_not_each_metrics():
    hasty = [replace(metric, policy=Policy(remind=timedelta(minutes=30))) for metric in METRICS]
    told, _ = live({"likes": "A A A A A A A", "ctr": "N A A A A A A"}, hasty)
    assert words(told) == "opened(likes) - reminder(likes) - reminder(likes) - reminder(likes)"


def test_an_unrelated_episode_an_hour_later_is_an_incident_of_its_own_and_a_related_one_is_not():
    late = "N N N N N N A N N"
    told, known = live({"views": "A A A A A A A A A", "messages": late})
    assert words(told) == "opened(views) - - - - - opened(messages) - resolved(messages)"
    assert len(known) == 2
    told, known = live({"views": "A A A A A A A A A", "likes": late})
    assert words(told) == "opened(views) - - - - - worsened(likes) - -"
    assert len(known) == 1


def silenced(scope: str, first: int, last: int) -> tuple[Silence, ...]:
    return (Silence(scope, START + first * STEP, START + last * STEP),)


@pytest.mark.parametrize(
    ("seen", "silence", "told"),
    [
        ({"likes": "A A A N N"}, silenced("likes", 0, 9), "- - - - -"),  # nothing of it, not even its end
        ({"likes": "A A A A N N"}, silenced("likes", 0, 2), "- - opened(likes) - - resolved(likes)"),  # told when it ends
        ({"likes": "M M M N"}, silenced("*", 0, 9), "- - - -"),  # no data obeys it
        ({"likes": "A A N N", "views": "A A N N"}, silenced("likes", 0, 9), "opened(views,likes) - - resolved(views,likes)"),
        ({"likes": "A A N N"}, silenced("likes", 2, 9), "opened(likes) - - resolved(likes)"),  # what was told has its end told
        ({"likes": "A W N N"}, silenced("ctr", 0, 9), "opened(likes) worsened(likes) - resolved(likes)"),
    ],
)
def test_silences(seen, silence, told):
    assert words(live(seen, silences=silence)[0]) == told


def test_what_ends_while_it_is_silenced_ends_without_a_sound():
    told, _ = live({"likes": "A A N N"}, silences=silenced("likes", 2, 9))
    assert [event.quiet for events in told for event in events] == [False, True]


def test_snoozed_and_muted_incidents_send_nothing_until_then():
    def snooze(known, i):
        return [replace(incident, snoozed_until=START + 3 * STEP) for incident in known] if i == 0 else known

    told, _ = live({"likes": "A W W W N N"}, between=snooze)
    assert words(told) == "opened(likes) - - worsened(likes) - resolved(likes)"  # then what it has hidden is told

    def mute(known, i):
        return [replace(incident, muted=True) for incident in known] if i == 0 else known

    told, known = live({"likes": "A W N N"}, between=mute)
    assert words(told) == "opened(likes) - - resolved(likes)"
    assert known[0].muted is False  # "until resolved" ends there


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"likes": "A W W W W N N"}, "opened(likes) - - worsened(likes) - - resolved(likes)"),  # once
        ({"likes": "A W A A N N"}, "opened(likes) - - - - resolved(likes)"),  # not worse any more
        ({"likes": "A W A A W N N"}, "opened(likes) - - - worsened(likes) - resolved(likes)"),  # worse again
        ({"likes": "A A A A W W N N"}, "opened(likes) - - - worsened(likes) - - resolved(likes)"),
        ({"likes": "A W N N A W N N"}, "opened(likes) - - resolved(likes) again-opened(likes) worsened(likes) - resolved("),
        ({"views": "A W W W N N", "likes": "A W W W N N"}, "opened(views,likes) - - worsened(views,likes) - resolved("),
    ],
)
@pytest.mark.parametrize("how", ["snoozed", "silenced"])
def test_what_got_worse_in_a_silence_is_told_once_when_it_is_over(seen, told, how):
    """It was told as a reminder, hours later."""

    def snooze(known, i):
        return [replace(incident, snoozed_until=START + 3 * STEP) for incident in known] if i == 0 and how == "snoozed" else known

    said, _ = live(seen, silences=silenced("*", 1, 3) if how == "silenced" else (), between=snooze)
    assert words(said).startswith(told)
    worse = [event for events in said for event in events if event.kind is EventKind.WORSENED]
    assert [(e.episode.last_notified_verdict.value, e.verdict.value, e.quiet) for e in worse] == [(80.0, 20.0, False)] * len(
        worse
    )


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        # it came back
        ({"likes": "A N N A A A A N N"}, "opened(likes) - resolved(likes) - - - again-opened(likes) - resolved(likes)"),
        ({"likes": "A N N A A N N N N"}, "opened(likes) - resolved(likes) - - - resolved(likes) - -"),
        ({"likes": "A N N M M M M N"}, "opened(likes) - resolved(likes) - - - again-no-data(likes) data-back(likes)"),
        (
            {"likes": "A N N A A A A W N N"},
            "opened(likes) - resolved(likes) - - - again-opened(likes) worsened(likes) - resolved(",
        ),
        # another metric is off as well
        (
            {"likes": "A A A A A A A N N", "messages": "N N N A A A A N N"},
            "opened(likes) - - - - - worsened(messages) - resolved(",
        ),
        (
            {"likes": "A A A A A A A N N", "messages": "N N N M M M M N N"},
            "opened(likes) - - - - - worsened(messages) - resolved(",
        ),
        ({"likes": "A A A A A A A N N", "messages": "N N N A N N N N N"}, "opened(likes) - - - - - - - resolved("),
        ({"likes": "A A A A A A A N N", "ctr": "N N A A A A A N N"}, "opened(likes) - - - - - - - resolved("),  # a follower
        # its data stopped, or came back
        ({"likes": "A A A M M M M N N"}, "opened(likes) - - - - - worsened(likes) - resolved(likes)"),
        ({"likes": "A A A M M A A N N"}, "opened(likes) - - - - - - - resolved(likes)"),
        ({"likes": "M M M A A A A N N"}, "- no-data(likes) - - - - worsened(likes) - resolved(likes)"),
    ],
)
def test_what_began_in_a_silence_is_told_once_when_it_is_over(seen, told):
    """Of an incident that was notified before. It was told as a reminder, hours later."""
    said, _ = live(seen, silences=silenced("*", 3, 6))
    assert words(said).startswith(told)
    assert not any(event.quiet for event in said[6])


def test_a_snooze_that_ends_within_a_bucket_is_over_at_its_end():
    def snooze(known, i):
        return [replace(incident, snoozed_until=START + 2.4 * STEP) for incident in known] if i == 0 else known

    assert words(live({"likes": "A W W W N N"}, between=snooze)[0]) == "opened(likes) - worsened(likes) - - resolved(likes)"


def test_reminders_count_from_what_was_told_after_a_silence():
    hours = " ".join("W" * 40)
    told, _ = live({"likes": f"A {hours}"}, silences=silenced("likes", 1, 5))
    assert [i for i, events in enumerate(told) if events] == [0, 5, 29]


def test_what_begins_later_does_not_hide_in_a_muted_incident():
    def mute(known, i):
        return [replace(incident, muted=True, label=Label.EXPECTED) for incident in known] if i == 0 else known

    told, known = live({"views": "A A A A", "likes": "N A A A"}, between=mute)
    assert words(told) == "opened(views) opened(likes) - -"
    assert len(known) == 2


@pytest.mark.parametrize("label", list(Label))
@pytest.mark.parametrize("labelled", [0, 3])  # while it is open; when it is over: "Was it real?"
def test_what_comes_after_a_label_is_an_incident_of_its_own(label, labelled):
    """The label is about what the person saw. The outage after it was shown as a false alarm, and nobody was called."""

    def press(known, i):
        return [replace(incident, label=label, labelled_by="Anna") for incident in known] if i == labelled else known

    told, known = live({"likes": "A A N N N W W"}, between=press)
    assert words(told) == "opened(likes) - - resolved(likes) - opened(likes) -"
    first, second = sorted(known, key=lambda incident: incident.opened)
    assert (first.open, first.label, first.reopened) == (False, label, 0)
    assert (second.open, second.label, second.labelled_by) == (True, None, "")


def test_a_catch_up_notifies_each_incident_once_with_its_true_times():
    rows = answers({"likes": "N A A W N N N N", "views": "N N N N N N A A"})
    due = [DueBuckets(metric, START, START + 7 * STEP) for metric in METRICS if metric.name in ("likes", "views")]
    changes = advance_state(due, [verdict for row in rows for verdict in row], PreviousState(METRICS))
    over, open_ = changes.events
    assert (over.kind, over.metric, over.incident.last_notified) == (EventKind.RESOLVED, "likes", None)
    assert (over.incident.root.since, over.incident.root.until) == (START + STEP, START + 4 * STEP)
    assert (open_.kind, open_.metric, open_.bucket) == (EventKind.OPENED, "views", START + 6 * STEP)


@given(st.dictionaries(st.sampled_from([m.name for m in METRICS]), st.text("NAWM?", min_size=1, max_size=24), min_size=1))
def test_laws_of_every_incident(letters):
    seen = {name: " ".join(text) for name, text in letters.items()}
    told, known = live(seen)
    events = [event for row in told for event in row]
    keys = [event.key for event in events]
    assert len(keys) == len(set(keys))
    for incident in known:
        mine = [event for event in events if event.incident.id == incident.id]
        assert mine, "whatever happened was told"
        assert mine[0].kind in (EventKind.OPENED, EventKind.NO_DATA)
        assert mine[0].key == incident.key.removesuffix("/text")
        ends = sum(event.kind in (EventKind.RESOLVED, EventKind.DATA_BACK) for event in mine)
        assert incident.open or incident.reopened > MAX_REOPEN_MESSAGES or ends == 1 + sum(event.again for event in mine)
        assert incident.open == bool(incident.affected)
    off = {
        name
        for name, text in letters.items()
        if fold_episodes([MetricTree(METRICS).metrics[name]], own(name, seen), {})[0][name].opened
    }
    assert off <= {member.metric for incident in known if incident.open for member in incident.affected}


def own(name: str, seen: dict[str, str]) -> list[Verdict]:
    return [verdict for row in answers({**seen}) for verdict in row if verdict.metric == name]


def test_late_rows_withdraw_a_member_and_close_what_is_left_of_the_incident():
    _told, known = live({"likes": "N A A", "views": "N A A"})
    (incident,) = known
    healed = answers({"likes": "N N A", "views": "N N N"})
    due = [
        DueBuckets(m, START + 3 * STEP, START + 2 * STEP, changed=(START + STEP,))
        for m in METRICS
        if m.name in ("likes", "views")
    ]
    before = PreviousState(METRICS, {"likes": Episode("likes"), "views": Episode("views")}, [incident])
    changes = advance_state(due, [verdict for row in healed[1:] for verdict in row], before)
    (corrected,) = [event for event in changes.events if event.kind is EventKind.CORRECTED]
    assert (corrected.metric, corrected.bucket, corrected.verdict.value) == ("views", START + STEP, 100.0)
    assert [member.metric for member in changes.incidents[0].members] == ["likes"]
    assert changes.incidents[0].open


def test_late_rows_may_show_that_a_gap_was_a_fall():
    """The incident goes on as what it was all along, and its opening is told anew as that."""
    _, known = live({"views": "N M M M"})
    (incident,) = known
    assert incident.root.gap
    rows = answers({"views": "N N A A"})[1:]
    due = [DueBuckets(MetricTree(METRICS).metrics["views"], START + 4 * STEP, START + 3 * STEP, changed=(START + STEP,))]
    changes = advance_state(due, [row[0] for row in rows], PreviousState(METRICS, {"views": Episode("views")}, known))
    (after,) = changes.incidents
    assert (after.id, after.root.gap, after.root.since, after.root.first.value) == (incident.id, False, START + 2 * STEP, 80.0)
    assert opening_event(after, changes.episodes).kind is EventKind.OPENED
    assert [event.kind for event in changes.events] == [EventKind.WORSENED]
    _told, known = live({"views": "N M M A A"})  # where the data really were gone, it stays a gap that was followed by a fall
    assert (known[0].root.first.status, known[0].root.since) == (Status.MISSING, START + STEP)


def test_late_rows_that_change_nothing_send_nothing():
    seen = {"likes": "N A A N N N", "views": "N A A N N N"}
    _told, known = live(seen)
    rows = [verdict for row in answers(seen)[1:] for verdict in row]
    due = [
        DueBuckets(m, START + 6 * STEP, START + 5 * STEP, changed=(START + STEP,))
        for m in METRICS
        if m.name in ("likes", "views")
    ]
    changes = advance_state(due, rows, PreviousState(METRICS, {"likes": Episode("likes"), "views": Episode("views")}, known))
    assert changes.events == []
    assert changes.incidents == known


def metric(name: str, *parents: str, product: str = "") -> Metric:
    return Metric(name, {"en": name}, name, lambda counts: counts, None, parents=parents, product=product)


def test_the_metric_tree():
    tree = MetricTree(METRICS)
    off = {name: Verdict(name, START, Status.ANOMALOUS) for name in ("ctr", "likes", "views")}
    assert tree.lead(off) == "views"
    assert tree.depth["ctr"] == 3
    assert tree.related("ctr", "feed_users")
    assert not tree.related("ctr", "messages")
    assert tree.is_platform(["feed_users", "messenger_users", "likes"])
    assert not tree.is_platform(["feed_users", "messages"])
    assert not MetricTree([metric("a"), metric("b")]).is_platform(["a", "b"])  # no products, no platform
    assert MetricTree([metric("a", "gone")]).depth["a"] == 0  # a parent that is not watched is none
    with pytest.raises(ValueError, match="metric a: its parents lead back to itself"):
        MetricTree([metric("a", "b"), metric("b", "a")])


def test_an_incident_is_known_by_sixteen_letters_and_by_the_key_of_its_opening():
    incident = Incident("20261120T1200Z-likes", START, ())
    assert len(incident_ref(incident.id)) == 16
    assert incident.key == "20261120T1200Z-likes/opened/text"
