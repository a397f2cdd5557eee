"""F. Floods of presses, kills while presses are read, a state that is lost or cut, wrong settings, a wrong clock."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.faults.audit import account, ended, in_budget, notices, repeats
from tests.faults.machine import LAST, incident
from tests.faults.process import ALERT, ROOT, Run
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import FIRST, one, table
from tests.faults.world import World

DAY = 96  # buckets
FLOOD = 1_500
ANNA = {"id": 4242, "first_name": "Anna"}
BUTTONS = {
    "take": "is on it",
    "snooze": "silent until",
    "mute": "until it is resolved",
    "false": "false alarm",
    "expected": "expected",
}


def _afterwards(row: Row, world: World, *numbers: int) -> None:
    for number in (*numbers, FIRST + 12, LAST):
        row.wrong += ended(world.run(number), 0)
    account(row, world, one(), LAST, sum(ran.killed for ran in world.runs))


def _opening(world: World) -> str:
    (opening,) = [told.id for told in world.chat().values() if told.refs and not told.reply_to]
    return opening


def _lines(world: World, words: str) -> int:
    return sum(words in told.text for told in world.chat().values() if told.reply_to)


def flood(user: dict[str, object]) -> Scenario:
    """One person presses all the time: each run judges, and each button is answered once."""

    def play(row: Row, task: Task) -> None:
        with incident(task) as world:
            row.wrong += ended(world.run(FIRST), 0)
            opening = _opening(world)
            for number in range(FLOOD):
                world.control(press={"message_id": opening, "button": ("take", "snooze")[number % 2], "user": user})
            row.wrong += ended(world.run(FIRST + 1), 0)
            world.control(press={"message_id": opening, "button": "take", "user": ANNA})
            _afterwards(row, world, FIRST + 2)
            row.wrong += [] if _lines(world, "is on it") == 1 else [f"{_lines(world, 'is on it')} answers to 'take'"]
            row.wrong += in_budget(world, 60)

    return Scenario(f"presses: {FLOOD} by somebody who {'may' if user is ANNA else 'may not'} press", play)


def killed_while_reading(row: Row, task: Task) -> None:
    """The run dies when it has got the presses, or just before: each counts once."""
    with incident(task) as world:
        row.wrong += ended(world.run(FIRST), 0)
        opening = _opening(world)
        for number, (button, words) in enumerate(list(BUTTONS.items())[:3], FIRST + 1):
            world.control(press={"message_id": opening, "button": button, "user": ANNA})
            runs: list[Run] = []
            world.gate.trap = _killing(runs, accepted_first=number % 2 == 0)
            world.run(number, runs.append)
            world.gate.trap = None
            row.wrong += ended(world.run(number), 0)
            row.wrong += [] if _lines(world, words) == 1 else [f"{_lines(world, words)} answers to {button!r}"]
        row.runs = len(world.runs)
        row.wrong += [] if any(ran.killed for ran in world.runs) else ["no run was killed"]


def _killing(runs: list[Run], accepted_first: bool) -> Callable[[str, bool], bool]:
    def trap(method: str, accepted: bool) -> bool:
        return method == "getUpdates" and accepted == accepted_first and bool(runs and runs[-1].kill("both"))

    return trap


def listen_killed(row: Row, task: Task) -> None:
    """`listen` is killed again and again while people press: no press is lost, and a kill may repeat one answer."""
    rng = random.Random(task.seed)
    with incident(task) as world:
        row.wrong += ended(world.run(FIRST), 0)
        opening = _opening(world)
        for button in BUTTONS:
            process = _listen(world)
            world.control(press={"message_id": opening, "button": button, "user": ANNA})
            time.sleep(rng.uniform(1, 6))  # between its start and after its answer
            process.send_signal(signal.SIGKILL)
            process.wait()
        with suppress(subprocess.TimeoutExpired):
            _listen(world, "--turns", "2").wait(90)
        for button, words in BUTTONS.items():
            row.lost += _lines(world, words) == 0
            row.wrong += [] if 1 <= _lines(world, words) <= 2 else [f"{_lines(world, words)} answers to {button!r}"]
        row.runs, row.bound, row.repeated = len(world.runs), len(BUTTONS), len(repeats(world))


def _listen(world: World, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "alerting", "listen", *words]
    with (world.home / "listen.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=world.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def lost(name: str, lose: Callable[[Path, random.Random], object]) -> Scenario:
    """The state is lost while the incident is told: the next run is red, says why, and nothing is told twice."""

    def play(row: Row, task: Task) -> None:
        rng = random.Random(task.seed)
        with incident(task) as world:
            row.wrong += ended(world.run(FIRST), 0)
            lose(world.memory, rng)
            row.wrong += ended(world.run(FIRST + 1), 1, "restored from")
            row.wrong += [] if len(notices(world.chat())) == 1 else ["the chat was not told once that the state was lost"]
            _afterwards(row, world, FIRST + 3)
            row.wrong = [text for text in row.wrong if not text.startswith("moved aside")]

    return Scenario(f"state: {name}", play)


def _cut(memory: Path, rng: random.Random) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{memory}{suffix}").unlink(missing_ok=True)
    size = memory.stat().st_size
    os.truncate(memory, rng.randrange(max(0, size - (1 << 20)), size))


def wrong_setting(row: Row, task: Task) -> None:
    """Somebody edits the settings: the run ends with 2, the chat hears of it once, and nothing is lost."""
    with incident(task) as world:
        world.more["METRICS"] = "nobody"
        row.wrong += ended(world.run(FIRST), 2, "nobody") + ended(world.run(FIRST + 1), 2, "nobody")
        told = [notice.text for notice in notices(world.chat()) if "ALERTING_METRICS names nobody" in notice.text]
        row.wrong += [] if len(told) == 1 else [f"it was told {len(told)} times"]
        del world.more["METRICS"]
        _afterwards(row, world, FIRST + 2)


def wrong_clock(row: Row, task: Task) -> None:
    """The machine's clock is a day ahead for one run. The next one says so in red, once; everything is judged and told once."""
    notebook = task.folder / "clock.ipynb"
    alert = ALERT.read_text(encoding="utf-8")
    notebook.write_text(alert.replace("connections.connect(dry_run)", "connections.connect(dry_run, now=now)"), encoding="utf-8")
    source = table(task.folder / "table.parquet", one(), DAY + 40, task.seed)
    with World(task.folder / "world", str(source)) as world:
        for number, code, words in (
            (FIRST - 1, 0, ""), (FIRST + DAY, 0, ""), (FIRST, 1, "in the future"), (FIRST + 1, 0, ""), (FIRST + DAY + 1, 0, ""),
        ):  # fmt: skip
            row.wrong += ended(world.run(number, notebook=notebook), code, words)
        account(row, world, one(), FIRST + DAY + 1, 0)


def scenarios(quick: bool) -> list[Scenario]:
    always = [lost("cut by a power loss", _cut), Scenario("clock: a day ahead, then right", wrong_clock)]
    if quick:
        return always
    return [
        flood({"id": 9, "first_name": "Eve"}),
        flood(ANNA),
        Scenario("presses: killed while they are read", killed_while_reading),
        Scenario("presses: listen is killed", listen_killed),
        *always,
        lost("emptied", lambda memory, _: memory.write_bytes(b"")),
        lost("deleted", lambda memory, _: [path.unlink() for path in memory.parent.glob("alerts.sqlite*")]),
        Scenario("settings: a metric that is not there", wrong_setting),
    ]
