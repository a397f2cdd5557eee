"""What is remembered between runs, in one SQLite file: judged buckets, episodes, incidents, the outbox, the diary of runs."""

from alerting.store.history import Held
from alerting.store.memory import Counts, Store
from alerting.store.routed import Routed

__all__ = ["Counts", "Held", "Routed", "Store"]
