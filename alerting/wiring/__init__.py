"""Opens the doors: settings -> the connections a run is handed. The only place that knows which adapter is which."""

from alerting.wiring.connecting import connect, connect_chat, open_notifier, open_store
from alerting.wiring.failing import notify_failure
from alerting.wiring.tables import SQL, catalogue, open_source, queries, remembering, tables

__all__ = [
    "SQL", "catalogue", "connect", "connect_chat", "notify_failure", "open_notifier", "open_source", "open_store", "queries",
    "remembering", "tables",
]  # fmt: skip
