"""The contract of every destination in DESTINATIONS: the settings that open it, and its results when the server fails. A new
destination is tested here without a change; its sending has tests of its own."""

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import fields, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from alerting.connections import open_destinations
from alerting.model.errors import NotifyError
from alerting.model.message import Action, Button, ButtonPress, Message
from alerting.model.protocols import Notifier
from alerting.model.verdict import EventKind
from alerting.notifiers.base import Console
from alerting.settings import DESTINATIONS, NAMES, PREFIX, ROOT, Settings, load_settings
from tests.pictures import png
from tests.servers import BrokenServer
from tests.test_structure import has, members
from tests.trees import copy_parts

AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
SECRET = "verysecretpath"
BUTTONS = ((Button("Taken", Action.TAKE),),)
TEXT = Message("i/opened/text", EventKind.OPENED, "likes", AT, "<b>Likes</b> −38 %", incident="i", buttons=BUTTONS)
MESSAGES = {
    "text": TEXT,
    "a picture": replace(TEXT, photo=png()),
    "a long text": replace(TEXT, text="<b>" + "too long &amp; " * 2000 + "</b>"),
    "a mangled name": replace(TEXT, text="broken \ud800 name"),
    "half a tag": replace(TEXT, text="<b>1 < 2 & <i>"),
}
TROUBLE = {"nobody": None, "the connection ends": b"", "no words": b"\x00\xff garbage\r\n\r\n", "half a line": b"HTTP/1.1 2"}


def example(name, port):
    """Settings of this destination with all its addresses at this port. A value is the first of these that a setting takes."""
    values = [f"http://127.0.0.1:{port}/{SECRET}", f"smtp://127.0.0.1:{port}", "a@b.example", f"1234:{SECRET}", "-100123"]
    given = {}
    for setting in fields(Settings):
        is_address = setting.name.startswith(f"{name}_") and setting.metadata["default"].startswith("http")
        if is_address:
            given[PREFIX + setting.name.upper()] = f"http://127.0.0.1:{port}"
        elif setting.name in DESTINATIONS[name].needs:
            given[PREFIX + setting.name.upper()] = next(value for value in values if accepts(setting, value))
    return load_settings(given, ROOT / "none")


def accepts(setting, value):
    try:
        setting.metadata["read"](value)
    except ValueError:
        return False
    return True


@pytest.fixture(params=TROUBLE)
def port(request):
    """A port at which there is trouble."""
    reply = TROUBLE[request.param]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with nullcontext(SimpleNamespace(port=free)) if reply is None else BrokenServer(reply) as server:
        yield server.port


def outcome(call, *given):
    """The result of a call, or its NotifyError, which has no secret. Any other error fails the test."""
    try:
        return call(*given)
    except NotifyError as raised:
        error = raised
    assert SECRET not in str(error)
    assert (error.__cause__, error.__context__) == (None, None), "an error of a library may hold the address"
    return error


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_are_declared(name):
    declared = {setting.name: setting.metadata for setting in fields(Settings)}
    needs = DESTINATIONS[name].needs
    assert needs
    assert all(setting.startswith(f"{name}_") and declared[setting]["help"] for setting in needs)
    assert all(declared[setting]["default"] == "" for setting in needs), "it is not there until somebody sets it up"
    assert len(needs) == 1 or DESTINATIONS[name].advice, "say what to do when only some are set"
    assert re.fullmatch("[a-z]+", name), "it is the prefix of keys, see alerting.model.routing"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_opened_by_its_settings_and_sends_nothing_then(name):
    with BrokenServer(b"") as server:
        notifier = open_destinations(example(name, server.port))[name]
        assert not isinstance(notifier, Console)
        assert [member for member in members(Notifier) if not has(type(notifier), member)] == []
        assert list(notifier.notes) == []
        assert SECRET not in repr(notifier)
        assert server.connections == 0


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("name", NAMES)
def test_whatever_goes_wrong_a_message_is_sent_or_an_error_says_why(name, message, port, caplog):
    caplog.set_level(logging.DEBUG)
    notifier = open_destinations(example(name, port))[name]
    sent = outcome(notifier.send, message, "console-3")  # an id of another destination answers nothing
    assert isinstance(sent, NotifyError)
    assert message is not TEXT or not sent.permanent, "it is kept: the next run may find the server well"
    edited = outcome(notifier.edit, message, "101")
    assert edited is None or isinstance(edited, NotifyError)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_a_check_says_that_nothing_would_arrive(name, port):
    assert isinstance(outcome(open_destinations(example(name, port))[name].check), NotifyError)


@pytest.mark.parametrize("name", NAMES)
def test_presses_are_a_list_or_an_error_and_a_confirmation_never_raises(name, port):
    notifier = open_destinations(example(name, port))[name]
    presses = outcome(notifier.button_presses, 0, 0.0)
    assert presses == [] or isinstance(presses, NotifyError)
    assert notifier.confirm(ButtonPress(1, "1", Action.TAKE, "", "Anna", "4242"), "taken") is None


# A destination that is dropped in

PAGER = '''
import json

from alerting.model.errors import NotifyError
from alerting.notifiers.base import Hook, OneWayNotifier, encodable, html_to_text


def from_settings(settings):
    return Pager(settings.pager_url)


class Pager(OneWayNotifier):
    """A pager that takes one text."""

    def __init__(self, url):
        self._hook = Hook("Pager", "ALERTING_PAGER_URL", url)

    def send(self, message, reply_to=""):
        self._hook.post(json.dumps({"page": encodable(html_to_text(message.text))}).encode())
        return message.key

    def edit(self, message, message_id):
        """Do nothing: what was paged stays."""

    def check(self):
        answer = self._hook.ask("HEAD", b"", {})
        if not answer.code:
            raise NotifyError(f"Pager: {answer.text}")
        return "the pager answers"
'''
CARELESS = PAGER.replace("Pager", "Careless").replace("pager", "careless").replace("PAGER", "CARELESS").replace(
    "        self._hook.post(", "        urllib.request.urlopen(self._hook._url, "
).replace("import json", "import json\nimport urllib.request")  # fmt: skip
DECLARED = """    "webhook": Destination(("webhook_url",)),
    "pager": Destination(("pager_url",)),
    "careless": Destination(("careless_url",)),
"""
SETTINGS = """    pager_url: str = setting("", _hook_url, secret=True, help="where the pager is")
    careless_url: str = setting("", _hook_url, secret=True, help="where the careless pager is")
"""


def test_a_module_and_its_settings_are_all_that_a_destination_needs(tmp_path):
    """In a copy of the repository: the contract runs for it, passes for a good one, and fails for a careless one."""
    copy_parts(tmp_path, "alerting", "tests", without=("fixtures", "golden"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "alerting" / "notifiers" / "pager.py").write_text(PAGER)
    (tmp_path / "alerting" / "notifiers" / "careless.py").write_text(CARELESS)
    path = tmp_path / "alerting" / "settings.py"
    before = path.read_text()
    after = before.replace(DECLARED.splitlines(keepends=True)[0], DECLARED)
    after = after.replace("    routes: str = setting(", SETTINGS + "    routes: str = setting(")
    assert after.count("pager_url") == before.count("pager_url") + 2
    path.write_text(after)

    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rA", "-p", "no:cacheprovider", "-k", "pager or careless"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, "tests/test_destination_contract.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )
    results = re.findall(r"^(PASSED|FAILED) \S+::(\w+)\[(.*?)\]", done.stdout, re.MULTILINE)
    pager = {(result, test) for result, test, parameters in results if "pager" in parameters}
    careless = {(result, test) for result, test, parameters in results if "careless" in parameters}
    contract = {name for name in globals() if name.startswith("test_") and "destination" not in name}
    assert pager == {("PASSED", test) for test in contract}, done.stdout[-3000:]
    assert ("FAILED", "test_whatever_goes_wrong_a_message_is_sent_or_an_error_says_why") in careless
