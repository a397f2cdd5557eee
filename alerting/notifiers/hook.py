"""JSON to a secret address. No exception, traceback or log record holds it (`alerting.http_client`); the error is raised
where no address is in sight (`Hook.post`)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from alerting.model.errors import NotifyError

if TYPE_CHECKING:
    from alerting.http_client import HttpFailure

RETRY_PAUSE = 0.3  # seconds before the one further try after a refused connection
LONGEST_WAIT = 86_400.0  # seconds of Retry-After that are believed
READ = 2000  # bytes of an answer that are looked at
SHOWN = 120  # characters of it that are told


class HookAnswer(NamedTuple):
    """What came back, or (code 0) why nothing did. Never holds the address."""

    code: int
    text: str
    retry_after: float = 0.0
    unsure: bool = False  # it may have arrived

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300


class Hook:
    """Posts to `url`. `name`: of the destination, `setting`: where its address is set, both for what is told of errors."""

    def __init__(self, name: str, setting: str, url: str, timeout: float = 15.0) -> None:
        self.name, self.setting, self.timeout = name, setting, timeout
        self._url, parts = url, urlsplit(url)
        self.host = parts.hostname or "nowhere"
        self._secret = [url, f"{parts.path}?{parts.query}" if parts.query else parts.path, parts.path]

    def post(self, body: bytes, **headers: str) -> str:
        """The text of an answer that says yes. Raises NotifyError; permanent when this very message will never do."""
        answer = self.ask("POST", body, headers)
        if answer.ok:
            return answer.text
        text = f"{self.name}: {answer.code or ''} {answer.text}".replace(":  ", ": ")
        if answer.code == 429:
            raise NotifyError(text, retry_after=answer.retry_after or 1.0)
        if 300 <= answer.code < 400:
            raise NotifyError(f"{text}: it redirects, which is not followed: set {self.setting} to where it leads")
        if 400 < answer.code < 500 and answer.code not in (408, 413, 422):
            raise NotifyError(f"{text}: check {self.setting}")
        doubt = ": the message may have arrived" if answer.unsure else ""
        raise NotifyError(text + doubt, permanent=answer.code in (400, 413, 422))

    def ask(self, method: str, body: bytes, headers: dict[str, str]) -> HookAnswer:
        """The answer. A refused connection is tried once more, for nothing has arrived then; after anything else it may have."""
        from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that a quiet run does not need

        client = HttpClient(self.timeout, max_body=READ, retry_pause=RETRY_PAUSE)
        headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        answer = client.request(method, self._url, data=body, headers=headers)
        if isinstance(answer, HttpFailure):
            return self._unanswered(answer)
        return HookAnswer(answer.status, self._shown(answer.head), _seconds(answer.headers.get("Retry-After", "")))

    def _shown(self, text: str) -> str:
        """The beginning of an answer that is no web page, without the address, which some servers quote."""
        for secret in filter(lambda part: len(part) > 1, self._secret):
            text = text.replace(secret, "<address>")
        line = " ".join(text.split())
        return "" if line.startswith("<!") or re.match(r"<html", line, re.IGNORECASE) else line[:SHOWN]

    def _unanswered(self, failure: HttpFailure) -> HookAnswer:
        if failure.unsure:
            return HookAnswer(0, f"no answer from {self.host} ({failure.error})", unsure=True)
        return HookAnswer(0, f"{self.host} cannot be reached ({failure.error}): check the network and {self.setting}")


def _seconds(told: str) -> float:
    """Of a Retry-After header: a number of seconds, or a date; 0 for none that makes sense."""
    with suppress(ValueError):
        return min(max(float(told), 0.0), LONGEST_WAIT) if told.strip().isdigit() else _until(parsedate_to_datetime(told))
    return 0.0


def _until(at: datetime) -> float:
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((aware - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT)
