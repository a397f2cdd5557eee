"""Settings, read strictly from the environment and from the `.env` file that cron and Jupyter share. No connection is opened."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from alerting.env_file import read_env_file, read_secret_files
from alerting.model.clock import parse_length, parse_week_spans
from alerting.model.errors import SettingsError
from alerting.model.metric import check_template
from alerting.model.routing import DEFAULT_DESTINATION, QuietHours, Routes, parse_routes

PREFIX = "ALERTING_"
ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CALENDAR = ROOT / "alerting" / "calendar.csv"
RETIRED = {"ALERTING_ROLLUPS", "ALERTING_ROLLUP_USER", "ALERTING_ROLLUP_PASSWORD", "ALERTING_ROLLUP_PASSWORD_FILE"}


@dataclass(frozen=True)
class Destination:
    """A place where messages can go. `needs`: the settings that it must have. `advice`: text if only some of them are set."""

    needs: tuple[str, ...]
    advice: str = ""

    @property
    def names(self) -> str:
        """The names in the environment of the settings that it needs, as text: "A, B and C"."""
        *first, last = (PREFIX + name.upper() for name in self.needs)
        return f"{', '.join(first)} and {last}" if first else last


DESTINATIONS = {  # name, which is the name of the module in alerting/notifiers/ too; the default one first
    DEFAULT_DESTINATION: Destination(("telegram_token", "telegram_chat"), "set both, or neither to print"),
    "slack": Destination(("slack_url",)),
    "email": Destination(("email_server", "email_from", "email_to"), "set all three, or none"),
    "webhook": Destination(("webhook_url",)),
}
NAMES = tuple(DESTINATIONS)


# Readers: each returns the value of a text, or raises ValueError that shows the right form. If the empty text is the default, it
# is not given to the reader.


def _matching(pattern: str, form: str) -> Callable[[str], str]:
    """Return a reader for texts that match the whole pattern. `form`: error text for other texts."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(form)
        return text

    return read


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return read


def _words(pattern: str, form: str, change: Callable[[str], str] = str) -> Callable[[str], str]:
    """Return a reader for words with commas between them, each of which matches the whole pattern."""

    def read(text: str) -> str:
        words = [change(word.strip()) for word in text.split(",") if word.strip()]
        if not all(re.fullmatch(pattern, word) for word in words):
            raise ValueError(form)
        return ",".join(words)

    return read


def _checked(check: Callable[[str], object], read: Callable[[str], str] = str) -> Callable[[str], str]:
    """Return a reader that calls `check`, which may raise ValueError, and then `read`."""

    def read_checked(text: str) -> str:
        check(text)
        return read(text)

    return read_checked


def mail_address(text: str) -> str:
    """Return the mail address in `text`, without the name that may be before it. Raises ValueError for any other text."""
    from email.utils import parseaddr  # milliseconds that most runs do not need

    bare = parseaddr(text)[1]
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", bare) or not bare.isascii() or not text.isprintable():
        raise ValueError("mail addresses such as alerts@example.com or 'Alerts <alerts@example.com>'")
    return bare


_NAME = r"[A-Za-z_]\w*"
_table = _matching(rf"({_NAME}\.)?{_NAME}", "a table name: letters, digits and '_', with an optional 'database.' before it")
_database = _matching(_NAME, "a database name: letters, digits and '_'")
_token = _matching(r"\d+:[\w-]+", "a bot token as BotFather gives it: digits, a colon, letters")
_chat = _matching(r"-?\d+|@\w+", "a chat id such as -1001234567890, or @channel")
_on_off = _matching(r"on|off", "on or off")
_time_of_day = _matching(r"([01]\d|2[0-3]):[0-5]\d", "a local time such as 09:30, or nothing for no daily line")
_mail_server = _matching(
    r"smtps?://([\w.-]+|\[[\da-fA-F:]+\])(:\d{1,5})?/?",
    "smtps://host:465 (TLS from the start) or smtp://host:587 (STARTTLS, or this machine)",
)
_users = _words(r"\d+|@\w+|\*", "user ids or @names with commas between, or * for everyone in the chat")
_countries = _words(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", "country codes with commas between, such as RU,KZ or DE-BY", str.upper)
_week = _checked(parse_week_spans)
_length = _checked(parse_length)
_mail_receivers = _checked(lambda text: [mail_address(part) for part in text.split(",") if part.strip()])
_routes = _checked(lambda text: parse_routes(text, NAMES))


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL such as https://host:8443")
    if parts.username or parts.password:
        raise ValueError("a URL without user and password: those have settings of their own")
    return text.rstrip("/")


_url_template = _checked(check_template, _url)


def _hook_url(text: str) -> str:
    """Return the text unchanged, because the path of a URL to post to may be its secret. Raises ValueError if it is no URL."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("a URL such as https://host/path, without user and password")
    return text


def _source(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return _url(text)
    if text == "embedded" or text.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")):
        return text
    raise ValueError("'embedded', a ClickHouse URL such as https://host:8443, or the path of a .csv or .parquet table")


def _columns(text: str) -> str:
    parts = re.split(r",\s*(?=\w+=)", text)
    kinds = {part.split("=", 1)[0].strip() for part in parts if "=" in part}
    dates = {part.strip() for part in parts if part.startswith("dates=")}
    if kinds - {"time", "value", "series", "dates"} or len(kinds) < len(parts) or dates - {"dates=dmy", "dates=mdy"}:
        raise ValueError("columns of the table such as time=date+hour,value=views+likes,series=city; dates=dmy or dates=mdy")
    return text


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone name such as Europe/Moscow") from None


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError("bytes, or a size such as 500M or 4G; 0 for what the server allows")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def _path(text: str) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() else ROOT / path


def setting(default: str, read: Callable[[str], object] = str, secret: bool = False, help: str = "") -> Any:
    """Declare a setting. `default`: as written in the environment. `read`: its reader. `secret`: NAME_FILE can be set instead."""
    return field(default=None, repr=not secret, metadata={"default": default, "read": read, "secret": secret, "help": help})


@dataclass(frozen=True)
class Settings:
    """All settings, read and checked. A setting's name in the environment is ALERTING_ and the name of the field in capitals."""

    source: str = setting("embedded", _source, help="embedded | ClickHouse URL | path of a .csv or .parquet table")
    columns: str = setting("", _columns, help="columns of a table: time=ds,value=y,series=city; what is left out is guessed")
    file_zone: str = setting("", _zone, help="zone of a table's times without one; empty: UTC, and ALERTING_ZONE for dates")
    metrics: str = setting("", help="names of the metrics to watch, with commas between; empty: the whole catalogue")
    clickhouse_user: str = setting("default", help="ClickHouse user")
    clickhouse_password: str = setting("", secret=True, help="its password (or ALERTING_CLICKHOUSE_PASSWORD_FILE)")
    clickhouse_database: str = setting("default", _database, help="database of the two tables")
    clickhouse_ca: str = setting("", help="file of a CA certificate, for a server with a private one")
    clickhouse_timeout: float = setting("60", _number(1, 600), help="seconds a query may take")
    clickhouse_memory: int = setting("4G", _size, help="memory a query may take on the server; 0: what the server allows")
    feed_table: str = setting("feed_actions", _table, help="table of feed actions")
    message_table: str = setting("message_actions", _table, help="table of messages")
    telegram_token: str = setting("", _token, secret=True, help="bot token (or ALERTING_TELEGRAM_TOKEN_FILE); empty: print")
    telegram_chat: str = setting("", _chat, help="chat id or @channel")
    telegram_topic: str = setting(
        "", _matching(r"\d+", "the number of a topic (message_thread_id)"), help="topic of a forum group"
    )
    telegram_users: str = setting("", _users, help="who may press buttons and ask: ids, @names; * all in the chat")
    telegram_url: str = setting("https://api.telegram.org", _url, help="Bot API server")
    slack_url: str = setting("", _hook_url, secret=True, help="incoming webhook, Slack's or Mattermost's (or ..._FILE)")
    email_server: str = setting("", _mail_server, help="smtps://host:465, or smtp://host:587 for STARTTLS")
    email_user: str = setting("", help="login there; empty: none")
    email_password: str = setting("", secret=True, help="its password (or ALERTING_EMAIL_PASSWORD_FILE)")
    email_from: str = setting("", _checked(mail_address), help="sender of mail, such as Alerts <alerts@example.com>")
    email_to: str = setting("", _mail_receivers, help="receivers of mail, with commas between")
    email_ca: str = setting("", help="file of a CA certificate, for a mail server with a private one")
    webhook_url: str = setting("", _hook_url, secret=True, help="where messages are posted as JSON (or ..._FILE)")
    webhook_secret: str = setting("", secret=True, help="what signs them (or ALERTING_WEBHOOK_SECRET_FILE); empty: no signature")
    webhook_photo: str = setting("yes", _matching("yes|no", "'yes' or 'no'"), help="whether pictures are posted, too, in base64")
    routes: str = setting("", _routes, help="what goes where: 'critical -> telegram, email; * -> telegram'")
    language: str = setting("en", _matching("en|ru", "'en' or 'ru'"), help="language of messages")
    zone: str = setting("Europe/Moscow", _zone, help="time zone of messages and of the daily rhythm")
    delay: float = setting("5", _number(0, 120), help="minutes a bucket is given to fill before it is judged")
    dashboard: str = setting("", _url_template, help="dashboard URL; {start}, {end}, {metric} and {segment} are filled in")
    runs_url: str = setting("", _url, help="where reports/ is served, for links in messages")
    owner: str = setting("", help="who is mentioned in messages, such as @duty")
    daily: str = setting("", _time_of_day, help="local time of a daily line in the chat, such as 09:30; empty: none")
    quiet: str = setting("", _week, help="quiet hours, local: '23:00-08:00, Sat-Sun 23:00-10:00'; what is critical rings")
    quiet_mode: str = setting(
        "silent", _matching("silent|wait", "silent or wait"), help="the rest then: without a sound, or after them in one summary"
    )
    escalate: str = setting("", _length, help="time after which a critical incident that nobody took goes to the next route: 30m")
    oncall: Path = setting("alerting/oncall.csv", _path, help="who is on call, mentioned for @duty: from,until,mention")
    incident_notebook: str = setting(
        "on", _on_off, help="on: notebook 2.2 is executed for each incident, in the background; needs `make notebooks` once"
    )
    heartbeat_url: str = setting("", _url, secret=True, help="pinged after every green run (or ALERTING_HEARTBEAT_URL_FILE)")
    mutable: float = setting("6", _number(0, 48), help="hours in which late rows still change a judged bucket")
    calendar: Path = setting(
        "alerting/calendar.csv", _path, help="releases, pushes, campaigns, experiments: start,end,kind,title"
    )
    holidays: str = setting(
        "", _countries, help="countries whose public holidays join the calendar, such as RU,KZ; they are learned"
    )
    data: Path = setting("data", _path, help="folder of the memory and of the embedded app")
    reports: Path = setting("reports", _path, help="folder of executed notebooks")
    cell_timeout: float = setting("300", _number(5, 3600), help="seconds one notebook cell may take")
    run: str = setting("", help="set by the runner: link or path of the run's record")
    run_timeout: float = setting("600", _number(10, 7200), help="seconds the whole run may take")

    @property
    def state_file(self) -> Path:
        """The path of the state database."""
        return self.data / "alerts.sqlite"

    @property
    def lock_file(self) -> Path:
        """The path of the file that a run locks."""
        return self.data / "run.lock"

    @property
    def cron_minute(self) -> int:
        """The minute of each quarter of an hour at which cron starts a run, so that the closed bucket has had time to fill."""
        return ceil(self.delay) % 15

    def next_cron_run(self, at: datetime) -> datetime:
        """Return the next time after `at` (aware UTC) at which cron starts a run."""
        seconds = int(at.timestamp()) - 60 * self.cron_minute
        return datetime.fromtimestamp(seconds // 900 * 900 + 900 + 60 * self.cron_minute, UTC)

    @property
    def quiet_hours(self) -> QuietHours:
        """The quiet hours, without the modes that metrics set for themselves."""
        return QuietHours(parse_week_spans(self.quiet) if self.quiet else (), self.zone, self.quiet_mode)

    @property
    def has_catalogue(self) -> bool:
        """Whether the metrics come from alerting/metrics.py; a table file has one metric per series instead."""
        return self.source == "embedded" or self.source.startswith(("http://", "https://"))

    @property
    def watched_table(self) -> str:
        """The name under which the series of a table are stored. It contains the columns: other columns give other series."""
        return f"{self.source}?{self.columns}" if self.columns else self.source

    @property
    def destinations(self) -> tuple[str, ...]:
        """The names of the destinations that are set up."""
        return tuple(name for name, destination in DESTINATIONS.items() if vars(self)[destination.needs[0]])

    @property
    def effective_routes(self) -> Routes:
        """The routes. A message that matches none goes to the chat; if there is no chat, to all destinations."""
        to_chat = DEFAULT_DESTINATION in self.destinations or not self.destinations
        return parse_routes(self.routes, NAMES, (DEFAULT_DESTINATION,) if to_chat else self.destinations)


def load_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Return the settings of the `.env` file and of `environ` (None: of the process), which has precedence.

    Raises one SettingsError that lists every line of the file that cannot be read and every setting that is unknown or malformed,
    with the right form.
    """
    values, faults = _read_settings(environ, dotenv)
    if not faults:
        settings = Settings(**values)
        faults = _destination_faults(settings)
    if faults:
        raise SettingsError("; ".join(faults))
    return settings


def usable_settings() -> Settings | None:
    """Return settings with which a message about wrong settings can be sent; None if no destination is set up.

    Malformed settings have their defaults. A destination with a missing setting is left out, and so are its routes.
    """
    try:
        values, _ = _read_settings(None, None)
    except SettingsError:  # the file cannot be read
        values, _ = _read_settings(None, Path(os.devnull) / "none")
    for destination in DESTINATIONS.values():
        if not all(values[name] for name in destination.needs):
            values |= dict.fromkeys(destination.needs, "")
    if not values["email_user"] or not values["email_password"]:
        values |= {"email_user": "", "email_password": ""}
    settings = Settings(**values)
    settings = replace(settings, routes="") if _destination_faults(settings) else settings
    return settings if settings.destinations else None


def _read_settings(environ: Mapping[str, str] | None, dotenv: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Return field -> value for each setting (the default for a malformed one), and the error texts."""
    texts, faults = _texts(environ, dotenv)
    texts = {name: text for name, text in texts.items() if name not in RETIRED}
    declared = {PREFIX + f.name.upper(): f for f in fields(Settings)}
    texts, secret_faults = read_secret_files(texts, {name for name, f in declared.items() if f.metadata["secret"]})
    faults += secret_faults
    for name in sorted(set(texts) - set(declared)):
        close = _closest(name, 0.6)
        advice = f"did you mean {close}?" if close else "`python -m alerting settings` lists them"
        faults.append(f"{name} is not a setting ({advice})")
    values: dict[str, Any] = {}
    for name, f in declared.items():
        read, default, text = f.metadata["read"], f.metadata["default"], texts.get(name, f.metadata["default"])
        try:
            values[f.name] = read(text) if text or default else ""
        except ValueError as error:
            shown = "" if f.metadata["secret"] else f"={text!r}"
            faults.append(f"{name}{shown}: it takes {error}")
            values[f.name] = read(default) if default else ""
    return values, faults


def retired() -> str:
    """Return a line about settings that are accepted but have no effect any more; "" if none of them is set."""
    try:
        texts, _ = _texts(None, None)
    except SettingsError:  # whoever needs the settings will say it
        return ""
    names = sorted(name for name, text in texts.items() if name in RETIRED and text not in ("", "off"))
    advice = "ignored, the raw tables are read. docs/scale.md has the SQL that takes the place of rollups"
    return f"{', '.join(names)}: {advice}" if names else ""


def _texts(environ: Mapping[str, str] | None, dotenv: Path | None) -> tuple[dict[str, str], list[str]]:
    """Return name -> text of our settings in the `.env` file and in the environment, and the errors of the file.

    Our names begin with ALERTING_. In the file a name that is nearly the name of a setting counts too, so that it is reported.
    """
    texts, faults = read_env_file(dotenv or ROOT / ".env")
    texts = {name: text for name, text in texts.items() if name.startswith(PREFIX) or _closest(name.replace("-", "_"), 0.87)}
    environment = os.environ if environ is None else environ
    return texts | {name: text for name, text in environment.items() if name.startswith(PREFIX)}, faults


def _destination_faults(settings: Settings) -> list[str]:
    """Return error texts for destinations with a missing setting and for routes to destinations that are not set up."""
    faults = [
        f"{destination.names} go together: {destination.advice}"
        for destination in DESTINATIONS.values()
        if len({bool(vars(settings)[name].strip()) for name in destination.needs}) > 1
    ]
    if bool(settings.email_user) != bool(settings.email_password):
        faults.append("ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD go together: set both, or neither for no login")
    for name in parse_routes(settings.routes, NAMES, ()).places:
        if name not in settings.destinations:
            faults.append(f"ALERTING_ROUTES leads to {name}, which is not set up: set {DESTINATIONS[name].names}")
    return faults


def _closest(name: str, cutoff: float) -> str:
    """Return the setting whose name is nearly `name`; "" if there is none."""
    from difflib import get_close_matches

    declared = [PREFIX + f.name.upper() for f in fields(Settings)]
    return next(iter(get_close_matches(name.upper(), declared, n=1, cutoff=cutoff)), "")
