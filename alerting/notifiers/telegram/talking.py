"""The line to Telegram's Bot API.

The token is part of every Bot API URL, so no library exception, traceback, frame or log record that holds one leaves this
module: a failed call comes back as a response (`Line._post`), and the error is raised where no URL is in sight (`result`).
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any, NamedTuple

from alerting.model import NotifyError

CONNECT_TIMEOUT = 5.0  # seconds; an answer may take longer than a connection
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
        logging.getLogger("urllib3.connectionpool").addFilter(_without_token)  # at DEBUG it logs every path

    def ask(self, method: str, fields: dict[str, str], photo: bytes | None = None, timeout: float | None = None) -> Response:
        """The response. A refused connection is tried once more, for nothing has arrived then; after anything else something
        may have. `timeout`: seconds, where the usual ones do not fit."""
        timeout = self._timeout if timeout is None else timeout
        response, refused = self._post(method, fields, photo, timeout)
        if refused:
            time.sleep(RETRY_PAUSE)
            response, _ = self._post(method, fields, photo, timeout)
        return response

    def _post(self, method: str, fields: dict[str, str], photo: bytes | None, timeout: float) -> tuple[Response, bool]:
        """The response, and whether no connection came about. Never raises: its locals and its errors hold the token."""
        import requests  # 0.1 s that a quiet run does not need
        from urllib3.exceptions import HTTPError

        try:
            response = requests.post(
                f"{self._url}/bot{self._token}/{method}",
                data=fields,
                files={"photo": ("picture.png", photo, "image/png")} if photo else None,
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                allow_redirects=False,  # a redirect would carry the alert, as a GET, to who knows where
            )
        except (OSError, ValueError, HTTPError) as error:  # RequestException is an OSError
            return _unanswered(error, self._host)
        body = response.content.decode("utf-8", "replace")
        return _read(response.status_code, body.replace(self._token, "<token>")), False  # some proxies quote the URL


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


def _without_token(record: logging.LogRecord) -> bool:
    record.msg, record.args = re.sub(r"/bot[^/\s]+", "/bot<token>", record.getMessage()), ()
    return True


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


def _unanswered(error: Exception, host: str) -> tuple[Response, bool]:
    """What a broken line looks like, and whether no connection came about at all (refused, or no such host).

    Only the error's type is told: its text holds the URL.
    """
    from urllib3.exceptions import NewConnectionError

    name = type(error).__name__
    refused = isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)
    if refused or name in ("ConnectTimeout", "ProxyError", "SSLError", "InvalidURL"):
        return _failed(f"{host} cannot be reached ({name}): check the network, a proxy, and ALERTING_TELEGRAM_URL"), refused
    return _failed(f"no answer from {host} ({name})", unsure=True), False
