"""A folder of reports like that of real runs, with hostile texts, for the tests of the pages."""

import base64
import json
import struct
import zlib
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

from alerting.model.incident import Incident, Member, RootCause, Segment
from alerting.model.message import Action, Button, Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.run import Run
from alerting.model.verdict import EventKind, Label, Status, Verdict
from alerting.reporting.failure import Failure
from alerting.reporting.prune import prune_records
from alerting.reporting.publish import write_index
from alerting.reporting.record import TIME_IN_NAME, Record
from alerting.settings import load_settings
from alerting.store.state import StateStore

HOSTILE = """<script>alert(1)</script>"><img src=x onerror="alert(2)">'-alert(3)-'<svg onload=alert(4)>&lt;b&gt;"""
ELSEWHERE = """<img src="https://elsewhere.example/a.png" onerror="alert(10)"><iframe src="https://elsewhere.example"></iframe>
<base href="https://elsewhere.example/"><meta http-equiv=refresh content="0;url=https://elsewhere.example">
<link rel=stylesheet href="https://elsewhere.example/x.css">
<form action="https://elsewhere.example"><input autofocus onfocus=alert(11)>"""
TOKEN = "123456:AAbb-CCdd_EEff"
QUARTER = timedelta(minutes=15)
NOW = datetime(2026, 11, 20, 12, 45, 5, tzinfo=UTC)  # when the newest run began, and the pages are written
LAST = NOW.replace(minute=15, second=0)  # its newest bucket


def png(side=4):
    """A picture that a browser can show."""
    rows = b"".join(b"\0" + b"\x30\x60\x90" * side for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(picture):
    return base64.b64encode(picture).decode()


def table(*rows):
    """Return a table as pandas writes it."""
    body = "".join(f"<tr><th>{n}</th>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for n, row in enumerate(rows))
    head = "<thead><tr><th></th><th>metric</th><th>value</th></tr></thead>"
    style = "<style scoped>.dataframe tbody tr th { color: red }</style>"
    return f"<div>{style}<table border=1 class=dataframe>{head}<tbody>{body}</tbody></table></div>"


SUMMARY = ("What verdict", "What picture", "What changed", "What is said")  # the sections that a page begins with


def book(*cells):
    """A notebook: (heading, source, outputs) each."""
    out = []
    for heading, source, outputs in cells:
        out.append({"cell_type": "markdown", "metadata": {}, "source": f"## {heading}\n\nWords about it."})
        ran = {"papermill": {"status": "completed"}, "tags": ["summary"] * (heading in SUMMARY)}
        out.append({"cell_type": "code", "metadata": ran, "source": source, "outputs": outputs, "execution_count": 1})
    return {"cells": out, "metadata": {"papermill": {"duration": 1.5, "parameters": {}}}, "nbformat": 4, "nbformat_minor": 4}


def shown(**data):
    kinds = {"html": "text/html", "plain": "text/plain", "picture": "image/png"}
    return {"output_type": "execute_result", "metadata": {}, "data": {kinds[kind]: text for kind, text in data.items()}}


def message(text, picture=b""):
    image = f'<img style="max-width:480px" alt="picture" src="data:image/png;base64,{encoded(picture)}">' if picture else ""
    return f'<div style="white-space:pre-wrap;max-width:44em">{text}</div>\n{image}'


def usual(said="🔴 <b>Likes −38 %</b>\n<b>7</b> · expected 10", picture=b""):
    return book(
        ("What data", "read()", [{"output_type": "stream", "name": "stdout", "text": "a note\n"}]),
        ("What verdict", "judge()", [shown(html=table(("likes", "1,240"), ("ctr", "0.1")), plain="likes 1240")]),
        ("What picture", "overview()", [shown(picture=encoded(png(8)), plain="<Figure>")]),
        ("What changed", "advance()", [shown(html=table(), plain="Empty DataFrame")]),
        ("What is said", "compose()", [shown(html=message(said, picture), plain="<HTML>")]),
        ("The end", "finish()", [shown(plain="'all seen; 1 message sent'")]),
    )


class World:
    """Settings, and what has happened under them."""

    def __init__(self, folder: Path, **changes):
        given = load_settings({}, Path("/dev/null"))
        given = replace(given, data=folder / "the data", reports=folder / "the reports", telegram_token=TOKEN, telegram_chat="1")
        self.settings = replace(given, **{"zone": "UTC", **changes})

    @property
    def reports(self):
        return self.settings.reports

    def index(self, fresh=False):
        return write_index(self.settings, fresh, NOW)

    def prune(self, keep_days, dry_run=False):
        return prune_records(self.settings, keep_days, dry_run, NOW)

    def store(self):
        return closing(StateStore(self.settings.data / "alerts.sqlite"))

    def run(self, started=NOW, notebook=None, failure=None, kind="alert"):
        """A run that has ended."""
        record = Record(self.settings, started, kind)
        record.publish(notebook or usual(), failure)
        assert record.trouble == ""
        return record

    def judged(self, metrics, end=LAST, step=QUARTER):
        """Verdicts: name of a metric -> its buckets up to `end`, one letter each (n, a, m, u)."""
        nan = float("nan")
        kinds = {
            "n": (Status.NORMAL, 10.0),
            "a": (Status.ANOMALOUS, 4.0),
            "m": (Status.MISSING, nan),
            "u": (Status.UNKNOWN, 10.0),
        }
        made = [
            Verdict(name, end - n * step, *kinds[letter], 8.0, 10.0, 12.0)
            for name, statuses in metrics.items()
            for n, letter in enumerate(reversed(statuses))
        ]
        with self.store() as store:
            store.commit(Commit(verdicts=made))

    def incident(self, opened=NOW, words="", name="likes", **changes):
        """An incident told in the run of `opened`, with a picture, an edit and a reply. `words`: wherever data may speak."""
        bucket = opened.replace(second=0) - timedelta(minutes=20)
        verdict = Verdict(name, bucket, Status.ANOMALOUS, 7.0, 9.0, 10.0, 11.0, -3.0)
        slices = Segment(((("os", words or "iOS"),),), 1.0, 9.0), Segment((), 6.0, 6.0)
        cause = RootCause("carried", slice=slices[0], share=0.96, rest=slices[1], gone=(slices[0],), attributes=("os",))
        one = Incident(f"{bucket:%Y%m%dT%H%MZ}-{name}", bucket, (Member(name, bucket, bucket, verdict),), last_notified=bucket)
        one = replace(one, cause=cause, **changes)
        made = opened + timedelta(seconds=1)
        with self.store() as store:
            store.commit(Commit(incidents=[one], messages=list(self._messages(one, words))), made)
            for key in [message.key for message in store.waiting()]:
                store.record(Receipt(key, "sent", "", "5"), made)
            for key in [message.key for message in store.waiting()]:
                store.record(Receipt(key, "sent", "", "6"), made)
            edit = Message(f"{one.id}/edit/1", EventKind.OPENED, name, bucket, f"🔴 <b>{name} −52 %</b> now", edits=one.key)
            store.commit(Commit(messages=[edit]), made + timedelta(minutes=15))
            store.record(Receipt(edit.key, "sent", "", "5"), made + timedelta(minutes=15))
            store.save_run(Run(made + timedelta(seconds=1), made))
        return one

    def _messages(self, one, words):
        about = {"kind": EventKind.OPENED, "metric": one.root.metric, "bucket": one.opened, "incident": one.id}
        buttons = ((Button("I'm on it", Action.TAKE), Button(words or "Expected", Action.EXPECTED)),)
        text = f'🔴 <b>{one.root.metric} −38 %</b> {words}\n<a href="javascript:alert(5)">Run</a>'
        yield Message(one.key, **about, text=text, buttons=buttons, photo=png())
        yield Message(f"{one.id}/answer/1/text", **about, text=f"👀 <b>Anna</b> is on it {words}", reply_to=one.key)


def hostile(folder):
    """A world in which every text that is not ours tries to become more than text."""
    world = World(folder, source="kpi.csv")
    world.judged({"a" + HOSTILE: 90 * "n" + "naa"})
    changed = {
        "acknowledged_by": HOSTILE,
        "label": Label.FALSE_ALARM,
        "labelled_by": HOSTILE,
        "run": f"javascript:alert(6)//{HOSTILE}",
    }
    world.incident(words=HOSTILE, **changed)
    world.incident(NOW - timedelta(minutes=15), HOSTILE, name="a" + HOSTILE, **changed)
    error = {"output_type": "error", "ename": HOSTILE, "evalue": HOSTILE, "traceback": [f"\x1b[0;31m{HOSTILE}\x1b[0m"]}
    stream = {"output_type": "stream", "name": "stderr", "text": f"\x1b]0;{HOSTILE}\x07\x1b[1m{HOSTILE}\x1b[0m\n"}
    linked = """<a href=" jAvAsCript:alert(9)">y</a>"""
    evil = book(
        (HOSTILE, HOSTILE, [stream, error, shown(plain=HOSTILE)]),
        ("What verdict", "x = '</code></pre><script>alert(7)</script>'", [shown(html=table((HOSTILE, linked)))]),
        ("What is said", "1", [shown(html=message(f"{HOSTILE}\n{linked}", png()))]),
        ("Pictures", "2", [shown(html=ELSEWHERE)]),
    )
    world.run(NOW - timedelta(minutes=15), evil)
    world.run(NOW, evil, Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    return world


FRAME = {"html", "head", "meta", "title", "link", "style", "script", "body", "nav", "main", "footer", "section"}
TEXT = "a b br code em h1 h2 h3 h4 i img li ol p pre s span strong time u ul blockquote details summary svg path rect line text"
PARTS = "button dd div dl dt form input label option output select table tbody td th thead tr"
OURS = FRAME | {*TEXT.split(), *PARTS.split()}


class Read(HTMLParser):
    """A page as a browser takes it: its tags, and what is wrong with them."""

    def __init__(self, page):
        super().__init__()
        self.open, self.wrong, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(page)
        self.close()
        self.wrong += [f"not closed: {self.open}"] * bool(self.open)
        self.wrong += [f"twice: {id}" for id in self.ids if self.ids.count(id) > 1]

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.wrong += [f"tag {tag}"] * (tag not in OURS)
        self.wrong += [f"{tag} {name}" for name in given if name.startswith("on") or name in ("style", "srcset", "srcdoc")]
        self.ids += filter(None, [given.get("id")])
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"closed: {tag}")

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    return Read(path.read_text(encoding="utf-8"))


def pages(world):
    world.index()
    return sorted(world.reports.rglob("*.html"))


def dead_links(world):
    """Links that lead nowhere."""
    out = []
    for path in pages(world):
        for link in read(path).links:
            if not link.startswith(("#", "data:,", "https:")):
                out += [f"{path.name}: {link}"] * (not (path.parent / link.partition("#")[0]).is_file())
    return out


LOUD = 4  # runs a day that tell of something


def copied(world, days, quiet, loud, until=NOW):
    """Runs every quarter of an hour for so many days, one a week red. One of each kind is rendered, the others are copies."""
    kinds = {}
    for n in reversed(range(days * 96)):
        at, tells, red = until - n * timedelta(minutes=15), n % (96 // LOUD) == 0, n % 672 == 671
        kind = (tells, red)
        name = f"alert-{at.strftime(TIME_IN_NAME)}.ipynb"  # a name that is given is not looked for among all that are there
        record = Record(world.settings, at, "alert", Path(name))
        if kind not in kinds:
            record.publish(loud if tells else quiet, Failure("down", "") if red else None)
            files = {
                path.name.removeprefix(record.path.stem): path.read_bytes()
                for path in record.path.parent.glob(f"{record.path.stem}.*")
            }
            line = json.loads((record.path.parent / "runs.jsonl").read_text().splitlines()[-1])
            kinds[kind] = (record.path.stem, files, line)
            continue
        stem, files, line = kinds[kind]
        record.path.parent.mkdir(parents=True, exist_ok=True)
        for ending, content in files.items():
            (record.path.parent / f"{record.path.stem}{ending}").write_bytes(
                content.replace(stem.encode(), record.path.stem.encode())
            )
        line = line | {"name": record.path.name, "started": at.isoformat(), "sent": int(tells)}
        with (record.path.parent / "runs.jsonl").open("a") as lines:
            lines.write(json.dumps(line) + "\n")
