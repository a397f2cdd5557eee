"""Charts: the drawing equals the data, unusual input draws without a warning, and no outside settings have an effect."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from alerting import charts
from alerting.charts.series import TimeAxis, round_step, value_limits
from alerting.model.incident import RootCause, Segment
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Status

NAN = float("nan")
END = pd.Timestamp("2026-10-12T11:15Z")
MOSCOW = "Europe/Moscow"


def metric(form: str = "count", title: str = "Likes", step: str = "15min", **more) -> Metric:
    titles = {"en": title, "ru": "Пользователи мессенджера"}
    step = pd.Timedelta(step).to_pytimedelta()
    return Metric("likes", titles, "feed_actions", lambda counts: counts, None, form=form, step=step, **more)


def judged(days: float = 9, level: float = 2000.0, step: str = "15min", end: pd.Timestamp = END) -> pd.DataFrame:
    """A daily rhythm within its band; the last bucket lost 40 %."""
    index = pd.date_range(end=end, periods=int(days * 86400 / pd.Timedelta(step).total_seconds()), freq=step, name="bucket")
    hour = index.hour + index.minute / 60
    expected = level * (1.2 - np.cos(hour / 24 * 2 * np.pi)).to_numpy()
    frame = pd.DataFrame({"value": expected * 1.01, "low": expected * 0.9, "expected": expected, "high": expected * 1.1}, index)
    frame = frame.assign(score=0.1, status=Status.NORMAL.value)
    frame.loc[index[-1], ["value", "score", "status"]] = [expected[-1] * 0.6, -4.0, Status.ANOMALOUS.value]
    return frame


def hollow(**columns: float) -> pd.DataFrame:
    """The same buckets with some columns replaced."""
    frame = judged().assign(**columns)
    return frame.assign(status=np.where(frame["value"].isna(), "missing", np.where(frame["low"].isna(), "unknown", "anomalous")))


def parts(figure: Figure, axes: int = 0) -> dict:
    place = figure.axes[axes]
    return {artist.get_label(): artist for artist in [*place.lines, *place.collections]}


def words(figure: Figure) -> list[str]:
    """Every text, with plain spaces."""
    return [re.sub("[\u00a0\u202f]", " ", text.get_text()) for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def test_alert_draws_the_data():
    frame = judged()
    figure = charts.alert_chart(metric(), frame, END.to_pydatetime(), MOSCOW)
    drawn, last = parts(figure), frame[-97:]
    assert {"value", "expected", "band", "odd", "mark"} <= drawn.keys()
    assert not {"gap", "span"} & drawn.keys()
    np.testing.assert_allclose(drawn["value"].get_ydata(), last["value"])
    np.testing.assert_allclose(drawn["value"].get_xdata(), np.arange(97) / 4)
    np.testing.assert_allclose(drawn["expected"].get_ydata(), last["expected"])
    odd = drawn["odd"].get_ydata()
    assert np.isnan(odd[:-1]).all()
    assert odd[-1] == last["value"].iloc[-1]
    outline = drawn["band"].get_paths()[0].vertices[: 2 * 97]
    np.testing.assert_allclose(outline[:, 1], [*last["low"], *last["high"][::-1]])


def test_alert_has_the_size_and_the_words_of_a_phone():
    figure = charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW)
    assert isinstance(figure, Figure)
    assert size(charts.to_png(figure)) == (1080, 810)
    said = words(figure)
    assert "Likes −40 %" in said
    assert "Mon 14:15–14:30 · 2,617 · expected 3,925–4,798" in said
    assert {"Mon\n12 Oct", "12:00\n", "value", "expected", "normal range", "anomalous"} <= set(said)
    smallest = min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text())
    assert smallest * 2 / 3 >= 9  # 144 dots per inch shown at a third: pixels of a letter's height on a 360-pixel screen


def test_alert_speaks_russian():
    said = words(charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW, "ru"))
    assert {"Пользователи мессенджера −40 %", "пн\n12 окт", "ожидалось", "норма", "4 000"} <= set(said)


def occasion(hours: float, title: str, length: float = 0.0) -> CalendarEvent:
    """So many hours before the end of the last bucket."""
    start = END.to_pydatetime() + timedelta(minutes=15) - timedelta(hours=hours)
    return CalendarEvent(start, start + timedelta(hours=length), "release", title)


def with_calendar(*occasions: CalendarEvent, frame: pd.DataFrame | None = None, language: str = "en") -> Figure:
    frame = judged() if frame is None else frame
    return charts.alert_chart(metric(), frame, END.to_pydatetime(), MOSCOW, language, occasions)


def test_the_calendar_is_drawn_where_it_belongs():
    figure = with_calendar(
        occasion(0.1, "Release"), occasion(10, "Sale", length=5), occasion(60, "Before"), occasion(-1, "Later")
    )
    places = [path.vertices[0, 0] for path in parts(figure)["calendar"].get_paths()]
    assert places == [pytest.approx(24.15), pytest.approx(14.25)]
    assert {"Release", "Sale"} <= set(words(figure))
    assert not {"Before", "Later"} & set(words(figure))


def test_the_three_nearest_of_the_calendar_are_named():
    figure = with_calendar(*(occasion(n, f"Push {n}") for n in range(9, 0, -1)))
    assert [word for word in words(figure) if "Push" in word] == ["Push 1", "Push 2", "Push 3"]


def test_a_whole_day_is_shaded_without_words():
    day = CalendarEvent(pd.Timestamp("2026-10-10T21:00Z"), pd.Timestamp("2026-10-11T21:00Z"), "holiday", "Columbus Day")
    figure = with_calendar(day)
    assert "calendar" not in parts(figure)
    edges = parts(figure)["days"].get_paths()[0].vertices[:, 0]
    assert (edges.min(), edges.max()) == (pytest.approx(0), pytest.approx(9.75))
    assert "Columbus Day" not in words(figure)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize(
    "hours", [(0.1, 0.2, 0.3), (0.1, 1, 2), (24, 23.9, 23.8), (10, 10, 10), (0.1, 12, 23)], ids=str
)  # fmt: skip
def test_titles_of_the_calendar_lie_on_nothing(hours, language):
    frame = judged()
    frame.loc[END, "value"] = frame["value"].max()  # the mark is as high as it gets
    titles = ["Release of the new feed to all", "Пуш: новая лента", "🔥" * 30]
    figure = with_calendar(*map(occasion, hours, titles), frame=frame, language=language)
    charts.to_png(figure)
    axes, canvas = figure.axes[0], figure.canvas.get_renderer()
    texts = [text for text in axes.texts if text.get_text()]
    assert len(texts) == 4
    boxes = [text.get_window_extent(canvas) for text in texts]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(a.overlaps(b) for a, b in pairs)
    top = axes.transData.transform((0, frame["high"][-97:].max()))[1]
    for box, text in zip(boxes, texts, strict=True):
        assert box.x0 >= axes.bbox.x0 - 1
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= top or text.get_text()[0].isdigit()


def test_no_calendar_changes_nothing():
    def drawn(*more) -> bytes:
        return charts.to_png(charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW, "en", *more))

    assert drawn() == drawn(()) == drawn((occasion(100, "Long ago"),))


def test_nothing_is_said_that_is_not_drawn():
    limits = charts.alert_chart(metric("number"), hollow(expected=NAN), END.to_pydatetime(), MOSCOW)
    assert "expected" not in words(limits)
    assert "incident" not in words(limits)


def of_an_incident(buckets: int, over: int | None) -> tuple[Figure, pd.Timestamp, pd.Timestamp]:
    """An incident that began so many buckets ago, and ended so many ago."""
    frame = judged()
    since, end = frame.index[-buckets], frame.index[-over] if over else None
    frame.loc[since:end, "status"] = Status.ANOMALOUS.value
    about = frame.index[-(over or 0) - 2] if over else END
    return charts.alert_chart(metric(), frame, about.to_pydatetime(), MOSCOW, span=(since, end)), since, end


@pytest.mark.parametrize(("buckets", "over"), [(1, None), (9, None), (300, None), (9, 3), (180, 5)])
def test_the_whole_incident_is_on_the_chart_and_marked(buckets, over):
    figure, since, end = of_an_incident(buckets, over)
    charts.to_png(figure)
    drawn, (left, right) = parts(figure), figure.axes[0].get_xlim()
    shown = len(drawn["value"].get_xdata())
    assert shown >= max(97, buckets)
    marked = drawn["span"].get_paths()[0].vertices[:, 0]
    assert left < marked.min() < marked.max() <= right
    assert marked.max() - marked.min() == pytest.approx(((end or END) - since).total_seconds() / 3600 + (0.125 if over else 0.25))
    assert drawn["value"].get_xdata()[-1] == pytest.approx((shown - 1) / 4), "up to the newest bucket"
    assert "incident" in words(figure)


def test_gaps_stay_gaps_and_are_marked():
    frame = judged()
    frame.loc[frame.index[-60:-40], "value"] = NAN
    frame.loc[frame.index[-80], "value"] = NAN
    frame.loc[frame.index[-82], "value"] = NAN  # leaves a bucket alone between two gaps
    drawn = parts(charts.alert_chart(metric(), frame, END.to_pydatetime(), MOSCOW))
    assert np.isnan(drawn["value"].get_ydata()).sum() == 22
    assert len(drawn["gap"].get_paths()) == 3
    np.testing.assert_allclose(drawn["alone"].get_ydata(), frame["value"].iloc[-81])
    edges = drawn["gap"].get_paths()[-1].vertices[:, 0]
    first, last = (97 - 60) / 4, (97 - 41) / 4
    assert first - 0.25 < edges.min() < first
    assert last < edges.max() < last + 0.25


def test_a_missing_bucket_is_said_not_drawn():
    figure = charts.alert_chart(metric(), hollow(value=NAN), END.to_pydatetime(), MOSCOW)
    assert "Likes: no data" in words(figure)
    assert "mark" not in parts(figure)


ODD = {
    "nothing known": hollow(value=NAN, low=NAN, expected=NAN, high=NAN),
    "no band": hollow(low=NAN, expected=NAN, high=NAN),
    "only a band": hollow(value=NAN),
    "always zero": hollow(value=0.0, low=0.0, expected=0.0, high=0.0),
    "always one": hollow(value=1.0, low=1.0, expected=1.0, high=1.0),
    "infinite": hollow(value=float("inf"), high=float("inf")),
    "no low limit": hollow(low=float("-inf"), expected=NAN),
    "no high limit, and no value": hollow(value=NAN, expected=NAN, high=float("inf")),
    "huge": hollow(value=3e17, low=1e17, expected=2e17, high=4e17),
    "tiny": hollow(value=3e-12, low=1e-12, expected=2e-12, high=4e-12),
    "negative": hollow(value=-7.0, low=-3.0, expected=-2.0, high=-1.0),
    "a flat band far away": hollow(value=1.0, low=-1e9, expected=2.0, high=1e9),
    "one bucket": judged()[-1:],
    "two buckets": judged()[-2:],
    "one bucket, missing": hollow(value=NAN)[-1:],
    "none": judged()[:0],
}


@pytest.mark.parametrize("form", ["count", "ratio", "number"])
@pytest.mark.parametrize("frame", ODD.values(), ids=ODD)
def test_odd_input_draws_without_a_warning(frame, form):
    for figure in (
        charts.alert_chart(metric(form), frame, END.to_pydatetime(), MOSCOW, "ru"),
        charts.overview_chart({"likes": frame}, [metric(form)], MOSCOW),
        charts.band_chart(metric(form), frame, MOSCOW),
    ):
        assert size(charts.to_png(figure))[0] > 700
        for axes in figure.axes:
            assert np.isfinite(axes.get_ylim()).all()
            assert len(axes.get_yticks()) < 12


@pytest.mark.parametrize(
    ("low", "high", "inside", "beyond"), [(-np.inf, 100, -1e9, 101), (0.5, np.inf, 1e9, 0.4), (0.5, 100, 50, 101)]
)
def test_a_fixed_limit_is_the_edge_of_a_band_without_an_expected_line(low, high, inside, beyond):
    """On the side without a limit, the band goes beyond the axis."""
    frame = hollow(low=low, expected=NAN, high=high, value=inside if abs(inside) < 1e9 else 60.0)
    figure = charts.alert_chart(metric("number"), frame, END.to_pydatetime(), MOSCOW)
    axes, outline = figure.axes[0], parts(figure)["band"].get_paths()[0].get_extents()
    bottom, top = axes.get_ylim()
    assert outline.y0 == low if np.isfinite(low) else outline.y0 < bottom
    assert outline.y1 == high if np.isfinite(high) else outline.y1 > top
    assert not outline.y0 <= beyond <= outline.y1
    assert not any(np.isfinite(line.get_ydata()).any() for line in axes.lines if line.get_zorder() == 3)


@pytest.mark.parametrize("title", ["$ a $ b_{1}", "<b>&\"'", "漢字 🔥 Likes", "🔥", "", "Щ" * 10_000, "a\nb\tc\x00"])
def test_any_title_can_be_drawn(title):
    figure = charts.alert_chart(metric(title=title), judged(), END.to_pydatetime(), MOSCOW)
    charts.to_png(figure)
    charts.to_png(charts.overview_chart({"likes": judged()}, [metric(title=title)], MOSCOW))
    heading = figure.texts[0]
    assert heading.get_text().endswith("−40\u202f%")
    assert heading.get_window_extent().x1 <= 1080


@pytest.mark.parametrize("step", ["1min", "5min", "30min", "1h", "1D"])
def test_any_step_fills_the_picture(step):
    days = 60 if step == "1D" else 9
    frame = judged(days, step=step)
    figure = charts.alert_chart(metric(step=step), frame, END.to_pydatetime(), MOSCOW)
    charts.to_png(figure)
    assert len(parts(figure)["value"].get_xdata()) >= 31
    assert 3 <= sum(1 for text in figure.axes[0].get_xticklabels() if text.get_text()) <= 6


def test_a_ratio_is_in_percent():
    frame = judged().assign(value=0.131, low=0.204, expected=0.21, high=0.216, status="anomalous")
    said = words(charts.alert_chart(metric("ratio", "CTR"), frame, END.to_pydatetime(), MOSCOW))
    assert {"CTR −38 %", "13.1 %", "20 %", "0 %"} <= set(said)


def test_overview_draws_every_metric_that_was_seen():
    frames = {name: judged(level=level) for name, level in (("likes", 2000), ("views", 40000), ("ctr", 0.2))}
    frames["views"].loc[END, ["value", "status"]] = [frames["views"]["expected"].iloc[-1], "normal"]
    metrics = [metric(), *(Metric(name, {"en": name}, "q", lambda c: c, None) for name in ("views", "unseen", "ctr"))]
    figure = charts.overview_chart(frames, metrics, MOSCOW)
    assert [axes.get_title(loc="left").split("  ")[0] for axes in figure.axes] == ["Likes", "views", "ctr"]
    np.testing.assert_allclose(parts(figure, 1)["value"].get_ydata(), frames["views"]["value"][-97:])
    hours = [any(text.get_text() == "12:00" and text.get_visible() for text in axes.get_xticklabels()) for axes in figure.axes]
    assert hours == [False, False, True], "only the lowest says when"
    assert all(any(text.get_text() == "0" for text in axes.get_yticklabels()) for axes in figure.axes[:2])
    assert size(charts.to_png(figure)) == (720, 410)
    smallest = min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text())
    assert smallest * 100 / 72 / 2 >= 9, "pixels on a 360-pixel screen"


@pytest.mark.parametrize("minutes", [0, 15, 30, 60, 90])
def test_the_times_of_the_overview_are_not_cut_by_its_edge(minutes):
    midnight = pd.Timestamp("2026-11-30", tz=MOSCOW).tz_convert("UTC")
    figure = charts.overview_chart({"likes": judged(end=midnight + pd.Timedelta(minutes=minutes))}, [metric()], MOSCOW)
    charts.to_png(figure)
    boxes = [label.get_window_extent() for label in figure.axes[-1].get_xticklabels()]
    assert "Mon 30" in [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_overview_of_nothing_is_empty():
    assert charts.overview_chart({}, [metric()], MOSCOW).axes == []


def test_band_shows_the_whole_span():
    frame = judged(30)
    figure = charts.band_chart(metric(), frame, MOSCOW, inches=(10, 3))
    assert len(parts(figure)["value"].get_xdata()) == len(frame)
    assert size(charts.to_png(figure)) == (1000, 300)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_clocks_that_change_keep_their_midnights(language):
    for end in ("2026-10-25T12:00Z", "2026-03-29T12:00Z"):
        times = TimeAxis(pd.Timestamp(end) - timedelta(days=2), pd.Timestamp(end), "Europe/Berlin", language)
        assert [f"{at:%H:%M}" for at in times.every(24)] == ["00:00", "00:00"]
        assert [f"{at:%H}" for at in times.ticks(5)] in (["00", "12"] * 2, ["12"] + ["00", "12"] * 2)


@pytest.mark.parametrize(
    ("form", "lowest", "highest", "bottom"),
    [("count", 300, 2000, 0), ("count", 1900, 2000, 1890), ("count", 5, 5, 0), ("ratio", 0.13, 0.22, 0), ("number", -4, 4, -4.8)],
)
def test_the_value_axis_starts_at_zero_when_that_is_sensible(form, lowest, highest, bottom):
    assert value_limits(form, lowest, highest)[0] == pytest.approx(bottom)
    assert value_limits(form, lowest, highest)[1] > highest


@pytest.mark.parametrize(("least", "step"), [(1, 1), (1.1, 2), (2.2, 2.5), (3, 5), (7, 10), (0.011, 0.02), (480, 500)])
def test_round_step(least, step):
    assert round_step(least) == pytest.approx(step)


def test_a_picture_depends_on_its_data_only():
    def drawn():
        return charts.to_png(charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW))

    first = drawn()
    with matplotlib.rc_context({"axes.grid": True, "font.size": 30, "lines.linestyle": ":", "axes.facecolor": "black"}):
        assert drawn() == first
        assert matplotlib.rcParams["font.size"] == 30  # and leaves the notebook's style alone
    assert b"Software" not in first


def test_a_notebook_shows_what_is_sent():
    figure = charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW)
    assert figure._repr_png_() == charts.to_png(figure)


def test_png_leaves_the_figure_as_it_was():
    figure = charts.overview_chart({"likes": judged()}, [metric()], MOSCOW)
    charts.to_png(figure, dpi=200)
    assert figure.dpi == 100


def test_a_metric_may_have_its_own_colour():
    for color, drawn in (("#123456", "#123456"), ("", "#0072B2"), ("no colour", "#0072B2")):
        assert parts(charts.overview_chart({"likes": judged()}, [metric(color=color)], MOSCOW))["value"].get_color() == drawn


def test_pyplot_is_never_touched():
    code = "import sys; from alerting import charts; print('matplotlib.pyplot' in sys.modules)"
    root = Path(__file__).parent.parent
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def piece(text: str, value: float, expected: float) -> Segment:
    return Segment((tuple(tuple(pair.split("=", 1)) for pair in text.split("&")),), value, expected)


IOS = RootCause(
    "carried",
    slice=piece("os=iOS", 460, 1210),
    share=0.98,
    rest=piece("os=", 800, 808),
    others=tuple(
        piece(f"os={name}", value, 500) for name, value in (("Android", 495), ("Веб", 506), ("c", 500), ("d", 1), ("e", 2))
    ),
)


def with_cause(cause: RootCause | None, language: str = "en", form: str = "count") -> Figure:
    return charts.alert_chart(metric(form), judged(), END.to_pydatetime(), MOSCOW, language, cause=cause)


def test_the_slice_stands_below_beside_its_others():
    figure = with_cause(IOS)
    curve, panel = figure.axes
    assert [bar.get_width() for bar in panel.patches] == pytest.approx([460 / 1210 - 1, -0.01, 0.012, 0, -0.998])
    assert panel.patches[0].get_facecolor() != panel.patches[1].get_facecolor()
    assert [text.get_text() for text in panel.texts[::2]] == ["iOS", "Android", "Веб", "c", "d"]
    assert [re.sub("\u202f", " ", text.get_text()) for text in panel.texts[1::2]] == [
        "1,210 → 460 (−62 %)",
        "500 → 495 (−1 %)",
        "500 → 506 (+1 %)",
        "500 → 500 (0 %)",
        "500 → 1 (−99.8 %)",
    ]
    assert "By os: expected → now" in words(figure)
    assert size(charts.to_png(figure))[0] == 1080
    plain = charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW)
    assert curve.get_position().height * figure.get_figheight() == pytest.approx(
        plain.axes[0].get_position().height * plain.get_figheight()
    )


@pytest.mark.parametrize(
    "cause",
    [None, RootCause("alike"), RootCause("unclear"), RootCause("carried"), RootCause("carried", slice=piece("os=a", NAN, 1))],
)
def test_without_a_slice_there_is_no_panel(cause):
    assert charts.to_png(with_cause(cause)) == charts.to_png(charts.alert_chart(metric(), judged(), END.to_pydatetime(), MOSCOW))


def test_a_panel_names_its_kind():
    pair = replace(IOS, slice=piece("country=Russia&source=ads", 310, 1090), others=(piece("os=web", 10, 10),))
    assert {"страна & источник: ожидалось → сейчас", "Russia & ads", "ОС web"} <= set(words(with_cause(pair, "ru")))
    mix = RootCause("carried", "mix", piece("source=ads", 0.41, 0.2), 0.93, piece("source=", 0.59, 0.8))
    assert {
        "Share of all by source: usual → now",
        "ads",
        "the rest",
        "20.0 % → 41.0 % (+105 %)",
        "80.0 % → 59.0 % (−26 %)",
    } <= set(words(with_cause(mix, form="ratio")))
    new = replace(IOS, slice=piece("os=Fuchsia", 1240, 0))
    assert {"Fuchsia", "0 → 1,240"} <= set(words(with_cause(new)))


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("name", ["$ a $ b_{1}", "<b>&\"'", "漢字 🔥 Likes", "🔥" * 500, "", "Щ" * 500, "W" * 500, "a\nb\tc\x00"])
def test_the_panels_words_lie_on_nothing(name, language):
    others = tuple(Segment(((("os", f"{name}{n}"),),), value, 100) for n, value in enumerate((100, 0, 90, 4000)))
    long = replace(IOS, slice=Segment(((("os", name), (name or "x", name)), (("os", name),)), 10, 100), others=others)
    figure = with_cause(long, language)
    charts.to_png(figure)
    canvas, panel = figure.canvas.get_renderer(), figure.axes[1]
    texts = [text for text in [*figure.findobj(matplotlib.text.Text)] if text.get_text() and text.get_visible()]
    below = [text for text in texts if text in panel.texts or text.get_window_extent(canvas).y1 < panel.bbox.y1]
    boxes = [text.get_window_extent(canvas) for text in below]
    bars = [bar.get_window_extent(canvas) for bar in panel.patches]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in [*boxes[:i], *bars])
    assert min(text.get_fontsize() for text in below) * 2 / 3 >= 9


@pytest.mark.parametrize("value", [0, 1e-9, 1, 1e12, float("inf")])
@pytest.mark.parametrize("expected", [0, 1, 1e12])
def test_odd_slices_draw_without_a_warning(value, expected):
    where = piece("os=iOS", value, expected)
    for cause in (
        RootCause("carried", slice=where),
        RootCause("carried", slice=where, rest=where),
        replace(IOS, slice=where, others=(where,)),
    ):
        figure = with_cause(cause)
        charts.to_png(figure)
        assert all(np.isfinite(axes.get_xlim()).all() for axes in figure.axes)  # without slices where the rest moved too
