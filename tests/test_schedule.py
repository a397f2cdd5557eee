"""Local times: spans of the week over midnight and clock changes, weekly silences, quiet hours, shifts on call."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerting.cli.on_call import silence_span
from alerting.model.clock import Shift, is_within, on_call, parse_local, parse_week_spans, week_windows
from alerting.model.errors import SettingsError
from alerting.model.metric import NO_END, STEP, Silence

BERLIN = ZoneInfo("Europe/Berlin")
EVER = datetime(2026, 1, 1, tzinfo=UTC)


def berlin(text, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "spans such as"),
        ("Sat", "spans such as"),
        ("Sat 2-4", "spans such as"),
        ("Sun-Moon 02:00-04:00", "spans such as"),
        ("Sat 02:00-04:00,", "spans such as"),
        ("Sat 02:00-02:00", "the end is not the beginning"),
        ("Sat 02:60-04:00", "times from 00:00 to 24:00"),
        ("Sat 24:00-02:00", "times from 00:00 to 24:00"),
        ("Sat 02:00-24:01", "times from 00:00 to 24:00"),
    ],
)
def test_spans_that_are_none_are_refused_with_their_form(text, error):
    with pytest.raises(ValueError, match=error):
        parse_week_spans(text)


@pytest.mark.parametrize(
    ("spans", "day", "windows"),
    [
        ("Sat 02:00-04:00", "2026-11-21", ["02:00 04:00"]),
        ("Sat 02:00-04:00", "2026-11-20", []),
        ("sat 2:00 - 4:00", "2026-11-21", ["02:00 04:00"]),
        ("02:00-04:00", "2026-11-18", ["02:00 04:00"]),
        ("Fri-Mon 02:00-04:00", "2026-11-22", ["02:00 04:00"]),
        ("Fri-Mon 02:00-04:00", "2026-11-24", []),
        ("Fri 23:00-01:00", "2026-11-21", ["23:00 01:00"]),  # that of Friday reaches into Saturday
        ("Fri 23:00-01:00", "2026-11-22", []),
        ("Sat 00:00-24:00", "2026-11-21", ["00:00 00:00"]),
        ("Sat 01:00-03:00, Sat 02:00-05:00", "2026-11-21", ["01:00 03:00", "02:00 05:00"]),
        ("Sun 02:00-03:30", "2026-03-29", ["03:00 03:30"]),  # 2:00 is skipped
        ("Sun 02:15-02:45", "2026-03-29", ["03:15 03:45"]),
        ("Sun 01:00-02:30", "2026-10-25", ["01:00 02:30"]),  # 2:30 happens twice: until the second one
    ],
)
def test_windows_of_a_local_day(spans, day, windows):
    start = berlin(day)
    found = week_windows(parse_week_spans(spans), BERLIN.key, start, berlin(f"{day} 23:59") + timedelta(minutes=1))
    assert [" ".join(f"{at.astimezone(BERLIN):%H:%M}" for at in window) for window in found] == windows


def test_an_hour_that_happens_twice_is_covered_twice():
    (window,) = week_windows(parse_week_spans("Sun 01:00-02:30"), BERLIN.key, berlin("2026-10-25"), berlin("2026-10-26"))
    assert window[1] - window[0] == timedelta(hours=2, minutes=30)


WEEKLY = Silence("views", EVER, NO_END, weekly="Sat 02:00-04:00", zone=BERLIN.key)
THREE = berlin("2026-11-21 03:00")


@pytest.mark.parametrize(
    ("silence", "metric", "bucket", "step", "covered"),
    [
        (WEEKLY, "views", "2026-11-21 01:45", STEP, False),
        (WEEKLY, "views", "2026-11-21 02:00", STEP, True),
        (WEEKLY, "views.slices", "2026-11-21 02:00", STEP, True),  # its watched segments
        (WEEKLY, "views", "2026-11-21 03:45", STEP, True),
        (WEEKLY, "views", "2026-11-21 04:00", STEP, False),
        (WEEKLY, "likes", "2026-11-21 03:00", STEP, False),
        (WEEKLY, "views", "2026-11-21 00:00", 24 * 4 * STEP, True),  # some of a day
        (WEEKLY, "views", "2026-11-22 03:00", STEP, False),
        (replace(WEEKLY, scope="*", zone="UTC"), "views", "2026-11-21 03:00", STEP, True),
        (replace(WEEKLY, start=THREE), "views", "2026-11-21 02:30", STEP, False),
        (replace(WEEKLY, until=THREE), "views", "2026-11-21 03:00", STEP, False),
        (Silence("*", THREE, THREE - 2 * STEP), "views", "2026-11-21 02:30", STEP, False),  # ended before it began
    ],
)
def test_a_bucket_is_covered_by_its_own_time(silence, metric, bucket, step, covered):
    assert silence.covers(metric, berlin(bucket), step) is covered


QUIET = "23:00-08:00, Sat-Sun 23:00-10:00"


@pytest.mark.parametrize(
    ("spans", "at", "quiet"),
    [
        (QUIET, "2026-11-19 22:59", False),
        (QUIET, "2026-11-19 23:00", True),
        (QUIET, "2026-11-20 07:59", True),
        (QUIET, "2026-11-20 08:00", False),
        (QUIET, "2026-11-21 09:59", True),  # Saturday
        (QUIET, "2026-11-21 10:00", False),
        (QUIET, "2026-11-22 23:30", True),
        (QUIET, "2026-11-23 08:30", False),  # Monday
        (QUIET, "2026-03-29 03:00", True),  # the night of 23 hours
        ("Sat-Sun 00:00-24:00", "2026-11-22 12:00", True),
        ("Sat-Sun 00:00-24:00", "2026-11-23 00:00", False),
        ("13:00-14:00, 23:00-08:00", "2026-11-20 13:30", True),
    ],
)
def test_quiet_hours_by_the_local_clock(spans, at, quiet):
    assert is_within(parse_week_spans(spans), BERLIN.key, berlin(at)) is quiet


NOW = berlin("2026-11-20 12:00")


@pytest.mark.parametrize(
    ("options", "begin", "end"),
    [
        ({"length": "2h"}, NOW, berlin("2026-11-20 14:00")),
        ({"start": "2026-12-01 02:00", "until": "2026-12-01 04:00"}, berlin("2026-12-01 02:00"), berlin("2026-12-01 04:00")),
        ({"start": "2026-12-01T02:00+00:00", "length": "1h"}, *(datetime(2026, 12, 1, hour, tzinfo=UTC) for hour in (2, 3))),
        ({"start": "2026-12-01", "until": "2026-12-02"}, berlin("2026-12-01"), berlin("2026-12-03")),  # both days
        ({"weekly": "Sat 02:00-04:00"}, NOW, NO_END),
        ({"weekly": "Sat 02:00-04:00", "until": "2027-12-01 00:00"}, NOW, berlin("2027-12-01")),
    ],
)
def test_the_span_of_a_planned_silence(options, begin, end):
    given = {"start": "", "until": "", "length": "", "weekly": "", **options}
    assert silence_span(NOW, BERLIN.key, **given) == (begin, end)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "say how long: --for 2h, --until"),
        ({"start": "2026-12-01 02:00"}, "say how long"),
        ({"length": "2h", "until": "2026-12-01"}, "give one of them"),
        ({"until": "tomorrow"}, r"--until 'tomorrow': 'tomorrow' is not a time: write it as 2026-11-20 14:05"),
        ({"start": "02:00", "length": "1h"}, "--from '02:00': .* is not a time"),
        ({"weekly": "Saturday night"}, "--weekly 'Saturday night': spans such as 'Sat 02:00-04:00'"),
        ({"length": "3 days"}, "--for '3 days': a time such as 90m"),
        ({"until": "2026-11-20 11:00"}, "it would end before it begins: from 2026-11-20 12:00 until 2026-11-20 11:00"),
        ({"start": "2026-11-18 02:00", "until": "2026-11-18 04:00"}, "it would end in the past"),
        ({"until": "2027-12-01"}, "it would last 376 days: at most 90"),
    ],
)
def test_a_silence_that_cannot_be_planned_is_refused(options, error):
    given = {"start": "", "until": "", "length": "", "weekly": "", **options}
    with pytest.raises(SettingsError, match=error):
        silence_span(NOW, BERLIN.key, **given)


def shift(start, end, mention):
    return Shift(parse_local(start, BERLIN.key)[0], parse_local(end, BERLIN.key)[1], mention)


@pytest.mark.parametrize(
    ("at", "mention"),
    [
        ("2026-11-15 23:59", ""),
        ("2026-11-16 00:00", "@anna"),
        ("2026-11-18 12:00", "@carl"),  # in place of Anna for some hours
        ("2026-11-18 18:00", "@anna"),
        ("2026-11-23 09:00", "@boris"),  # both name the 23rd
        ("2026-12-01 00:00", ""),
    ],
)
def test_who_is_on_call(at, mention):
    shifts = [
        shift("2026-11-16", "2026-11-23", "@anna"),
        shift("2026-11-23", "2026-11-30", "@boris"),
        shift("2026-11-18 10:00", "2026-11-18 18:00", "@carl"),
    ]
    assert on_call(shifts, berlin(at)) == mention
