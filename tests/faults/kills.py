"""A. SIGKILL for runner, kernel or both: between two steps, at a random moment, and between acceptance and mark."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from tests.faults.audit import account, per_crash, repeats
from tests.faults.process import ALERT, WHOM, Run
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import START, STEP, Planted, plan, table
from tests.faults.world import World

KILL = {
    "kernel": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "runner": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "both": "import os, signal; os.kill(os.getppid(), signal.SIGKILL); os.kill(os.getpid(), signal.SIGKILL)",
}
SENDING = ("sendMessage", "sendPhoto", "editMessageText", "editMessageCaption", "editMessageMedia")
DRAIN = 24  # buckets after the last kill
ROOM = 12  # buckets per kill, of which one in delivery needs the most: the next incident begins within ten


def murderous(folder: Path) -> list[Path]:
    """The notebook, once for each step and each victim, with a cell after the step that kills it."""
    steps = [n for n, cell in enumerate(_alert().cells) if cell.cell_type == "code"]
    return [_with(folder / f"after-{n:02}-{whom}.ipynb", n, code) for n in steps for whom, code in KILL.items()]


def _alert() -> nbformat.NotebookNode:
    return nbformat.reads(ALERT.read_text(encoding="utf-8"), as_version=4)


def _with(path: Path, step: int, code: str) -> Path:
    notebook = _alert()
    notebook.cells.insert(step + 1, nbformat.v4.new_code_cell(code))
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@dataclass
class Trap:
    """Kills when the bot sends its `nth` message: just before it is accepted, or just after. Then hangs up."""

    whom: str
    accepted: bool
    nth: int
    run: Run | None = None
    sprung: bool = False
    seen: int = field(default=0)

    def __call__(self, method: str, accepted: bool) -> bool:
        if method not in SENDING or self.sprung or accepted != self.accepted:
            return False
        self.seen += 1
        if self.seen < self.nth or self.run is None:
            return False
        self.sprung = True
        self.run.kill(self.whom)
        return True


@dataclass(frozen=True)
class Killer:
    """`kill`: start the run that judges this bucket, and kill it; `telling`: it is met only by a run that opens an incident."""

    kill: Callable[[World, int], object]
    telling: bool = False


Killers = Callable[[random.Random, Path], Iterator[Killer]]


def between_steps(rng: random.Random, folder: Path) -> Iterator[Killer]:
    notebooks = murderous(folder)
    while True:
        for path in rng.sample(notebooks, len(notebooks)):

            def kill(world: World, number: int, path: Path = path) -> None:
                ran = world.run(number, notebook=path)
                ran.killed = ran.code != 0  # the runner outlives its kernel, and says so

            yield Killer(kill)


def at_random(rng: random.Random, folder: Path) -> Iterator[Killer]:
    """Uniform over what a run usually takes, which is measured on the way."""
    while True:
        share, whom = rng.random(), rng.choice(WHOM)

        def kill(world: World, number: int, share: float = share, whom: str = whom) -> None:
            whole = sorted(ran.seconds for ran in world.runs if not ran.killed)
            wait = share * whole[len(whole) // 2]
            world.run(number, lambda run: run.kill(whom, after=wait))

        yield Killer(kill)


def in_delivery(rng: random.Random, folder: Path) -> Iterator[Killer]:
    while True:
        trap = Trap(rng.choice(WHOM), rng.random() < 0.75, rng.choice((1, 1, 1, 2)))

        def kill(world: World, number: int, trap: Trap = trap) -> None:
            world.gate.trap = trap
            world.run(number, lambda run: setattr(trap, "run", run))
            world.gate.trap = None

        yield Killer(kill, telling=True)


def in_turn(*several: Killers) -> Killers:
    def killers(rng: random.Random, folder: Path) -> Iterator[Killer]:
        kinds = [kind(rng, folder) for kind in several]
        while True:
            yield from map(next, kinds)

    return killers


def scenario(name: str, killers: Killers, count: int) -> Scenario:
    def play(row: Row, task: Task) -> None:
        rng, length = random.Random(f"{task.seed} {name}"), ROOM * count + 2 * DRAIN
        planted = plan(length, rng)
        source = table(task.folder / "table.parquet", planted, length, task.seed)
        with World(task.folder / "world", str(source)) as world:
            number = _killed(row, world, killers(rng, task.folder), count, task, planted)
            for _ in range(2):
                number += DRAIN // 2
                row.wrong += _unclean(world, number)
            account(row, world, planted, number, sum(ran.killed for ran in world.runs))
            row.wrong += per_crash(world, repeats(world)) + _pulse(world)

    return Scenario(name, play)


def _killed(row: Row, world: World, killers: Iterator[Killer], count: int, task: Task, planted: Sequence[Planted]) -> int:
    """Kill `count` runs, with a clean one after each; the last bucket."""
    rng, number, killed = random.Random(f"{task.seed} {row.scenario}, runs"), 0, 0
    world.run(number)
    while killed < count and number < ROOM * count and task.in_time:
        killer = next(killers)
        number += rng.choice((1, 1, 2))
        if killer.telling:  # the run judges all buckets until then, as after any pause
            number = next(at for at in map(_told_in, planted) if at >= number)
        killer.kill(world, number)
        killed += world.runs[-1].killed
        number += rng.choice((0, 0, 1))
        row.wrong += _unclean(world, number)
    row.wrong += [f"{killed} of {count} runs were killed"] if killed < count else []
    return number


def _told_in(incident: Planted) -> int:
    """Number of the bucket of its opening."""
    return (incident.told_at - START) // STEP


def _unclean(world: World, number: int) -> list[str]:
    ran = world.run(number)
    return [] if ran.code == 0 else [f"the run after a kill ended with {ran.code}: {ran.said.strip()[-300:]}"]


def _pulse(world: World) -> list[str]:
    """The watchdog hears of green runs, and of no other. A run killed after its end may have been one."""
    green, killed = sum(ran.code == 0 for ran in world.runs), sum(ran.killed for ran in world.runs)
    return [] if green <= world.gate.beats <= green + killed else [f"{world.gate.beats} heartbeats of {green} green runs"]


def scenarios(total: int, quick: bool) -> list[Scenario]:
    if quick:
        half = total // 2
        return [
            scenario("SIGKILL in delivery, at random", in_turn(in_delivery, at_random), half),
            scenario("SIGKILL between two steps, in delivery", in_turn(between_steps, in_delivery), total - half),
        ]
    third = total // 3
    return [
        scenario("SIGKILL between two steps", between_steps, total - 2 * third),
        scenario("SIGKILL in delivery", in_delivery, third),
        scenario("SIGKILL at a random moment", at_random, third),
    ]
