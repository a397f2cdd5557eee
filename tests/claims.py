"""The claims of a message, read back from its text as a person reads it, and their check against the verdict that it is about.

The reading is independent of the code that writes: numbers, percents and ranges are parsed, and compared as numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from alerting.model.verdict import Status, Verdict

MINUS, THIN, WIDE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
NUMBER = {"en": rf"[+{MINUS}]?\d[\d,]*(?:\.\d+)?", "ru": rf"[+{MINUS}]?\d[\d{THIN}]*(?:,\d+)?"}
EXPECTED = {"en": "expected", "ru": "ожидалось"}
SINCE = {"en": r"^(?:Since|since) ([^·\n]*\d\d:\d\d)", "ru": r"^[Сс] ([^·\n]*\d\d:\d\d)"}
WORST = {
    "en": rf"[Ww]orst ([+{MINUS}][\d.,]+{THIN}%|\d[\d,]*)",
    "ru": rf"[Мм]аксимум отклонения: ([+{MINUS}][\d.,]+{THIN}%|\d[\d{THIN}]*)",
}
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
    worst: str | None = None  # deviation that is called the worst

    @classmethod
    def read(cls, text: str, language: str) -> Claims:
        plain, bold = re.sub(r"<[^>]*>", "", text), re.search(r"<b>(.*?)</b>", text.split("\n")[0])
        lines = plain.split("\n")
        percent = re.search(rf"(?:[+{MINUS}][\d.,]+{THIN}%|{TIMES}[\d.,]+)", bold[1] if bold else "")
        word, one = EXPECTED[language], rf"{NUMBER[language]}(?:{THIN}%)?"
        numbers = next((line for line in lines[1:] if f", {word} " in line), "")
        value = re.search(rf"({one}), {word} ", numbers)
        band = re.search(rf", {word} ({one})(?:(?:–|…)({one}))?(?: \(({one}))?", numbers or lines[0])
        low, high, difference = band.groups() if band else (None,) * 3
        unit = "%" if "%" in f"{low}{high}" else ""
        texts = (value and value[1], None if high else low, low + unit if low and high else None, high)
        since, worst = re.search(SINCE[language], plain, re.M), re.search(WORST[language], plain)
        return cls(
            lines[0],
            percent[0] if percent else None,
            *(number(part, language) if part else None for part in (*texts, difference and difference + unit)),
            since[1].replace(WIDE, " ") if since else None,
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
        if self.difference and math.copysign(1, self.difference.value) != math.copysign(1, verdict.residual):
            out.append("the difference has the wrong sign")
        return out
