"""Which tests are `fast` (they start no process, server, notebook or browser) and which are `dates` (they go by the clock).

Found by the names that a test, its fixtures and the helpers that they call use, so that nobody has to mark a test by hand.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import pytest

OUTSIDE = {
    "subprocess", "os.fork", "Popen", "Embedded", "run_alerts", "playwright", "settle", "getfixturevalue",
    "connect", "BotApi", "Web", "MailServer", "running_clickhouse", "running_cluster", "ThreadPoolExecutor",
}  # fmt: skip
running: pytest.Item | None = None  # the test that is under way
LONG = {"test_backtest", "test_store_stateful", "test_simulate", "test_bench_detection"}  # modules of minutes
DATES = ("test_pages", "test_simulate", "test_occasions", "test_duty", "test_review", "test_studies", "test_runner", "test_store")


def mark(items: list[pytest.Item]) -> None:
    """Add both markers to the tests that they are for."""
    for item in items:
        module = item.path.stem
        if module not in LONG and not reaches_outside(item):
            item.add_marker("fast")


def reaches_outside(item: Any) -> bool:
    fixtures = [found.func for known in item._fixtureinfo.name2fixturedefs.values() for found in known]
    return any(_uses(function) for function in (item.function, *fixtures))


@functools.cache
def _uses(thing: Any) -> bool:
    """Whether a function, or one of ours that it calls, names something outside of this process."""
    return any(name in OUTSIDE for name in _names(thing, set()))


def _names(thing: Any, seen: set[Any]) -> Iterator[str]:
    thing = getattr(thing, "__wrapped__", thing)
    if thing in seen or not getattr(thing, "__module__", "").startswith("tests"):
        return
    seen.add(thing)
    if isinstance(thing, type):
        for part in (*vars(thing).values(), *thing.__bases__):
            yield from _names(getattr(part, "fget", part), seen) if getattr(part, "__hash__", None) else ()
    if isinstance(thing, types.FunctionType):
        for name in _in_code(thing.__code__):
            yield name
            if name in thing.__globals__ and getattr(thing.__globals__[name], "__hash__", None):
                yield from _names(thing.__globals__[name], seen)


def _in_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _in_code(constant)
