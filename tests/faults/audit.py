"""The audit of a scenario: incidents that were never reported, messages sent twice, and any other fault."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime

from alerting.model.incident import incident_ref
from alerting.model.metric import SEGMENTS_SUFFIX
from alerting.model.routing import DEFAULT_DESTINATION, destination_of
from alerting.store.state import StateStore
from tests.faults.process import alive
from tests.faults.scenario import Row
from tests.faults.timeline import QUIET, STEP, Planted, bucket
from tests.faults.world import Ran, Told, World

SENT = "SELECT key, reply_to, message_id FROM messages WHERE state = 'sent' AND edits = ''"


def account(row: Row, world: World, planted: Sequence[Planted], last: int, bound: int, since: int = 0) -> None:
    """Fill the row from the chat and from the memory of a world whose last run judged the bucket `last`."""
    chat, sent = world.chat(), _sent(world)
    due = [incident for incident in planted if incident.told_at <= bucket(last, world.begin)]
    again = repeats(world)
    row.runs, row.bound, row.repeated = len(world.runs), bound, len(again)
    silent = [f"{i.id} was not told" for i in due if not openings(chat, i) and not _over_when_told(sent, i)]
    endless = [
        f"the end of {i.id} was not told"
        for i in due
        if i.end + QUIET * STEP <= bucket(last, world.begin) and not _ended(sent, i)
    ]
    row.lost += len(silent) + len(endless)
    row.wrong += silent + endless
    row.wrong += [f"nobody planted what {told.first!r} says" for told in chat.values() if _invented(told, planted)]
    row.wrong += _threads(chat, sent) + memory(world, last, since)
    row.wrong += [f"a kernel outlives its run: {pid}" for pid in alive(world.kernels)]


def openings(chat: dict[str, Told], incident: Planted) -> list[Told]:
    """The messages that open this incident's thread."""
    return [told for told in chat.values() if incident_ref(incident.id) in told.refs and not told.reply_to]


def repeats(world: World) -> set[str]:
    """Ids of messages in the chat that the memory does not know as sent: they came again, or never should have.

    A notice that there is no memory to write to cannot be known there.
    """
    alone = {told.id for told in notices(world.chat()) if world.memory.name in told.text}
    return set(world.chat()) - {message_id for _, _, message_id in _sent(world)} - alone


def per_crash(world: World, again: set[str]) -> list[str]:
    """A killed run, and those after it until the next is killed, may repeat one message."""
    windows, window = Counter[int](), -1
    for number, ran in enumerate(world.runs):
        window = number if ran.killed else window
        windows[window] += len(again & set(ran.accepted))
    return [
        f"run {number} was killed, and {count} messages came again" if number >= 0 else "a message came again without a crash"
        for number, count in windows.items()
        if count > (number >= 0)
    ]


def _sent(world: World) -> list[tuple[str, str, str]]:
    """Key, key of the answered message and id of what the chat was sent."""
    with closing(sqlite3.connect(f"file:{world.memory}?mode=ro", uri=True, timeout=20)) as db:
        return [row for row in db.execute(SENT) if destination_of(row[0]) == DEFAULT_DESTINATION]


def _ended(sent: Sequence[tuple[str, str, str]], incident: Planted) -> bool:
    return any(key.startswith((f"{incident.id}/resolved/", f"{incident.id}/data-back/")) for key, _, _ in sent)


def _over_when_told(sent: Sequence[tuple[str, str, str]], incident: Planted) -> bool:
    """A gap that was over before a run could report it is one message, which answers nothing and has no buttons."""
    return any(key.startswith(f"{incident.id}/data-back/") and not reply_to for key, reply_to, _ in sent)


def _invented(told: Told, planted: Sequence[Planted]) -> bool:
    return bool(told.refs) and not told.reply_to and not told.refs & {incident_ref(incident.id) for incident in planted}


def _threads(chat: dict[str, Told], sent: Sequence[tuple[str, str, str]]) -> list[str]:
    """Whatever answers something answers the message that has its place in the memory."""
    place = {key: message_id for key, _, message_id in sent}
    answers = [(key, chat[number].reply_to, place[to]) for key, to, number in sent if to in place and number in chat]
    astray = [f"{key} answers {got or 'nothing'} instead of {wanted}" for key, got, wanted in answers if got != wanted]
    return astray + [f"{key} is not in the chat" for key, _, number in sent if number not in chat]


def memory(world: World, last: int, since: int) -> list[str]:
    """Whole, drained, and every bucket judged."""
    with closing(sqlite3.connect(world.memory, timeout=20)) as db:
        sound = db.execute("PRAGMA integrity_check").fetchone()[0]
        wrong = [] if sound == "ok" else [f"the memory is damaged: {sound}"]
        held = [key for (key,) in db.execute("SELECT key FROM messages WHERE state = 'waiting' AND edits = ''")]
        wrong += [f"{key} still waits" for key in held]
        judged = db.execute("SELECT metric, bucket FROM verdicts").fetchall()
    wrong += [f"moved aside: {path.name}" for path in world.memory.parent.glob("*.corrupt-*")]
    return wrong + _holes(judged, bucket(last, world.begin), bucket(since, world.begin))


def _holes(judged: Sequence[tuple[str, str]], last: datetime, since: datetime) -> list[str]:
    """Buckets from `since` to `last` that nobody judged."""
    by_metric: dict[str, set[datetime]] = {}
    for metric, at in judged:
        if metric.endswith(SEGMENTS_SUFFIX):  # of slices a run looks at its newest bucket only
            continue
        by_metric.setdefault(metric, set()).add(datetime.fromisoformat(at))
    wanted = {since + n * STEP for n in range(int((last - since) / STEP) + 1)}
    holes = {metric: len(wanted - seen) for metric, seen in by_metric.items() if wanted - seen}
    late = {metric: max(seen) for metric, seen in by_metric.items() if max(seen) != last}
    out = [f"{count} buckets of {metric} were not judged" for metric, count in holes.items()]
    out += [f"{metric} was judged until {at:%Y-%m-%dT%H:%MZ}" for metric, at in late.items()]
    return out if by_metric else ["no bucket was judged"]


def waiting(world: World) -> int:
    """Texts and pictures that are not told yet."""
    with closing(StateStore(world.memory)) as store:
        return sum(not message.edits for message in store.waiting())


def red_while_waiting(world: World, ran: Ran) -> list[str]:
    """A run that has not told everything is red, and only such a one (here, where everything can be seen)."""
    held = waiting(world)
    if (ran.code == 1) == bool(held):
        return []
    return [f"the run at {ran.bucket} ended with {ran.code} while {held} messages wait: {ran.said.strip()[-300:]}"]


def ended(ran: Ran, code: int, *words: str) -> list[str]:
    """Nothing, if it ended with this exit code and said this; else what it did."""
    if ran.code == code and all(word in ran.said for word in words):
        return []
    wanted = " ".join([str(code), *map(repr, words)])
    return [f"the run at {ran.bucket} ended with {ran.code} and not with {wanted}: {ran.said.strip()[-300:]}"]


def in_budget(world: World, seconds: float) -> list[str]:
    slow = [ran for ran in world.runs if ran.seconds > seconds]
    return [f"the run at {ran.bucket} took {ran.seconds:.0f} s, of {seconds:.0f}" for ran in slow]


def notices(chat: dict[str, Told], words: str = "check failed") -> list[Told]:
    return [told for told in chat.values() if words in told.first]
