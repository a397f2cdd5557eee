"""What is remembered between runs, in one SQLite file: judged buckets, episodes, incidents, the outbox, the diary of runs."""

from alerting.store.history import HistoryReader
from alerting.store.per_destination import PerDestinationStore
from alerting.store.state import StateCounts, StateStore

__all__ = ["HistoryReader", "PerDestinationStore", "StateCounts", "StateStore"]
