"""An HTTP client with limits on the total time and the size of an answer, no redirects, and failures that contain no secrets.

URLs, headers and bodies contain secrets: a bot's token, the path of a webhook, a password. So a failed request raises no
exception, whose text or traceback could show a secret. It returns an `HttpFailure`, which has no text of the library.

Import this module late, where a request is made: requests takes 0.1 s to load.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from requests.utils import get_auth_from_url
from urllib3.exceptions import InvalidHeader, NewConnectionError, ProtocolError
from urllib3.util.retry import Retry

from alerting.deadline import Deadline

CHUNK = 2**16  # bytes of a body that are read at once
EXCERPT = 8192  # bytes of a body that are searched for an error
MAX_RETRY_AFTER = 86_400  # seconds; a longer Retry-After is shortened to this


class HttpFailureKind(Enum):
    """The reason why a request has no answer."""

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


@dataclass(frozen=True)
class HttpAnswer:
    """An answer with any status. `whole`: False if the body is longer than `max_body`; then it is cut."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    whole: bool = True

    @property
    def head(self) -> str:
        """The first EXCERPT bytes of the body as text."""
        return self.body[:EXCERPT].decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last EXCERPT bytes of the body as text. An error that came after some rows is there."""
        return self.body[-EXCERPT:].decode("utf-8", "replace")

    @property
    def retry_after(self) -> float:
        """The seconds to wait that the header Retry-After gives, as a number or a date; 0 if it is absent or invalid."""
        with suppress(InvalidHeader, ValueError, OverflowError):
            return Retry(retry_after_max=MAX_RETRY_AFTER).parse_retry_after(self.headers.get("Retry-After", "0"))
        return 0.0


@dataclass(frozen=True)
class HttpFailure:
    """A request without an answer. `error`: name of the library's error type. `reason`: the system's error text, "" if none."""

    why: HttpFailureKind
    error: str
    reason: str = ""

    @property
    def unsure(self) -> bool:
        """Whether the request may have arrived although there is no answer."""
        return self.why in (HttpFailureKind.TIMEOUT, HttpFailureKind.BROKEN)

    def in_words(self, host: str, advice: str) -> str:
        """Return a line about the failure. `advice`: what to check if the host cannot be reached."""
        if self.unsure:
            return f"no answer from {host} ({self.error})"
        return f"{host} cannot be reached ({self.error}): {advice}"


TOO_LATE = HttpFailure(HttpFailureKind.TIMEOUT, "ReadTimeout")


@dataclass(frozen=True)
class HttpClient:
    """A client that threads may share. It follows no redirects: they would send the secrets to another host.

    `timeout`: seconds of a request, from the look-up of the host's name to the last byte. `verify`: True, or the path of a CA
    certificate. `max_body`: maximum number of bytes that are read of an answer. `success_body`: False if the body of a 2xx answer
    is not needed and must not be read. `retry_pause`: seconds before a second attempt if no connection was made, so that the
    request cannot have arrived; None: one attempt only. `log`: a function that redacts a log line of the library, which may
    contain the URL; None: these lines are dropped.
    """

    timeout: float = 15.0
    connect_timeout: float = 5.0
    verify: bool | str = True
    max_body: int = 8 * 2**20
    success_body: bool = True
    retry_pause: float | None = None
    log: Callable[[str], str] | None = None

    def request(self, method: str, url: str, **parts: Any) -> HttpAnswer | HttpFailure:
        """Return the answer or the failure. `parts` (params, data, files, headers) are arguments of `requests.Request`."""
        with Deadline(self.timeout) as deadline:  # one deadline for both attempts
            answer = self._try(method, url, parts, deadline)
            unreached = isinstance(answer, HttpFailure) and answer.why is HttpFailureKind.UNREACHABLE
            if unreached and self.retry_pause is not None and not deadline.expired:
                time.sleep(self.retry_pause)
                answer = self._try(method, url, parts, deadline)
        return answer

    def _try(self, method: str, url: str, parts: Mapping[str, Any], deadline: Deadline) -> HttpAnswer | HttpFailure:
        """Make one attempt in a new session. Threads cannot share a session, and an old connection looks like a lost answer."""

        def attempt() -> HttpAnswer | HttpFailure:
            with _filtered_log(self.log), requests.Session() as session:
                try:
                    for scheme in ("https://", "http://"):
                        session.mount(scheme, _Adapter(deadline))
                    return self._exchange(session, requests.Request(method, url, auth=_login_of_url, **parts))
                except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:  # RequestException is an OSError
                    return _failure(error, deadline.expired)

        try:
            answer = deadline.call(attempt)
        except TimeoutError:  # it hangs in a step that has no socket to shut down
            return TOO_LATE if deadline.connected else HttpFailure(HttpFailureKind.CONNECT_TIMEOUT, "ConnectTimeout")
        # A body of unknown length seems complete when the connection was shut down.
        return TOO_LATE if deadline.expired and isinstance(answer, HttpAnswer) else answer

    def _exchange(self, session: requests.Session, request: requests.Request) -> HttpAnswer:
        """Send the request and return the answer. `session.send` would read the whole body of a redirect and parse its target."""
        prepared = session.prepare_request(request)
        url = prepared.url or ""
        settings = session.merge_environment_settings(url, {}, True, self.verify, None)  # proxies, REQUESTS_CA_BUNDLE
        timeout = (min(self.connect_timeout, self.timeout), self.timeout)
        with closing(session.get_adapter(url).send(prepared, timeout=timeout, **settings)) as response:
            limit = self.max_body if self.success_body or not 200 <= response.status_code < 300 else 0
            body = bytearray()
            # Read one byte more than the limit, to detect a longer body.
            for piece in response.iter_content(min(CHUNK, limit + 1)) if limit else ():
                body += piece
                if len(body) > limit:
                    break
            return HttpAnswer(response.status_code, response.headers, bytes(body[:limit]), len(body) <= limit)


class _Adapter(HTTPAdapter):
    """An adapter that puts each new connection under the deadline, before TLS and before the request to a proxy."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__()

    def get_connection_with_tls_context(self, *given: Any, **more: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*given, **more)
        deadline = self._deadline
        kind: Any = pool.ConnectionCls

        class Watched(kind):
            def _new_conn(self) -> Any:
                return deadline.watch(super()._new_conn())

            def _tunnel(self) -> None:
                super()._tunnel()
                if deadline.expired:  # a proxy's headers seem complete after a shutdown, and TLS would start
                    raise TimeoutError

        pool.ConnectionCls = Watched
        return pool


def _login_of_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Use the login in the URL, if there is one. As `auth`, this function also stops requests from using ~/.netrc."""
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


@contextmanager
def _filtered_log(log: Callable[[str], str] | None) -> Iterator[None]:
    """Redact or drop the library's log lines of this thread: they contain paths (DEBUG) and whole URLs (WARNING)."""
    logger, this_thread = logging.getLogger("urllib3.connectionpool"), threading.get_ident()

    def rewrite(record: logging.LogRecord) -> bool:
        if record.thread != this_thread:
            return True
        if log is not None:
            record.msg, record.args = log(record.getMessage()), ()
        return log is not None

    logger.addFilter(rewrite)
    try:
        yield
    finally:
        logger.removeFilter(rewrite)


_TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError)
_BROKEN = (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError, urllib3.exceptions.HTTPError)


def _failure(error: Exception, expired: bool) -> HttpFailure:
    """Return the failure for an error. Only the system's part of the text is kept: the rest can contain URLs and headers."""
    text, inner = str(error), error.args[0] if error.args else None
    cause = inner.args[-1] if isinstance(inner, ProtocolError) and inner.args else inner  # the system's error
    name = type(error).__name__
    if isinstance(getattr(inner, "reason", None), NewConnectionError):
        why = HttpFailureKind.UNREACHABLE
    elif isinstance(error, requests.ConnectTimeout):
        why = HttpFailureKind.CONNECT_TIMEOUT
    elif expired or isinstance(error, requests.Timeout) or isinstance(cause, _TIMEOUTS):
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
