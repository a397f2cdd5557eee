"""Notebook 2.2 is executed for an incident after its alert, and linked from the incident's page."""

import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerting.model.incident import Incident, Member, incident_notebook
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.reporting.publish import write_index
from alerting.runner.run import start_notebooks
from alerting.settings import load_settings
from alerting.store.state import StateStore

STAND_IN = """#!{python}
import sys
from pathlib import Path
Path({out!r}).write_text(" ".join(sys.argv[1:]))
"""


def test_notebooks_of_incidents_are_started_after_the_run_for_those_that_turned(tmp_path):
    """A stand-in for the lab's Python says with what it was started; the notebook itself is executed in test_studies."""
    since = datetime(2026, 11, 20, tzinfo=UTC)
    settings = load_settings({"ALERTING_DATA": str(tmp_path), "ALERTING_REPORTS": str(tmp_path / "reports")})
    lab, out = tmp_path / "python", tmp_path / "said"
    lab.write_text(STAND_IN.format(python=sys.executable, out=str(out)))
    lab.chmod(0o755)
    assert start_notebooks(settings, since, lab) is None  # no state yet
    kinds = {"new": EventKind.OPENED, "worse": EventKind.WORSENED, "over": EventKind.RESOLVED, "goes on": EventKind.REMINDER}
    messages = [Message(f"{id}/{kind.value}/text", kind, "views", since, "text", incident=id) for id, kind in kinds.items()]
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        store.commit(Commit(messages=messages), since)
    assert start_notebooks(settings, since + timedelta(seconds=1), lab) is None  # told by an earlier run
    off = replace(settings, incident_notebook="off")
    assert start_notebooks(off, since, lab) is None
    assert start_notebooks(settings, since, tmp_path / "no such python") is None
    process = start_notebooks(settings, since, lab)
    assert process.wait(60) == 0
    assert out.read_text() == "-m alerting incident --seconds 600 new over worse"


def test_the_page_of_an_incident_links_its_notebook(tmp_path):
    since = datetime(2026, 11, 20, tzinfo=UTC)
    settings = load_settings({"ALERTING_DATA": str(tmp_path), "ALERTING_REPORTS": str(tmp_path / "reports")})
    verdict = Verdict("views", since, Status.ANOMALOUS, 10.0, 80.0, 100.0, 120.0, -4.5)
    incident = Incident("2026/one", since, (Member("views", since, since, verdict),), last_notified=since)
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=[incident]), since)
    page = tmp_path / "reports" / "incidents" / "2026_one.html"
    write_index(settings, now=since)
    assert "notebook" not in page.read_text(encoding="utf-8")
    path = tmp_path / "reports" / incident_notebook(incident.id).replace(".ipynb", ".html")
    path.write_text("<p>executed</p>")
    write_index(settings, now=since)
    assert '<a href="2026_one-notebook.html">Notebook of this incident</a>' in page.read_text(encoding="utf-8")
