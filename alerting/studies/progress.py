"""Bars for what takes longer than two seconds: in a notebook, and in a terminal where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from alerting import pipeline
from alerting.backtest.replaying import Track
from alerting.sources.cached import Cached

WAIT = 2.0  # seconds before a bar is shown


def bar(items: Any = None, **options: Any) -> Any:
    """tqdm that is seen only when it is worth it, and is gone afterwards; in a log there is none."""
    from tqdm.auto import tqdm

    unseen = False if "ipykernel" in sys.modules else None  # None: unless the stream is a terminal
    return tqdm(items, **{"delay": WAIT, "leave": False, "disable": unseen} | options)


def track(what: str) -> Track:
    """For the `track` of a study's step: a bar with a name."""
    return partial(bar, desc=what)


@contextmanager
def reading(to: pipeline.Connections, make: Callable[..., Any] = bar) -> Iterator[None]:
    """A bar per table whose past is read for the first time, instead of lines. `make`: as `bar`."""
    source = to.source
    if not isinstance(source, Cached):  # a file is read whole, at once
        yield
        return
    bars: dict[str, Any] = {}

    def show(name: str, done: float, whole: float) -> None:
        if name not in bars:
            bars[name] = make(total=round(whole), desc=f"history of {name}", unit="day")
        bars[name].update(round(done) - bars[name].n)

    source.progress = show
    try:
        yield
    finally:
        source.progress = None
        for each in bars.values():
            each.close()
