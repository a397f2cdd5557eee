"""Errors of a ClickHouse server, or of chDB, as texts that say what to do about them."""

from __future__ import annotations

import re
from collections.abc import Collection

from alerting.model.errors import SourceError

# An error text, alone or at the end of an answer that began well. 18.16 writes `Code: 60, e.displayText() = DB::...`.
_ERROR = re.compile(r"Code: (\d+)[.,] *(?:e\.displayText\(\) = )?(?:DB::)?\w*Exception: (.*)", re.DOTALL)
# What follows the sentence that matters: versions, stack traces, and the whole query once more.
_DETAILS = re.compile(
    r"(,? e\.what\(\)| \(version |,? context: |Stack trace|: [Ww]hile (executing|processing) |[.:]? [Ii]n (scope|query) ).*",
    re.DOTALL,
)
_CODE_NAME = re.compile(r"\.? \([A-Z_]{4,}\)$")  # (UNKNOWN_TABLE), in newer servers

# Codes of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp that may be gone next time:
# too slow, quota, too many queries, network, memory, replicas behind, cancelled, cannot schedule, shard or keeper away.
PASSING = {3, 32, 159, 160, 173, 198, 201, 202, 203, 209, 210, 236, 241, 279, 364, 369, 394, 425, 439, 473, 499, 519, 745, 999}

_CREDENTIALS = "it refused the user: check ALERTING_CLICKHOUSE_USER and ALERTING_CLICKHOUSE_PASSWORD"
_COLUMN = "a column is not there: make the query in alerting/sql/ and the table agree"
_MEANING = {
    46: "it does not know a function of the query: this server may be older than the query",
    62: "it cannot read the query: mend its file in alerting/sql/",
    81: "the database was not found: check ALERTING_CLICKHOUSE_DATABASE",
    164: "the user may not do that (read-only)",
    195: "it does not let this host in: have its address allowed for the user",
    291: "the user has no right to the database: grant it, or check ALERTING_CLICKHOUSE_DATABASE",
    497: "the user has no right to read the table: GRANT SELECT on it",
    **dict.fromkeys((192, 193, 194, 516), _CREDENTIALS),
    **dict.fromkeys((8, 10, 16, 47), _COLUMN),
}
_UNKNOWN_TABLE, _MEMORY, _READONLY = 60, 241, 164
_TABLE_SETTING = {"feed_actions": "ALERTING_FEED_TABLE", "message_actions": "ALERTING_MESSAGE_TABLE"}
_SHARD = {32, 209, 210, 279, 519}  # its connection broke off, timed out, was refused; none of its replicas is there
_HOST_AND_PORT = re.compile(r"(?:\(|from |socket \(?)((?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d+)")
_REFUSED_SETTING = {115, _READONLY, 452, 472}  # unknown, read-only, outside its limits


def server_error(text: str, query: str, table: str) -> SourceError | None:
    """Return the SourceError for an error text of the server that ran `query` over `table`; None if there is none in `text`."""
    found = _ERROR.search(text)
    if not found:
        return None
    code, details = int(found[1]), found[2]
    sentence = _CODE_NAME.sub("", " ".join(_DETAILS.sub("", details).split())).rstrip(" .,")[:300]
    meaning, passing = _MEANING.get(code, "it could not run the query"), code in PASSING
    if code == _UNKNOWN_TABLE:
        setting = _TABLE_SETTING.get(query, "the table's setting")
        meaning = f"a table was not found: check {setting} (now {table}), and that the user may read it"
    elif code in _SHARD and (host := _HOST_AND_PORT.search(details)):
        meaning = f"a shard of the cluster does not answer ({host[1]}): see to that server; without it no count would be whole"
    elif code == _MEMORY and re.search(r"for query|[Qq]uery memory", sentence):
        passing = False  # it would need as much the next time
        meaning = "the query needs more memory than it may have: raise ALERTING_CLICKHOUSE_MEMORY, or ask for less"
    return SourceError(f"{meaning}. It said: {sentence} (code {code})", passing)


def refused_settings(text: str, sent: Collection[str]) -> set[str]:
    """Return which of the settings sent with a query the server refuses, by its error text.

    The set is empty when the error is about something else, such as a query that writes (the same code 164).
    """
    found = _ERROR.search(text)
    if not found or int(found[1]) not in _REFUSED_SETTING or "setting" not in found[2].lower():
        return set()
    named = {name for name in sent if re.search(rf"\b{name}\b", found[2])}
    if int(found[1]) == _READONLY and named != {"readonly"}:
        return set(sent)  # a user whose profile is read-only may change none of them
    return named or set(sent)
