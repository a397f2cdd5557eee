"""The tables, as they came to be."""

MIGRATIONS = (  # from each version of the schema to the next; never edit one that has been released
    (
        """CREATE TABLE verdicts (metric TEXT, bucket TEXT, status TEXT NOT NULL, value REAL, low REAL, expected REAL, high REAL,
           score REAL, reason TEXT NOT NULL, news INTEGER NOT NULL, usual REAL, PRIMARY KEY (metric, bucket)) WITHOUT ROWID""",
        "CREATE TABLE episodes (metric TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE messages (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, metric TEXT NOT NULL,
           bucket TEXT NOT NULL, text TEXT NOT NULL, photo BLOB, reply_to TEXT NOT NULL,
           state TEXT NOT NULL DEFAULT 'waiting', due TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
           reason TEXT NOT NULL DEFAULT '', message_id TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX outbox ON messages (id) WHERE state = 'waiting'",
    ),
    (
        "ALTER TABLE messages ADD COLUMN edits TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN incident TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE messages ADD COLUMN buttons TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE messages ADD COLUMN created TEXT NOT NULL DEFAULT ''",
        "UPDATE messages SET created = bucket",
        "CREATE INDEX edited ON messages (edits) WHERE edits <> ''",
        "CREATE TABLE incidents (id TEXT PRIMARY KEY, opened TEXT NOT NULL, closed TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE trail (metric TEXT, bucket TEXT, body TEXT NOT NULL, PRIMARY KEY (metric, bucket))",
        """CREATE TABLE arrivals (query TEXT, at TEXT, bucket TEXT NOT NULL, rows REAL, newest TEXT, PRIMARY KEY (query, at))
           WITHOUT ROWID""",
        """CREATE TABLE silences (id INTEGER PRIMARY KEY, scope TEXT NOT NULL, start TEXT NOT NULL, until TEXT NOT NULL,
           why TEXT NOT NULL, by TEXT NOT NULL)""",
        """CREATE TABLE runs (started TEXT PRIMARY KEY, at TEXT NOT NULL, ended TEXT, well INTEGER NOT NULL, said TEXT NOT NULL)
           WITHOUT ROWID""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE histories (key TEXT PRIMARY KEY, query TEXT NOT NULL, step INTEGER NOT NULL, start INTEGER NOT NULL,
           until INTEGER NOT NULL, used TEXT NOT NULL, rebuilt TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE history (key TEXT, page INTEGER, columns TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (key, page))",
        "CREATE TABLE figures (key BLOB PRIMARY KEY, made TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
    ),
)
