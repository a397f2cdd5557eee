"""The state machine of episodes: sequences of verdicts (N normal, A anomalous, M missing, ? unknown) and of their events.

Each bucket gives one event, or '-' for none.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.incidents.episodes import against_level_before, step
from alerting.model.metric import Policy
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATUS = {"N": Status.NORMAL, "A": Status.ANOMALOUS, "M": Status.MISSING, "?": Status.UNKNOWN}
STEP = timedelta(minutes=15)


def fold(seen, policy=Policy(), values=None):  # noqa: B008  a frozen policy
    episode, told = Episode("views"), []
    for i, letter in enumerate(seen.split()):
        value, score = (values or {}).get(i, 10.0), {"A": -2.0, "N": 0.1}.get(letter, float("nan"))
        verdict = Verdict("views", START + i * STEP, STATUS[letter], value, 20.0, 30.0, 40.0, score)
        episode, events = step(episode, verdict, policy)
        told.append(events)
    return episode, told


def words(told):
    return " ".join("+".join(e.kind.value.replace(" ", "-") for e in events) or "-" for events in told)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("N N N", "- - -"),
        ("N A A N N", "- opened - - resolved"),  # one episode, one pair of messages
        ("N A ? ? N", "- opened - - -"),  # unknown is not recovered
        ("N A M N N", "- opened - - resolved"),
        ("N A N A N N", "- opened - - - resolved"),  # flapping is one episode
        ("N A N ? N", "- opened - - resolved"),
        ("A N N A", "opened - resolved opened"),  # a new anomaly is a new episode
        ("N M N", "- - -"),  # one late bucket is waited for
        ("N M M N", "- - no-data data-back"),
        ("N M M M M", "- - no-data - -"),  # notified once
        ("M M A N N", "- no-data data-back+opened - resolved"),
        ("A M M N N", "opened - no-data data-back resolved"),
        ("? ? A", "- - opened"),
        ("M ? M M", "- - - no-data"),
        ("M M ? N", "- no-data - data-back"),  # the first bucket that can be judged says how the data are back
        ("M M ? A N N", "- no-data - data-back+opened - resolved"),
        ("M M ? M ? N", "- no-data - - - data-back"),
        ("M M ? ? ?", "- no-data - data-back -"),  # nor can the second: that is said
    ],
)
def test_events(seen, told):
    assert words(fold(seen)[1]) == told


@pytest.mark.parametrize(
    ("policy", "seen", "told"),
    [
        (Policy(need=2, window=3), "A N A N N", "- - opened - resolved"),
        (Policy(need=2, window=3), "A N N A N", "- - - - -"),
        (Policy(need=2, window=3), "A ? A", "- - opened"),
        (Policy(recover=1), "A N", "opened resolved"),
        (Policy(recover=3), "A N N A N N N", "opened - - - - - resolved"),
        (Policy(recover=3, recover_window=4), "A N A N N", "opened - - - resolved"),  # most of a window is enough
        (Policy(recover=3, recover_window=4), "A N A N A N N", "opened - - - - - resolved"),
        (Policy(recover=3, recover_window=4), "A N ? M N A N", "opened - - - - - resolved"),  # only answers count
        (Policy(patience=1), "N M", "- no-data"),
        (Policy(patience=3), "N M M N M M M", "- - - - - - no-data"),
        (Policy(remind=timedelta(minutes=30)), "A A A A A", "opened - reminder - reminder"),
        (Policy(remind=timedelta(minutes=30)), "A N A A", "opened - reminder -"),
        (Policy(remind=timedelta(minutes=30)), "M M M M M", "- no-data - reminder -"),
    ],
)
def test_policies(policy, seen, told):
    assert words(fold(seen, policy)[1]) == told


def test_an_episode_keeps_when_it_began_and_how_deep_it_was():
    _, told = fold("N A A N A N N", Policy(need=2, window=2), values={1: 18.0, 2: 6.0, 4: 10.0})
    opened, resolved = (event for events in told for event in events)
    assert (opened.kind, opened.episode.since, opened.episode.opened) == (EventKind.OPENED, START + STEP, START + 2 * STEP)
    assert resolved.kind is EventKind.RESOLVED
    assert resolved.episode.worst.bucket == START + 2 * STEP
    assert resolved.episode.normal_since == START + 5 * STEP
    assert resolved.episode.since == START + STEP


def steps(*verdicts, policy=Policy()):  # noqa: B008  a frozen policy
    """Events of verdicts given as (letter, value, news, reason); 100 was expected."""
    episode, told = Episode("views"), []
    for i, (letter, value, news, reason) in enumerate(verdicts):
        verdict = Verdict("views", START + i * STEP, STATUS[letter], value, 90.0, 100.0, 110.0, (value - 100) / 10, reason, news)
        episode, events = step(episode, verdict, policy)
        told.append(events)
    return told


HELD = ("A", 80.0, False, "sustained")
GAP = ("M", float("nan"), False, "usual gap")


def test_an_anomaly_that_is_not_new_opens_nothing_but_stays_pending():
    first = ("A", 80.0, True, "sustained")
    hasty = Policy(remind=timedelta(minutes=15))
    well = ("N", 100.0, False, "")
    assert words(steps(first, HELD, HELD, well, well, policy=hasty)) == "opened reminder reminder - resolved"
    assert words(steps(HELD, HELD, first)) == "- - opened"


@pytest.mark.parametrize(
    ("seen", "told"), [("A A N N", "opened - - resolved"), ("? M A A", "- - opened -"), ("N A A A", "- - - -")]
)
def test_what_was_off_when_its_metric_left_the_catalogue_opens_at_once_if_it_still_is(seen, told):
    """Its rules say that the deviation was reported, but its incident was closed: nobody would hear of it again."""
    episode, events = Episode("views", unchecked=True), []
    for i, letter in enumerate(seen.split()):
        value, score = (30.0, 0.0) if letter == "N" else (10.0, -2.0)
        verdict = Verdict("views", START + i * STEP, STATUS[letter], value, 20.0, 30.0, 40.0, score, "level", is_new=False)
        episode, happened = step(episode, verdict, Policy(need=2, window=3))
        events.append(happened)
    assert words(events) == told
    assert not episode.unchecked


EDGE, WELL, LASTS = ("N", 94.0, False, ""), ("N", 99.0, False, ""), ("A", 60.0, False, "sustained")


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([EDGE, EDGE, LASTS], "opened - - -"),  # two quiet buckets of a metric that is still off may be noise
        ([EDGE, WELL, WELL], "opened - - resolved"),
        ([WELL, EDGE, WELL, WELL], "opened - - - resolved"),
        ([EDGE] * 6, "opened - - - - - resolved"),  # so many are not
        ([("N", 106.0, False, "")] * 2, "opened - resolved"),  # near the other edge: it is back
    ],
)
def test_a_normal_value_near_the_edge_that_was_passed_is_weak_evidence(seen, told):
    assert words(steps(("A", 60.0, True, "sustained"), *seen)) == told


@pytest.mark.parametrize(
    ("quiet", "then", "opens"),
    [(0, [LASTS] * 9, True), (0, [LASTS] * 8 + [WELL], False), (15, [LASTS] * 9, True), (16, [LASTS] * 9, False),
     (0, [("A", 84.0, False, "sustained")] * 9, False)],
    ids=["two hours", "less", "within six hours", "later", "by less than half"],
)  # fmt: skip
def test_what_is_off_for_long_after_it_was_said_to_be_normal_is_told_again(quiet, then, opens):
    """Its rule says that the deviation was reported: the chat said "back to normal", and nothing more for days."""
    told = words(steps(("A", 60.0, True, "sustained"), WELL, WELL, *[WELL] * quiet, *then)).split()
    assert told[:3] == ["opened", "-", "resolved"]
    assert told[3:] == ["-"] * (len(told) - 4) + ["opened" if opens else "-"]


def test_what_is_off_by_its_own_band_is_not_over_because_the_first_bucket_was_lower():
    low = Verdict("views", START, Status.ANOMALOUS, 40, 90, 100, 110, -6, "sustained", usual=100)
    episode, _ = step(Episode("views"), low, Policy())
    for i in range(1, 4):
        verdict = replace(low, bucket=START + i * STEP, value=75, score=-2.5, is_new=False)
        assert against_level_before(episode, verdict) == verdict
        episode, events = step(episode, verdict, Policy())
        assert (episode.state, events) == (EpisodeState.FIRING, ())
    back = replace(low, bucket=START + 4 * STEP, value=115, score=1.5)  # a rise by a band that has followed it down
    assert against_level_before(episode, back).status is Status.NORMAL


def test_a_sudden_fall_within_a_sustained_deviation_is_notified():
    told = steps(("A", 80.0, True, "sustained"), HELD, ("A", 40.0, True, "sudden"), ("A", 35.0, True, "sudden"))
    assert words(told) == "opened - worsened -"
    worse = told[2][0]
    assert (worse.episode.last_notified_verdict.value, worse.verdict.value) == (80.0, 40.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([50, 45, 26, 24], "opened - - worsened"),  # 50 below, then 76: half as much again
        ([50, 90, 20, 10], "opened - worsened -"),  # told again only against what was last told
        ([50, 250], "opened -"),  # the other side is another story
        ([150, 176], "opened worsened"),
    ],
)
def test_worsened_is_sent_when_the_deviation_has_grown_by_a_share(values, told):
    assert words(steps(*(("A", float(v), True, "sudden") for v in values))) == told


def against_the_usual(*buckets, policy=Policy()):  # noqa: B008  a frozen policy
    """Events of buckets (value, what the band expects, what is usual); outside 10 % of the expected is anomalous."""
    episode, told = Episode("views"), []
    for i, (value, expected, usual) in enumerate(buckets):
        off = (value - expected) / (0.1 * expected) if value == value else float("nan")
        status = Status.MISSING if value != value else Status.ANOMALOUS if abs(off) > 1 else Status.NORMAL
        limits = (0.9 * expected, expected, 1.1 * expected)
        verdict = Verdict("views", START + i * STEP, status, value, *limits, off, "sudden", True, usual)
        episode, events = step(episode, verdict, policy)
        told.append(events)
    return told


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "told"),
    [((70, 54, 53), "opened - -"), ((70, 54, 49), "opened - worsened"), ((45, 10), "opened -")],
)
def test_a_lasting_deviation_is_worse_once_it_is_critical(values, told):
    """Its rule was reported lately: it rings again when half of the metric is gone, and grew by half since."""
    episode, events = Episode("views"), []
    for i, value in enumerate(values):
        verdict = Verdict("views", START + i * STEP, Status.ANOMALOUS, float(value), 85.0, 100.0, 115.0, -2.0, is_new=i == 0)
        episode, happened = step(episode, verdict, Policy())
        events.append(happened)
    assert words(events) == told


@pytest.mark.parametrize(
    ("buckets", "told"),
    [
        # the band follows a fall down; it is over when the value is back, and its end is no alarm
        (
            [(100, 100, 100), (60, 100, 100), (60, 60, 100), (61, 60, 100), (99, 60, 100), (100, 99, 100)],
            "- opened - - - resolved",
        ),
        # usual itself falls in the evening: still 40 % below what it would be
        (
            [(200, 200, 200), (120, 200, 200), (66, 70, 110), (60, 60, 100), (98, 60, 100), (95, 95, 100)],
            "- opened - - - resolved",
        ),
        # a day 20 % above the usual stays so
        ([(120, 120, 100), (72, 120, 100), (72, 72, 100), (118, 72, 100), (120, 118, 100)], "- opened - - resolved"),
        # a rise, and its end
        ([(100, 100, 100), (200, 100, 100), (205, 200, 100), (101, 200, 100), (99, 101, 100)], "- opened - - resolved"),
        # further down
        ([(100, 100, 100), (60, 100, 100), (58, 60, 100), (20, 58, 100), (19, 20, 100)], "- opened - worsened -"),
        # the first bucket after a gap is half full: the next one is no rise
        ([(100, 100, 100), (NAN, 100, 100), (NAN, 100, 100), (96, 40, 100)], "- - no-data data-back"),
    ],
)
def test_a_sudden_fall_is_compared_with_the_level_before(buckets, told):
    assert words(against_the_usual(*buckets)) == told


def test_a_reminder_compares_with_the_level_before():
    events = against_the_usual(*[(100, 100, 100), (60, 100, 100)] + [(61, 60, 100)] * 9, policy=Policy(remind=timedelta(hours=2)))
    reminder = next(e for happened in events for e in happened if e.kind is EventKind.REMINDER)
    assert (reminder.verdict.expected, reminder.verdict.value) == (100.0, 61)
    assert reminder.verdict.status is Status.ANOMALOUS


def test_after_six_hours_the_band_alone_decides():
    events = against_the_usual(*[(100, 100, 100), (60, 100, 100)] + [(61, 60, 100)] * 30)
    resolved = next(e for happened in events for e in happened if e.kind is EventKind.RESOLVED)
    assert timedelta(hours=6) <= resolved.bucket - START <= timedelta(hours=7)


def test_a_usual_gap_is_not_notified():
    assert words(steps(GAP, GAP, GAP, GAP)) == "- - - -"
    lost = ("M", float("nan"), True, "")
    assert words(steps(GAP, GAP, lost, lost)) == "- - no-data -"


def test_lost_is_summed_over_the_anomalous_buckets_only():
    events = [e for happened in against_the_usual((100, 100, 100), (60, 100, 100), (70, 60, 100), (99, 70, 100), (100, 99, 100))
              for e in happened]  # fmt: skip
    assert [e.kind for e in events] == [EventKind.OPENED, EventKind.RESOLVED]
    assert events[-1].episode.lost == 40 + 30


def test_after_the_end_nothing_of_the_episode_is_left():
    episode, _ = fold("A N N")
    assert (episode.state, episode.since, episode.worst, episode.last_notified) == (EpisodeState.OK, None, None, None)


@given(st.text("NAM?", max_size=60).map(" ".join))
def test_openings_and_endings_alternate(seen):
    kinds = [e.kind for events in fold(seen)[1] for e in events]
    trouble = [k for k in kinds if k in (EventKind.OPENED, EventKind.RESOLVED)]
    gaps = [k for k in kinds if k in (EventKind.NO_DATA, EventKind.DATA_BACK)]
    assert trouble == [EventKind.OPENED, EventKind.RESOLVED] * (len(trouble) // 2) + [EventKind.OPENED] * (len(trouble) % 2)
    assert gaps == [EventKind.NO_DATA, EventKind.DATA_BACK] * (len(gaps) // 2) + [EventKind.NO_DATA] * (len(gaps) % 2)


@given(st.text("NAM?", max_size=60).map(" ".join))
def test_keys_are_never_used_twice(seen):
    keys = [e.key for events in fold(seen)[1] for e in events]
    assert len(keys) == len(set(keys))


def test_impossible_policies_are_refused():
    with pytest.raises(ValueError, match="need=3"):
        Policy(need=3, window=2)
    with pytest.raises(ValueError, match="recover=3 cannot be more than recover_window=2"):
        Policy(recover=3, recover_window=2)
    with pytest.raises(ValueError, match=r"critical=0 must be above 0"):
        Policy(critical=0)
    assert [Policy(critical=c).critical for c in (0.3, 2.0)] == [0.3, Policy.critical]  # 2.0: a score of earlier versions
    with pytest.raises(ValueError, match="direction='sideways'"):
        Policy(direction="sideways")
