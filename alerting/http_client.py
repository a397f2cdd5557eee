"""One HTTP request with everything bounded: its time as a whole, the size of the answer, redirects, and what a failure tells.

URLs, headers and bodies hold secrets: a bot's token, the path of a webhook, a password. So a request that fails raises nothing.
It comes back as an `HttpFailure`, a value without the words of the library: neither an exception nor a frame of a traceback that
holds a secret leaves this module.

Whoever may do without a request imports this module where it is made: requests takes 0.1 s to load.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import NewConnectionError

from alerting.deadline import Deadline

PIECE = 2**16  # bytes of a body that are read at once
EXCERPT = 8192  # bytes of a body that are looked at for an error


class HttpFailureKind(Enum):
    """The reason why there is no answer."""

    UNREACHABLE = "the connection was refused, or there is no such host"
    CONNECT_TIMEOUT = "no connection came about in time"
    PROXY = "the proxy cannot be reached, or refuses"
    CERTIFICATE = "the certificate could not be verified"
    TLS = "the peer does not speak TLS as it should"
    CA_FILE = "the file of CA certificates cannot be read"
    HEADER = "a header cannot be sent"
    REQUEST = "the request could not be made"
    TIMEOUT = "the time was over before the answer was whole"
    BROKEN = "the connection broke"


NEVER_SENT = frozenset(HttpFailureKind) - {HttpFailureKind.TIMEOUT, HttpFailureKind.BROKEN}


@dataclass(frozen=True)
class HttpAnswer:
    """An answer, whatever its status. `whole` is False where the body is longer than was to be read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    whole: bool = True

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def head(self) -> str:
        return self.body[:EXCERPT].decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The end, where an error stands that came after some rows."""
        return self.body[-EXCERPT:].decode("utf-8", "replace")


@dataclass(frozen=True)
class HttpFailure:
    """A request without an answer. `error`: the type of the library's error; `reason`: the system's words, if it had any."""

    why: HttpFailureKind
    error: str
    reason: str = ""

    @property
    def unsure(self) -> bool:
        """The request may have arrived."""
        return self.why not in NEVER_SENT


@dataclass(frozen=True)
class HttpClient:
    """Makes requests; threads may share it. Redirects are not followed: they would carry the secrets to another host.

    `timeout`: seconds that a try may take from connecting to the last byte. `verify`: True, or the file of a CA certificate.
    `retry_pause`: seconds before one more try when no connection came about, as nothing has arrived then; None: no other try.
    `log`: makes what may be logged of a line that the library logs at DEBUG, which holds the URL; None: it is not logged.
    """

    timeout: float = 15.0
    connect_timeout: float = 5.0
    verify: bool | str = True
    max_body: int = 8 * 2**20  # bytes
    retry_pause: float | None = None
    log: Callable[[str], str] | None = None

    def request(self, method: str, url: str, **parts: Any) -> HttpAnswer | HttpFailure:
        """The answer, or why there is none. `parts` (params, data, files, headers) as `requests.Request` takes them."""
        answer = self._try(method, url, parts)
        if isinstance(answer, HttpFailure) and answer.why is HttpFailureKind.UNREACHABLE and self.retry_pause is not None:
            time.sleep(self.retry_pause)
            answer = self._try(method, url, parts)
        return answer

    def _try(self, method: str, url: str, parts: Mapping[str, Any]) -> HttpAnswer | HttpFailure:
        """With a session of its own: threads cannot share one, and a kept connection gone stale looks like a lost answer."""
        with Deadline(self.timeout) as deadline, _logged_as(self.log), requests.Session() as session:
            try:
                for scheme in ("https://", "http://"):
                    session.mount(scheme, _Adapter(deadline))
                answer = self._exchange(session, requests.Request(method, url, auth=_login_of_url, **parts))
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:  # RequestException is an OSError
                return _failure(error, deadline.expired)
            if deadline.expired:  # a body without a length ends well where the connection was shut down
                return HttpFailure(HttpFailureKind.TIMEOUT, "ReadTimeout")
            return answer

    def _exchange(self, session: requests.Session, request: requests.Request) -> HttpAnswer:
        """By the adapter, for `session.send` reads a redirect's body whole, however long, and looks where it leads."""
        prepared = session.prepare_request(request)
        url = prepared.url or ""
        settings = session.merge_environment_settings(url, {}, True, self.verify, None)  # proxies, REQUESTS_CA_BUNDLE
        timeout = (min(self.connect_timeout, self.timeout), self.timeout)
        with closing(session.get_adapter(url).send(prepared, timeout=timeout, **settings)) as response:
            body = bytearray()
            for piece in response.iter_content(min(PIECE, self.max_body + 1)) if self.max_body else ():
                body += piece
                if len(body) > self.max_body:  # by the one byte more that tells
                    break
            whole = len(body) <= self.max_body
            return HttpAnswer(response.status_code, response.headers, bytes(body[: self.max_body]), whole)


class _Adapter(HTTPAdapter):
    """Gives every connection to the deadline as soon as it exists, before TLS and the words with a proxy."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__()

    def get_connection_with_tls_context(self, *given: Any, **more: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*given, **more)
        pool.ConnectionCls = _watched(pool.ConnectionCls, self._deadline)
        return pool


def _watched(kind: Any, deadline: Deadline) -> type:
    """The class of connections `kind` with every connection given to the deadline."""

    class Watched(kind):
        def _new_conn(self) -> Any:
            return deadline.watch(super()._new_conn())

        def _tunnel(self) -> None:
            super()._tunnel()
            if deadline.expired:  # headers of a proxy end where the line was shut down, and TLS would go on with that
                raise TimeoutError

    return Watched


def _login_of_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Given as `auth`, it keeps requests from adding a login that it finds in ~/.netrc. One in the URL is used."""
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


@contextmanager
def _logged_as(log: Callable[[str], str] | None) -> Iterator[None]:
    """Rewrite (or drop) what the library logs in this thread: paths at DEBUG, and whole URLs where it warns."""
    logger, here = logging.getLogger("urllib3.connectionpool"), threading.get_ident()

    def may_pass(record: logging.LogRecord) -> bool:
        if record.thread != here:
            return True
        if log is not None:
            record.msg, record.args = log(record.getMessage()), ()
        return log is not None

    logger.addFilter(may_pass)
    try:
        yield
    finally:
        logger.removeFilter(may_pass)


def _failure(error: Exception, expired: bool) -> HttpFailure:
    """The kind of an error. Of its text only what the system says is kept, for the rest repeats URLs and headers."""
    text, inner = str(error), error.args[0] if error.args else None
    name = type(error).__name__
    if isinstance(getattr(inner, "reason", None), NewConnectionError):
        why = HttpFailureKind.UNREACHABLE
    elif isinstance(error, requests.ConnectTimeout):
        why = HttpFailureKind.CONNECT_TIMEOUT
    elif expired or isinstance(error, requests.Timeout) or isinstance(_last(inner), _TIMED_OUT):
        why, name = HttpFailureKind.TIMEOUT, "ReadTimeout"
    elif isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        why = HttpFailureKind.CERTIFICATE if "CERTIFICATE" in text else HttpFailureKind.TLS
    elif isinstance(error, requests.exceptions.ProxyError):
        why = HttpFailureKind.PROXY
    elif isinstance(error, requests.exceptions.InvalidHeader):
        why = HttpFailureKind.HEADER
    elif "CA certificate bundle" in text:
        why = HttpFailureKind.CA_FILE
    else:
        why = HttpFailureKind.BROKEN if isinstance(error, _BROKEN) else HttpFailureKind.REQUEST
    found = re.search(r"\[Errno -?\d+\] ([^'\")\]]+)|(IncompleteRead|RemoteDisconnected)", text)
    return HttpFailure(why, name, (found[1] or found[2]) if found else "")


def _last(error: Any) -> Any:
    """The system's error in ProtocolError("Connection aborted.", error), or the error itself."""
    return error.args[-1] if isinstance(error, urllib3.exceptions.ProtocolError) and error.args else error


_TIMED_OUT = (TimeoutError, urllib3.exceptions.TimeoutError)
_BROKEN = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
)
