"""Format numbers, instants and durations in a language, and segments and other texts that come from data. Pure.

Formatted numbers and times need no escaping; texts from data are escaped and cut here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from html import escape
from itertools import accumulate
from zoneinfo import ZoneInfo

from markupsafe import Markup

from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS
from alerting.model.clock import DAY, EPOCH, day_of, offset_if_twice
from alerting.model.incident import Segment
from alerting.model.metric import Metric, parse_segment
from alerting.model.verdict import Status, Verdict

NAN = float("nan")
MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"  # between groups of digits, and before %
SPACE = "\N{NO-BREAK SPACE}"  # before a unit, and within a date
PERCENT = f"{NARROW}%"
GROUP = {"en": ",", "ru": NARROW}
POINT = {"en": ".", "ru": ","}
MILLION = {"en": "M", "ru": "млн"}
BIG = {"en": ((1e12, "tn"), (1e9, "bn")), "ru": ((1e12, "трлн"), (1e9, "млрд"))}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TIMES_FROM = 5  # from this multiple of the expected value on, write "×5.2": "+420 %" is hard to picture
MAX_DECIMALS, MAX_WITH_WORD = 9, 1e15  # smaller and larger numbers are written as powers of ten

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CLEAR_WEEKDAY = 6  # days from today within which "Mon" means one day only

# characters kept of each (escaped), so that a text stays under Telegram's 4096
MAX_TITLE, MAX_REASON, MAX_URL = 60, 300, 700
MAX_SHORT_TITLE = 40  # characters of a title that is one of several
MAX_VALUE, MAX_ATTRIBUTE = 30, 20  # characters of a segment's value, and of its attribute
MAX_ELEMENTS, MAX_PAIRS = 3, 3  # named of a segment, and of an element

CleanText = Callable[[str], str]  # makes a text from data fit to be shown


@dataclass(frozen=True)
class NumberFormat:
    """One way to write all numbers of a text: they share `decimals`, so that they can be compared."""

    form: str  # count | ratio | number, as in Metric
    language: str
    decimals: int = 0

    @classmethod
    def of(cls, form: str, language: str, numbers: Verdict | Sequence[float]) -> NumberFormat:
        """Return a format with enough decimals to tell the numbers apart; for a verdict, also the edges of its band.

        Numbers that are not finite are ignored.
        """
        width = NAN  # width of the band
        if isinstance(numbers, Verdict):
            width = float(numbers.high - numbers.low)
            numbers = [numbers.value, numbers.low, numbers.expected, numbers.high]
        unit = 100 if form == "ratio" else 1
        finite = [float(x) for x in numbers if math.isfinite(x)]
        scale = max(map(abs, finite), default=0.0) * unit
        if form == "count":
            return cls(form, language, 1 if scale < 10 else 0)
        if scale == 0 or (form == "number" and all(x == round(x) for x in finite)):
            return cls(form, language)
        exponent = math.floor(math.log10(scale))
        by_scale = max(1, 1 - exponent) if form == "ratio" else 2 - exponent
        by_width = -math.floor(math.log10(width * unit)) if math.isfinite(width) and width > 0 else 0
        return cls(form, language, min(max(0, by_width, by_scale), MAX_DECIMALS))

    def value(self, x: float) -> str:
        """Return 1,240 or 13.1 % or 0.0042 or 12.3 bn; "" for NaN. A number that would round to zero gets more decimals."""
        if math.isnan(x):
            return ""
        x = x * 100 if self.form == "ratio" else x
        size, unit, decimals, point = abs(x), "", self.decimals, POINT[self.language]
        for least, word in BIG[self.language]:
            if least <= size < MAX_WITH_WORD:
                size, unit = size / least, f"{SPACE}{word}"
                decimals = max(0, 2 - math.floor(math.log10(size)))

        if size == 0 or math.isinf(size):
            text = "∞" if size else "0"
        elif size >= MAX_WITH_WORD or size < 10**-MAX_DECIMALS:
            mantissa, power = f"{size:.1e}".split("e")
            text = f"{mantissa.replace('.', point)}·10{str(int(power)).translate(SUPERSCRIPT)}"
        else:
            decimals = decimals if round(size, decimals) else -math.floor(math.log10(size))
            text = f"{size:,.{decimals}f}".translate({ord(","): GROUP[self.language], ord("."): point})
        if self.form == "count" and not unit:
            text = text.removesuffix(f"{point}0")
        return f"{MINUS if x < 0 else ''}{text}{unit}{PERCENT if self.form == 'ratio' else ''}"

    def short(self, x: float) -> str:
        """Return a round number for the label of an axis: 2.5 M."""
        if self.form == "ratio" or not 1e6 <= abs(x) < 1e9:
            return self.value(x)
        decimals = next((d for d in range(3) if math.isclose(round(x / 1e6, d), x / 1e6)), 3)
        return f"{NumberFormat('number', self.language, decimals).value(x / 1e6)}{SPACE}{MILLION[self.language]}"

    def range(self, low: float, high: float) -> str:
        """Return 1,930–2,110 or 20.4–21.6 %, or ≤ 100 without a low edge; "" for NaN.

        A low edge below 0 is written as 0 if values cannot be negative.
        """
        if math.isnan(low) or math.isnan(high):
            return ""
        if math.isinf(low) != math.isinf(high):  # one limit
            return f"≤{SPACE}{self.value(high)}" if math.isinf(low) else f"≥{SPACE}{self.value(low)}"
        low = low if self.form == "number" or high < 0 else max(low, 0.0)
        first, last = self.value(low), self.value(high)
        dash = "–" if low >= 0 else "…"  # a dash beside a minus cannot be read
        return last if first == last else f"{first.removesuffix(PERCENT)}{dash}{last}"

    def difference(self, x: float) -> str:
        """Return a deviation in the metric's own unit, with its sign: −780 or −7.9 pp; "" for NaN and 0."""
        if math.isnan(x) or x == 0:
            return ""
        unit = f"{SPACE}{WORDS[self.language]['pp']}" if self.form == "ratio" else ""
        return f"{'+' if x > 0 else ''}{self.value(x).removesuffix(PERCENT)}{unit}"


def signed_percent(value: float, expected: float, language: str) -> str:
    """Return the change from `expected`, as a share of it: −38 % or +8.4 % or ×12; "" if `expected` is 0 or NaN."""
    share = (value - expected) / abs(expected) if expected else NAN
    if not math.isfinite(share):
        return ""
    if expected > 0 and share >= TIMES_FROM - 1:
        times = value / expected
        return f"×{NumberFormat('number', language, 1 if times < 10 else 0).value(times)}"
    percent = share * 100
    size = abs(percent)
    decimals = 0 if size >= 10 or size == 0 else 1 if size >= 1 else 2
    if -100 < percent <= -99.5:  # -100 % is for a true zero
        percent, decimals = max(percent, -99.9), 1
    if round(percent, decimals) == 0:
        return f"0{PERCENT}"
    return f"{'+' if percent > 0 else ''}{NumberFormat('number', language, decimals).value(percent)}{PERCENT}"


@dataclass(frozen=True)
class VerdictFacts:
    """The numbers of a verdict as messages, pages and tables write them, all with the same decimals; "" if unknown."""

    status: str  # normal | anomalous | missing | unknown
    value: str  # 1,240
    expected: str  # 2,020; with fixed limits the range
    range: str  # 1,930–2,110, or ≤ 2,110
    difference: str  # −780: value minus expected (or minus the fixed limit that it passed), for an anomalous verdict
    change: str  # −39 %: the difference as a share of expected
    deviation: str  # −39 %; the value if it is zero, if nothing was expected, or with fixed limits
    is_share: bool  # the deviation is the change
    is_zero: bool  # a true zero

    @classmethod
    def of(cls, verdict: Verdict, form: str, language: str) -> VerdictFacts:
        """Return the numbers of a verdict. `form`: the metric's."""
        numbers = NumberFormat.of(form, language, verdict)
        value, band = numbers.value(verdict.value), numbers.range(verdict.low, verdict.high)
        change = signed_percent(verdict.value, verdict.expected, language)
        is_off = verdict.status is Status.ANOMALOUS and verdict.value and verdict.reference
        return cls(
            status=verdict.status.value,
            value=value,
            expected=numbers.value(verdict.expected) or band,
            range=band,
            difference=numbers.difference(verdict.value - verdict.reference) if is_off else "",
            change=change,
            deviation=(change if verdict.value else "") or value,
            is_share=bool(change and verdict.value),
            is_zero=verdict.value == 0,
        )


def percent(share: float, language: str) -> str:
    """Return a share of a whole: 41 % or 0.4 %."""
    return NumberFormat("ratio", language, 0 if abs(share) >= 0.01 else 1).value(share)


def roughly(change: float, language: str) -> str:
    """Return a change in whole percent: −1 %; "" if it rounds to 0 or is not finite."""
    if not math.isfinite(change) or abs(change) < 0.005:
        return ""
    return f"{'+' if change > 0 else ''}{NumberFormat('ratio', language).value(change)}"


@dataclass(frozen=True)
class ClockFormat:
    """Formats instants in `language` and in the local time of `zone`, for a reader at `now`. All instants are aware.

    With `day_start`, the start of a bucket that is a day is written as a date.
    """

    language: str  # en | ru
    zone: str  # IANA name
    now: datetime
    day_start: timedelta | None = field(default=None, kw_only=True)  # how long after 0:00 UTC such days begin

    def span(self, start: datetime, end: datetime, near: datetime | None = None) -> str:
        """Return the local time of start <= t < end: Mon 14:15–14:30, Mon 23:30–Tue 00:15 or 12 Oct 14:15–14:30.

        The first day is left out if `near` is on that day. Buckets that are days give Thu 20 Nov, or Thu 20 Nov–Fri 21 Nov.
        """
        if self.day_start is not None and end > start and not any((t - EPOCH - self.day_start) % DAY for t in (start, end)):
            days = dict.fromkeys(self.at(day) for day in (start, end - DAY))
            return "–".join(days)
        first, last = (instant.astimezone(ZoneInfo(self.zone)) for instant in (start, end))
        since, utc, offset = self.at(start, near).partition(f"{SPACE}UTC")  # if there is an offset, it comes last
        if utc and end - start <= HOUR:  # clocks go back: 02:45–02:00 is true, and nobody can read it
            last = first + (end - start)  # wall time, as the zone is the same
        is_other_day = last.date() != first.date() and last - first > HOUR
        return f"{since}–{self.day(last.date()) + ' ' if is_other_day else ''}{last:%H:%M}{utc}{offset}"

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        """Return local time: 14:00, or Sun 23:45 if `near` is not on the same local day (or not given).

        A time that occurs twice on its day, because clocks go back, has its offset: Sun 02:30 UTC+2. The start of a bucket that
        is a day is its date: Thu 20 Nov.
        """
        if self.day_start is not None and not (instant - EPOCH - self.day_start) % DAY:
            day = day_of(instant, DAY, self.zone)
            year = "" if day.year == self.now.astimezone(ZoneInfo(self.zone)).year else f"{SPACE}{day.year}"
            return f"{WEEKDAYS[self.language][day.weekday()]} {day.day}{SPACE}{MONTHS[self.language][day.month - 1]}{year}"
        zone = ZoneInfo(self.zone)
        local = instant.astimezone(zone)
        offset, is_same_day = offset_if_twice(local), near is not None and near.astimezone(zone).date() == local.date()
        return f"{'' if is_same_day else self.day(local.date()) + ' '}{local:%H:%M}{f'{SPACE}{offset}' if offset else ''}"

    def day(self, day: date) -> str:
        """Return Mon; 12 Oct if the weekday could mean two days; 12 Oct 2025 in another year."""
        today = self.now.astimezone(ZoneInfo(self.zone)).date()
        if abs((today - day).days) <= CLEAR_WEEKDAY:
            return WEEKDAYS[self.language][day.weekday()]
        year = "" if day.year == today.year else f"{SPACE}{day.year}"
        return f"{day.day}{SPACE}{MONTHS[self.language][day.month - 1]}{year}"

    def days(self, start: datetime, end: datetime) -> int:
        """Return the number of whole local days in start <= t < end; 0 if it begins or ends within a day."""
        first, last = (instant.astimezone(ZoneInfo(self.zone)) for instant in (start, end))
        is_whole = first.time() == last.time() == time()
        return (last.date() - first.date()).days if is_whole else 0


def duration(length: timedelta, language: str) -> str:
    """Return a duration: 45 min, 2 h 45 min, 1 day 3 h or 12 days."""
    words, minutes = WORDS[language], int(length / MINUTE)
    if minutes < 1:
        return words["moment"]
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [
        plural(days, "day", language) if days else "",
        f"{hours}{SPACE}{words['h']}" if hours and days < 7 else "",
        f"{minutes}{SPACE}{words['min']}" if minutes and not days else "",
    ]
    return SPACE.join(part for part in parts if part)


def plural(count: int, noun: str, language: str) -> str:
    """Return a number with its noun in the right form: 1 day, 2 days; 1 день, 2 дня, 5 дней, 11 дней, 21 день."""
    tens, ones = abs(count) // 10 % 10, abs(count) % 10
    if language != "ru":
        form = 0 if abs(count) == 1 else 1
    elif tens != 1 and ones == 1:
        form = 0
    else:
        form = 1 if tens != 1 and ones in (2, 3, 4) else 2
    return f"{count}\N{NO-BREAK SPACE}{NOUNS[language][noun][form]}"


def plain_line(text: str, limit: int) -> Markup:
    """Return a text from data as one escaped line of at most `limit` characters, without unprintable characters."""
    line = "".join(c for c in " ".join(text[: 10 * limit].split()) if c.isprintable())
    if len(whole := escape(line, quote=False)) <= limit:
        return Markup(whole)
    ends = list(accumulate(len(escape(c, quote=False)) for c in line[: limit + 1]))  # no character is shorter once escaped
    return Markup(escape(line[: bisect_right(ends, limit - 1)].rstrip() + "…", quote=False))


def inside_sentence(title: str) -> str:
    """Return a title as it is written within a sentence: "feed users", but "CTR", "A/B" and "iOS" unchanged."""
    rest = title.split(" ")[0][1:]
    return type(title)(title[:1].lower() + title[1:]) if rest.isalpha() and rest.islower() else title


def enumerate_words(words: Sequence[str], language: str, hidden: int = 0) -> str:
    """Return words as a list: iOS, iPadOS and Android. `hidden`: the number of further ones: iOS, iPadOS, 7 more."""
    if hidden:
        return ", ".join([*words, WORDS[language]["more"].format(count=hidden)])
    return f"{', '.join(words[:-1])} {WORDS[language]['and']} {words[-1]}" if len(words) > 1 else "".join(words)


def tidy(text: str, capital: bool = False) -> str:
    """Return the text without empty pieces between " · ". `capital`: begin with a capital. A Markup stays a Markup."""
    tidied = " · ".join(piece for part in text.split(" · ") if (piece := part.strip(" ")))
    return type(text)(tidied[:1].upper() + tidied[1:] if capital else tidied)


def is_web(url: str) -> bool:
    """Return whether `url` is a web address that can be linked. Any other text is shown as it is."""
    return url.startswith(("http://", "https://")) and len(escape(url)) <= MAX_URL and url.isprintable() and " " not in url


escape_text: CleanText = partial(plain_line, limit=MAX_VALUE)


def attribute_name(name: str, language: str, clean: CleanText = escape_text) -> str:
    """Return the word for an attribute in the language; without one, its name, cut and passed through `clean`."""
    return WORDS[language].get(f"attribute {name}") or clean(name[:MAX_ATTRIBUTE])


def segment_name(
    where: Segment, language: str, clean: CleanText = escape_text, most: int = MAX_ELEMENTS, with_attributes: bool = True
) -> str:
    """Return a segment as text: "os iOS and os iPadOS", "country Russia & source ads". Attributes are translated, values are not.

    `clean` is applied to each text from data, and to the &. Of more than `most` elements the rest is counted.
    """
    elements = []
    for pairs in where.elements[:most]:
        pieces = []
        for name, value in pairs[:MAX_PAIRS]:
            shown = clean(value) or WORDS[language]["empty"]
            pieces.append(f"{attribute_name(name, language, clean)} {shown}" if with_attributes else shown)
        elements.append(f" {clean('&')} ".join([*pieces, "…"] if len(pairs) > MAX_PAIRS else pieces))
    return enumerate_words(elements, language, hidden=len(where.elements) - len(elements))


def metric_title(metric: Metric, segment: str, language: str) -> str:
    """Return the title of a metric. The title of a stand-in includes its segment (such as `os=iOS`): Views (os iOS)."""
    title = metric.title_in(language)
    return f"{title} ({segment_words(segment, language)})" if segment and metric.segments_of else title


def segment_words(spelled: str, language: str) -> str:
    """Return a text of `spell_segment` (os=iOS & source=ads) with translated attributes: os iOS & source ads."""
    return segment_name(Segment(parse_segment(spelled), NAN, NAN), language, str)


def segment_attributes(where: Segment) -> tuple[str, ...]:
    """Return the names of the attributes of a segment, in order."""
    return tuple(dict.fromkeys(name for pairs in where.elements for name, _ in pairs))
