"""Verdict sequences to event sequences. N normal, A anomalous, M missing, ? unknown; one event or '-' for each."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.episodes import step
from alerting.model import Episode, Kind, Policy, State, Status, Verdict

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATUS = {"N": Status.NORMAL, "A": Status.ANOMALOUS, "M": Status.MISSING, "?": Status.UNKNOWN}
STEP = timedelta(minutes=15)


def fold(seen, policy=Policy(), scores=None):  # noqa: B008  a frozen policy
    episode, told = Episode("views"), []
    for i, letter in enumerate(seen.split()):
        score = (scores or {}).get(i, {"A": -2.0, "N": 0.1}.get(letter, float("nan")))
        verdict = Verdict("views", START + i * STEP, STATUS[letter], 10.0, 20.0, 30.0, 40.0, score)
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
        ("N A ? ? N", "- opened - - -"),  # not knowing is not recovering
        ("N A M N N", "- opened - - resolved"),
        ("N A N A N N", "- opened - - - resolved"),  # flapping is one episode
        ("N A N ? N", "- opened - - resolved"),
        ("A N N A", "opened - resolved opened"),  # a new trouble is a new episode
        ("N M N", "- - -"),  # one late bucket is waited for
        ("N M M N", "- - no-data data-back"),
        ("N M M M M", "- - no-data - -"),  # said once
        ("M M A N N", "- no-data data-back+opened - resolved"),
        ("A M M N N", "opened - no-data data-back resolved"),
        ("? ? A", "- - opened"),
        ("M ? M M", "- - - no-data"),
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
    _, told = fold("N A A N A N N", Policy(need=2, window=2), scores={1: -1.5, 2: -4.0, 4: -2.0})
    opened, resolved = (event for events in told for event in events)
    assert (opened.kind, opened.episode.since, opened.episode.opened) == (Kind.OPENED, START + STEP, START + 2 * STEP)
    assert resolved.kind is Kind.RESOLVED
    assert resolved.episode.worst.bucket == START + 2 * STEP
    assert resolved.episode.calm_since == START + 5 * STEP
    assert resolved.episode.since == START + STEP


def test_after_the_end_nothing_of_the_trouble_is_left():
    episode, _ = fold("A N N")
    assert (episode.state, episode.since, episode.worst, episode.told) == (State.OK, None, None, None)


@given(st.text("NAM?", max_size=60).map(" ".join))
def test_openings_and_endings_alternate(seen):
    kinds = [e.kind for events in fold(seen)[1] for e in events]
    trouble = [k for k in kinds if k in (Kind.OPENED, Kind.RESOLVED)]
    gaps = [k for k in kinds if k in (Kind.NO_DATA, Kind.DATA_BACK)]
    assert trouble == [Kind.OPENED, Kind.RESOLVED] * (len(trouble) // 2) + [Kind.OPENED] * (len(trouble) % 2)
    assert gaps == [Kind.NO_DATA, Kind.DATA_BACK] * (len(gaps) // 2) + [Kind.NO_DATA] * (len(gaps) % 2)


@given(st.text("NAM?", max_size=60).map(" ".join))
def test_keys_are_never_used_twice(seen):
    keys = [e.key for events in fold(seen)[1] for e in events]
    assert len(keys) == len(set(keys))


def test_impossible_policies_are_refused():
    with pytest.raises(ValueError, match="need=3"):
        Policy(need=3, window=2)
    with pytest.raises(ValueError, match="direction='sideways'"):
        Policy(direction="sideways")
