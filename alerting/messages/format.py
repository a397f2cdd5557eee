"""How numbers, instants and durations are written in a language. Pure; the results have nothing in them that must be escaped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS, plural
from alerting.model.verdict import Verdict

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
TIMES_FROM = 5  # a value this many times the expected one is "×5.2": "+420 %" is hard to picture
MAX_DECIMALS = 9  # smaller numbers are written as powers of ten

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CLEAR_WEEKDAY = 6  # days from today within which "Mon" can mean one day only


@dataclass(frozen=True)
class NumberFormat:
    """One way to write all numbers of a text: they share `decimals`, so that they can be compared."""

    form: str  # count | ratio | number, as in Metric
    language: str
    decimals: int = 0

    @classmethod
    def of(cls, form: str, language: str, verdict: Verdict) -> NumberFormat:
        """Return a format with enough decimals to tell value, expected and the edges of the band apart."""
        value, low, expected, high = map(float, (verdict.value, verdict.low, verdict.expected, verdict.high))
        return cls.fitting(form, language, value, low, expected, high, width=high - low)

    @classmethod
    def fitting(cls, form: str, language: str, *values: float, width: float = NAN) -> NumberFormat:
        """Return a format for these values and, where known, a band of that width. Values that are not finite do not count."""
        unit = 100 if form == "ratio" else 1
        finite = [x for x in values if math.isfinite(x)]
        scale = max((abs(x) for x in finite), default=0.0) * unit
        if form == "count":
            return cls(form, language, 1 if scale < 10 else 0)
        if scale == 0 or (form == "number" and all(x == round(x) for x in finite)):
            return cls(form, language)
        exponent = math.floor(math.log10(scale))
        by_scale = max(1, 1 - exponent) if form == "ratio" else 2 - exponent
        by_width = -math.floor(math.log10(width * unit)) if math.isfinite(width) and width > 0 else 0
        return cls(form, language, min(max(0, by_width, by_scale), MAX_DECIMALS))

    def value(self, x: float) -> str:
        """1,240 · 13.1 % · 0.0042. Empty for NaN; only a true zero is written as 0."""
        if math.isnan(x):
            return ""
        text = format_number(x * 100 if self.form == "ratio" else x, self.decimals, self.language)
        if self.form == "count":
            return text.removesuffix(f"{POINT[self.language]}0")
        return f"{text}{PERCENT}" if self.form == "ratio" else text

    def short(self, x: float) -> str:
        """2.5 M: for the labels of an axis, which are round numbers."""
        if self.form == "ratio" or not 1e6 <= abs(x) < 1e9:
            return self.value(x)
        decimals = next((d for d in range(3) if math.isclose(round(x / 1e6, d), x / 1e6)), 3)
        return f"{format_number(x / 1e6, decimals, self.language)}{SPACE}{MILLION[self.language]}"

    def range(self, low: float, high: float) -> str:
        """1,930–2,110 · 20.4–21.6 %: a low edge below 0 is written as 0 where values cannot be negative. Empty for NaN."""
        if math.isnan(low) or math.isnan(high):
            return ""
        low = low if self.form == "number" or high < 0 else max(low, 0.0)
        first, last = self.value(low), self.value(high)
        dash = "–" if low >= 0 else "…"  # a dash beside a minus cannot be read
        return last if first == last else f"{first.removesuffix(PERCENT)}{dash}{last}"

    def difference(self, x: float) -> str:
        """−780 · −7.9 pp: a deviation in the metric's own unit, with its sign. Empty for NaN and 0."""
        if math.isnan(x) or x == 0:
            return ""
        unit = f"{SPACE}{WORDS[self.language]['pp']}" if self.form == "ratio" else ""
        return f"{'+' if x > 0 else ''}{self.value(x).removesuffix(PERCENT)}{unit}"


def format_number(x: float, decimals: int, language: str) -> str:
    """Return `x` with grouped digits, the language's decimal mark and a real minus; more decimals if it would read as zero."""
    sign, size, unit = (MINUS if x < 0 else ""), abs(x), ""
    if math.isinf(size):
        return f"{sign}∞"
    if size >= 1e15 or 0 < size < 10**-MAX_DECIMALS:
        mantissa, power = f"{size:.1e}".split("e")
        return f"{sign}{mantissa.replace('.', POINT[language])}·10{str(int(power)).translate(SUPERSCRIPT)}"
    for least, word in BIG[language]:
        if size >= least:
            size, unit = size / least, f"{SPACE}{word}"
            decimals = max(0, 2 - math.floor(math.log10(size)))
            break
    if size == 0:
        return "0"
    if round(size, decimals) == 0:
        decimals = -math.floor(math.log10(size))
    return sign + f"{size:,.{decimals}f}".translate({ord(","): GROUP[language], ord("."): POINT[language]}) + unit


def signed_percent(value: float, expected: float, language: str) -> str:
    """−38 % · +8.4 % · ×12: the change from `expected`, as a share of it. Empty where expected is 0 or unknown."""
    share = (value - expected) / abs(expected) if expected else NAN
    if not math.isfinite(share):
        return ""
    if expected > 0 and share >= TIMES_FROM - 1:
        times = value / expected
        return f"×{format_number(times, 1 if times < 10 else 0, language)}"
    percent = share * 100
    size = abs(percent)
    decimals = 0 if size >= 10 or size == 0 else 1 if size >= 1 else 2
    if -100 < percent <= -99.5:  # -100 % is for a true zero
        percent, decimals = max(percent, -99.9), 1
    if round(percent, decimals) == 0:
        return f"0{PERCENT}"
    return f"{'+' if percent > 0 else ''}{format_number(percent, decimals, language)}{PERCENT}"


def change(verdict: Verdict, language: str) -> str:
    """−38 %: a verdict's deviation from expected, as `signed_percent` writes it."""
    return signed_percent(verdict.value, verdict.expected, language)


def percent_off(verdict: Verdict, form: str, language: str) -> str:
    """−38 %, or the value itself where that says more: a zero, or a value when nothing was expected."""
    share = change(verdict, language) if verdict.value else ""
    return share or NumberFormat.of(form, language, verdict).value(verdict.value)


def percent(share: float, language: str) -> str:
    """41 % · 0.4 %: a part of a whole."""
    return f"{format_number(share * 100, 0 if abs(share) >= 0.01 else 1, language)}{PERCENT}"


def roughly(change: float, language: str) -> str:
    """−1 %: a change in whole percent. Empty where that is 0 or unknown."""
    if not math.isfinite(change) or abs(change) < 0.005:
        return ""
    return f"{'+' if change > 0 else ''}{format_number(change * 100, 0, language)}{PERCENT}"


def times(x: float, language: str) -> str:
    """2.3 × · 3 × · 120 ×: two digits are enough. A fraction takes the noun's second form (2,3 раза)."""
    rounded = float(f"{x:.2g}")
    if rounded == round(rounded):
        return plural(round(rounded), "times", language)
    return f"{format_number(rounded, 1, language)}{SPACE}{NOUNS[language]['times'][1]}"


def about(x: float, language: str) -> str:
    """7,900 · 41,000 · 2.5: two digits of an estimate."""
    rounded = float(f"{x:.2g}")
    return format_number(rounded, 0 if rounded >= 10 or rounded == round(rounded) else 1, language)


@dataclass(frozen=True)
class ClockFormat:
    """How instants are written: in the local time of `zone` and in `language`, as read at `now`. All instants are aware."""

    zone: str
    language: str
    now: datetime

    def span(self, start: datetime, end: datetime, near: datetime | None = None) -> str:
        """Mon 14:15–14:30 · Mon 23:30–Tue 00:15 · 12 Oct 14:15–14:30, local time of start <= t < end.

        The first day is left out when `near` is on it.
        """
        first, last = self.local(start), self.local(end)
        offset = _offset(first)
        if offset and end - start <= HOUR:  # clocks go back: 02:45–02:00 is true, and nobody can read it
            last = first + (end - start)  # wall time, as the zone is the same
        other_day = last.date() != first.date() and last - first > HOUR
        until = f"{self.day(last.date())} {last:%H:%M}" if other_day else f"{last:%H:%M}"
        day = "" if near is not None and self.local(near).date() == first.date() else f"{self.day(first.date())} "
        return f"{day}{first:%H:%M}–{until}{offset}"

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        """14:00, or Sun 23:45 when `near` is not on the same local day (or not given)."""
        local = self.local(instant)
        same_day = near is not None and self.local(near).date() == local.date()
        return f"{'' if same_day else self.day(local.date()) + ' '}{local:%H:%M}{_offset(local)}"

    def day(self, day: date) -> str:
        """Mon, or 12 Oct when a weekday could mean two days, or 12 Oct 2025 when the year is another."""
        today = self.local(self.now).date()
        if abs((today - day).days) <= CLEAR_WEEKDAY:
            return WEEKDAYS[self.language][day.weekday()]
        year = "" if day.year == today.year else f"{SPACE}{day.year}"
        return f"{day.day}{SPACE}{MONTHS[self.language][day.month - 1]}{year}"

    def days(self, start: datetime, end: datetime) -> int:
        """Return how many whole local days start <= t < end is; 0 when it begins or ends within one."""
        first, last = self.local(start), self.local(end)
        whole = first.time() == last.time() == time()
        return (last.date() - first.date()).days if whole else 0

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))


def duration(length: timedelta, language: str) -> str:
    """45 min · 2 h 45 min · 1 day 3 h · 12 days."""
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


def _offset(local: datetime) -> str:
    """Return " UTC+2" for a wall time that happens twice on its day, as clocks go back; empty for all others."""
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    minutes = int((local.utcoffset() or timedelta()) / MINUTE)
    rest = f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    return f"{SPACE}UTC{'+' if minutes >= 0 else '−'}{abs(minutes) // 60}{rest}"
