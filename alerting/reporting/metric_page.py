"""The metrics as they are now: their rows on the index, the page of each, and the charts on both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from statistics import median_high
from typing import Any

from alerting.messages.answers import weekly_words
from alerting.messages.format import NumberFormat, VerdictFacts, duration, percent, signed_percent
from alerting.messages.words import MONTHS, WEEKDAYS
from alerting.model.clock import DAY
from alerting.model.incident import Incident, incident_file
from alerting.model.metric import SEGMENTS_SUFFIX, Silence
from alerting.model.verdict import JudgedPoint, Status, Verdict
from alerting.reporting.incident_page import IncidentStory, incident_name, recovered_at
from alerting.reporting.page import PageContext, render

HOURS_SHOWN = 2 * DAY  # longest chart whose time axis shows hours
CHART_DAYS = 28
SPARKLINE = {"width": 192, "height": 60, "bins": 96}
CHART = {"width": 1344, "height": 420, "bins": 336}
CHARACTER = 1.9  # percent of a chart's width that a character takes on a phone
MAX_VERDICTS, MAX_ODD, MAX_INCIDENTS = 48, 50, 50  # rows of the tables on a page
FAR_FUTURE = timedelta(days=3650)  # a silence until then is one without an end
# State -> badge; any other state gets the badge "unknown"
BADGES = {"anomalous": "alert", "missing": "alert", "recovering": "alert", "normal": "ok"}
URGENT = ("anomalous", "missing", "recovering", "not judged")  # first on the list, in this order
MARGIN = 0.06  # share of the height that is free above the highest and below the lowest value
BAND_ROOM = 1.0  # how far beyond the values the band is drawn, as a share of their range
TICKS = (1, 2, 5, 10)


@dataclass(frozen=True)
class MetricState:
    """The present state of a metric, or of a stand-in for watched segments."""

    name: str
    newest: Verdict | None = None  # None: it was not judged yet
    points: Sequence[JudgedPoint] = ()  # buckets of the last day, or of 24 buckets where those take longer; () if left out
    stories: tuple[IncidentStory, ...] = ()  # its incidents, newest first
    silence: Silence | None = None  # the present silence, otherwise the next one
    next_check: datetime | None = None

    @property
    def incident(self) -> Incident | None:
        """The open incident that affects the metric; None if there is none."""
        found = (story.incident for story in self.stories if story.incident.open)
        return next((it for it in found if any(member.metric == self.name for member in it.affected)), None)

    @property
    def state(self) -> str:
        """The state: anomalous, missing, recovering (normal, in an open incident), unknown, normal, or not judged."""
        if self.newest is None:
            return "not judged"
        if self.newest.status in (Status.ANOMALOUS, Status.MISSING):
            return self.newest.status.value
        return "recovering" if self.incident else self.newest.status.value


def metric_row(state: MetricState, page: PageContext, href: str = "") -> dict[str, Any]:
    """Return the texts of a metric's row on the index, and its sparkline. `href`: path of its page below reports/, if any."""
    value, expected = _numbers(state, page)
    story = next((story for story in state.stories if story.incident.last_notified), None)
    alert = story.incident if story else None
    sent = [it.changed for it in story.thread if it.state == "sent" and not it.edits and it.changed] if story else []
    last = max(sent, default=alert.last_notified if alert else None)  # of old incidents the messages may be deleted
    chart, label = None, ""
    if len(state.points) > 1 and not state.name.endswith(SEGMENTS_SUFFIX):
        chart = band_chart(state.points, state.points[0].at, state.points[-1].at, **SPARKLINE)
        label = page.text("sparkline", count=sum(it.status == "anomalous" for it in state.points))
    return {
        "name": state.name,
        "title": page.title(state.name, state.newest.segment if state.newest else ""),
        "href": href,
        "state": state.state,
        "badge": BADGES.get(state.state, "unknown"),
        "value": value,
        "expected": expected,
        "since": _since(state, page),
        "silence": _silence_words(state, page),
        "last_alert": page.moment(last) if last else "",
        "alert_href": incident_file(alert.id) if alert else "",
        "next_check": page.moment(state.next_check) if state.next_check else "",
        "label": label,
        "chart": chart,
        "is_brief": not (state.points or state.stories),  # one of many metrics, and normal: the last day is left out
    }


def _silence_words(state: MetricState, page: PageContext) -> str:
    """Return how long the metric is silent, or from when on it will be; "" where no silence is planned."""
    silence = state.silence
    if silence is None:
        return ""
    if silence.start > page.now:
        return page.text("silent from", at=page.moment(silence.start))
    if not silence.covers(silence.scope, page.now, timedelta(seconds=1)):
        return page.text("silent weekly", weekly=weekly_words(silence, page.language))
    is_endless = silence.until - page.now > FAR_FUTURE
    return page.text("silent now") if is_endless else page.text("silent until", at=page.moment(silence.until))


def _since(state: MetricState, page: PageContext) -> str:
    """Return the time at which the present state began; "" if it is unknown or before the buckets of the row."""
    if incident := state.incident:
        return page.moment(next(member.since for member in incident.affected if member.metric == state.name))
    points = state.points
    before = [it.at for it in points if state.newest and it.status != state.newest.status.value]
    if before and before[-1] < points[-1].at:
        return page.moment(datetime.fromtimestamp(next(it.at for it in points if it.at > before[-1]), UTC))
    is_long = points and points[-1].at - points[0].at >= DAY.total_seconds() / 2
    return page.text("over a day") if is_long else ""


def _numbers(state: MetricState, page: PageContext) -> tuple[str, str]:
    """Return the newest value and the expected range ("" without `points`); both are "" for a stand-in without a segment."""
    verdict = state.newest
    if verdict is None or (state.name.endswith(SEGMENTS_SUFFIX) and not verdict.segment):
        return "", ""
    shown = VerdictFacts.of(verdict, page.metric(verdict.metric).form, page.language)
    value = f"{shown.value} ({shown.change})" if verdict.status is Status.ANOMALOUS and shown.change else shown.value
    return value, (shown.range or shown.expected) if state.points else ""


def metric_page(state: MetricState, points: Sequence[JudgedPoint], page: PageContext) -> str:
    """Return the HTML of the page. `points`: the judged buckets of the last four weeks."""
    row = metric_row(state, page)
    facts = {
        "state": "",  # the template shows a badge
        "value": row["value"],
        "usual": row["expected"],
        "since": row["since"],
        "silent": row["silence"],
        "last alert": row["last_alert"],
        "next check": row["next_check"],
        "finds": _finds(points, page),
    }
    odd = [it for it in points if it.status not in ("normal", "unknown")]
    return render(
        "metric",
        page,
        state=state,
        row=row,
        incident_href=incident_file(state.incident.id) if state.incident else "",
        facts={key: words for key, words in facts.items() if words or key == "state"},
        chart=_chart(state, points, page) if len(points) > 1 else None,
        code=page.metric(state.name).code,
        incidents=[_incident_row(story, state.name, page) for story in state.stories[:MAX_INCIDENTS]],
        verdicts=[_verdict_row(it, state.name, page) for it in reversed(points[-MAX_VERDICTS:])],
        odd=[_verdict_row(it, state.name, page) for it in reversed(odd[-MAX_ODD:])] if len(points) > MAX_VERDICTS else [],
    )


def _finds(points: Sequence[JudgedPoint], page: PageContext) -> str:
    """Return the drop and the rise that leave the band of the median bucket, as text: shares of the expected value."""
    drops, rises = list[float](), list[float]()
    for it in points:
        if it.expected and it.low is not None and it.high is not None and math.isfinite(it.high - it.low):
            drops.append((it.expected - it.low) / abs(it.expected))
            rises.append((it.high - it.expected) / abs(it.expected))
    if not drops or not max(rises) + max(drops) > 0:
        return ""
    drop, rise = median_high(drops), median_high(rises)
    at_most = percent(drop, page.language) if drop < 1 else page.text("no drop")
    return page.text("finds words", drop=at_most, rise=percent(rise, page.language))


def _chart(state: MetricState, points: Sequence[JudgedPoint], page: PageContext) -> dict[str, Any]:
    """Return the chart of a page: its paths, and the positions of lines, labels and incidents in percent of width and height."""
    step = max(1, points[-1].at - points[-2].at)
    start, end = points[0].at, points[-1].at + step
    paths = band_chart(points, start, end, **CHART)

    def left(at: datetime) -> float:
        return round(100 * min(1.0, max(0.0, (at.timestamp() - start) / (end - start))), 2)

    marks = ticks(paths.low, paths.high)
    numbers = NumberFormat.of(page.metric(state.name).form, page.language, [*marks, paths.low, paths.high])
    incidents = []
    for story in state.stories:
        member = story.incident.member(state.name)
        until = (member.until if member else None) or recovered_at(story.incident) or page.now
        if member and until.timestamp() > start:
            begin = left(member.since)
            incidents.append((begin, round(max(0.3, left(until) - begin), 2), incident_name(story, page)))
    return {
        "paths": paths,
        "times": _roomy([(left(at), words) for at, words in _time_ticks(start, end, page)]),
        "scale": [(round(100 * (paths.high - at) / (paths.high - paths.low), 2), numbers.short(at)) for at in marks],
        "incidents": incidents,
        "label": page.text("chart of", metric=page.title(state.name), count=len(incidents)),
    }


def _roomy(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return positions and labels. A label that would overlap the one before, or the edge, on a phone is ""."""
    out, end = list[tuple[float, str]](), 0.0
    for left, words in labels:
        until = left + 1 + CHARACTER * len(words)
        fits = end <= left and until <= 100
        out.append((left, words if fits else ""))
        end = until if fits else end
    return out


def _time_ticks(start: int, end: int, page: PageContext) -> list[tuple[datetime, str]]:
    """Return labelled local times: every six hours of up to two days, every day of up to nine, otherwise every Monday."""
    first, last = (page.local(datetime.fromtimestamp(at, UTC)) for at in (start, end))
    midnight = first.replace(hour=0, minute=0, second=0)
    days = [midnight + n * DAY for n in range((last.date() - first.date()).days + 1)]
    if last - first <= HOURS_SHOWN:
        hours = [day.replace(hour=hour) for day in days for hour in (0, 6, 12, 18)]
        return [(at, f"{at:%H:%M}") for at in hours if first <= at <= last]
    shown = [day for day in days if first <= day <= last and (len(days) <= 9 or day.weekday() == 0)]
    return [(day, f"{WEEKDAYS[page.language][day.weekday()]} {day.day} {MONTHS[page.language][day.month - 1]}") for day in shown]


def _incident_row(story: IncidentStory, name: str, page: PageContext) -> tuple[str, str, str, str, str]:
    """Return href, first line, start, duration, and the worst value of the metric."""
    incident, member = story.incident, story.incident.member(name)
    since = member.since if member else incident.root.since
    until = (member.until if member else None) or recovered_at(incident)
    lasted = page.text("going on" if until is None else "lasted", lasted=duration((until or page.now) - since, page.language))
    worst = (member.worst or member.first) if member and not member.gap else None
    change = signed_percent(worst.value, worst.expected, page.language) if worst else ""
    return f"../{incident_file(incident.id)}", incident_name(story, page), page.time(since), lasted, change


def _verdict_row(point: JudgedPoint, name: str, page: PageContext) -> tuple[str, str, str, str, str]:
    """Return the bucket, its status, the value, the expected range, and the deviation."""
    verdict = point.verdict(name)
    shown = VerdictFacts.of(verdict, page.metric(name).form, page.language)
    return page.moment(verdict.bucket), point.status, shown.value, shown.range or shown.expected, shown.change


@dataclass(frozen=True)
class BandChart:
    """The SVG paths of a value, its band and its anomalous buckets (`dots`), and the values at the lower and upper edge."""

    width: int
    height: int
    value: str
    band: str
    dots: str  # anomalous buckets, one zero-length stroke each
    low: float
    high: float


def band_chart(points: Sequence[JudgedPoint], start: int, end: int, width: int, height: int, bins: int) -> BandChart:
    """Return the chart of the buckets from `start` to `end` (seconds since 1970), ordered by time.

    Of more than `bins` buckets, several are drawn as one: their lowest and highest value, and the widest of their bands.
    """
    size = max(1, -(-len(points) // bins))
    groups = [points[n : n + size] for n in range(0, len(points), size)]
    low, high = _range(points)
    scale_x, scale_y = width / max(1, end - start), height / (high - low)

    def x(at: float) -> int:
        return round((at - start) * scale_x)

    def y(value: float) -> int:
        return round((high - min(max(value, low), high)) * scale_y)

    value, edges, is_drawn = list[str](), [list[tuple[int, int, int]]()], False
    for group in groups:
        seen = [(it.at, it.value) for it in group if it.value is not None]
        if len(seen) > 2:
            seen = sorted({min(seen, key=itemgetter(1)), max(seen, key=itemgetter(1))})
        for at, number in seen:
            value.append(f"{'L' if is_drawn else 'M'}{x(at)} {y(number)}")
            is_drawn = True
        is_drawn = bool(seen)
        lows, highs = [it.low for it in group if it.low is not None], [it.high for it in group if it.high is not None]
        if lows and highs:
            edges[-1].append((x(group[0].at), y(max(highs)), y(min(lows))))
        else:
            edges.append([])
    band = list[str]()
    for edge in filter(None, edges):  # forward along the upper edge, back along the lower one
        upper, lower = [f"{left} {top}" for left, top, _ in edge], [f"{left} {bottom}" for left, _, bottom in reversed(edge)]
        band.append(f"M{'L'.join([*upper, *lower])}Z")
    dots = [f"M{x(it.at)} {y(it.value)}h0" for it in points if it.status == "anomalous" and it.value is not None]
    return BandChart(width, height, "".join(value), "".join(band), "".join(dots), low, high)


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Return about `count` round values between `low` and `high`."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(tick for tick in TICKS if tick * power >= raw)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _range(points: Sequence[JudgedPoint]) -> tuple[float, float]:
    """Return the lowest and highest value to draw, with a margin: all values, and the bands up to BAND_ROOM beyond them."""
    values, lows, highs = (
        [number for number in column if number is not None and math.isfinite(number)]
        for column in zip(*((it.value, it.low, it.high) for it in points), strict=True)
    )
    least, most = min(values, default=0.0), max(values, default=0.0)
    room = BAND_ROOM * ((most - least) or abs(most) or 1.0)
    low = min(least, max(min(lows, default=least), least - room))
    high = max(most, min(max(highs, default=most), most + room))
    margin = MARGIN * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin
