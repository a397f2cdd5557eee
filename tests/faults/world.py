"""The surroundings of one scenario: source, state, records, a Bot API server as a process, and its runs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from alerting.settings import PREFIX, Settings
from tests.faults.gate import HEARTBEAT, Gate
from tests.faults.process import ALERT, Run, Server
from tests.faults.timeline import START, moment
from tests.servers import CHAT, PASSWORD, TOKEN
from tests.waiting import PATIENCE

LIMIT = 150.0  # seconds a run may take, whatever happens
SHORT = {"PATH", "HOME", "LANG", "TMPDIR"}  # what cron hands over


@dataclass
class Told:
    """A message in the chat: as it was accepted, and how often it was edited."""

    id: str
    first: str  # first line
    text: str
    method: str
    reply_to: str
    refs: frozenset[str]  # incidents that its buttons are about
    edits: int = 0


@dataclass
class Ran:
    """A run that is over. `accepted`: ids of the messages that came into the chat meanwhile."""

    bucket: int
    code: int | None
    seconds: float
    said: str
    killed: bool
    accepted: tuple[str, ...] = ()


@dataclass
class World:
    """`home`: its folder; `disk`: where memory and records lie, if not there; `begin`: of bucket 0. `direct`: no proxy before the
    chat."""

    home: Path
    source: str
    direct: bool = False
    zone: str = "UTC"
    disk: Path | None = None
    begin: datetime = START
    more: dict[str, str] = field(default_factory=dict)
    runs: list[Ran] = field(default_factory=list)
    kernels: set[int] = field(default_factory=set)

    def __enter__(self) -> World:
        self.home.mkdir(parents=True, exist_ok=True)
        portfile, self.chatlog = self.home / "port", self.home / "chat.jsonl"
        self.bot = Server(sys.executable, "-m", "tests.servers", "botapi", str(portfile), str(self.chatlog))
        _until(portfile.exists)
        self.bot_url = f"http://127.0.0.1:{portfile.read_text()}"
        self.gate = Gate(self.bot_url)
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.close()
        self.bot.close()

    @property
    def environ(self) -> dict[str, str]:
        """Every setting, so that nobody's own decide."""
        named = {PREFIX + f.name.upper(): f.metadata["default"] for f in fields(Settings)}
        ours = {
            "SOURCE": self.source, "DATA": str(self.memory.parent), "REPORTS": str(self.reports), "ZONE": self.zone,
            "TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT": CHAT, "TELEGRAM_URL": self.bot_url if self.direct else self.gate.url,
            "TELEGRAM_USERS": "4242", "CLICKHOUSE_PASSWORD": PASSWORD, "HEARTBEAT_URL": self.gate.url + HEARTBEAT,
        }  # fmt: skip
        kept = {name: text for name, text in os.environ.items() if name in SHORT}
        return {**kept, **named, **{PREFIX + name: text for name, text in (ours | self.more).items()}}

    @property
    def memory(self) -> Path:
        return (self.disk or self.home) / "data" / "alerts.sqlite"

    @property
    def reports(self) -> Path:
        return (self.disk or self.home) / "reports"

    def start(self, number: int, notebook: Path = ALERT, room: int | None = None, prefix: Sequence[str] = ()) -> Run:
        """A run that judges the bucket of this number as its newest; see `over`."""
        log = self.home / "runs" / f"{len(self.runs):04}-{time.monotonic_ns()}.log"
        log.parent.mkdir(exist_ok=True)
        return Run(f"{moment(number, self.begin):%Y-%m-%dT%H:%M}Z", self.environ, log, notebook, room, prefix)

    def over(self, number: int, run: Run, before: int) -> Ran:
        """Wait for its end, and write down what became of it; the chat had `before` messages when it began."""
        code = run.wait(LIMIT)
        self.kernels |= run.kernels
        accepted = tuple(list(self.chat())[before:])
        killed = run.killed or (code is not None and code < 0)
        ran = Ran(number, code, time.monotonic() - run.started, run.said, killed, accepted)
        self.runs.append(ran)
        return ran

    def run(self, number: int, during: Callable[[Run], object] = lambda run: None, **how: Any) -> Ran:
        before = len(self.chat())
        run = self.start(number, **how)
        during(run)
        return self.over(number, run, before)

    def chat(self) -> dict[str, Told]:
        """id -> message, oldest first."""
        told: dict[str, Told] = {}
        lines = self.chatlog.read_text(encoding="utf-8").splitlines() if self.chatlog.exists() else []
        for entry in map(json.loads, lines):
            if entry["id"] in told:
                told[entry["id"]].edits += 1
                continue
            refs = frozenset(b["callback_data"].split(":")[1] for row in entry["keyboard"] for b in row)
            first = entry["plain"].partition("\n")[0]
            told[entry["id"]] = Told(entry["id"], first, entry["plain"], entry["method"], entry["reply_to"], refs)
        return told

    def control(self, **order: Any) -> Mapping[str, Any]:
        """Tell the Bot API server what goes wrong next; what it holds."""
        request = Request(f"{self.bot_url}/control", json.dumps(order).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))


def _until(there: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("a server did not start")
        time.sleep(0.01)
