"""Words in English; `words` says what the languages have in common."""

from __future__ import annotations

WORDS = {
    # pieces of several texts
    "expected": "expected {value}",
    "more": "{count} more",
    "and": "and",
    "empty": "(empty)",
    "the rest": "the rest",
    "drill": "🧪 DRILL",
    # silences
    "all metrics": "all metrics",
    "until": "until {at}",
    "from": "from {at}",
    "weekly": "every week {spans}",
    # units
    "moment": "less than a minute",
    "h": "h",
    "min": "min",
    "pp": "pp",
    # labels
    "real": "real",
    "false alarm": "false alarm",
    "expected by people": "expected",
    "new trend": "new level",
    # buttons
    "button take": "I'm on it",
    "button snooze": "Snooze 1 h",
    "button mute": "Mute",
    "button real": "Real",
    "button false": "False alarm",
    "button expected": "Expected",
    "button trend": "New level",
    # attributes
    "attribute os": "os",
    "attribute source": "source",
    "attribute country": "country",
    "attribute city": "city",
    "attribute gender": "gender",
    "attribute age": "age",
    "attribute age_band": "age",
    "attribute exp_group": "exp_group",
    # pictures
    "legend value": "value",
    "legend expected": "expected",
    "legend band": "normal range",
    "legend span": "incident",
    "legend odd": "anomalous",
    "legend gap": "no data",
    "panel": "By {attributes}: expected → now",
    "panel, mix": "Share of all by {attributes}: usual → now",
}

NOUNS: dict[str, tuple[str, ...]] = {
    "bucket": ("bucket", "buckets"),
    "day": ("day", "days"),
    "incident": ("incident", "incidents"),
    "message": ("message", "messages"),
    "week": ("week", "weeks"),
    "occurrence": ("time", "times"),
}

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
