"""The settings of where messages go: how each is read, what goes together, and what a route needs. Nothing here connects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from alerting.model.errors import SettingsError
from alerting.model.routing import DEFAULT_DESTINATION, Routes, parse_routes

SET = {  # destination -> the setting without which it is not there, and all that it needs
    DEFAULT_DESTINATION: ("telegram_token", "ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT"),
    "slack": ("slack_url", "ALERTING_SLACK_URL"),
    "email": ("email_server", "ALERTING_EMAIL_SERVER, ALERTING_EMAIL_FROM and ALERTING_EMAIL_TO"),
    "webhook": ("webhook_url", "ALERTING_WEBHOOK_URL"),
}
NAMES = tuple(SET)


def read_hook(text: str) -> str:
    """An address to post to, as it is: its path may be its secret. Raises ValueError."""
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password):
        raise ValueError("a URL such as https://host/path, without user and password")
    return text


def read_mail_server(text: str) -> str:
    if text and not re.fullmatch(r"smtps?://([\w.-]+|\[[\da-fA-F:]+\])(:\d{1,5})?/?", text):
        raise ValueError("smtps://host:465 (TLS from the start) or smtp://host:587 (STARTTLS, or this machine)")
    return text.rstrip("/")


def read_sender(text: str) -> str:
    if text:
        mail_address(text)
    return text


def read_receivers(text: str) -> str:
    for part in filter(str.strip, text.split(",")):
        mail_address(part)
    return text


def mail_address(text: str) -> str:
    """The bare mail address in `text`, which may have a name before it. Raises ValueError for what is none."""
    from email.utils import parseaddr  # milliseconds that most runs do not need

    bare = parseaddr(text)[1]
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", bare) or not bare.isascii() or not text.isprintable():
        raise ValueError("mail addresses such as alerts@example.com or 'Alerts <alerts@example.com>'")
    return bare


def read_routes(text: str) -> str:
    parse_routes(text, NAMES)
    return text


def configured_destinations(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The destinations that are there."""
    return tuple(place for place, (key, _) in SET.items() if values[key])


def effective_routes(values: Mapping[str, Any]) -> Routes:
    """Without a route, everything goes to the chat; without a chat, to all there is."""
    there = configured_destinations(values)
    return parse_routes(values["routes"], NAMES, (DEFAULT_DESTINATION,) if DEFAULT_DESTINATION in there or not there else there)


def destination_faults(values: Mapping[str, Any]) -> list[str]:
    """What goes together and is not all there; routes that lead nowhere."""
    out = []
    if bool(values["telegram_token"]) != bool(values["telegram_chat"]):
        out.append("ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT go together: set both, or neither to print")
    if len({bool(values[f"email_{name}"].strip()) for name in ("server", "from", "to")}) > 1:
        out.append(f"{SET['email'][1]} go together: set all three, or none")
    if bool(values["email_user"]) != bool(values["email_password"]):
        out.append("ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD go together: set both, or neither for no login")
    absent = [place for place in parse_routes(values["routes"], NAMES, ()).places if place not in configured_destinations(values)]
    return [*out, *(f"ALERTING_ROUTES leads to {place}, which is not set up: set {SET[place][1]}" for place in absent)]


# Strict reading of the environment (and of `.env`, which cron and Jupyter share). Nothing here connects to anything.

PREFIX = "ALERTING_"
ROOT = Path(__file__).resolve().parent.parent
RETIRED = {"ALERTING_ROLLUPS", "ALERTING_ROLLUP_USER", "ALERTING_ROLLUP_PASSWORD", "ALERTING_ROLLUP_PASSWORD_FILE"}


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL such as https://host:8443")
    if parts.username or parts.password:
        raise ValueError("a URL without user and password: those have settings of their own")
    return text.rstrip("/")


def _optional_url(text: str) -> str:
    return _url(text) if text else ""


def _template(text: str) -> str:
    try:
        text.format(start="", end="", metric="", slice="")
    except (KeyError, IndexError, ValueError):
        raise ValueError("a URL with no other braces than {start}, {end}, {metric} and {slice}") from None
    return _optional_url(text)


def _source(text: str) -> str:
    if text == "embedded" or text.startswith(("http://", "https://")):
        return text if text == "embedded" else _url(text)
    if Path(text).suffix in (".csv", ".parquet"):
        return text
    raise ValueError("'embedded', a ClickHouse URL such as https://host:8443, or the path of a .csv or .parquet table")


def _table(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", text):
        raise ValueError("a table name: letters, digits and '_', with an optional 'database.' before it")
    return text


def _database(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", text):
        raise ValueError("a database name: letters, digits and '_'")
    return text


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone name such as Europe/Moscow") from None


def _choice(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(repr(a) for a in allowed))
        return text

    return check


def _number(low: float, high: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return check


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError("bytes, or a size such as 500M or 4G; 0 for what the server allows")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def _chat(text: str) -> str:
    if text and not re.fullmatch(r"-?\d+|@\w+", text):
        raise ValueError("a chat id such as -1001234567890, or @channel")
    return text


def _users(text: str) -> str:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not all(re.fullmatch(r"\d+|@\w+|\*", name) for name in names):
        raise ValueError("user ids or @names with commas between, or * for everyone in the chat")
    return ",".join(names)


def _hour(text: str) -> str:
    if text and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("a local time such as 09:30, or nothing for no daily line")
    return text


def _countries(text: str) -> str:
    codes = [code.strip().upper() for code in text.split(",") if code.strip()]
    if not all(re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", code) for code in codes):
        raise ValueError("country codes with commas between, such as RU,KZ or DE-BY")
    return ",".join(codes)


def _topic(text: str) -> str:
    if text and not text.isdigit():
        raise ValueError("the number of a topic (message_thread_id)")
    return text


def _token(text: str) -> str:
    if text and not re.fullmatch(r"\d+:[\w-]+", text):
        raise ValueError("a bot token as BotFather gives it: digits, a colon, letters")
    return text


def _path(text: str) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() else ROOT / path


def setting(default: str, read: Callable[[str], object] = str, secret: bool = False, help: str = "") -> Any:
    """One setting: its default as it would be written in the environment, and how to read it."""
    return field(default=None, repr=not secret, metadata={"default": default, "read": read, "secret": secret, "help": help})


@dataclass(frozen=True)
class Settings:
    """Every setting, read and checked. The environment's name is ALERTING_ and the field's name in capitals."""

    source: str = setting("embedded", _source, help="embedded | ClickHouse URL | path of a .csv or .parquet table")
    metrics: str = setting("", help="names of the metrics to watch, with commas between; empty: the whole catalogue")
    clickhouse_user: str = setting("default", help="ClickHouse user")
    clickhouse_password: str = setting("", secret=True, help="its password (or ALERTING_CLICKHOUSE_PASSWORD_FILE)")
    clickhouse_database: str = setting("default", _database, help="database of the two tables")
    clickhouse_ca: str = setting("", help="file of a CA certificate, for a server with a private one")
    clickhouse_timeout: float = setting("60", _number(1, 600), help="seconds a query may take")
    clickhouse_memory: int = setting("4G", _bytes, help="memory a query may take on the server; 0: what the server allows")
    feed_table: str = setting("feed_actions", _table, help="table of feed actions")
    message_table: str = setting("message_actions", _table, help="table of messages")
    telegram_token: str = setting("", _token, secret=True, help="bot token (or ALERTING_TELEGRAM_TOKEN_FILE); empty: print")
    telegram_chat: str = setting("", _chat, help="chat id or @channel")
    telegram_topic: str = setting("", _topic, help="topic of a forum group")
    telegram_users: str = setting("", _users, help="who may press buttons: ids or @names with commas between; * all in the chat")
    telegram_url: str = setting("https://api.telegram.org", _url, help="Bot API server")
    slack_url: str = setting("", read_hook, secret=True, help="incoming webhook, Slack's or Mattermost's (or ..._FILE)")
    email_server: str = setting("", read_mail_server, help="smtps://host:465, or smtp://host:587 for STARTTLS")
    email_user: str = setting("", help="login there; empty: none")
    email_password: str = setting("", secret=True, help="its password (or ALERTING_EMAIL_PASSWORD_FILE)")
    email_from: str = setting("", read_sender, help="sender of mail, such as Alerts <alerts@example.com>")
    email_to: str = setting("", read_receivers, help="receivers of mail, with commas between")
    email_ca: str = setting("", help="file of a CA certificate, for a mail server with a private one")
    webhook_url: str = setting("", read_hook, secret=True, help="where messages are posted as JSON (or ..._FILE)")
    webhook_secret: str = setting("", secret=True, help="what signs them (or ALERTING_WEBHOOK_SECRET_FILE); empty: no signature")
    webhook_photo: str = setting("yes", _choice("yes", "no"), help="whether pictures are posted, too, in base64")
    routes: str = setting("", read_routes, help="what goes where: 'critical -> telegram, email; * -> telegram'")
    language: str = setting("en", _choice("en", "ru"), help="language of messages")
    zone: str = setting("Europe/Moscow", _zone, help="time zone of messages and of the daily rhythm")
    delay: float = setting("5", _number(0, 120), help="minutes a bucket is given to fill before it is judged")
    dashboard: str = setting("", _template, help="dashboard URL; {start}, {end}, {metric} and {slice} are filled in")
    runs_url: str = setting("", _optional_url, help="where reports/ is served, for links in messages")
    owner: str = setting("", help="who is mentioned in messages, such as @duty")
    daily: str = setting("", _hour, help="local time of a daily line in the chat, such as 09:30; empty: none")
    heartbeat_url: str = setting(
        "", _optional_url, secret=True, help="pinged after every green run (or ALERTING_HEARTBEAT_URL_FILE)"
    )
    mutable: float = setting("6", _number(0, 48), help="hours in which late rows still change a judged bucket")
    calendar: Path = setting(
        "alerting/calendar.csv", _path, help="releases, pushes, campaigns, experiments: start,end,kind,title"
    )
    holidays: str = setting("", _countries, help="countries whose public holidays join the calendar, such as RU,KZ")
    data: Path = setting("data", _path, help="folder of the memory and of the embedded app")
    reports: Path = setting("reports", _path, help="folder of executed notebooks")
    cell_timeout: float = setting("300", _number(5, 3600), help="seconds one notebook cell may take")
    run: str = setting("", help="set by the runner: link or path of the run's record")
    run_timeout: float = setting("600", _number(10, 7200), help="seconds the whole run may take")


def load_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Settings from `environ` (default: the process's), which goes before the `.env` file.

    Raises SettingsError, naming every setting that is unknown or malformed and the form it takes.
    """
    given = {name: text for name, text in _given(environ, dotenv).items() if name not in RETIRED}
    known = {PREFIX + f.name.upper(): f for f in fields(Settings)}
    given, faults = _with_secret_files(given, {name for name, f in known.items() if f.metadata["secret"]})
    faults += [f"{name} is not a setting{_meant(name, known)}" for name in sorted(set(given) - set(known))]
    values = {}
    for name, f in known.items():
        try:
            values[f.name] = f.metadata["read"](given.get(name, f.metadata["default"]))
        except ValueError as error:
            shown = "" if f.metadata["secret"] else f"={given[name]!r}"
            faults.append(f"{name}{shown}: it takes {error}")
    if faults or (faults := destination_faults(values)):
        raise SettingsError("; ".join(faults))
    return Settings(**values)


def retired(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> str:
    """A line about settings that are accepted and do nothing any more; "" where none is set."""
    names = sorted(name for name, text in _given(environ, dotenv).items() if name in RETIRED and text not in ("", "off"))
    if not names:
        return ""
    return f"{', '.join(names)}: ignored, the raw tables are read. docs/scale.md has the SQL that takes the place of rollups"


def _given(environ: Mapping[str, str] | None, dotenv: Path | None) -> dict[str, str]:
    return {**_from_file(dotenv or ROOT / ".env"), **_ours(os.environ if environ is None else environ)}


def _ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if name.startswith(PREFIX)}


def _from_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values  # only when there is a file

    return _ours({name: text or "" for name, text in dotenv_values(path, interpolate=False).items()})


def _with_secret_files(given: dict[str, str], secrets: set[str]) -> tuple[dict[str, str], list[str]]:
    """Each NAME_FILE of a secret replaced by NAME with the file's text."""
    out, faults = dict(given), []
    for name in secrets:
        path = out.pop(f"{name}_FILE", "")
        if path and out.get(name):
            faults.append(f"{name} and {name}_FILE are both set: keep one")
        elif path:
            try:
                out[name] = Path(path).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{name}_FILE={path!r} cannot be read ({type(error).__name__}): give the path of a text file")
    return out, faults


def _meant(name: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else " (`python -m alerting settings` lists them)"
