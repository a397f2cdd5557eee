"""The memory of somebody who tells several destinations: each message is remembered once per destination, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.routing import Routes, addressed_to
from alerting.model.verdict import EventKind
from alerting.store.state import StateStore


class PerDestinationStore(StateStore):
    """The memory at `path`. A copy waits, is sent and is refused by itself: what one destination does changes no other's."""

    def __init__(self, path: str | Path, routes: Routes | None = None, patience: float = 10.0) -> None:
        self._routes = routes or Routes()
        super().__init__(path, patience, self._routes.destinations)

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """As `Store.commit`, for the copies of the messages."""
        super().commit(replace(memory, messages=list(self._copies(memory.messages))), at)

    def _copies(self, messages: Sequence[Message]) -> Iterator[Message]:
        heard: dict[str, dict[str, bool]] = {}  # incident -> its destinations, these messages included
        for message in messages:
            known = heard.setdefault(message.incident, self.heard_of(message.incident)) if message.incident else {}
            for place in self._places(message, known):
                known.setdefault(place, False)
                yield addressed_to(message, place)

    def _places(self, message: Message, known: dict[str, bool]) -> list[str]:
        """Where an incident was told of, all that follows is told, too; and, should it become critical, where that goes."""
        there = [place for place in self._routes.places if place in known]
        if message.edits:
            return there or [*self._routes.places]  # an edit of what is not there comes to nothing
        if message.kind is EventKind.CORRECTED and there:
            return [place for place in there if known[place]]  # there is nothing to be sorry for anywhere else
        added = self._routes.of(message) if message.critical or not there else ()
        return [place for place in self._routes.places if place in there or place in added]
