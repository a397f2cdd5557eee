"""The nouns every room shares, the ports the pipeline is handed, and the errors that cross a room's door.

Times are aware UTC everywhere: `at` is an instant, `bucket` the start of an interval of `Metric.step`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # annotations only: `model` must stay cheap to import
    import pandas as pd

STEP = timedelta(minutes=15)


class Status(StrEnum):
    """The four answers to "how is this bucket?"."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    MISSING = "missing"  # we looked, and there is no value
    UNKNOWN = "unknown"  # there is a value, and too little history to tell


class State(StrEnum):
    """Where one metric's episode stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Kind(StrEnum):
    """What an event says, and what a message is about."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    NO_DATA = "no data"
    DATA_BACK = "data back"
    RUN_FAILED = "run failed"
    CAUGHT_UP = "caught up"


@dataclass(frozen=True)
class Policy:
    """When a verdict is worth a message. Shares are fractions of the expected value, units are the metric's own."""

    need: int = 1  # anomalous buckets ...
    window: int = 1  # ... among the last `window` that open an episode (m of n)
    recover: int = 2  # normal buckets in a row that resolve it
    patience: int = 2  # missing buckets in a row before "no data" is said
    remind: timedelta = timedelta(hours=6)
    worsen: float = 0.5  # "worse" is said when the deviation has grown by this share since it was last told
    direction: str = "both"  # both | down | up
    min_change: float = 0.05  # the band is never narrower than this share of expected
    min_units: float = 0.0  # nor than this many units

    def __post_init__(self) -> None:
        if not 1 <= self.need <= self.window:
            raise ValueError(f"Policy: need={self.need} must lie between 1 and window={self.window}")
        if self.direction not in ("both", "down", "up"):
            raise ValueError(f"Policy: direction={self.direction!r} must be 'both', 'down' or 'up'")
        if self.recover < 1 or self.patience < 1:
            raise ValueError("Policy: recover and patience are at least 1 bucket")
        if self.min_change < 0 or self.min_units < 0 or self.worsen < 0:
            raise ValueError("Policy: min_change, min_units and worsen cannot be negative")


class Rule(Protocol):
    """A detector: a frozen parameter object that draws a band."""

    @property
    def history(self) -> timedelta:
        """How far back the band of one bucket looks."""

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high for every bucket, each row from earlier values only."""


@dataclass(frozen=True)
class Metric:
    """One line of the catalogue."""

    name: str  # a plain identifier: file names, message keys, the command line
    title: dict[str, str]  # language -> words people read
    query: str  # name of the SQL file, and of the table in it
    value: Callable[[pd.DataFrame], pd.Series]  # counts per bucket -> values per bucket
    rule: Rule
    policy: Policy = Policy()
    step: timedelta = STEP
    width: float = 1.0  # the rule's half-widths times this: what an alert budget is spent with
    form: str = "count"  # count | ratio | number: how a value is written and what it may be
    owner: str = ""  # mentioned in messages, for example "@duty"
    dashboard: str = ""  # URL; {start} and {end} become ISO times, {metric} the name
    color: str = ""

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"Metric name {self.name!r}: use letters, digits, '_', '-' and '.' only")
        if self.form not in ("count", "ratio", "number"):
            raise ValueError(f"Metric {self.name}: form={self.form!r} must be 'count', 'ratio' or 'number'")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"Metric {self.name}: width={self.width!r} must be above 0")
        if not timedelta(minutes=1) <= self.step <= timedelta(days=1):
            raise ValueError(f"Metric {self.name}: step={self.step} must lie between 1 minute and 1 day")


@dataclass(frozen=True)
class Query:
    """One scan of one source table. `name` is the file's name and the table's identifier in the text."""

    name: str
    sql: str
    step: timedelta = STEP


@dataclass(frozen=True)
class Verdict:
    """The answer for one metric and bucket. `score` is signed; beyond +-1 lies outside the band."""

    metric: str
    bucket: datetime
    status: Status
    value: float = float("nan")
    low: float = float("nan")
    expected: float = float("nan")
    high: float = float("nan")
    score: float = float("nan")
    reason: str = ""  # which question an anomalous bucket answers badly: sudden, sustained, level; "usual gap" of a missing one
    news: bool = True  # False: what it says was told before, as of a level that is still held wrong
    usual: float = float("nan")  # the same time of the days before, where the rule knows it

    @property
    def change(self) -> float:
        """Deviation from expected as a share, NaN where expected is 0 or unknown."""
        return (self.value - self.expected) / abs(self.expected) if self.expected else float("nan")


@dataclass(frozen=True)
class Episode:
    """One metric's trouble, from its first odd bucket to the last; also its memory while nothing is wrong."""

    metric: str
    state: State = State.OK
    since: datetime | None = None  # first anomalous bucket of the present trouble
    opened: datetime | None = None  # bucket whose verdict opened it
    told: datetime | None = None  # bucket of the last event
    said: Verdict | None = None  # the anomalous verdict that was last told
    share: float = float("nan")  # of usual: what was expected when it opened, where a sudden change opened it ...
    fell_to: float = float("nan")  # ... and what there was
    worst: Verdict | None = None  # farthest outside so far
    last: Verdict | None = None  # newest verdict seen that had a value
    recent: str = ""  # newest last: one letter of the status per bucket (n, a, m, u)
    calm: int = 0  # normal buckets in a row while firing
    calm_since: datetime | None = None  # first of them
    gap: datetime | None = None  # first missing bucket of the present gap
    gap_told: bool = False


@dataclass(frozen=True)
class Event:
    """Something to tell: what happened, to which metric, at which bucket, and the episode as it then stood."""

    kind: Kind
    metric: str
    bucket: datetime
    verdict: Verdict
    episode: Episode

    @property
    def key(self) -> str:
        """Made of what the event is about, so that telling it twice is seen."""
        return f"{self.metric}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"


@dataclass(frozen=True)
class Message:
    """A text (Telegram HTML) or a picture on its way to the chat. A picture has `photo` (PNG) and a short `text` as caption."""

    key: str
    kind: Kind
    metric: str
    bucket: datetime
    text: str
    photo: bytes | None = None
    reply_to: str = ""  # key of the message this one answers


@dataclass(frozen=True)
class Receipt:
    """What became of a message: sent, kept (tried again next run) or refused (never again), and why."""

    key: str
    state: str  # sent | kept | refused
    reason: str = ""
    message_id: str = ""


@dataclass(frozen=True)
class Reading:
    """What a run saw. `series`: metric -> float64 values on its full UTC grid, gaps NaN.
    `counts`: query name -> the counts they were made of. `troubles`: metric -> why it could not be seen.
    `notes`: odd rows that were put aside."""

    series: dict[str, pd.Series]
    counts: dict[str, pd.DataFrame] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Where counts come from."""

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket of `query.step` for start <= bucket < end.

        Index: `bucket`, datetime64[ns, UTC], ascending, unique, only buckets that have rows. Columns: numbers, float64
        or (unsigned) integers. A column `newest` (epoch seconds of the newest row of the bucket) is optional.
        Raises SourceError.
        """


class Store(Protocol):
    """What is remembered between runs."""

    def episodes(self) -> dict[str, Episode]: ...

    def last_judged(self) -> dict[str, datetime]: ...

    def commit(self, verdicts: list[Verdict], episodes: list[Episode], messages: list[Message]) -> None: ...

    def waiting(self, at: datetime | None = None) -> list[Message]: ...

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None: ...

    def message_id(self, key: str) -> str: ...

    def told_recently(self, kind: str, since: datetime) -> bool: ...


class Notifier(Protocol):
    """Where messages go."""

    def send(self, message: Message, reply_to: str = "") -> str:
        """Message id at the destination. `reply_to` is such an id. Raises NotifyError."""


class AlertingError(Exception):
    """Base of what the rooms raise. The text says what, where, and what to do; it never holds a secret."""


class SettingsError(AlertingError):
    """A setting is unknown, malformed or missing."""


class SourceError(AlertingError):
    """The source could not be read. `passing`: worth another try without a change."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class StoreError(AlertingError):
    """The memory could not be read or written."""


class NotifyError(AlertingError):
    """A message was not accepted. `permanent`: the same message will never be. `retry_after`: seconds to wait."""

    def __init__(self, text: str, permanent: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.permanent, self.retry_after = permanent, retry_after


class RunFailed(AlertingError):
    """Something was not seen or not said: the run ends red."""


class NotDelivered(RunFailed):
    """All was seen, but a message still waits: the run ends red, and the chat hears of it when it can be reached."""


def moment(text: str, now: datetime) -> datetime:
    """The instant (aware UTC) that `text` writes in ISO 8601 with a zone.

    Raises SettingsError when it is not a time, has no zone, or lies after `now`.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(f"at={text!r} is not a time: write it as 2026-11-20T12:15Z") from None
    if at.tzinfo is None:
        raise SettingsError(f"at={text!r} has no time zone: add Z for UTC or an offset, as in 2026-11-20T12:15Z")
    if at > now:
        raise SettingsError(f"at={text!r} lies in the future (now it is {now:%Y-%m-%dT%H:%MZ}): choose a moment that has been")
    return at.astimezone(UTC)
