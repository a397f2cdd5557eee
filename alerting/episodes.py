"""One metric's trouble over time: a verdict goes in, the new episode and what there is to tell come out. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alerting.model import Episode, Event, Kind, Policy, State, Status, Verdict

LETTER = {Status.NORMAL: "n", Status.ANOMALOUS: "a", Status.MISSING: "m", Status.UNKNOWN: "u"}
OPEN = (State.FIRING, State.RECOVERING)
HOLD = timedelta(hours=6)  # so long what fell at once is compared with what it fell from; then the band alone decides
AFTER_A_GAP = 4  # buckets after a missing one in which the way back to the usual level is no alarm
HALF = 0.5  # of the fall: nearer than that to where it came from is back


def step(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    """The episode after one more bucket, and its events (mostly none).

    Pending until `need` of the last `window` buckets are anomalous, then firing; recovering until `recover` of the last
    `recover_window` answers are normal, then resolved. Missing and unknown buckets neither open nor resolve: not knowing is
    not recovering. What is no news opens nothing, and a gap that is usual at this time is none that anybody is told of.
    """
    seen = _remember(episode, verdict, policy)
    if verdict.status is Status.MISSING:
        return _missing(seen, verdict, policy)
    back = _data_back(seen, verdict)
    seen = replace(seen, gap=None, gap_told=False, last=verdict)
    after, events = _answer(seen, verdict, policy)
    return after, back + events


def _remember(episode: Episode, verdict: Verdict, policy: Policy) -> Episode:
    length = max(policy.window, policy.patience, policy.recover, AFTER_A_GAP)
    return replace(episode, recent=(episode.recent + LETTER[verdict.status])[-length:])


def _missing(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    episode = replace(episode, gap=episode.gap or verdict.bucket)
    usual = bool(verdict.reason) and not verdict.news  # as long a gap comes at this time of most days
    if episode.recent.endswith("m" * policy.patience) and not usual and not episode.gap_told:
        return _tell(Kind.NO_DATA, verdict, replace(episode, gap_told=True))
    if episode.gap_told and _due(episode.told, verdict.bucket, policy):
        return _tell(Kind.REMINDER, verdict, episode)
    return episode, ()


def _data_back(episode: Episode, verdict: Verdict) -> tuple[Event, ...]:
    return (Event(Kind.DATA_BACK, verdict.metric, verdict.bucket, verdict, episode),) if episode.gap_told else ()


def _answer(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    verdict = as_before(episode, verdict)
    if _comes_back(episode, verdict):
        return _forget(episode, policy), ()
    if verdict.status is Status.UNKNOWN:
        return episode, ()
    if verdict.status is Status.ANOMALOUS:
        return _anomalous(episode, verdict, policy)
    return _calmer(episode, verdict, policy) if episode.state in OPEN else (_forget(episode, policy), ())


def _comes_back(episode: Episode, verdict: Verdict) -> bool:
    """After a gap the last buckets are few or half full: a jump from them to about the usual level is the way back."""
    if episode.state in OPEN or verdict.status is not Status.ANOMALOUS or not {"m", "u"} & set(episode.recent[-AFTER_A_GAP:]):
        return False
    return abs(verdict.value - verdict.usual) < HALF * abs(verdict.expected - verdict.usual)


def as_before(episode: Episode, verdict: Verdict) -> Verdict:
    """The verdict against what was expected before a sudden change, whose band has followed it down (or up) since.

    The old level is carried along the day by its share of what is usual at each time. Without this an outage would be
    "normal again" one bucket later, and its end an alarm.
    """
    share = verdict.value / verdict.usual if verdict.usual and episode.state in OPEN else float("nan")
    fall = episode.fell_to - episode.share
    if share != share or fall != fall or episode.opened is None or verdict.bucket - episode.opened >= HOLD:
        return verdict
    expected = verdict.usual * episode.share
    scale = expected / verdict.expected if verdict.expected else 1.0
    off = (share - episode.share) / fall > HALF
    return replace(
        verdict,
        status=Status.ANOMALOUS if off else Status.NORMAL,
        low=verdict.low * scale,
        expected=expected,
        high=verdict.high * scale,
        reason=verdict.reason if off else "",
    )


def _anomalous(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    worst = episode.worst if episode.worst and abs(episode.worst.score) >= abs(verdict.score) else verdict
    episode = replace(
        episode,
        since=episode.since or verdict.bucket,
        worst=worst,
        answers=(episode.answers + "a")[-_back(policy) :],
        calm_since=None,
        lost=episode.lost + verdict.loss,
    )
    if episode.state in OPEN:
        return _still(replace(episode, state=State.FIRING), verdict, policy)
    if not verdict.news or episode.recent[-policy.window :].count("a") < policy.need:
        return replace(episode, state=State.PENDING), ()
    return _tell(Kind.OPENED, verdict, replace(_marked(episode, verdict), state=State.FIRING, opened=verdict.bucket))


def _marked(episode: Episode, verdict: Verdict) -> Episode:
    """From where to where it fell, as shares of what is usual at this time; only for what has a usual value."""
    if not verdict.usual or verdict.expected == verdict.value:
        return episode
    return replace(episode, share=verdict.expected / verdict.usual, fell_to=verdict.value / verdict.usual)


def _still(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    if verdict.news and _worse(episode.said, verdict, policy):
        return _tell(Kind.WORSENED, verdict, episode)
    return _tell(Kind.REMINDER, verdict, episode) if _due(episode.told, verdict.bucket, policy) else (episode, ())


def _worse(said: Verdict | None, verdict: Verdict, policy: Policy) -> bool:
    """Farther from expected, on the same side, than was last told, by the policy's share."""
    if said is None:
        return False
    before, now = said.value - said.expected, verdict.value - verdict.expected
    return now * before > 0 and abs(now) > (1 + policy.worsen) * abs(before)


def _calmer(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    answers = (episode.answers + "n")[-_back(policy) :]
    calm_since = episode.calm_since or verdict.bucket
    episode = replace(episode, state=State.RECOVERING, answers=answers, calm_since=calm_since)
    if answers.count("n") < policy.recover:
        return episode, ()
    event = Event(Kind.RESOLVED, verdict.metric, verdict.bucket, verdict, episode)
    return Episode(episode.metric, last=verdict, recent=episode.recent), (event,)


def _back(policy: Policy) -> int:
    """How many answers decide whether it is over."""
    return policy.recover_window or policy.recover


def _forget(episode: Episode, policy: Policy) -> Episode:
    """A pending episode ends when no anomalous bucket is left in the window."""
    if episode.state is State.PENDING and "a" in episode.recent[-policy.window :]:
        return episode
    return Episode(episode.metric, last=episode.last, recent=episode.recent)


def _due(told: datetime | None, bucket: datetime, policy: Policy) -> bool:
    return told is not None and bucket - told >= policy.remind


def _tell(kind: Kind, verdict: Verdict, episode: Episode) -> tuple[Episode, tuple[Event, ...]]:
    """The event carries what was said before it; the episode goes on with what is said now."""
    told = replace(episode, told=verdict.bucket)
    said = told if verdict.status is Status.MISSING else replace(told, said=verdict)
    return said, (Event(kind, verdict.metric, verdict.bucket, verdict, told),)
