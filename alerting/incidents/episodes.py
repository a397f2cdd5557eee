"""The state machine of one metric's episodes: it takes a verdict and returns the new episode and its events. Pure.

    OK          anomalous -> PENDING; `need` anomalous of the last `window` buckets -> FIRING (opened)
    PENDING     as OK; no anomalous bucket left in the window -> OK
    FIRING      anomalous -> FIRING (worsened, reminder); normal -> RECOVERING
    RECOVERING  anomalous -> FIRING; `recover` normal of the last `recover_window` verdicts -> OK (resolved)

A normal verdict near the edge of its band may only be noise while the metric is still off: it counts less (see
`_is_over`). A metric that is off again for a while soon after its end opens anew, also if its deviation was notified before.

Missing and unknown buckets do not change the state, because they do not show that a metric has recovered. The gap of missing
buckets is tracked independently of the states (events: no data, data back). Data is back with the first bucket that can be
judged, or after `recover` unknown ones; an anomalous bucket then opens an episode at once. The states are those of an alert in
Prometheus, with RECOVERING added.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alerting.model.incident import Event
from alerting.model.metric import Policy
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict

STATUS_LETTER = {Status.NORMAL: "n", Status.ANOMALOUS: "a", Status.MISSING: "m", Status.UNKNOWN: "u"}
OPEN_STATES = (EpisodeState.FIRING, EpisodeState.RECOVERING)
HOLD_BASELINE = timedelta(hours=6)  # compare values with the level before a sudden change for this long; then the band decides
QUIET_AFTER_GAP = 4  # after a gap, ignore the return to normal for this many buckets
RECOVERED_SHARE = 0.5  # share of the change; if less of it remains, the value has recovered
NEAR_EDGE = 0.4  # score, on the side of the anomaly, from which a normal value may only be noise ...
SURE_AFTER = 3  # ... unless so many times `recover` values in a row are normal
OFF_AGAIN_FOR = timedelta(hours=2)  # a metric that is off for so long ...
OFF_AGAIN_WITHIN = timedelta(hours=6)  # ... so soon after the end of an episode ...
OFF_AGAIN_SHARE = 0.5  # ... and by at least this share of its worst residual, opens another one

Step = tuple[Episode, tuple[Event, ...]]


def step(episode: Episode, verdict: Verdict, policy: Policy) -> Step:
    """Return the episode after one more bucket, and its events (usually none). Verdicts must be in the order of their buckets."""
    length = max(policy.window, policy.patience, policy.recover, QUIET_AFTER_GAP)
    episode = replace(episode, recent=(episode.recent + STATUS_LETTER[verdict.status])[-length:])
    if verdict.status is Status.MISSING:
        return _missing(episode, verdict, policy)

    back: tuple[Event, ...] = ()
    if episode.gap_notified:
        if verdict.status is Status.UNKNOWN and not episode.recent.endswith("u" * policy.recover):
            return replace(episode, last=verdict, back_since=episode.back_since or verdict.bucket), ()
        back = (Event(EventKind.DATA_BACK, verdict.metric, verdict.bucket, verdict, episode),)
    episode = replace(episode, gap_since=None, gap_notified=False, back_since=None, last=verdict)
    verdict = against_level_before(episode, verdict)
    if verdict.status is Status.UNKNOWN:
        return episode, back
    if episode.state in OPEN_STATES:
        after, events = _when_open(episode, verdict, policy)
    else:
        after, events = _when_closed(episode, verdict, policy, is_back=bool(back))
    return after, back + events


def _missing(episode: Episode, verdict: Verdict, policy: Policy) -> Step:
    """Advance an episode by a missing bucket. Report "no data" after `patience` of them in a row, unless the gap is usual."""
    episode = replace(episode, gap_since=episode.gap_since or verdict.bucket, back_since=None)
    usual = bool(verdict.reason) and not verdict.is_new
    if episode.recent.endswith("m" * policy.patience) and not usual and not episode.gap_notified:
        return _notify(EventKind.NO_DATA, verdict, replace(episode, gap_notified=True))
    return _remind(episode, verdict, policy) if episode.gap_notified else (episode, ())


def _when_closed(episode: Episode, verdict: Verdict, policy: Policy, is_back: bool) -> Step:
    """Advance an OK or PENDING episode: open it after enough anomalous buckets, end it when none is left in the window.

    `is_back`: the bucket ends a gap that was reported. As after a gap, an anomalous bucket opens an episode at once that was open
    when its metric left the catalogue, or that is off again (`_is_off_again`).
    """
    window = episode.recent[-policy.window :]
    if verdict.status is Status.NORMAL or _is_return_after_gap(episode, verdict):
        still_pending = episode.state is EpisodeState.PENDING and "a" in window
        if still_pending:
            return episode, ()
        past = Episode(episode.metric, resolved=episode.resolved, resolved_worst=episode.resolved_worst)
        return replace(past, last=episode.last, recent=episode.recent), ()

    episode = _with_anomaly(episode, verdict, policy)
    at_once = is_back or episode.unchecked or _is_off_again(episode, verdict)
    if not at_once and (not verdict.is_new or window.count("a") < policy.need):
        return replace(episode, state=EpisodeState.PENDING), ()
    if verdict.usual and verdict.expected != verdict.value:  # levels before and after the change, for `against_level_before`
        episode = replace(episode, expected_share=verdict.expected / verdict.usual, fell_to=verdict.value / verdict.usual)
    return _notify(EventKind.OPENED, verdict, replace(episode, state=EpisodeState.FIRING, opened=verdict.bucket, unchecked=False))


def _when_open(episode: Episode, verdict: Verdict, policy: Policy) -> Step:
    """Advance a FIRING or RECOVERING episode: worsen, remind, or resolve it after enough normal buckets."""
    if verdict.status is Status.ANOMALOUS:
        episode = replace(_with_anomaly(episode, verdict, policy), state=EpisodeState.FIRING)
        if _is_worse(episode.last_notified_verdict, verdict, policy):
            return _notify(EventKind.WORSENED, verdict, episode)
        return _remind(episode, verdict, policy)

    answers = _answers(episode, "e" if _is_near_edge(episode, verdict) else "n", policy)
    normal_since = episode.normal_since or verdict.bucket
    episode = replace(episode, state=EpisodeState.RECOVERING, answers=answers, normal_since=normal_since)
    if not _is_over(answers, policy):
        return episode, ()
    event = Event(EventKind.RESOLVED, verdict.metric, verdict.bucket, verdict, episode)
    ended = Episode(episode.metric, last=verdict, recent=episode.recent, resolved=verdict.bucket, resolved_worst=episode.worst)
    return ended, (event,)


def against_level_before(episode: Episode | None, verdict: Verdict) -> Verdict:
    """Return the verdict compared with the level before a sudden change, while the episode is open (at most HOLD_BASELINE).

    Without an episode, or outside of that time, return the verdict unchanged.

    The band of the sudden detector follows the values down (or up). By the band alone, an outage would be normal one bucket
    later, and its end an anomaly. The level before is stored as a share of the usual value, so it follows the daily rhythm.
    A value of zero stays an outage until another value comes, even if the band has followed it.
    """
    if episode is None:
        return verdict
    worst = episode.worst
    is_outage = episode.state in OPEN_STATES and worst is not None and worst.value == 0 < worst.reference
    if is_outage and worst and verdict.status is Status.NORMAL and verdict.value == 0:
        return replace(worst, bucket=verdict.bucket, usual=verdict.usual, is_new=False)
    share = verdict.value / verdict.usual if verdict.usual and episode.state in OPEN_STATES else float("nan")
    fall = episode.fell_to - episode.expected_share
    if share != share or fall != fall or episode.opened is None:
        return verdict
    if not timedelta() < verdict.bucket - episode.opened < HOLD_BASELINE:
        return verdict
    anomalous = (share - episode.expected_share) / fall > RECOVERED_SHARE
    if not anomalous and verdict.status is Status.ANOMALOUS and worst and _same_side(worst, verdict):
        return verdict  # nearer to the level before, but its own band says that it is still off
    expected, limit = (
        verdict.usual * level for level in (episode.expected_share, episode.expected_share + RECOVERED_SHARE * fall)
    )
    notified = episode.last_notified_verdict or verdict
    scale = expected / notified.expected if notified.expected else 1.0  # the other edge is as far off in proportion as it was
    low, high = (limit, notified.high * scale) if fall < 0 else (notified.low * scale, limit)
    if not anomalous:
        low, high = min(low, verdict.value), max(high, verdict.value)
    return replace(
        verdict,
        status=Status.ANOMALOUS if anomalous else Status.NORMAL,
        low=low,
        expected=expected,
        high=high,
        score=(verdict.value - expected) / abs(limit - expected),
        reason=verdict.reason if anomalous else "",
    )


def _is_return_after_gap(episode: Episode, verdict: Verdict) -> bool:
    """Return whether the value is back near the usual level shortly after a gap, which the band may call anomalous."""
    if not {"m", "u"} & set(episode.recent[-QUIET_AFTER_GAP:]):
        return False
    return abs(verdict.value - verdict.usual) < RECOVERED_SHARE * abs(verdict.expected - verdict.usual)


def _is_near_edge(episode: Episode, verdict: Verdict) -> bool:
    """Return whether a normal value lies near the limit that the episode's values passed. Fixed limits expect no value."""
    is_same_side = episode.worst is not None and _same_side(episode.worst, verdict)
    return is_same_side and verdict.expected == verdict.expected and abs(verdict.score) >= NEAR_EDGE


def _is_over(answers: str, policy: Policy) -> bool:
    """Return whether enough of the newest verdicts are normal: `recover` well inside of the band, or more near its edge."""
    long = SURE_AFTER * policy.recover
    well_inside = answers[-(policy.recover_window or policy.recover) :].count("n")
    return well_inside >= policy.recover or (len(answers) >= long and "a" not in answers[-long:])


def _is_off_again(episode: Episode, verdict: Verdict) -> bool:
    """Return whether a metric that was said to be normal again has been off for a while."""
    worst, resolved, now = episode.resolved_worst, episode.resolved, verdict.bucket
    if not (worst and resolved and episode.since) or now - resolved > OFF_AGAIN_WITHIN or now - episode.since < OFF_AGAIN_FOR:
        return False
    return _same_side(worst, verdict) and abs(verdict.residual) >= OFF_AGAIN_SHARE * abs(worst.residual)


def _is_worse(notified: Verdict | None, verdict: Verdict, policy: Policy) -> bool:
    """Return whether the residual has grown by `policy.worsen`, on the same side, since the last notification.

    A deviation that was reported before and lasts (`is_new` is False) is worse only when it becomes critical.
    """
    if notified is None:
        return False
    grown = _same_side(notified, verdict) and abs(verdict.residual) > (1 + policy.worsen) * abs(notified.residual)
    return grown and (verdict.is_new or notified.size < policy.critical <= verdict.size)


def is_worse_than_notified(notified: Verdict, verdict: Verdict, policy: Policy) -> bool:
    """Return whether a metric is worse now than at its last notification, before a silence in which it became worse."""
    if verdict.status is Status.MISSING:
        return True
    if verdict.status is not Status.ANOMALOUS or not _same_side(notified, verdict):
        return False
    grown = abs(verdict.residual) > (1 + policy.worsen) * abs(notified.residual)
    return grown or notified.size < policy.critical <= verdict.size


def _same_side(before: Verdict, now: Verdict) -> bool:
    return now.residual * before.residual > 0


def _with_anomaly(episode: Episode, verdict: Verdict, policy: Policy) -> Episode:
    """Return the episode with one more anomalous bucket. Its state is unchanged."""
    return replace(
        episode,
        since=episode.since or verdict.bucket,
        worst=episode.worst if episode.worst and not episode.worst.size < verdict.size else verdict,
        answers=_answers(episode, "a", policy),
        normal_since=None,
        lost=episode.lost + verdict.loss,
    )


def _answers(episode: Episode, letter: str, policy: Policy) -> str:
    """Return the letters of the verdicts that decide whether the episode is over, newest last."""
    return (episode.answers + letter)[-max(policy.recover_window, SURE_AFTER * policy.recover) :]


def _remind(episode: Episode, verdict: Verdict, policy: Policy) -> Step:
    """Add a reminder if the last notification is at least `policy.remind` old."""
    due = episode.last_notified is not None and verdict.bucket - episode.last_notified >= policy.remind
    return _notify(EventKind.REMINDER, verdict, episode) if due else (episode, ())


def _notify(kind: EventKind, verdict: Verdict, episode: Episode) -> Step:
    """Return the episode with this notification, and the event. The event's episode still has the previously notified verdict."""
    event = Event(kind, verdict.metric, verdict.bucket, verdict, replace(episode, last_notified=verdict.bucket))
    return notified(episode, verdict), (event,)


def notified(episode: Episode, verdict: Verdict) -> Episode:
    """Return the episode after a notification about this verdict. What comes next is compared with its last anomalous one."""
    episode = replace(episode, last_notified=verdict.bucket)
    return episode if verdict.status is Status.MISSING else replace(episode, last_notified_verdict=verdict)


def is_open(episode: Episode | None) -> bool:
    """Return whether the metric is in an open episode, or in a gap that was reported."""
    return episode is not None and (episode.opened is not None or episode.gap_notified)
