"""Requests to Telegram's Bot API.

The URL of every request contains the bot's token. No exception, traceback, frame or log record contains it
(`alerting.http_client`): a failed request is returned as a response (`BotClient.call`), and `result` raises the error where no
URL is in sight.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any, NamedTuple

from alerting.model.errors import NotifyError

RETRY_PAUSE = 0.3  # seconds before the one further try after a refused connection
MAX_RETRY_AFTER = 86_400.0  # seconds of `retry_after` that are believed
MAX_DESCRIPTION = 300  # characters of a description that are repeated
SENDING = ("send", "edit")  # beginnings of methods that may have changed the chat although no answer came

_CHAT = "check ALERTING_TELEGRAM_CHAT, and that the bot is in that chat"
_OWN_BOT = "or give the alerts a bot of their own"
_ACCESS = (  # "code description" of errors of the set-up -> what to do; the message is kept
    (r"40[14] ", "the bot token is not accepted: check ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_URL"),
    (r"403 ", "the bot may not write there: add it to the chat again, let it send messages, check ALERTING_TELEGRAM_CHAT"),
    (r"409 .*webhook", f"a webhook takes this bot's updates: call deleteWebhook, {_OWN_BOT}"),
    (r"409 ", f"another program reads this bot's updates: stop it, {_OWN_BOT}"),
    (r"400 .*(thread|topic)", "the topic is closed or gone: set ALERTING_TELEGRAM_TOPIC to an open one, or leave it empty"),
    (r"400 .*(rights|write|admin|restrict)", "let the bot send messages and photos in the chat"),
    (r"400 .*(chat|group|user)\b.*(not found|invalid|deactivated|upgraded|blocked|kicked|empty)", _CHAT),
    (r"400 .*peer_id_invalid", _CHAT),
)


class BotResponse(NamedTuple):
    """An answer of the Bot API, or (code 0) the reason why there is none. It never contains the token."""

    ok: bool
    code: int
    description: str
    parameters: dict[str, Any]
    result: Any
    unsure: bool = False  # the request may have been carried out

    def refused_with(self, pattern: str) -> bool:
        """Return whether it is an error whose "code description" begins with this pattern."""
        return not self.ok and bool(re.match(pattern, f"{self.code} {self.description}", re.IGNORECASE))

    @property
    def moved_to(self) -> str:
        """The id of the supergroup that the chat has become; "" for an answer that names none."""
        moved = identifier(self.parameters.get("migrate_to_chat_id"))
        return moved if re.fullmatch(r"-?[0-9]{1,20}", moved) else ""


class BotClient:
    """A client of the Bot API server at `url`. `timeout`: seconds for a request."""

    def __init__(self, token: str, url: str, timeout: float) -> None:
        self._token, self._url, self._timeout = token, url, timeout
        self._host = re.sub(r"^\w+://|/.*|.*@", "", url)

    def call(self, method: str, fields: dict[str, str], photo: bytes | None = None, timeout: float | None = None) -> BotResponse:
        """Return the response to a request. Only a refused connection is tried once more, because then nothing has arrived.

        `timeout`: seconds, where the usual ones do not fit.
        """
        from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that a quiet run does not need

        mask = partial(re.sub, r"/bot[^/\s]+", "/bot<token>")  # in what urllib3 logs
        client = HttpClient(self._timeout if timeout is None else timeout, retry_pause=RETRY_PAUSE, log=mask)
        files = {"photo": ("picture.png", photo, "image/png")} if photo else None
        answer = client.request("POST", f"{self._url}/bot{self._token}/{method}", data=fields, files=files)
        if isinstance(answer, HttpFailure):
            text = answer.in_words(self._host, "check the network, a proxy, and ALERTING_TELEGRAM_URL")
            return _failed(text, unsure=answer.unsure)
        body = answer.body.decode("utf-8", "replace")
        return _parse(answer.status, body.replace(self._token, "<token>"))  # some proxies repeat the URL


def result(method: str, response: BotResponse) -> Any:
    """Return the result of a request. Raises NotifyError for an error."""
    if response.ok:
        return response.result
    doubt = ": the message may have arrived" if response.unsure and method.startswith(SENDING) else ""
    text = f"Telegram {method}: " + (f"{response.code} " if response.code else "") + response.description + doubt
    for pattern, advice in _ACCESS:
        if response.refused_with(pattern):
            raise NotifyError(f"{text}: {advice}")
    if response.code == 429:
        wait = response.parameters.get("retry_after")
        if not isinstance(wait, int | float) or not wait > 0:
            wait = 1.0
        raise NotifyError(text, retry_after=float(min(wait, MAX_RETRY_AFTER)))
    raise NotifyError(text, permanent=response.code in (400, 413))


def json_object(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def identifier(value: object) -> str:
    """Return an id as text: Telegram's are numbers, those of other servers may be text; "" for anything else."""
    return str(value) if isinstance(value, int | str) else ""


def _parse(status: int, body: str) -> BotResponse:
    """The Bot API's response in `body`; for any other body a response that says so."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("ok"), bool):
        code = answer.get("error_code")
        code = code if isinstance(code, int) else status
        description = answer["description"][:MAX_DESCRIPTION] if isinstance(answer.get("description"), str) else ""
        return BotResponse(answer["ok"], code, description, json_object(answer.get("parameters")), answer.get("result"))
    if 200 <= status < 300:
        return _failed("half an answer, or not the Bot API's", unsure=True)
    if status in (404, 413):  # the path is wrong, or the web server before the Bot API finds the picture too large
        return _failed("not the Bot API's answer", status)
    return _failed(f"{status}, not the Bot API's answer: it is down, or ALERTING_TELEGRAM_URL or a proxy leads elsewhere")


def _failed(description: str, code: int = 0, unsure: bool = False) -> BotResponse:
    return BotResponse(False, code, description, {}, None, unsure)
