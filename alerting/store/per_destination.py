"""The state of an installation with several destinations: one copy of each message for each of its destinations."""

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
    """The state at `path`. Each copy waits, is sent or is refused on its own, whatever the other destinations do."""

    def __init__(self, path: str | Path, routes: Routes | None = None, patience: float = 10.0) -> None:
        self._routes = routes or Routes()
        super().__init__(path, patience, self._routes.destinations)

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """Store the run as `StateStore.commit` does, with the copies in place of the messages."""
        super().commit(replace(memory, messages=list(self._copies(memory.messages))), at)

    def _copies(self, messages: Sequence[Message]) -> Iterator[Message]:
        by_incident: dict[str, dict[str, bool]] = {}  # incident -> its destinations, those of these messages included
        for message in messages:
            reached = dict[str, bool]()
            if message.incident:
                reached = by_incident.setdefault(message.incident, self.incident_destinations(message.incident))
            for destination in self._destinations_of(message, reached):
                reached.setdefault(destination, False)
                yield addressed_to(message, destination)

    def _destinations_of(self, message: Message, reached: dict[str, bool]) -> list[str]:
        """The destinations of a message. `reached`: those that its incident was sent to -> whether one message was accepted.

        A message of an incident follows the messages before it; a critical one also goes where its route leads.
        """
        known = [name for name in self._routes.places if name in reached]
        if message.edits:
            return known or [*self._routes.places]  # an edit without its message comes to nothing
        if message.kind is EventKind.CORRECTED and known:
            return [name for name in known if reached[name]]  # elsewhere nothing wrong was sent
        routed = self._routes.of(message) if message.critical or not known else ()
        return [name for name in self._routes.places if name in known or name in routed]
