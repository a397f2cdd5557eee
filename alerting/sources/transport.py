"""A query to ClickHouse over HTTP: the answer, or a SourceError that says why there is none."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from alerting.http_client import HttpAnswer, HttpClient, HttpFailure, HttpFailureKind
from alerting.model.errors import SourceError

MAX_BODY = 64 * 2**20  # bytes: 100 times ninety days of 15 minutes; beyond it the query does not group
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class GivenUpError(SourceError):
    """The time was over: the server may still be at it."""


@dataclass(frozen=True)
class ClickHouseLine:
    """How to reach the server. `verify`: True, or the file of a CA certificate. Timeouts in seconds."""

    url: str
    headers: Mapping[str, str | bytes] = field(repr=False)
    verify: bool | str = True
    connect_timeout: float = 5.0

    def post(self, sql: str, params: Mapping[str, str], deadline: float) -> HttpAnswer:
        """The answer to `sql`, all of it read before `deadline` (seconds of time.monotonic). Raises SourceError."""
        left = max(0.1, deadline - time.monotonic())
        client = HttpClient(left, self.connect_timeout, self.verify, MAX_BODY, log=str)  # its URL may be logged
        answer = client.request("POST", self.url, params=params, data=sql.encode(), headers=self.headers)
        if isinstance(answer, HttpFailure):
            raise _failure(answer)
        if not answer.whole:
            raise SourceError(f"the answer is over {MAX_BODY >> 20} MiB: a query gives one row per bucket, GROUP BY bucket")
        return answer


def http_refusal(answer: HttpAnswer) -> SourceError | None:
    """What is wrong with an answer that no ClickHouse wrote, or None."""
    if 300 <= answer.status < 400:
        host = urlsplit(answer.headers.get("Location", "")).hostname or "another path"
        return SourceError(f"it redirects to {host}: set ALERTING_SOURCE to the final address")
    if answer.status in (401, 403, 407):
        return SourceError(f"HTTP {answer.status}: a proxy, or the server, asks for a login before any query")
    if _is_html(answer):
        title = re.search(r"<title[^>]*>(.*?)</title", answer.head, re.DOTALL | re.IGNORECASE)
        shown = f", titled {' '.join(title[1].split())[:80]!r}" if title else ""
        text = f"HTTP {answer.status} with a web page{shown}: that is a proxy or another program, check ALERTING_SOURCE"
        return SourceError(text, passing=answer.status in _PASSING)
    if answer.status != 200:
        shown = " ".join(answer.head.split())[:200]
        return SourceError(f"HTTP {answer.status}: {shown or 'no text'}", passing=answer.status in _PASSING)
    return None


def _is_html(answer: HttpAnswer) -> bool:
    return "html" in answer.headers.get("Content-Type", "") or answer.head.lstrip().startswith("<")


def _failure(failure: HttpFailure) -> SourceError:
    if failure.why is HttpFailureKind.TIMEOUT:
        return GivenUpError("it did not answer in time: raise ALERTING_CLICKHOUSE_TIMEOUT, or ask for less", passing=True)
    if failure.why is HttpFailureKind.REQUEST:
        return SourceError(f"the request could not be made ({failure.error})")
    if failure.why in (HttpFailureKind.UNREACHABLE, HttpFailureKind.BROKEN):
        return SourceError(f"the connection failed ({failure.reason or failure.error})", passing=True)
    return SourceError(_ADVICE[failure.why], passing=failure.why in (HttpFailureKind.CONNECT_TIMEOUT, HttpFailureKind.PROXY))


_ADVICE = {
    HttpFailureKind.CERTIFICATE: "its TLS certificate could not be verified: for a private one set ALERTING_CLICKHOUSE_CA",
    HttpFailureKind.TLS: "it does not speak TLS as it should: is https:// right in ALERTING_SOURCE?",
    HttpFailureKind.CONNECT_TIMEOUT: "no connection came about in time: check the address, https:// or http://, and firewalls",
    HttpFailureKind.PROXY: "the proxy of HTTP_PROXY or HTTPS_PROXY cannot be reached",
    HttpFailureKind.HEADER: "user or password cannot be sent: a line break or a leading space is in it",
    HttpFailureKind.CA_FILE: "ALERTING_CLICKHOUSE_CA cannot be read: give the path of a PEM file",
}
