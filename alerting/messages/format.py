"""How values, ranges, differences and changes are written. Numbers in, plain text out (nothing to escape)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS, plural
from alerting.model.verdict import Verdict

MINUS = "\N{MINUS SIGN}"
NARROW = "\N{NARROW NO-BREAK SPACE}"  # between digit groups, and before %
SPACE = "\N{NO-BREAK SPACE}"  # before a unit
GROUP = {"en": ",", "ru": NARROW}
POINT = {"en": ".", "ru": ","}
MILLION = {"en": "M", "ru": "млн"}
BIG = {"en": ((1e12, "tn"), (1e9, "bn")), "ru": ((1e12, "трлн"), (1e9, "млрд"))}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TIMES_FROM = 5  # a value this many times the expected one is "×5.2": "+420 %" is hard to picture
NAN = float("nan")
FINEST = 9  # decimals; smaller numbers are written as powers of ten


@dataclass(frozen=True)
class NumberFormat:
    """One way of writing all numbers of a text, so that they can be compared: `decimals` are shared."""

    form: str  # count | ratio | number, as in Metric
    language: str
    decimals: int = 0

    @classmethod
    def of(cls, form: str, language: str, verdict: Verdict) -> NumberFormat:
        """Decimals enough to tell value, expected and the edges of the band apart."""
        value, low, expected, high = map(float, (verdict.value, verdict.low, verdict.expected, verdict.high))
        shown = [x for x in (value, low, expected, high) if math.isfinite(x)]
        return cls(form, language, _decimals(form, shown, high - low))

    @classmethod
    def fitting(cls, form: str, language: str, *values: float) -> NumberFormat:
        return cls(form, language, _decimals(form, [x for x in values if math.isfinite(x)], NAN))

    def value(self, x: float) -> str:
        """1,240 · 13.1 % · 0.0042. Empty for NaN; only a true zero is written as 0."""
        if math.isnan(x):
            return ""
        return self._bare(x) + (f"{NARROW}%" if self.form == "ratio" else "")

    def short(self, x: float) -> str:
        """2.5 M: for the labels of an axis, where it is the round part that counts."""
        if self.form == "ratio" or not 1e6 <= abs(x) < 1e9:
            return self.value(x)
        decimals = next((d for d in range(3) if math.isclose(round(x / 1e6, d), x / 1e6)), 3)
        return f"{format_number(x / 1e6, decimals, self.language)}{SPACE}{MILLION[self.language]}"

    def range(self, low: float, high: float) -> str:
        """1,930–2,110 · 20.4–21.6 %: what people may expect to see, so a low below 0 is shown as 0 where values cannot be."""
        if math.isnan(low) or math.isnan(high):
            return ""
        low = low if self.form == "number" or high < 0 else max(low, 0.0)
        if self._bare(low) == self._bare(high):
            return self.value(high)
        return f"{self._bare(low)}{'–' if low >= 0 else '…'}{self.value(high)}"  # a dash beside a minus cannot be read

    def difference(self, x: float) -> str:
        """−780 · −7.9 pp: the deviation in the metric's own units, signed. Empty for NaN and 0."""
        if math.isnan(x) or x == 0:
            return ""
        unit = f"{SPACE}{WORDS[self.language]['pp']}" if self.form == "ratio" else ""
        return ("+" if x > 0 else "") + self._bare(x) + unit

    def _bare(self, x: float) -> str:
        text = format_number(x * 100 if self.form == "ratio" else x, self.decimals, self.language)
        whole, point, rest = text.partition(POINT[self.language])
        return whole if point and self.form == "count" and rest == "0" else text


def change(verdict: Verdict, language: str) -> str:
    """−38 % · +8.4 % · ×12: deviation from expected as a share. Empty where expected is 0 or unknown."""
    return signed_percent(verdict.value, verdict.expected, language)


def signed_percent(value: float, expected: float, language: str) -> str:
    change = (value - expected) / abs(expected) if expected else NAN
    if not math.isfinite(change):
        return ""
    if expected > 0 and change >= TIMES_FROM - 1:
        times = value / expected
        return f"×{format_number(times, 1 if times < 10 else 0, language)}"
    percent = change * 100
    size = abs(percent)
    decimals = 0 if size >= 10 or size == 0 else 1 if size >= 1 else 2
    if -100 < percent <= -99.5:  # -100 % is for a true zero
        percent, decimals = max(percent, -99.9), 1
    if round(percent, decimals) == 0:
        return f"0{NARROW}%"
    return ("+" if percent > 0 else "") + format_number(percent, decimals, language) + f"{NARROW}%"


def percent(share: float, language: str) -> str:
    """41 % · 0.4 %: a part of a whole."""
    return f"{format_number(share * 100, 0 if abs(share) >= 0.01 else 1, language)}{NARROW}%"


def roughly(change: float, language: str) -> str:
    """−1 %: a change in whole percent; empty where that is none, or not known."""
    if not math.isfinite(change) or abs(change) < 0.005:
        return ""
    return f"{'+' if change > 0 else ''}{format_number(change * 100, 0, language)}{NARROW}%"


def percent_off(verdict: Verdict, form: str, language: str) -> str:
    """How far off, in one word: −38 %. The value itself where that says more: a zero, or a value when nothing was expected."""
    return share(verdict, language) or NumberFormat.of(form, language, verdict).value(verdict.value)


def share(verdict: Verdict, language: str) -> str:
    """The change, unless the value itself says more."""
    return change(verdict, language) if verdict.value else ""


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


def format_number(x: float, decimals: int, language: str) -> str:
    """`x` with grouped digits, the language's decimal mark and a real minus; more decimals if it would read as zero."""
    sign, size = (MINUS if x < 0 else ""), abs(x)
    if math.isinf(size):
        return f"{sign}∞"
    if size >= 1e15 or 0 < size < 10**-FINEST:
        return sign + _power_of_ten(size, language)
    for unit, word in BIG[language]:
        if size >= unit:
            return f"{sign}{_grouped(size / unit, max(0, 2 - _exponent(size / unit)), language)}{SPACE}{word}"
    if size == 0:
        return "0"
    if round(size, decimals) == 0:
        decimals = -_exponent(size)
    return sign + _grouped(size, decimals, language)


def _grouped(size: float, decimals: int, language: str) -> str:
    return f"{size:,.{decimals}f}".translate({ord(","): GROUP[language], ord("."): POINT[language]})


def _power_of_ten(size: float, language: str) -> str:
    mantissa, exponent = f"{size:.1e}".split("e")
    return f"{mantissa.replace('.', POINT[language])}·10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _decimals(form: str, shown: list[float], width: float) -> int:
    scale = max((abs(x) for x in shown), default=0.0) * (100 if form == "ratio" else 1)
    if form == "count":
        return 1 if scale < 10 else 0
    if scale == 0 or (form == "number" and all(x == round(x) for x in shown)):
        return 0
    width = width * 100 if form == "ratio" else width
    by_width = -_exponent(width) if math.isfinite(width) and width > 0 else 0
    by_scale = max(1, 1 - _exponent(scale)) if form == "ratio" else 2 - _exponent(scale)
    return min(max(0, by_width, by_scale), FINEST)


def _exponent(size: float) -> int:
    return math.floor(math.log10(size))


# How instants, buckets and durations are written, in the reader's time zone. Instants are aware; pure: now is handed in.

TIME_SPACE = "\N{NO-BREAK SPACE}"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WEEKDAY_IS_CLEAR = 6  # days from today within which "Mon" can mean one day only


@dataclass(frozen=True)
class ClockFormat:
    """Local time of `zone`, said in `language`, seen from `now`."""

    zone: str
    language: str
    now: datetime

    def span(self, start: datetime, end: datetime, near: datetime | None = None) -> str:
        """Mon 14:15–14:30 · Mon 23:30–Tue 00:15 · 12 Oct 14:15–14:30, local time of start <= t < end.

        Without the first day when `near` is on it.
        """
        first, last = self.local(start), self.local(end)
        if _twice(first) and end - start <= HOUR:  # 02:45–02:00 is true when clocks go back, and nobody can read it
            last = first + (end - start)  # wall time, as the zone is the same
        other_day = last.date() != first.date() and last - first > HOUR
        until = f"{self.day(last.date())} {last:%H:%M}" if other_day else f"{last:%H:%M}"
        day = "" if near is not None and self.local(near).date() == first.date() else f"{self.day(first.date())} "
        return f"{day}{first:%H:%M}–{until}{_offset(first)}"

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        """14:00, or Sun 23:45 when `near` is not on the same local day (or not given)."""
        local = self.local(instant)
        same_day = near is not None and self.local(near).date() == local.date()
        return f"{'' if same_day else self.day(local.date()) + ' '}{local:%H:%M}{_offset(local)}"

    def day(self, day: date) -> str:
        """Mon, or 12 Oct when a week day could mean two days, or 12 Oct 2025 when the year is another."""
        today = self.local(self.now).date()
        if abs((today - day).days) <= WEEKDAY_IS_CLEAR:
            return WEEKDAYS[self.language][day.weekday()]
        year = "" if day.year == today.year else f"{TIME_SPACE}{day.year}"
        return f"{day.day}{TIME_SPACE}{MONTHS[self.language][day.month - 1]}{year}"

    def days(self, start: datetime, end: datetime) -> int:
        """How many whole local days start <= t < end is; 0 when it begins or ends within one."""
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
        f"{hours}{TIME_SPACE}{words['h']}" if hours and days < 7 else "",
        f"{minutes}{TIME_SPACE}{words['min']}" if minutes and not days else "",
    ]
    return TIME_SPACE.join(part for part in parts if part)


def elapsed(start: datetime, end: datetime) -> timedelta:
    """True time between two instants: within one zone, plain subtraction would count wall time."""
    return end.astimezone(UTC) - start.astimezone(UTC)


def _twice(local: datetime) -> bool:
    """This wall time happens twice on this day: clocks go back."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _offset(local: datetime) -> str:
    """Which of the two it is, as " UTC+2", when clocks go back; empty on all other days."""
    if not _twice(local):
        return ""
    minutes = int((local.utcoffset() or timedelta()) / MINUTE)
    rest = f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    return f"{TIME_SPACE}UTC{'+' if minutes >= 0 else '−'}{abs(minutes) // 60}{rest}"
