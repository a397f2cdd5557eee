"""ClickHouse over HTTP, from 18.16 on."""

from __future__ import annotations

import html
import math
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from alerting.http_client import HttpAnswer
from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.base import BaseSource
from alerting.sources.query import bind, quoted_table, to_counts
from alerting.sources.transport import ClickHouseLine, GivenUpError, http_refusal
from alerting.sources.tsv import decode

PAUSES = (1.0, 4.0)  # seconds before the second and the third try: a server that restarts needs some

CANCEL = 1.0  # seconds that ending a query which nobody waits for any more may take


@dataclass
class ClickHouseSource(BaseSource):
    """A source (see `model.Source`). `tables`: query name -> table; `ca`: file of a CA certificate. Threads may share it.

    `timeout` seconds bound one fetch with all its tries, `memory` bytes a query on the server (0: what the server allows).
    Every SourceError names the server, never the password.
    """

    runs_sql = True
    url: str
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = "default"
    tables: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    memory: int = 0
    connect_timeout: float = 5.0
    ca: str = ""
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _refused: set[str] = field(default_factory=set, init=False, repr=False)  # settings; it only grows
    _whole: bool = field(default=False, init=False, repr=False)  # what was refused is in force by the profile
    _asking: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if parts.username or parts.password:
            raise SourceError(f"the URL of ClickHouse at {self.url} must not hold a user or password: they have settings")

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket (see `model.Source`). Raises SourceError."""
        return to_counts(self.rows(query, start, end), query, start, end)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come, texts and times too. Raises SourceError."""
        return self._ask(bind(query, self._table(query.name), start, end), query.name)

    def columns(self, name: str) -> dict[str, str]:
        """Column -> ClickHouse type of the table that the query `name` reads. Raises SourceError."""
        found = self._ask(f"DESCRIBE TABLE {self._table(name)}", name)
        return dict(zip(found["name"], found["type"], strict=True))

    def now(self) -> datetime:
        """The server's clock, to the second. Raises SourceError."""
        return datetime.fromtimestamp(int(self._ask("SELECT toUInt32(now()) AS at", "clock")["at"].iloc[0]), UTC)

    def _table(self, name: str) -> str:
        return quoted_table(self.tables.get(name, name), self.database)

    def _ask(self, sql: str, name: str) -> pd.DataFrame:
        """The decoded answer, from as many tries as it may need and `timeout` allows."""
        deadline = time.monotonic() + self.timeout
        for pause in (*PAUSES, math.inf):
            answer = self._try(sql, name, deadline)
            if not isinstance(answer, SourceError):
                return answer
            if not answer.passing or time.monotonic() + pause >= deadline:
                break
            self.sleep(pause)
        raise answer

    def _try(self, sql: str, name: str, deadline: float) -> pd.DataFrame | SourceError:
        """An error is a value here, so that what is raised in the end carries no earlier exception and none of its frames."""
        try:
            answer = self._post(sql, name, deadline)
            return self._read(answer, name)
        except SourceError as error:
            return SourceError(f"ClickHouse at {self.url} ({name}): {self._without_password(str(error))}", error.passing)

    def _post(self, sql: str, name: str, deadline: float) -> HttpAnswer:
        """A user whose profile is read-only may not change `readonly`, or no setting at all, and a server does not know those
        that are newer than it is. What it refuses is not sent again; then its profile must see to it."""
        while True:
            settings = self._settings(deadline)
            answer = self._exchange(sql, name, settings, deadline)
            refused = refused_settings(answer.tail, settings) if answer.status != 200 else set()
            if not refused:
                break
            self._refused.update(refused)
        if not self._whole and self._refused & WHOLE.keys() and sql != IN_FORCE:
            self._check_whole(deadline)
        return answer

    def _exchange(self, sql: str, name: str, settings: Mapping[str, str], deadline: float) -> HttpAnswer:
        """One request; when it is given up (its time is over, or we are interrupted), the server is told to stop, too."""
        made = new_query_id(name)
        try:
            return self._line.post(with_comment(sql, name), {**self._params(made), **settings}, deadline)
        except (GivenUpError, KeyboardInterrupt, SystemExit):
            self._cancel(made)
            raise

    def _cancel(self, made: str) -> None:
        """As well as it goes: its `max_execution_time` ends the query anyway."""
        with suppress(SourceError):
            sql = with_comment(f"KILL QUERY WHERE query_id = '{made}' ASYNC", "kill")
            self._line.post(sql, self._params(new_query_id("kill")), time.monotonic() + CANCEL)

    def _check_whole(self, deadline: float) -> None:
        """Once: where the server takes no settings of ours, that those in force leave no answer half. Raises SourceError."""
        with self._asking:
            if not self._whole:
                rows = self._read(self._post(IN_FORCE, "settings", deadline), "settings")
                check_whole(dict(zip(rows["name"].astype(str), rows["value"].astype(str), strict=True)))
                self._whole = True

    def _read(self, answer: HttpAnswer, name: str) -> pd.DataFrame:
        told = server_error(answer.tail, name, self._table(name).replace("`", ""))
        if answer.status != 200 and told:
            raise told
        if error := http_refusal(answer):
            raise error
        try:
            return decode(answer.body, lambda: answer.headers.get("X-ClickHouse-Timezone") or self._server_zone())
        except SourceError as broken:
            raise told or broken from None  # the server may have failed after it had begun to answer

    @property
    def _line(self) -> ClickHouseLine:
        credentials = {"X-ClickHouse-User": self.user.encode(), "X-ClickHouse-Key": self.password.encode()}
        return ClickHouseLine(self.url, credentials, self.ca or True, self.connect_timeout)

    def _params(self, made: str) -> dict[str, str]:
        """`wait_end_of_query`: a failure then has a status of its own, instead of an end of rows."""
        return {
            "database": self.database,
            "default_format": "TSVWithNamesAndTypes",
            "wait_end_of_query": "1",
            "query_id": made,
        }

    def _settings(self, deadline: float) -> dict[str, str]:
        limits = {"max_execution_time": str(max(1, math.ceil(deadline - time.monotonic())))}
        if self.memory:
            limits["max_memory_usage"] = str(self.memory)
        return {name: value for name, value in {**SENT, **limits}.items() if name not in self._refused}

    def _server_zone(self) -> str:
        """Servers before 19 do not say in a header which time zone a plain DateTime is written in."""
        return str(self._ask("SELECT timezone() AS zone", "timezone")["zone"].iloc[0])

    def _without_password(self, text: str) -> str:
        """A server or a proxy may repeat what it was sent."""
        for form in {self.password, html.escape(self.password), quote(self.password)} - {""}:
            text = text.replace(form, "***")
        return text


# What is sent along with every query to a server that others use too: settings, an id, a word for who looks at its processes.

# A profile may allow half an answer as if it were one ("break", "any", shards skipped), or more than the rows that were asked
# for (extremes): not here.
_LIMITS = {  # kind of limit -> the settings that set it
    "timeout": ("max_execution_time",),
    "read": ("max_rows_to_read", "max_bytes_to_read"),
    "result": ("max_result_rows", "max_result_bytes"),
    "group_by": ("max_rows_to_group_by",),
    "sort": ("max_rows_to_sort", "max_bytes_to_sort"),
    "distinct": ("max_rows_in_distinct", "max_bytes_in_distinct"),
    "join": ("max_rows_in_join", "max_bytes_in_join"),
    "set": ("max_rows_in_set", "max_bytes_in_set"),
    "transfer": ("max_rows_to_transfer", "max_bytes_to_transfer"),
}
WHOLE = {
    "skip_unavailable_shards": "0",
    "extremes": "0",
    **{f"{kind}_overflow_mode": "throw" for kind in _LIMITS},
}
SENT = {
    "readonly": "2",  # 1 would also forbid a SETTINGS clause in an analyst's query
    "cancel_http_readonly_queries_on_client_close": "1",  # a run that is killed cannot say KILL; servers before 19 do not know it
    **WHOLE,
}
_ASKED = [*WHOLE, *(name for names in _LIMITS.values() for name in names)]
IN_FORCE = "SELECT name, value FROM system.settings WHERE name IN ({})".format(", ".join(f"'{name}'" for name in _ASKED))

_ODD = re.compile(r"[^\w.-]")  # in a query's name
_ADVICE = "have that set for this user's profile, or let the user change settings (readonly = 2)"


def with_comment(sql: str, name: str) -> str:
    """The SQL behind a comment that says who asks: the list of processes and the query log begin with it."""
    return f"/* alerting: metric-alert run, query {_ODD.sub('_', name)} */ {sql}"


def new_query_id(name: str) -> str:
    """One of its own for each try: one that hangs on the server keeps its id, and a second of that id would be refused."""
    return f"alerting-{_ODD.sub('_', name)}-{uuid.uuid4().hex[:12]}"


def check_whole(in_force: Mapping[str, str]) -> None:
    """Raises SourceError where the settings in force let the server give half an answer as if it were a whole one."""
    if in_force.get("skip_unavailable_shards", "0") not in ("0", "false"):
        raise SourceError(
            "the profile of the user has skip_unavailable_shards=1, which counts half when a shard is down, and refuses "
            f"another value: it must be 0, {_ADVICE}"
        )
    for kind, limits in _LIMITS.items():
        mode = in_force.get(f"{kind}_overflow_mode", "throw")
        limited = [name for name in limits if in_force.get(name, "0") not in ("0", "0.0", "")]
        if mode != "throw" and limited:
            raise SourceError(
                f"the profile of the user has {kind}_overflow_mode={mode} with {limited[0]}={in_force[limited[0]]}, which gives "
                f"a part as if it were all, and refuses another value: it must be throw, {_ADVICE}"
            )


# What a ClickHouse server's (or chDB's) error means to the person who can do something about it.

# An error text, alone or at the end of an answer that began well. 18.16 writes `Code: 60, e.displayText() = DB::...`.
_ERROR = re.compile(r"Code: (\d+)[.,] *(?:e\.displayText\(\) = )?(?:DB::)?\w*Exception: (.*)", re.DOTALL)
# What follows the sentence that says it: versions, traces, and the whole query over again.
_TAIL = re.compile(
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
_SETTING = {"feed_actions": "ALERTING_FEED_TABLE", "message_actions": "ALERTING_MESSAGE_TABLE"}
_SHARD = {32, 209, 210, 279, 519}  # its connection broke off, timed out, was refused; none of its replicas is there
_PLACE = re.compile(r"(?:\(|from |socket \(?)((?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d+)")
_REFUSED_SETTING = {115, 164, 452, 472}  # unknown, read-only, outside its limits


def server_error(text: str, query: str, table: str) -> SourceError | None:
    """The SourceError for an error text of the server that ran `query` over `table`; None if there is no such text."""
    found = _ERROR.search(text)
    if not found:
        return None
    code, said = int(found[1]), _CODE_NAME.sub("", " ".join(_TAIL.sub("", found[2]).split())).rstrip(" .,")[:300]
    meaning, passing = _MEANING.get(code, "it could not run the query"), code in PASSING
    if code == 60:
        setting = _SETTING.get(query, "the table's setting")
        meaning = f"a table was not found: check {setting} (now {table}), and that the user may read it"
    elif code in _SHARD and (place := _PLACE.search(found[2])):
        meaning = f"a shard of the cluster does not answer ({place[1]}): see to that server; without it no count would be whole"
    elif code == 241 and re.search(r"for query|[Qq]uery memory", said):
        passing = False  # it would need as much the next time
        meaning = "the query needs more memory than it may have: raise ALERTING_CLICKHOUSE_MEMORY, or ask for less"
    return SourceError(f"{meaning}. It said: {said} (code {code})", passing)


def refused_settings(text: str, sent: Collection[str]) -> set[str]:
    """Which of the settings sent along not to send again, as the error is about them; none if it is about something else, such
    as a query that writes (the same code 164)."""
    found = _ERROR.search(text)
    if not found or int(found[1]) not in _REFUSED_SETTING or "setting" not in found[2].lower():
        return set()
    named = {name for name in sent if re.search(rf"\b{name}\b", found[2])}
    if int(found[1]) == 164 and named != {"readonly"}:
        return set(sent)  # a user whose profile is read-only may change none of them
    return named or set(sent)
