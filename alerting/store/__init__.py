"""The state database, one SQLite file: verdicts, episodes, incidents, the outbox, the run log and the history cache."""
