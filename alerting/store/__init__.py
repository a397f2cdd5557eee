"""The state database, one SQLite file: verdicts, episodes, incidents, the outbox, the run log and the history cache."""

from alerting.store.history import HistoryReader
from alerting.store.per_destination import PerDestinationStore
from alerting.store.state import StateCounts, StateStore

__all__ = ["HistoryReader", "PerDestinationStore", "StateCounts", "StateStore"]
