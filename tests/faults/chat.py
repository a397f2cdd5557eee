"""B. The Bot API fails in several ways during an incident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.faults.audit import account, in_budget, red_while_waiting
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import FIRST, one, table
from tests.faults.world import World

SENT = ("sendMessage", "sendPhoto")
UNSURE = ("accepted but no answer", "half answer", "stall")  # after these a message may come again
RUNS = (FIRST, FIRST + 1, FIRST + 3, FIRST + 4, FIRST + 10, FIRST + 16)
SPARE = 20.0  # seconds beside what the fault itself may cost


@dataclass(frozen=True)
class Trouble:
    """A fault of the Bot API that begins with the opening message. `seconds`: how long a run may wait for it in all."""

    name: str
    orders: tuple[dict[str, Any], ...]
    seconds: float = 0.0


def _order(kind: str, times: int, method: str | None = None, **details: Any) -> dict[str, Any]:
    return {"kind": kind, "times": times, "method": method, **details}


TEXT, PICTURE = SENT
TROUBLES = (
    Trouble("chat: 429 storm, wait 1 s", (_order("429", 9, retry_after=1),), 90),
    Trouble("chat: 429 storm, wait 10 min", (_order("429", 6, retry_after=600),)),
    Trouble("chat: 500, 502, 503", tuple(_order(code, 2) for code in ("500", "502", "503"))),
    Trouble("chat: connections cut", (_order("reset", 6),)),
    Trouble("chat: half answers", (_order("half answer", 2, PICTURE), _order("half answer", 1, TEXT))),
    Trouble(
        "chat: accepts, no answer", (_order("accepted but no answer", 2, PICTURE), _order("accepted but no answer", 1, TEXT))
    ),
    Trouble("chat: 60 s stalls", (_order("stall", 3, seconds=60),), 60),
    Trouble("chat: HTML from a proxy", (_order("502 html", 3), _order("200 html", 3))),
    Trouble("chat: kicked, then back", (_order("kicked", 3, PICTURE),)),
    Trouble("chat: becomes a supergroup", (_order("migrate", 1, PICTURE, ctx="-1009876543210"),)),
)
ALL_SORTS = (
    _order("429", 1, PICTURE, retry_after=1),
    _order("stall", 1, PICTURE, seconds=60),
    _order("accepted but no answer", 1, TEXT),
    _order("502", 1, PICTURE),
    _order("migrate", 1, PICTURE, ctx="-1009876543210"),
)
QUICK = (Trouble("chat: 429, stall, no answer, 502, supergroup", ALL_SORTS, 40),)


def scenario(trouble: Trouble) -> Scenario:
    def play(row: Row, task: Task) -> None:
        planted = one()
        source = table(task.folder / "table.parquet", planted, RUNS[-1] + 4, task.seed)
        with World(task.folder / "world", str(source), direct=True) as world:
            world.run(FIRST - 1)
            for order in trouble.orders:
                world.control(**order)
            for number in RUNS:
                row.wrong += red_while_waiting(world, world.run(number))
            held = world.control()
            account(row, world, planted, RUNS[-1], sum(method in SENT and kind in UNSURE for method, kind in held["calls"]))
            row.wrong += in_budget(world, trouble.seconds + SPARE) + _left(held)

    return Scenario(trouble.name, play)


def _left(held: Any) -> list[str]:
    return [f"{fault['times']} of the faults {fault['kind']!r} met nobody" for fault in held["faults"]]


def scenarios(quick: bool) -> list[Scenario]:
    return [scenario(trouble) for trouble in (QUICK if quick else TROUBLES)]
