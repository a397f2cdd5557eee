"""What is remembered between runs, in one SQLite file: judged buckets, episodes, incidents, the outbox, the diary of runs."""

from alerting.store.history import Held
from alerting.store.memory import Counts, Store

__all__ = ["Counts", "Held", "Store"]
