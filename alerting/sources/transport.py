"""One HTTP exchange with everything bounded: time, size, redirects, and what an error may repeat."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
import urllib3

from alerting.model import SourceError

MAX_BODY = 64 * 2**20  # bytes: 100 times ninety days of 15 minutes; beyond it the query does not group
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class GivenUpError(SourceError):
    """The time was over: the server may still be at it."""


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def head(self) -> str:
        return self.body[:8192].decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """Where an error stands, also one that came after some rows."""
        return self.body[-8192:].decode("utf-8", "replace")

    @property
    def is_html(self) -> bool:
        return "html" in self.headers.get("Content-Type", "") or self.head.lstrip().startswith("<")


@dataclass(frozen=True)
class Line:
    """How to reach the server. `verify`: True, or the file of a CA certificate. Timeouts in seconds."""

    url: str
    headers: Mapping[str, str | bytes] = field(repr=False)
    verify: bool | str = True
    connect_timeout: float = 5.0

    def post(self, sql: str, params: Mapping[str, str], deadline: float) -> Answer:
        """The answer to `sql`, all of it read before `deadline` (seconds of time.monotonic). Raises SourceError."""
        left = max(0.1, deadline - time.monotonic())
        try:
            with requests.post(
                self.url,
                params=params,
                data=sql.encode(),
                headers=self.headers,
                timeout=(min(self.connect_timeout, left), left),
                verify=self.verify,
                auth=_as_it_is,
                allow_redirects=False,  # requests would carry our headers, and so the password, to any other host
                stream=True,
            ) as response:
                return Answer(response.status_code, response.headers, _read(response, deadline))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error) from None


def http_refusal(answer: Answer) -> SourceError | None:
    """What is wrong with an answer that no ClickHouse wrote, or None."""
    if 300 <= answer.status < 400:
        host = urlsplit(answer.headers.get("Location", "")).hostname or "another path"
        return SourceError(f"it redirects to {host}: set ALERTING_SOURCE to the final address")
    if answer.status in (401, 403, 407):
        return SourceError(f"HTTP {answer.status}: a proxy, or the server, asks for a login before any query")
    if answer.is_html:
        title = re.search(r"<title[^>]*>(.*?)</title", answer.head, re.DOTALL | re.IGNORECASE)
        shown = f", titled {' '.join(title[1].split())[:80]!r}" if title else ""
        text = f"HTTP {answer.status} with a web page{shown}: that is a proxy or another program, check ALERTING_SOURCE"
        return SourceError(text, passing=answer.status in _PASSING)
    if answer.status != 200:
        shown = " ".join(answer.head.split())[:200]
        return SourceError(f"HTTP {answer.status}: {shown or 'no text'}", passing=answer.status in _PASSING)
    return None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Given as `auth`, it keeps requests from adding a login it finds in ~/.netrc, which ClickHouse would refuse beside ours."""
    return request


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body in the pieces in which it arrives: `iter_content` waits for a full piece, however slowly bytes drip in."""
    body = bytearray()
    while piece := response.raw.read1(2**16, decode_content=True):
        body += piece
        if len(body) > MAX_BODY:
            raise SourceError(f"the answer is over {MAX_BODY >> 20} MiB: a query gives one row per bucket, GROUP BY bucket")
        if time.monotonic() > deadline:
            raise requests.ReadTimeout
    return bytes(body)


def _failure(error: Exception) -> SourceError:
    """In words of ours: the library's own texts repeat URLs and headers."""
    text = str(error)
    for kinds, sign, said, passing in _FAILURES:
        if isinstance(error, kinds) and sign in text:
            late = kinds is _TIMEOUT and not isinstance(error, requests.ConnectTimeout)
            return GivenUpError(said, passing) if late else SourceError(said, passing)
    if not isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError | urllib3.exceptions.HTTPError):
        return SourceError(f"the request could not be made ({type(error).__name__})")
    reason = re.search(r"\[Errno -?\d+\] ([^'\")\]]+)|(IncompleteRead|RemoteDisconnected)", text)
    return SourceError(f"the connection failed ({reason[1] or reason[2] if reason else type(error).__name__})", passing=True)


_TLS = (requests.exceptions.SSLError, urllib3.exceptions.SSLError)
_TIMEOUT = (requests.Timeout, urllib3.exceptions.TimeoutError)
_FAILURES: list[tuple[tuple[type[Exception], ...], str, str, bool]] = [  # error, sign in its text, what is said, passing
    (_TLS, "CERTIFICATE", "its TLS certificate could not be verified: for a private one set ALERTING_CLICKHOUSE_CA", False),
    (_TLS, "", "it does not speak TLS as it should: is https:// right in ALERTING_SOURCE?", False),
    (
        (requests.ConnectTimeout,),
        "",
        "no connection came about in time: check the address, https:// or http://, and firewalls",
        True,
    ),
    (_TIMEOUT, "", "it did not answer in time: raise ALERTING_CLICKHOUSE_TIMEOUT, or ask for less", True),
    ((requests.exceptions.ProxyError,), "", "the proxy of HTTP_PROXY or HTTPS_PROXY cannot be reached", True),
    (
        (requests.exceptions.InvalidHeader,),
        "",
        "user or password cannot be sent: a line break or a leading space is in it",
        False,
    ),
    ((OSError,), "CA certificate bundle", "ALERTING_CLICKHOUSE_CA cannot be read: give the path of a PEM file", False),
]
