"""ClickHouse over HTTP, from 18.16 on: the source, and the settings, id and comment that are sent with every query."""

from __future__ import annotations

import html
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from alerting.http_client import HttpAnswer, HttpClient, HttpFailure, HttpFailureKind
from alerting.model.errors import SourceError
from alerting.sources.base import SqlSource
from alerting.sources.clickhouse_answer import decode, refused_settings, server_error

RETRY_PAUSES = (1.0, 4.0)  # seconds before the second and the third try: a server that restarts needs some time
CANCEL_TIMEOUT = 1.0  # seconds to cancel a query that is not waited for any more
MAX_BODY = 64 * 2**20  # bytes: 100 times ninety days of 15 minutes; a longer answer comes from a query without GROUP BY

# A profile may let the server return a part of the rows without an error ("break", "any", skipped shards), or additional rows
# (extremes). The settings below exclude that.
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
_COMPLETE_ROWS = {
    "skip_unavailable_shards": "0",
    "extremes": "0",
    **{f"{kind}_overflow_mode": "throw" for kind in _LIMITS},
}
_SETTINGS = {
    "readonly": "2",  # 1 would also forbid a SETTINGS clause in an analyst's query
    "cancel_http_readonly_queries_on_client_close": "1",  # a run that is killed cannot say KILL; servers before 19 do not know it
    **_COMPLETE_ROWS,
}
_SETTINGS_IN_FORCE = "SELECT name, value FROM system.settings WHERE name IN ({})".format(
    ", ".join(f"'{name}'" for name in [*_COMPLETE_ROWS, *(name for names in _LIMITS.values() for name in names)])
)

_FAILURES = {  # kind of failure -> text of the error
    HttpFailureKind.TIMEOUT: "it did not answer in time: raise ALERTING_CLICKHOUSE_TIMEOUT, or ask for less",
    HttpFailureKind.REQUEST: "the request could not be made ({error})",
    HttpFailureKind.UNREACHABLE: "the connection failed ({reason})",
    HttpFailureKind.BROKEN: "the connection failed ({reason})",
    HttpFailureKind.CERTIFICATE: "its TLS certificate could not be verified: for a private one set ALERTING_CLICKHOUSE_CA",
    HttpFailureKind.TLS: "it does not speak TLS as it should: is https:// right in ALERTING_SOURCE?",
    HttpFailureKind.CONNECT_TIMEOUT: "no connection came about in time: check the address, https:// or http://, and firewalls",
    HttpFailureKind.PROXY: "the proxy of HTTP_PROXY or HTTPS_PROXY cannot be reached",
    HttpFailureKind.HEADER: "user or password cannot be sent: a line break or a leading space is in it",
    HttpFailureKind.CA_FILE: "ALERTING_CLICKHOUSE_CA cannot be read: give the path of a PEM file",
}
_PASSING_FAILURES = {
    *(HttpFailureKind.TIMEOUT, HttpFailureKind.UNREACHABLE, HttpFailureKind.BROKEN),
    *(HttpFailureKind.CONNECT_TIMEOUT, HttpFailureKind.PROXY),
}
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


class GivenUpError(SourceError):
    """The time limit is reached, and the server may still run the query."""


@dataclass
class ClickHouseSource(SqlSource):
    """A source (see `model.protocols.Source`). `tables`: query name -> table; `ca`: file of a CA certificate.

    `timeout`: seconds for one fetch with all its tries. `memory`: bytes for one query on the server (0: the server's own limit).
    Threads may share it. Every SourceError contains the name of the server and never the password.
    """

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
    _profile_checked: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if parts.username or parts.password:
            raise SourceError(f"the URL of ClickHouse at {self.url} must not hold a user or password: they have settings")

    def table(self, name: str, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return `database`.`table`. A database in the setting of the table has precedence."""
        table = self.tables.get(name, name)
        full = table if "." in table or not self.database else f"{self.database}.{table}"
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", full):
            raise SourceError(f"{full!r} is no table name: letters, digits and '_', with an optional 'database.' before it")
        return ".".join(f"`{part}`" for part in full.split("."))

    def now(self) -> datetime:
        """Return the server's clock, aware UTC, to the second. Raises SourceError."""
        return datetime.fromtimestamp(int(self.run_sql("SELECT toUInt32(now()) AS at", "clock")["at"].iloc[0]), UTC)

    def run_sql(self, sql: str, name: str) -> pd.DataFrame:
        """Return the decoded answer, after as many tries as its errors and `timeout` allow. Raises SourceError."""
        deadline = time.monotonic() + self.timeout
        pauses = iter((*RETRY_PAUSES, math.inf))
        while True:
            try:
                return self._decoded(self._send_with_settings(sql, name, deadline), name)
            except SourceError as error:
                text = str(error)
                for form in {self.password, html.escape(self.password), quote(self.password)} - {""}:
                    text = text.replace(form, "***")  # a server or a proxy may repeat the request in its answer
                failure = SourceError(f"ClickHouse at {self.url} ({name}): {text}", error.passing)
            # Raised outside of `except`, so that it carries no earlier exception and none of its frames.
            pause = next(pauses)
            if not failure.passing or time.monotonic() + pause >= deadline:
                raise failure
            self.sleep(pause)

    def _send_with_settings(self, sql: str, name: str, deadline: float) -> HttpAnswer:
        """Return the answer to `sql`, which is sent with those of our settings that the server accepts.

        A user with a read-only profile may not change some settings, or any, and an old server does not know newer ones. A
        refused setting is not sent again. Its value in the user's profile must be right then, which is checked once.
        """
        while True:
            limits = {"max_execution_time": str(max(1, math.ceil(deadline - time.monotonic())))}
            if self.memory:
                limits["max_memory_usage"] = str(self.memory)
            settings = {key: value for key, value in {**_SETTINGS, **limits}.items() if key not in self._refused}
            answer = self._send(sql, name, settings, deadline)
            refused = refused_settings(answer.tail, settings) if answer.status != 200 else set()
            if not refused:
                break
            self._refused.update(refused)
        if not self._profile_checked and self._refused & _COMPLETE_ROWS.keys() and sql != _SETTINGS_IN_FORCE:
            rows = self._decoded(self._send_with_settings(_SETTINGS_IN_FORCE, "settings", deadline), "settings")
            check_profile(dict(zip(rows["name"].astype(str), rows["value"].astype(str), strict=True)))
            self._profile_checked = True  # two threads may check it, which does no harm
        return answer

    def _send(self, sql: str, name: str, settings: Mapping[str, str], deadline: float) -> HttpAnswer:
        """Make one request. If it is given up (time limit or interrupt), cancel the query on the server, too."""
        query_id, sql = tagged_query(sql, name)
        try:
            return self._request(query_id, sql, settings, deadline)
        except (GivenUpError, KeyboardInterrupt, SystemExit):
            with suppress(SourceError):  # if this fails, too, `max_execution_time` ends the query
                kill_id, kill = tagged_query(f"KILL QUERY WHERE query_id = '{query_id}' ASYNC", "kill")
                self._request(kill_id, kill, {}, time.monotonic() + CANCEL_TIMEOUT)
            raise

    def _request(self, query_id: str, sql: str, settings: Mapping[str, str], deadline: float) -> HttpAnswer:
        """Return the answer, read to its end before `deadline` (seconds of time.monotonic()). Raises SourceError."""
        params = {
            "database": self.database,
            "default_format": "TSVWithNamesAndTypes",
            "wait_end_of_query": "1",  # a failure then has an error status; otherwise the rows would end too early
            "query_id": query_id,
            **settings,
        }
        headers = {"X-ClickHouse-User": self.user.encode(), "X-ClickHouse-Key": self.password.encode()}
        seconds = max(0.1, deadline - time.monotonic())
        client = HttpClient(seconds, self.connect_timeout, self.ca or True, MAX_BODY, log=str)  # its URL may be logged
        answer = client.request("POST", self.url, params=params, data=sql.encode(), headers=headers)
        if isinstance(answer, HttpFailure):
            error = GivenUpError if answer.why is HttpFailureKind.TIMEOUT else SourceError
            text = _FAILURES[answer.why].format(error=answer.error, reason=answer.reason or answer.error)
            raise error(text, passing=answer.why in _PASSING_FAILURES)
        if not answer.whole:
            raise SourceError(f"the answer is over {MAX_BODY >> 20} MiB: a query gives one row per bucket, GROUP BY bucket")
        return answer

    def _decoded(self, answer: HttpAnswer, name: str) -> pd.DataFrame:
        """Return the rows of an answer to the query `name`. Raises SourceError."""
        error = server_error(answer.tail, name, self.table(name).replace("`", ""))
        if answer.status != 200 and error:
            raise error
        if foreign := _foreign_answer(answer):
            raise foreign
        zone = answer.headers.get("X-ClickHouse-Timezone")  # zone of a plain DateTime; servers before 19 do not send it
        try:
            return decode(answer.body, lambda: zone or str(self.run_sql("SELECT timezone() AS zone", "timezone")["zone"].iloc[0]))
        except SourceError as broken:
            raise error or broken from None  # the server may have failed after it had begun to answer


def _foreign_answer(answer: HttpAnswer) -> SourceError | None:
    """Return an error for an answer that does not come from a ClickHouse, such as a proxy's page; else None."""
    if 300 <= answer.status < 400:
        host = urlsplit(answer.headers.get("Location", "")).hostname or "another path"
        return SourceError(f"it redirects to {host}: set ALERTING_SOURCE to the final address")
    if answer.status in (401, 403, 407):
        return SourceError(f"HTTP {answer.status}: a proxy, or the server, asks for a login before any query")
    passing = answer.status in _PASSING_STATUS
    if "html" in answer.headers.get("Content-Type", "") or answer.head.lstrip().startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title", answer.head, re.DOTALL | re.IGNORECASE)
        titled = f", titled {' '.join(title[1].split())[:80]!r}" if title else ""
        text = f"HTTP {answer.status} with a web page{titled}: that is a proxy or another program, check ALERTING_SOURCE"
        return SourceError(text, passing)
    if answer.status != 200:
        return SourceError(f"HTTP {answer.status}: {' '.join(answer.head.split())[:200] or 'no text'}", passing)
    return None


def tagged_query(sql: str, name: str) -> tuple[str, str]:
    """Return an id for one try of the query `name`, and its SQL after a comment for the server's process list and query log.

    Each try has a new id, because the server refuses a second query with the id of one that still runs.
    """
    plain = re.sub(r"[^\w.-]", "_", name)
    return f"alerting-{plain}-{uuid.uuid4().hex[:12]}", f"/* alerting: metric-alert run, query {plain} */ {sql}"


def check_profile(in_force: Mapping[str, str]) -> None:
    """Raise SourceError if the settings in force let the server return a part of the rows without an error."""
    advice = "have that set for this user's profile, or let the user change settings (readonly = 2)"
    if in_force.get("skip_unavailable_shards", "0") not in ("0", "false"):
        raise SourceError(
            "the profile of the user has skip_unavailable_shards=1, which counts half when a shard is down, and refuses "
            f"another value: it must be 0, {advice}"
        )
    for kind, limits in _LIMITS.items():
        mode = in_force.get(f"{kind}_overflow_mode", "throw")
        limited = [name for name in limits if in_force.get(name, "0") not in ("0", "0.0", "")]
        if mode != "throw" and limited:
            raise SourceError(
                f"the profile of the user has {kind}_overflow_mode={mode} with {limited[0]}={in_force[limited[0]]}, which gives "
                f"a part as if it were all, and refuses another value: it must be throw, {advice}"
            )
