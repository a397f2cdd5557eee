"""One metric's trouble over time: a verdict goes in, the new episode and what there is to tell come out. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alerting.model.incident import Event
from alerting.model.metric import Policy
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict

STATUS_LETTER = {Status.NORMAL: "n", Status.ANOMALOUS: "a", Status.MISSING: "m", Status.UNKNOWN: "u"}
OPEN_STATES = (EpisodeState.FIRING, EpisodeState.RECOVERING)
HOLD_BASELINE = timedelta(hours=6)  # so long what fell at once is compared with what it fell from; then the band alone decides
QUIET_AFTER_GAP = 4  # buckets after a missing one in which the way back to the usual level is no alarm
RECOVERED_SHARE = 0.5  # of the fall: nearer than that to where it came from is back


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
    seen = replace(seen, gap_since=None, gap_notified=False, last=verdict)
    after, events = _answer(seen, verdict, policy)
    return after, back + events


def _remember(episode: Episode, verdict: Verdict, policy: Policy) -> Episode:
    length = max(policy.window, policy.patience, policy.recover, QUIET_AFTER_GAP)
    return replace(episode, recent=(episode.recent + STATUS_LETTER[verdict.status])[-length:])


def _missing(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    episode = replace(episode, gap_since=episode.gap_since or verdict.bucket)
    usual = bool(verdict.reason) and not verdict.is_new  # as long a gap comes at this time of most days
    if episode.recent.endswith("m" * policy.patience) and not usual and not episode.gap_notified:
        return _tell(EventKind.NO_DATA, verdict, replace(episode, gap_notified=True))
    if episode.gap_notified and _due(episode.last_notified, verdict.bucket, policy):
        return _tell(EventKind.REMINDER, verdict, episode)
    return episode, ()


def _data_back(episode: Episode, verdict: Verdict) -> tuple[Event, ...]:
    return (Event(EventKind.DATA_BACK, verdict.metric, verdict.bucket, verdict, episode),) if episode.gap_notified else ()


def _answer(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    verdict = against_level_before(episode, verdict)
    if _comes_back(episode, verdict):
        return _forget(episode, policy), ()
    if verdict.status is Status.UNKNOWN:
        return episode, ()
    if verdict.status is Status.ANOMALOUS:
        return _anomalous(episode, verdict, policy)
    return _calmer(episode, verdict, policy) if episode.state in OPEN_STATES else (_forget(episode, policy), ())


def _comes_back(episode: Episode, verdict: Verdict) -> bool:
    """After a gap the last buckets are few or half full: a jump from them to about the usual level is the way back."""
    if (
        episode.state in OPEN_STATES
        or verdict.status is not Status.ANOMALOUS
        or not {"m", "u"} & set(episode.recent[-QUIET_AFTER_GAP:])
    ):
        return False
    return abs(verdict.value - verdict.usual) < RECOVERED_SHARE * abs(verdict.expected - verdict.usual)


def against_level_before(episode: Episode, verdict: Verdict) -> Verdict:
    """The verdict against what was expected before a sudden change, whose band has followed it down (or up) since.

    The old level is carried along the day by its share of what is usual at each time. Without this an outage would be
    "normal again" one bucket later, and its end an alarm.
    """
    share = verdict.value / verdict.usual if verdict.usual and episode.state in OPEN_STATES else float("nan")
    fall = episode.fell_to - episode.expected_share
    if share != share or fall != fall or episode.opened is None or verdict.bucket - episode.opened >= HOLD_BASELINE:
        return verdict
    expected = verdict.usual * episode.expected_share
    scale = expected / verdict.expected if verdict.expected else 1.0
    off = (share - episode.expected_share) / fall > RECOVERED_SHARE
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
        normal_since=None,
        lost=episode.lost + verdict.loss,
    )
    if episode.state in OPEN_STATES:
        return _still(replace(episode, state=EpisodeState.FIRING), verdict, policy)
    if not verdict.is_new or episode.recent[-policy.window :].count("a") < policy.need:
        return replace(episode, state=EpisodeState.PENDING), ()
    return _tell(EventKind.OPENED, verdict, replace(_marked(episode, verdict), state=EpisodeState.FIRING, opened=verdict.bucket))


def _marked(episode: Episode, verdict: Verdict) -> Episode:
    """From where to where it fell, as shares of what is usual at this time; only for what has a usual value."""
    if not verdict.usual or verdict.expected == verdict.value:
        return episode
    return replace(episode, expected_share=verdict.expected / verdict.usual, fell_to=verdict.value / verdict.usual)


def _still(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    if verdict.is_new and _worse(episode.last_notified_verdict, verdict, policy):
        return _tell(EventKind.WORSENED, verdict, episode)
    return _tell(EventKind.REMINDER, verdict, episode) if _due(episode.last_notified, verdict.bucket, policy) else (episode, ())


def _worse(said: Verdict | None, verdict: Verdict, policy: Policy) -> bool:
    """Farther from expected, on the same side, than was last told, by the policy's share."""
    if said is None:
        return False
    before, now = said.value - said.expected, verdict.value - verdict.expected
    return now * before > 0 and abs(now) > (1 + policy.worsen) * abs(before)


def _calmer(episode: Episode, verdict: Verdict, policy: Policy) -> tuple[Episode, tuple[Event, ...]]:
    answers = (episode.answers + "n")[-_back(policy) :]
    calm_since = episode.normal_since or verdict.bucket
    episode = replace(episode, state=EpisodeState.RECOVERING, answers=answers, normal_since=calm_since)
    if answers.count("n") < policy.recover:
        return episode, ()
    event = Event(EventKind.RESOLVED, verdict.metric, verdict.bucket, verdict, episode)
    return Episode(episode.metric, last=verdict, recent=episode.recent), (event,)


def _back(policy: Policy) -> int:
    """How many answers decide whether it is over."""
    return policy.recover_window or policy.recover


def _forget(episode: Episode, policy: Policy) -> Episode:
    """A pending episode ends when no anomalous bucket is left in the window."""
    if episode.state is EpisodeState.PENDING and "a" in episode.recent[-policy.window :]:
        return episode
    return Episode(episode.metric, last=episode.last, recent=episode.recent)


def _due(told: datetime | None, bucket: datetime, policy: Policy) -> bool:
    return told is not None and bucket - told >= policy.remind


def _tell(kind: EventKind, verdict: Verdict, episode: Episode) -> tuple[Episode, tuple[Event, ...]]:
    """The event carries what was said before it; the episode goes on with what is said now."""
    told = replace(episode, last_notified=verdict.bucket)
    said = told if verdict.status is Status.MISSING else replace(told, last_notified_verdict=verdict)
    return said, (Event(kind, verdict.metric, verdict.bucket, verdict, told),)
