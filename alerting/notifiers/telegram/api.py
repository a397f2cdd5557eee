"""The line to Telegram's Bot API.

The token is part of every Bot API URL. No exception, traceback, frame or log record holds one
(`alerting.http_client`): a failed call comes back as a response (`Line.ask`), and `result` raises the error where
no URL is in sight.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from alerting.model.errors import NotifyError

if TYPE_CHECKING:
    from alerting.http_client import HttpFailure

RETRY_PAUSE = 0.3  # seconds before the one further try after a refused connection
LONGEST_WAIT = 86_400.0  # seconds of `retry_after` that are believed
SENDING = ("send", "edit")  # methods after which something may be in the chat that we were not told of

_CHAT = "check ALERTING_TELEGRAM_CHAT, and that the bot is in that chat"
_OWN = "or give the alerts a bot of their own"
_ACCESS = (  # "code description" of answers about the set-up, not about the message: it is kept, and here is what to do
    (r"40[14] ", "the bot token is not accepted: check ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_URL"),
    (r"403 ", "the bot may not write there: add it to the chat again, let it send messages, check ALERTING_TELEGRAM_CHAT"),
    (r"409 .*webhook", f"a webhook takes this bot's updates: call deleteWebhook, {_OWN}"),
    (r"409 ", f"another program reads this bot's updates: stop it, {_OWN}"),
    (r"400 .*(thread|topic)", "the topic is closed or gone: set ALERTING_TELEGRAM_TOPIC to an open one, or leave it empty"),
    (r"400 .*(rights|write|admin|restrict)", "let the bot send messages and photos in the chat"),
    (r"400 .*(chat|group|user)\b.*(not found|invalid|deactivated|upgraded|blocked|kicked|empty)", _CHAT),
    (r"400 .*peer_id_invalid", _CHAT),
)


class Response(NamedTuple):
    """What the Bot API said, or (code 0) why it said nothing. Never holds the token."""

    ok: bool
    code: int
    description: str
    parameters: dict[str, Any]
    result: Any
    unsure: bool = False  # what was asked for may have been done

    def says(self, pattern: str) -> bool:
        return not self.ok and bool(re.match(pattern, f"{self.code} {self.description}", re.IGNORECASE))

    @property
    def moved_to(self) -> str:
        """The supergroup that the chat has become."""
        moved = identifier(self.parameters.get("migrate_to_chat_id"))
        return moved if re.fullmatch(r"-?[0-9]{1,20}", moved) else ""


class Line:
    """Asks the Bot API server at `url`."""

    def __init__(self, token: str, url: str, timeout: float) -> None:
        self._token, self._url, self._timeout = token, url, timeout
        self._host = re.sub(r"^\w+://|/.*|.*@", "", url)

    def ask(self, method: str, fields: dict[str, str], photo: bytes | None = None, timeout: float | None = None) -> Response:
        """The response. A refused connection is tried once more, for nothing has arrived then; after anything else something
        may have. `timeout`: seconds, where the usual ones do not fit."""
        from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that a quiet run does not need

        client = HttpClient(self._timeout if timeout is None else timeout, retry_pause=RETRY_PAUSE, log=_without_token)
        files = {"photo": ("picture.png", photo, "image/png")} if photo else None
        answer = client.request("POST", f"{self._url}/bot{self._token}/{method}", data=fields, files=files)
        if isinstance(answer, HttpFailure):
            return _unanswered(answer, self._host)
        body = answer.body.decode("utf-8", "replace")
        return _read(answer.status, body.replace(self._token, "<token>"))  # some proxies quote the URL


def result(method: str, response: Response) -> Any:
    """What was asked for. Raises NotifyError for a response that says no."""
    if response.ok:
        return response.result
    doubt = ": the message may have arrived" if response.unsure and method.startswith(SENDING) else ""
    text = f"Telegram {method}: " + (f"{response.code} " if response.code else "") + response.description + doubt
    for pattern, advice in _ACCESS:
        if response.says(pattern):
            raise NotifyError(f"{text}: {advice}")
    if response.code == 429:
        raise NotifyError(text, retry_after=_seconds(response.parameters.get("retry_after")))
    raise NotifyError(text, permanent=response.code in (400, 413))


def record(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else one without fields."""
    return value if isinstance(value, dict) else {}


def identifier(value: object) -> str:
    """An id as text: Telegram's are numbers, those of other servers may be text; "" for anything else."""
    return str(value) if isinstance(value, int | str) else ""


def _seconds(told: object) -> float:
    return float(min(told, LONGEST_WAIT)) if isinstance(told, int | float) and told > 0 else 1.0


def _without_token(line: str) -> str:
    return re.sub(r"/bot[^/\s]+", "/bot<token>", line)


def _read(status: int, body: str) -> Response:
    """The Bot API's answer in `body`; for anything else a response that says what came instead."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and isinstance(told.get("ok"), bool):
        code = told.get("error_code")
        code = code if isinstance(code, int) else status
        description = told["description"][:300] if isinstance(told.get("description"), str) else ""
        return Response(told["ok"], code, description, record(told.get("parameters")), told.get("result"))
    if 200 <= status < 300:
        return _failed("half an answer, or not the Bot API's", unsure=True)
    if status in (404, 413):  # the path is wrong, or the web server before the Bot API finds the picture too large
        return _failed("not the Bot API's answer", status)
    return _failed(f"{status}, not the Bot API's answer: it is down, or ALERTING_TELEGRAM_URL or a proxy leads elsewhere")


def _failed(description: str, code: int = 0, unsure: bool = False) -> Response:
    return Response(False, code, description, {}, None, unsure)


def _unanswered(failure: HttpFailure, host: str) -> Response:
    if failure.unsure:
        return _failed(f"no answer from {host} ({failure.error})", unsure=True)
    return _failed(f"{host} cannot be reached ({failure.error}): check the network, a proxy, and ALERTING_TELEGRAM_URL")
