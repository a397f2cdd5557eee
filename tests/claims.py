"""The claims of a message, read back from its text as a person reads it, and their check against the verdict that it is about.

The reading is independent of the code that writes: numbers, percents and ranges are parsed, and compared as numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta

from alerting.model.verdict import Status, Verdict

MINUS, THIN, WIDE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
NUMBER = {"en": rf"[+{MINUS}]?\d[\d,]*(?:\.\d+)?", "ru": rf"[+{MINUS}]?\d[\d{THIN}]*(?:,\d+)?"}
EXPECTED = {"en": "expected", "ru": "ожидалось"}
SINCE = {"en": r"^(?:Since|since) ([^·\n]*\d\d:\d\d)", "ru": r"^[Сс] ([^·\n]*\d\d:\d\d)"}
SO_FAR = {"en": r"· ([^·\n]+) so far", "ru": r"· уже ([^·\n]+)"}
OFF = {
    "en": r"Off [^·\n]*?(\d\d:\d\d)–[^·\n]*?(\d\d:\d\d) · lasted ([^·\n]+)",
    "ru": r"Не в норме [^·\n]*?(\d\d:\d\d)–[^·\n]*?(\d\d:\d\d) · длилось ([^·\n]+)",
}
WORST = {  # of the metric itself; that of another one follows its name and a colon
    "en": rf"(?<!: )(?:[Dd]eepest|[Hh]ighest) ([+{MINUS}][\d.,]+{THIN}%)",
    "ru": rf"(?<!: )(?:[Нн]иже|[Вв]ыше) всего ([+{MINUS}][\d.,]+{THIN}%)",
}
UNITS = {"day": 1440, "days": 1440, "h": 60, "min": 1, "день": 1440, "дня": 1440, "дней": 1440, "ч": 60, "мин": 1}
SHARE = 0.5  # of the last digit, by which a rounded number may be off
TIMES = "×"


@dataclass(frozen=True)
class Number:
    """A number as it is written, and the largest error of its rounding."""

    value: float
    error: float

    def is_about(self, true: float) -> bool:
        return abs(self.value - true) <= self.error * 1.001 + 1e-9


def number(text: str, language: str) -> Number:
    """Parse 1,240 · 13.1 % · −39 % · ×12; percents become shares."""
    found = re.search(NUMBER[language], text)
    assert found, text
    point = {"en": ".", "ru": ","}[language]
    plain = found[0].replace({"en": ",", "ru": THIN}[language], "").replace(MINUS, "-").replace(point, ".")
    decimals = len(plain.partition(".")[2])
    scale = 0.01 if "%" in text else 1.0
    return Number(float(plain) * scale, SHARE * 10**-decimals * scale)


@dataclass(frozen=True)
class Claims:
    """What a text says of the metric of its first line. None: nothing."""

    first: str  # the first line, without tags
    deviation: str | None  # −39 %, ×12 or a value, in bold
    value: Number | None
    expected: Number | None
    low: Number | None
    high: Number | None
    difference: Number | None
    since: str | None
    so_far: timedelta | None
    off: tuple[str, str, str] | None  # start, end and length of what is over
    worst: str | None = None  # deviation that is called the deepest or highest

    @classmethod
    def read(cls, text: str, language: str) -> Claims:
        lines = text.split("\n")
        bold = re.search(r"<b>(.*?)</b>", lines[0])
        percent = re.search(rf"(?:[+{MINUS}][\d.,]+{THIN}%|{TIMES}[\d.,]+)", bold[1] if bold else "")
        numbers, plain = next((line for line in lines[1:] if f"· {EXPECTED[language]} " in line), ""), re.sub(r"</?b>", "", text)
        value = re.search(r"<b>([^<]*)</b>", numbers)
        one = rf"{NUMBER[language]}(?:{THIN}%)?"
        band = re.search(rf"{EXPECTED[language]} ({one})(?: \(({one})(?:–|…)({one})\))?(?: · ({one}[^·]*))?", numbers)
        since, so_far = re.search(SINCE[language], plain, re.M), re.search(SO_FAR[language], plain)
        worst = re.search(WORST[language], plain)
        parts = band.groups() if band else (None,) * 4
        low = parts[1] + ("%" if parts[2] and "%" in parts[2] else "") if parts[1] else None
        difference = parts[3] if parts[3] and parts[3][0] in f"+{MINUS}" else None
        unit = "%" if parts[0] and "%" in parts[0] else ""
        texts = (value and value[1], parts[0], low, parts[2], difference and difference + unit)
        return cls(
            re.sub("<[^>]*>", "", lines[0]),
            percent[0] if percent else None,
            *(number(part, language) if part else None for part in texts),
            since[1].replace(WIDE, " ") if since else None,
            length(so_far[1]) if so_far else None,
            next(iter(re.findall(OFF[language], plain)), None),
            worst[1] if worst else None,
        )

    def wrong(self, verdict: Verdict, language: str) -> list[str]:
        """Return what is not true of the verdict, and what the claims say against each other."""
        pairs = {
            "value": (self.value, verdict.value), "expected": (self.expected, verdict.reference),
            "low": (self.low, verdict.low), "high": (self.high, verdict.high), "difference": (self.difference, verdict.residual),
        }  # fmt: skip
        out = [
            f"{name} {said.value} is {true}" for name, (said, true) in pairs.items()
            if said is not None and not said.is_about(max(true, 0.0) if name == "low" else true)
        ]  # fmt: skip
        if self.deviation is not None:
            said, share = number(self.deviation, language), verdict.residual / abs(verdict.reference)
            if not said.is_about(1 + share if TIMES in self.deviation else share) and not (
                said.value == -0.999 and share < -0.995
            ):
                out.append(f"deviation {self.deviation} is {share}")
        is_same_way = self.worst and self.deviation and self.worst[0] == self.deviation[0]
        if is_same_way and abs(number(self.worst, language).value) < abs(number(self.deviation, language).value):
            out.append(f"{self.worst} is called the worst, and it is {self.deviation}")
        if self.value and self.low and self.high:
            inside = self.low.value - self.low.error <= self.value.value <= self.high.value + self.high.error
            outside = not self.low.value + self.low.error < self.value.value < self.high.value - self.high.error
            if not (outside if verdict.status is Status.ANOMALOUS else inside):
                out.append(f"{verdict.status.value}: {self.value.value} in {self.low.value}–{self.high.value}")
        if self.off:
            start, end = (timedelta(hours=int(at[:2]), minutes=int(at[3:])) for at in self.off[:2])
            if (end - start) % timedelta(days=1) != length(self.off[2]):
                out.append(f"{self.off[0]}–{self.off[1]} is not {self.off[2]}")
        if self.difference and math.copysign(1, self.difference.value) != math.copysign(1, verdict.residual):
            out.append("the difference has the wrong sign")
        return out


def length(text: str) -> timedelta:
    """Parse 2 h 45 min · 1 day 3 h."""
    words = text.replace(WIDE, " ").split() if text[0].isdigit() else []  # less than a minute
    return timedelta(minutes=sum(int(count) * UNITS[unit] for count, unit in zip(words[::2], words[1::2], strict=True)))
