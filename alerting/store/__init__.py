"""What is remembered between runs, in one SQLite file: judged buckets, episodes, the outbox."""

from alerting.store.memory import Counts, Store

__all__ = ["Counts", "Store"]
