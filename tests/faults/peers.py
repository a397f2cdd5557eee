"""F. Peers that drip, flood or ask for hours: each destination, the heartbeat, ClickHouse, and several at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alerting.model.routing import destination_of, plain_key
from tests.faults.audit import account, ended, in_budget, notices, openings, red_while_waiting
from tests.faults.database import COUNT, LIKES, MESSAGES, READY, fill
from tests.faults.process import Run
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import FIRST, one, table
from tests.faults.world import World
from tests.servers import MailServer, Peer, Web, clickhouse_binary, running_clickhouse, says
from tests.waiting import until

LAST = FIRST + 16
PING = 10.0  # seconds that a request of the heartbeat may take
REQUEST = {"telegram": 15.0, "slack": 15.0, "webhook": 15.0, "email": 60.0}  # seconds that one may take
SPARE = 30.0  # seconds of a run beside its requests
HOOK = "/services/hook-3a7f09d2c4e1"
DRIPPING = ("headers drip", "body drips", "handshake drips")
KINDS = {
    "telegram": (*DRIPPING, "endless body"),
    "slack": ("headers drip", "silence", "handshake drips", "endless headers"),  # a body after 2xx is not waited for
    "webhook": ("headers drip", "handshake drips", "endless header"),
    "email": ("greeting drips", "handshake drips", "endless greeting"),
}
SETTING = {"telegram": "TELEGRAM_URL", "slack": "SLACK_URL", "webhook": "WEBHOOK_URL", "email": "EMAIL_SERVER"}


@dataclass
class Post:
    """A world with all four destinations, each message to each of them."""

    world: World
    slack: Web
    webhook: Web
    mail: MailServer

    def well(self) -> None:
        """Every destination is as it should be."""
        self.world.more = {
            "SLACK_URL": self.slack.url + HOOK,
            "WEBHOOK_URL": self.webhook.url + HOOK,
            "EMAIL_SERVER": f"smtp://127.0.0.1:{self.mail.port}",
            "EMAIL_FROM": "alerts@example.com",
            "EMAIL_TO": "duty@example.com",
            "ROUTES": "* -> telegram, slack, webhook, email",
        }

    def hang(self, place: str, peer: Peer) -> None:
        """Have the peer in the place of a destination."""
        tls = "s" if peer.kind == "handshake drips" else ""
        scheme, path = ("smtp", "") if place == "email" else ("http", "" if place == "telegram" else HOOK)
        self.world.more[SETTING[place]] = f"{scheme}{tls}://127.0.0.1:{peer.port}{path}"

    def heard(self) -> dict[str, list[str]]:
        """Destination -> what it has accepted, each message by what tells it from others."""
        posts = [asked.body for asked in self.webhook.asked]
        return {
            "telegram": [told.id for told in self.world.chat().values()],
            "slack": [json.loads(asked.body)["text"] for asked in self.slack.asked],
            "webhook": [posted["key"] for posted in map(json.loads, posts) if not posted["edits"]],
            "email": [str(letter.mail["Message-ID"]) for letter in self.mail.letters],
        }


@contextmanager
def posted(task: Task) -> Iterator[Post]:
    """As it is just before the one incident begins."""
    source = table(task.folder / "table.parquet", one(), LAST + 4, task.seed)
    slack, webhook, mail = Web().will(says("ok")), Web().will(says("")), MailServer()
    try:
        with World(task.folder / "world", str(source), direct=True) as world:
            post = Post(world, slack, webhook, mail)
            post.well()
            world.run(FIRST - 1)
            yield post
    finally:
        for server in (slack, webhook, mail):
            server.close()


def hanging(place: str, kinds: tuple[str, ...]) -> Scenario:
    """A run for each way in which the destination hangs: red, in time, and all others have their messages meanwhile."""

    def play(row: Row, task: Task) -> None:
        with posted(task) as post:
            for number, kind in enumerate(kinds, FIRST):
                with Peer(kind) as peer:
                    post.hang(place, peer)
                    meanwhile = _others_hear(row, post, {place}, peer) if number == FIRST else lambda run: None
                    row.wrong += ended(post.world.run(number, meanwhile), 1, "was kept")
                    row.wrong += red_while_waiting(post.world, post.world.runs[-1]) + _bounded(peer)
            post.well()
            for number in (FIRST + 5, FIRST + 10, LAST):
                row.wrong += ended(post.world.run(number), 0)
            requests = 2 if place == "telegram" else 1  # presses are read there, too
            row.wrong += in_budget(post.world, requests * REQUEST[place] + SPARE)
            _audit(row, post)

    return Scenario(f"{place}: drips, or never ends", play)


def _others_hear(row: Row, post: Post, places: set[str], peer: Peer) -> Callable[[Run], None]:
    """What to do during a run: wait until the others have a message more, and see that no request to the peer has ended."""
    before = {place: len(texts) for place, texts in post.heard().items()}
    given_up = peer.met - peer.open + ("telegram" in places)  # presses are read there before anything is sent

    def others_have() -> bool:
        return all(len(texts) > before[place] for place, texts in post.heard().items() if place not in places)

    def during(run: Run) -> None:
        until(lambda: others_have() or run.process.poll() is not None, "the run did not end")
        row.wrong += [] if others_have() else [f"nobody heard of it while {', '.join(places)} hung"]
        row.wrong += [] if peer.met - peer.open <= given_up else [f"the others waited for {', '.join(places)}"]

    return during


def _bounded(peer: Peer) -> list[str]:
    """It was met, and nobody read much of an answer without an end."""
    wrong = [] if peer.met else [f"nobody met the peer: {peer.kind}"]
    return wrong + ([f"{peer.longest >> 20} MiB of an answer were read: {peer.kind}"] if peer.longest > 100 * 2**20 else [])


def _audit(row: Row, post: Post) -> None:
    """Nothing is lost or told twice, at any destination."""
    account(row, post.world, one(), LAST, 0)
    with closing(sqlite3.connect(post.world.memory, timeout=20)) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM messages WHERE state = 'sent' AND edits = ''")]
    for place, texts in post.heard().items():
        again = len(texts) - len(set(texts))
        row.repeated += again
        row.wrong += [f"{place} has {again} messages twice"] if again else []
        sent = {plain_key(key) for key in keys if destination_of(key) == place}
        row.wrong += [] if sent == {plain_key(key) for key in keys} else [f"{place} was not sent all that others were"]
        row.lost += max(0, len(sent) - len(texts))
        row.wrong += [] if len(sent) == len(texts) else [f"{place} has {len(texts)} of {len(sent)} messages"]


def several(row: Row, task: Task) -> None:
    """Slack, webhook and mail hang at once: the chat has the opening, then that the check failed, while they do."""
    others = {"slack", "webhook", "email"}
    with posted(task) as post, Peer("headers drip") as peer, Peer("greeting drips") as greeting:
        world, source = post.world, Path(post.world.source)
        for place in others:
            post.hang(place, greeting if place == "email" else peer)
        row.wrong += ended(world.run(FIRST, _others_hear(row, post, others, greeting)), 1, "was kept")
        source.rename(source.with_suffix(".away"))
        row.wrong += ended(world.run(FIRST + 1, _others_hear(row, post, others, greeting)), 1)
        source.with_suffix(".away").rename(source)
        row.wrong += [] if len(notices(world.chat())) == 1 else ["the chat was not told that the check failed"]
        row.wrong += in_budget(world, REQUEST["email"] + SPARE)
        post.well()
        for number in (FIRST + 5, FIRST + 10, LAST):
            row.wrong += ended(world.run(number), 0)
        _audit(row, post)


def everything(row: Row, task: Task) -> None:
    """Database, destinations and heartbeat hang: the run ends within its limit and a minute, and the next one is free to run."""
    limit = 20
    with posted(task) as post, Peer("headers drip") as peer, Peer("greeting drips") as greeting:
        world, source = post.world, post.world.source
        for place in SETTING:
            post.hang(place, greeting if place == "email" else peer)
        world.more |= {"HEARTBEAT_URL": peer.url, "RUN_TIMEOUT": str(limit)}
        world.source = peer.url
        ran = world.run(FIRST)
        row.wrong += ended(ran, 1)
        row.wrong += [f"it took {ran.seconds:.0f} s"] if ran.seconds > limit + 60 else []
        post.well()
        world.source = source
        for number in (FIRST + 1, FIRST + 10, LAST):
            row.wrong += ended(world.run(number), 0)
        _audit(row, post)


def heartbeat(row: Row, task: Task) -> None:
    """It costs a run its deadline, and nothing else."""
    with posted(task) as post:
        for number, kind in enumerate((*DRIPPING, "endless body"), FIRST):
            with Peer(kind) as peer:
                url = peer.url.replace("http", "https") if kind == "handshake drips" else peer.url
                post.world.more["HEARTBEAT_URL"] = url
                row.wrong += ended(post.world.run(number), 0) + _bounded(peer)
        post.well()
        for number in (FIRST + 5, FIRST + 10, LAST):
            row.wrong += ended(post.world.run(number), 0)
        row.wrong += in_budget(post.world, PING + SPARE)
        _audit(row, post)


def clickhouse(row: Row, task: Task) -> None:
    """A run for each way in which it hangs: red, in time, and what was left out is judged afterwards."""
    store = task.folder / "clickhouse"
    store.mkdir()
    user = {"CLICKHOUSE_USER": "reader", "CLICKHOUSE_TIMEOUT": "3"}
    with running_clickhouse(store) as server, World(task.folder / "world", server.url, more=user) as world:
        fill(server)
        row.wrong += ended(world.run(READY), 0)
        for number, kind in enumerate((*DRIPPING, "endless body", "endless headers"), READY + 1):
            with Peer(kind) as peer:
                world.source = peer.url.replace("http", "https") if kind == "handshake drips" else peer.url
                row.wrong += ended(world.run(number), 1, "not judged") + _bounded(peer)
        world.source = server.url
        for number in (46, 70, COUNT - 4):
            row.wrong += ended(world.run(number), 0)
        account(row, world, [LIKES, MESSAGES], COUNT - 4, 0, since=READY)
        row.wrong += in_budget(world, SPARE)


def long_pause(row: Row, task: Task) -> None:
    """The chat asks for six hours, again at each probe: red without a heartbeat until the opening is told, and told first."""
    source = table(task.folder / "table.parquet", one(), LAST + 4, task.seed)
    with World(task.folder / "world", str(source)) as world:
        world.run(FIRST - 1)
        world.control(kind="429", times=3, method="sendPhoto", retry_after=21_600)
        for number in (FIRST, FIRST + 1, FIRST + 2, FIRST + 3, FIRST + 4, FIRST + 10, LAST):
            ran = world.run(number)
            row.wrong += red_while_waiting(world, ran)
            row.wrong += ended(ran, 1 if number < FIRST + 3 else 0)
        green = sum(ran.code == 0 for ran in world.runs)
        row.wrong += [] if world.gate.beats == green else [f"{world.gate.beats} heartbeats of {green} green runs"]
        first = next(iter(world.chat().values()), None)
        row.wrong += [] if first in openings(world.chat(), one()[0]) else [f"the opening was overtaken by {first}"]
        account(row, world, one(), LAST, 0)
        row.wrong += in_budget(world, SPARE)


def scenarios(quick: bool) -> list[Scenario]:
    pause = Scenario("chat: 429, wait six hours", long_pause)
    if quick:
        return [hanging("slack", ("headers drip",)), pause]
    database = [Scenario("ClickHouse: drips, or never ends", clickhouse)] if clickhouse_binary() else []
    return [
        *(hanging(place, KINDS[place]) for place in ("email", "telegram", "slack", "webhook")),
        Scenario("slack, webhook and email drip at once", several),
        Scenario("all drip at once", everything),
        Scenario("heartbeat: drips, or never ends", heartbeat),
        *database,
        pause,
    ]
