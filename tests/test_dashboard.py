"""Links to dashboards: those that the docs show, for a metric and for an incident of a segment."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting.metric_values import count
from alerting.metrics import RULE
from alerting.model.incident import Event
from alerting.model.metric import Metric, dashboard_link, parse_segment, spell_segment
from alerting.model.verdict import Episode, EventKind, Status, Verdict
from alerting.notifiers.base import Console
from alerting.pipeline.compose import _dashboard
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import segment_metrics
from alerting.settings import ROOT, load_settings
from alerting.sources.table import TableSource
from alerting.store.state import StateStore

AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
DAY = timedelta(days=1)
TEMPLATES = re.findall(r"^ALERTING_DASHBOARD=(\S+)", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
LINKS = [  # for views of os=iOS from ads: Grafana, Superset
    "https://grafana.example/d/feed/feed?from=1795090500000&to=1795177800000&var-metric=views&var-os=iOS&var-source=ads%20%26%20co",
    "https://superset.example/superset/dashboard/7/?metric=views&start=2026-11-19T12%3A15%3A00Z&end=2026-11-20T12%3A30%3A00Z"
    "&os=iOS&source=ads%20%26%20co",
]


@pytest.mark.parametrize(("template", "link"), [*zip(TEMPLATES, LINKS, strict=True)])
def test_an_incident_of_a_segment_links_its_metric_filtered(tmp_path, template, link):
    settings = load_settings({"ALERTING_DASHBOARD": template}, tmp_path / "none.env")
    metric = Metric("views", {"en": "Views"}, "feed_actions", count("views"), RULE, slices="alert")
    (stand_in,) = segment_metrics([metric])
    ctx = RunContext([metric], {}, TableSource(tmp_path), StateStore(":memory:"), Console(), dashboard=settings.dashboard)
    verdict = Verdict("views.slices", AT, Status.ANOMALOUS, 1, 5, 6, 7, -6, "os=iOS & source=ads")
    event = Event(EventKind.OPENED, "views.slices", AT, verdict, Episode("views.slices"))
    assert _dashboard(ctx, stand_in, event) == link.replace("%20%26%20co", "")
    own = replace(stand_in, dashboard="https://own.example/{metric}?{segment:f.}")
    assert _dashboard(ctx, own, event) == "https://own.example/views?f.os=iOS&f.source=ads"
    whole = replace(event, metric="views", verdict=replace(verdict, metric="views", reason=""))
    assert _dashboard(ctx, metric, whole) == link.split("os=iOS")[0].removesuffix("var-")
    elements = ((("os", "iOS"), ("source", "ads & co")),)
    assert dashboard_link(template, "views", AT - DAY, AT + timedelta(minutes=15), elements) == link


def test_several_segments_give_each_value_once():
    elements = ((("os", "iOS"), ("city", "Орёл")), (("os", "web"),), (("os", "iOS"),))
    link = dashboard_link("https://x.example/?{segment:var-}&at={end:s}", "views", AT, AT, elements)
    assert link == "https://x.example/?var-os=iOS&var-os=web&var-city=%D0%9E%D1%80%D1%91%D0%BB&at=1795176900"
    assert parse_segment(spell_segment(elements)) == elements
    assert parse_segment("") == ()


def test_a_name_and_a_segment_cannot_leave_their_place_in_the_link():
    elements = ((("os & co", "a=b;c/д"),),)
    link = dashboard_link("https://x.example/{metric}?{segment}", "Web/mobile orders?", AT, AT, elements)
    assert link == "https://x.example/Web%2Fmobile%20orders%3F?os%20%26%20co=a%3Db%3Bc%2F%D0%B4"
