"""What a run prints on a terminal: a line per metric."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import connections, pipeline
from alerting.model.run import VERDICTS
from alerting.pipeline import display
from alerting.runner.run import printed_verdicts
from alerting.settings import load_settings

END = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS = [
    ["likes", "anomalous", "184", "expected 362 (295–654)", "−49 %", "score −2.7"],
    ["messenger_users", "normal", "1,242", "expected 1,235 (955–1,426)", "+0.6 %", "score 0.04"],
    ["ctr", "missing", "", "no value", "", ""],
]


def notebook(*rows):
    return {"cells": [{}, {"outputs": [{"data": {VERDICTS: {"title": "3 metrics judged", "rows": list(rows)}}}]}]}


def test_the_lines_are_aligned_and_coloured_only_on_demand():
    plain = printed_verdicts(notebook(*ROWS), coloured=False)
    assert plain.splitlines() == [
        "3 metrics judged",
        "  likes            anomalous    184  expected 362 (295–654)       −49 %  score −2.7",
        "  messenger_users  normal     1,242  expected 1,235 (955–1,426)  +0.6 %  score 0.04",
        "  ctr              missing           no value",
    ]
    coloured = printed_verdicts(notebook(*ROWS), coloured=True)
    assert re.sub(r"\033\[\d+m", "", coloured) == plain
    assert [line.startswith("  \033[") for line in coloured.splitlines()] == [False, True, False, True]
    assert printed_verdicts({"cells": []}, coloured=False) == ""
    long = printed_verdicts(notebook(["m" * 180 + "-0123456789a", *ROWS[0][1:]], ROWS[1]), coloured=False)
    assert max(map(len, long.splitlines())) < 120
    assert f"  {'m' * 37}…-0123456789a  anomalous" in long, "the end tells long names apart"


@pytest.mark.parametrize(("series", "shown"), [(3, 3), (40, 1)])
def test_of_many_metrics_those_that_are_not_normal_are_printed(tmp_path, series, shown):
    hours = pd.date_range(END - timedelta(days=30), END, freq="h", inclusive="left")
    noise = np.random.default_rng(1).normal(0, 10, (series, len(hours)))
    values = 1000 + 200 * np.sin(hours.hour / 24 * 2 * np.pi).to_numpy() + noise
    values[0, -1] = 100
    rows = pd.DataFrame(values.T, index=hours, columns=[f"m{n}" for n in range(series)]).melt(ignore_index=False)
    rows.reset_index().set_axis(["ts", "series", "value"], axis=1).to_csv(tmp_path / "kpi.csv", index=False)
    given = {"SOURCE": str(tmp_path / "kpi.csv"), "DATA": str(tmp_path / "data"), "ZONE": "Asia/Kolkata"}
    settings = load_settings({f"ALERTING_{name}": text for name, text in given.items()}, tmp_path / ".env")
    now = END + timedelta(minutes=6)
    ctx = connections.connect(dry_run=True, settings=settings, now=now)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes = pipeline.advance(ctx, judged, now)
    lines = display.show_verdicts(ctx, judged, reading, changes).lines
    again = display.verdict_lines(ctx, replace(judged, due=()), {}, changes)
    assert again["title"].startswith(f"{series} metrics, nothing new since Fri 2026-11-20 16:30 (Asia/Kolkata): ")
    assert again["rows"] == lines["rows"]
    span = "from Thu 2026-11-19 16:30 to Fri 2026-11-20 16:30 (Asia/Kolkata)"
    assert lines["title"] == f"{series} metrics judged {span}: {series - 1} normal, 1 anomalous"
    assert len(lines["rows"]) == shown
    name, status, value, expected, change, score = lines["rows"][0]
    assert (name, status, value) == ("m0", "anomalous", "100")
    assert re.fullmatch(r"expected [\d,]+ \([\d,]+–[\d,]+\)", expected)
    assert change.startswith("−8") or change.startswith("−9")
    assert score.startswith("score −")
    assert [row[1] for row in lines["rows"][1:]] == ["normal"] * (shown - 1)
