"""ClickHouse over HTTP, from 18.16 on."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from alerting.http import HttpAnswer
from alerting.model import Query, SourceError
from alerting.sources.base import BaseSource
from alerting.sources.binding import bind, quoted_table
from alerting.sources.contract import counts
from alerting.sources.decode import decode
from alerting.sources.manners import IN_FORCE, SENT, WHOLE, check_whole, introduced, query_id
from alerting.sources.refusals import refusal, refused_settings
from alerting.sources.transport import GivenUpError, Line, http_refusal

PAUSES = (1.0, 4.0)  # seconds before the second and the third try: a server that restarts needs some

CANCEL = 1.0  # seconds that ending a query which nobody waits for any more may take


@dataclass
class ClickHouse(BaseSource):
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
        return counts(self.rows(query, start, end), query, start, end)

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
        made = query_id(name)
        try:
            return self._line.post(introduced(sql, name), {**self._params(made), **settings}, deadline)
        except (GivenUpError, KeyboardInterrupt, SystemExit):
            self._cancel(made)
            raise

    def _cancel(self, made: str) -> None:
        """As well as it goes: its `max_execution_time` ends the query anyway."""
        with suppress(SourceError):
            sql = introduced(f"KILL QUERY WHERE query_id = '{made}' ASYNC", "kill")
            self._line.post(sql, self._params(query_id("kill")), time.monotonic() + CANCEL)

    def _check_whole(self, deadline: float) -> None:
        """Once: where the server takes no settings of ours, that those in force leave no answer half. Raises SourceError."""
        with self._asking:
            if not self._whole:
                rows = self._read(self._post(IN_FORCE, "settings", deadline), "settings")
                check_whole(dict(zip(rows["name"].astype(str), rows["value"].astype(str), strict=True)))
                self._whole = True

    def _read(self, answer: HttpAnswer, name: str) -> pd.DataFrame:
        told = refusal(answer.tail, name, self._table(name).replace("`", ""))
        if answer.status != 200 and told:
            raise told
        if error := http_refusal(answer):
            raise error
        try:
            return decode(answer.body, lambda: answer.headers.get("X-ClickHouse-Timezone") or self._server_zone())
        except SourceError as broken:
            raise told or broken from None  # the server may have failed after it had begun to answer

    @property
    def _line(self) -> Line:
        credentials = {"X-ClickHouse-User": self.user.encode(), "X-ClickHouse-Key": self.password.encode()}
        return Line(self.url, credentials, self.ca or True, self.connect_timeout)

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
