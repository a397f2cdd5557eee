"""The format of numbers, plurals, times and titles, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting import messages
from alerting.messages.format import ClockFormat, NumberFormat, VerdictFacts, duration, inside_sentence, plural
from alerting.model.verdict import EventKind
from tests.texts import DROP, MONDAY, NAN, anomalous, event, metric, moscow, normal, plain_spaces


@pytest.mark.parametrize(
    ("count", "noun", "en", "ru"),
    [
        (0, "bucket", "0 buckets", "0 интервалов"),
        (1, "bucket", "1 bucket", "1 интервал"),
        (2, "bucket", "2 buckets", "2 интервала"),
        (5, "bucket", "5 buckets", "5 интервалов"),
        (11, "bucket", "11 buckets", "11 интервалов"),
        (12, "bucket", "12 buckets", "12 интервалов"),
        (21, "bucket", "21 buckets", "21 интервал"),
        (22, "bucket", "22 buckets", "22 интервала"),
        (101, "bucket", "101 buckets", "101 интервал"),
        (111, "bucket", "111 buckets", "111 интервалов"),
        (114, "day", "114 days", "114 дней"),
        (3, "day", "3 days", "3 дня"),
    ],
)
def test_plural(count, noun, en, ru):
    assert [plain_spaces(plural(count, noun, language)) for language in ("en", "ru")] == [en, ru]


@pytest.mark.parametrize(
    ("minutes", "en", "ru"),
    [
        (0, "less than a minute", "меньше минуты"),
        (45, "45 min", "45 мин"),
        (60, "1 h", "1 ч"),
        (165, "2 h 45 min", "2 ч 45 мин"),
        (1440, "1 day", "1 день"),
        (1440 * 2 + 185, "2 days 3 h", "2 дня 3 ч"),
        (1440 * 12 + 185, "12 days", "12 дней"),
    ],
)
def test_duration(minutes, en, ru):
    assert [plain_spaces(duration(timedelta(minutes=minutes), language)) for language in ("en", "ru")] == [en, ru]


@pytest.mark.parametrize(
    ("form", "band", "value", "said"),
    [
        ("count", (1930, 2020, 2110), 1240, "1,240 | 1,930–2,110 | −780"),
        ("count", (-40, 300.4, 640), 0, "0 | 0–640 | −300"),
        ("count", (0.5, 2.5, 4.5), 7, "7 | 0.5–4.5 | +4.5"),
        ("count", (0, 0.02, 0.1), 3, "3 | 0–0.1 | +3"),
        ("count", (9e5, 1e6, 1.1e6), 1234567, "1,234,567 | 900,000–1,100,000 | +234,567"),
        ("count", (1e9, 2e9, 3e9), 12.34e12, "12.3 tn | 1.00 bn–3.00 bn | +12.3 tn"),
        ("ratio", (0.204, 0.21, 0.216), 0.131, "13.1 % | 20.4–21.6 % | −7.9 pp"),
        ("ratio", (0.99950, 0.99970, 0.99990), 0.998, "99.80 % | 99.95–99.99 % | −0.17 pp"),
        ("ratio", (-0.001, 0.0021, 0.0042), 0.0, "0 % | 0–0.42 % | −0.21 pp"),
        ("ratio", (0.2, 0.3, 0.4), 0.00001, "0.001 % | 20.0–40.0 % | −30.0 pp"),
        ("number", (-5, -2, 1), -7.25, "−7.25 | −5.00…1.00 | −5.25"),
        ("number", (-5, -4, -3), -7, "−7 | −5…−3 | −3"),
        ("number", (36.1, 36.6, 37.1), 39, "39.0 | 36.1–37.1 | +2.4"),
        ("number", (10, 20, 30), 7, "7 | 10–30 | −13"),
        ("number", (0.0030, 0.0032, 0.0034), 0.001, "0.00100 | 0.00300–0.00340 | −0.00220"),
        ("number", (1e-12, 2e-12, 3e-12), 1.25e17, "1.2·10¹⁷ | 1.0·10⁻¹²–3.0·10⁻¹² | +1.2·10¹⁷"),
        ("number", (0, 1, 2), float("inf"), "∞ | 0–2 | +∞"),
        ("number", (float("-inf"), NAN, 100), 130, "130 | ≤ 100 | "),
        ("ratio", (0.5, NAN, float("inf")), 0.4, "40.0 % | ≥ 50.0 % | "),
        ("count", (float("-inf"), NAN, -5), -3, "−3 | ≤ −5 | "),
        ("count", (NAN, NAN, NAN), 12, "12 |  | "),
        ("count", (0, 4, 9), NAN, " | 0–9 | "),
        ("count", (0, 0, 0), 9, "9 | 0 | +9"),
        ("count", (3, 4, 5), 4, "4 | 3–5 | "),
    ],
)
def test_numbers(form, band, value, said):
    low, expected, high = band
    n = NumberFormat.of(form, "en", anomalous(MONDAY, value, *band))
    assert plain_spaces(f"{n.value(value)} | {n.range(low, high)} | {n.difference(value - expected)}") == said


def test_numbers_in_russian():
    n = NumberFormat.of("ratio", "ru", anomalous(MONDAY, 0.131, 0.204, 0.21, 0.216))
    assert [n.value(0.131), n.difference(-0.079)] == ["13,1\u202f%", "−7,9\u00a0п. п."]
    n = NumberFormat.of("count", "ru", anomalous(MONDAY, 12.34e12, 1e9, 2e9, 3e9))
    assert n.range(1e9, 1234567) == "1,00\u00a0млрд–1\u202f234\u202f567"


def test_groups_and_units_never_break_a_line():
    assert NumberFormat("number", "ru").value(1234567) == "1\u202f234\u202f567"
    assert VerdictFacts.of(DROP, "count", "en").change == "−39\u202f%"
    assert duration(timedelta(minutes=165), "ru") == "2\u00a0ч\u00a045\u00a0мин"


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        (1240, 2000, "−38 %"),
        (2084, 2000, "+4.2 %"),
        (1999, 2000, "−0.05 %"),
        (2000, 2000, "0 %"),
        (2000.01, 2000, "0 %"),
        (0, 2000, "−100 %"),
        (1, 2000, "−99.9 %"),
        (1, 2_000_000, "−99.9 %"),
        (8000, 2000, "+300 %"),
        (10_400, 2000, "×5.2"),
        (24_310, 2000, "×12"),
        (2_468_000, 2, "×1,234,000"),
        (5e12, 1, "×5.00 tn"),
        (-3, 2, "−250 %"),
        (-3, -2, "−50 %"),
        (3, -2, "+250 %"),
        (35, 0, ""),
        (35, NAN, ""),
        (NAN, 35, ""),
        (float("inf"), 35, ""),
        (1e308, 1e-308, ""),
    ],
)
def test_change(value, expected, said):
    assert plain_spaces(VerdictFacts.of(anomalous(MONDAY, value, NAN, expected, NAN), "number", "en").change) == said


BERLIN_BACK = datetime(2026, 10, 25, tzinfo=UTC)  # 01:00 UTC: 03:00 becomes 02:00
BERLIN_ON = datetime(2026, 3, 29, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 03:00


@pytest.mark.parametrize(
    ("start", "minutes", "said"),
    [
        (BERLIN_BACK - timedelta(minutes=15), 15, "Sun 01:45–02:00"),
        (BERLIN_BACK + timedelta(minutes=30), 15, "Sun 02:30–02:45 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=45), 15, "Sun 02:45–03:00 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=60), 15, "Sun 02:00–02:15 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=90), 15, "Sun 02:30–02:45 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=120), 15, "Sun 03:00–03:15"),
        (BERLIN_ON + timedelta(minutes=45), 15, "Sun 01:45–03:00"),
        (BERLIN_ON + timedelta(minutes=60), 15, "Sun 03:00–03:15"),
    ],
)
def test_a_bucket_around_a_clock_change_has_its_true_local_time(start, minutes, said):
    clock = ClockFormat("en", "Europe/Berlin", start + timedelta(hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(minutes=minutes))) == said


def test_time_across_a_clock_change_is_counted_true():
    said = event(EventKind.RESOLVED, normal(BERLIN_BACK + timedelta(hours=5)), since=BERLIN_BACK - timedelta(hours=1))
    here = messages.Audience("en", "Europe/Berlin", BERLIN_BACK + timedelta(hours=5, minutes=20))
    text = plain_spaces(messages.compose(said, messages.MessageContext(metric(), here)).text)
    assert text == "🟢 <b>Likes back to normal</b> since 06:00 · lasted 6 h", "six hours, though the clock says five"


@pytest.mark.parametrize(
    ("start", "hours", "now_days", "zone", "said"),
    [
        (MONDAY, 0.25, 0, "Asia/Kathmandu", "Mon 05:45–06:00"),
        (MONDAY + timedelta(hours=20.75), 0.25, 0, "Europe/Moscow", "Mon 23:45–00:00"),
        (MONDAY + timedelta(hours=20.5), 2, 0, "Europe/Moscow", "Mon 23:30–Tue 01:30"),
        (MONDAY, 24, 1, "Europe/Moscow", "Mon 03:00–Tue 03:00"),
        (MONDAY, 0.25, 6, "UTC", "Mon 00:00–00:15"),
        (MONDAY, 0.25, 7, "UTC", "12 Oct 00:00–00:15"),
        (MONDAY, 0.25, 100, "UTC", "12 Oct 2026 00:00–00:15"),
    ],
)
def test_span(start, hours, now_days, zone, said):
    clock = ClockFormat("en", zone, MONDAY + timedelta(days=now_days, hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(hours=hours))) == said


def test_an_instant_names_its_day_only_when_it_must():
    clock = ClockFormat("ru", "Europe/Moscow", moscow("14:35"))
    assert clock.at(moscow("14:00"), near=moscow("14:15")) == "14:00"
    assert clock.at(moscow("23:45", -1), near=moscow("14:15")) == "вс 23:45"
    assert plain_spaces(clock.at(moscow("23:45", -20), near=moscow("14:15"))) == "22 сен 23:45"


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Feed users", "feed users"), ("Пользователи ленты", "пользователи ленты"),
        ("Likes", "likes"), ("Likes −38 %", "likes −38 %"),
        ("CTR", "CTR"), ("DAU of Android", "DAU of Android"), ("iOS users", "iOS users"), ("A/B tests", "A/B tests"),
        ("Wi-Fi", "Wi-Fi"), ("X", "X"), ("", ""), ("VoIP calls", "VoIP calls"), ("ДТП", "ДТП"),
    ],
)  # fmt: skip
def test_a_title_within_a_sentence(title, said):
    assert inside_sentence(title) == said


@pytest.mark.parametrize(
    ("title", "ru", "en"),
    [
        ({"en": "Likes", "ru": "Лайки"}, "Лайки", "Likes"),
        ({"en": "Likes"}, "Likes", "Likes"),
        ({"ru": "Лайки"}, "Лайки", "likes"),
        ({"en": "Likes", "ru": "\u200b \x00"}, "Likes", "Likes"),  # nothing to print
        ({"en": " ", "ru": ""}, "likes", "likes"),
    ],
)
def test_a_title_is_in_the_language_or_in_english_or_the_name(title, ru, en):
    likes = replace(metric(), title=title)
    assert (likes.title_in("ru"), likes.title_in("en")) == (ru, en)
