"""The pinned versions and the files that must agree with them; environments are created once and completely."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from alerting.environment import OLDEST
from alerting.settings import PREFIX, Settings, load_settings
from tests.servers import needs_make
from tests.waiting import PATIENCE, ended, until

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("requirements-build", "requirements", "requirements-app", "requirements-test", "requirements-lab")


def asked(name):
    """The packages of an .in file."""
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-c "))]


def pins(name):
    """package -> pinned lines of a lock; a package may have one for each range of Pythons."""
    found = {}
    for block in re.split(r"\n(?=\S)", (ROOT / f"{name}.txt").read_text()):
        if not block.startswith("#"):
            line = block.split("\\")[0].strip()
            assert re.match(r"[a-z0-9-]+==[\w.+!]+( ; .+)?$", line), line
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), f"{line} has no hash"
            found.setdefault(line.split("==")[0], []).append(line)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_everything_asked_for_is_pinned_by_hash_and_nothing_names_a_place(name):
    text = (ROOT / f"{name}.txt").read_text()
    assert set(asked(name)) <= set(pins(name)), "make lock"
    assert not re.search(r"://|file:|--index|--find-links| @ |^-e", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements-app", "requirements-test", "requirements-lab"])
def test_a_layer_holds_the_same_pins_as_the_run(name):
    run = pins("requirements")
    for package, lines in pins(name).items():
        versions = {line.split(" ;")[0] for line in run.get(package, [])}
        assert not versions or {line.split(" ;")[0] for line in lines} <= versions, package


def test_the_lock_is_complete():
    """pip installs it with --no-deps: what a package needs must be in there."""
    run, seen = pins("requirements"), set()
    todo = [(name, run) for name in asked("requirements")]
    todo += [(name, run | pins("requirements-app")) for name in asked("requirements-app")]
    while todo:
        name, pinned = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in pinned, name
        needs = [Requirement(text) for text in metadata.requires(name) or ()]
        needs = [n for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
        todo += [(re.sub(r"[-_.]+", "-", n.name).lower(), pinned) for n in needs]
    assert not set(asked("requirements-app")) & run.keys(), "a run against ClickHouse needs none of them"


def test_environment_yml_agrees():
    given = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = given["dependencies"]
    assert (given["channels"], pip) == (["conda-forge"], "pip")
    assert packages == {"pip": ["-r requirements.txt", "-r requirements-app.txt", "-r requirements-lab.txt"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = ".".join(map(str, OLDEST))
    assert project["requires-python"] == f">={oldest}"
    assert python == f"python >={oldest},<3.12", "pip alone cannot build pandahouse from 3.12 on"


def test_env_example_names_every_setting_with_its_default():
    lines = re.findall(r"^#(ALERTING_\w+)=(.*?)(?:[ \t]+#.*)?$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    known = {PREFIX + f.name.upper(): f.metadata["default"] for f in fields(Settings) if f.name != "run"}
    assert dict(lines) == known
    assert load_settings(dict(lines), Path(os.devnull)) == load_settings({}, Path(os.devnull))


def test_the_set_up_can_be_read_by_an_old_python_and_needs_nothing_installed():
    tree = ast.parse((ROOT / "alerting" / "environment.py").read_text(), feature_version=(3, 7))
    names = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("sys.version_info = (3, 9, 1, 'final', 0)", "Python 3.11 or newer is needed"),
        ("sys.modules['ensurepip'] = None", "apt-get install python3-venv"),
    ],
)
def test_what_is_missing_is_said(spoil, words):
    code = f"import sys; {spoil}; from alerting import environment; sys.exit(environment.main(['run', '.venv-never']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def wheel(folder, name, text):
    """A package of one module, and the line that pins it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Repo:
    """A repo of its own with small requirements, in a folder with spaces, and no registry to reach."""

    def __init__(self, folder):
        self.root, wheels = folder / "a repo with spaces", folder / "wheels"
        wheels.mkdir()
        (self.root / "alerting").mkdir(parents=True)
        for name in ("Makefile", "alerting/__init__.py", "alerting/environment.py"):
            shutil.copy(ROOT / name, self.root / name)
        names = ("first", "second", "embedded", "tester", "builder")
        self.lines = {name: wheel(wheels, name, f"word = {name!r}") for name in names}
        self.write("requirements.txt", "first")
        self.write("requirements-app.txt", "embedded")
        self.write("requirements-test.txt", "first", "tester")
        self.write("requirements-build.txt", "builder")
        self.environ = {
            name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "MAKE", "MFLAGS", "PYTHON"))
        }
        self.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri(), "PIP_CONFIG_FILE": os.devnull}

    def write(self, name, *packages):
        (self.root / name).write_text("".join(self.lines[package] for package in packages))

    def start(self, *targets):
        command = ["make", "-C", str(self.root), "-s", f"PYTHON={sys.executable}", "VENV=.venv", *targets]
        process = subprocess.Popen(command, cwd="/", env=self.environ, stderr=subprocess.PIPE, text=True, start_new_session=True)
        return ended(process)

    def make(self, *targets):
        with self.start(*targets) as process:
            said = process.communicate(timeout=PATIENCE)[1]
        return process.returncode, said

    def python(self, code, layer=""):
        command = [self.root / f".venv{layer}" / "bin" / "python", "-c", code]
        return subprocess.run(command, cwd="/", env=self.environ, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    needs_make()
    return Repo(tmp_path_factory.mktemp("environment"))


MADE = "setting up .venv with Python"


def test_an_interrupted_set_up_is_not_taken_for_a_whole_one(repo):
    with repo.start("env") as process:
        until(lambda: (repo.root / ".venv" / "bin").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, 9)
        process.communicate()
    assert not (repo.root / ".venv" / ".ready").exists()


def test_two_at_once_make_it_once(repo):
    with repo.start("env") as one, repo.start("env") as other:
        both = [one, other]
        said = "".join(process.communicate(timeout=PATIENCE)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said.count(MADE) == 1
    assert (
        repo.python("import first, alerting; print(first.word, alerting.__file__)") == f"first {repo.root}/alerting/__init__.py"
    )


def test_it_is_byte_compiled(repo):
    assert repo.python("import first; print(first.__cached__)") in [
        str(p) for p in repo.root.glob(".venv/lib/*/site-packages/__pycache__/*")
    ]
    assert list((repo.root / "alerting" / "__pycache__").glob("environment.*.pyc"))


def test_nothing_is_done_when_nothing_changed(repo):
    (repo.root / ".venv" / "mark").touch()
    assert repo.make("env") == (0, "")
    (repo.root / "requirements.txt").touch()  # as a checkout does
    assert repo.make("env") == (0, "")
    assert (repo.root / ".venv" / "mark").exists()


def test_a_layer_sees_the_run_and_adds_its_own(repo):
    code, said = repo.make(".venv-test/.ready")
    assert code == 0, said
    assert MADE not in said
    assert repo.python("import first, tester; print(first.__file__)", "-test").startswith(f"{repo.root}/.venv/lib")
    assert repo.python("import tester; print(tester.__file__)", "-test").startswith(f"{repo.root}/.venv-test/lib")
    assert repo.python("import tester; print(tester)") == "", "the environment of a run stays as it was"
    assert repo.python("import embedded; print(embedded.word)") == "embedded", "without a choice it has the extras"


def test_a_wrong_hash_stops_it_and_leaves_nothing_ready(repo):
    good = (repo.root / "requirements.txt").read_text()
    (repo.root / "requirements.txt").write_text(re.sub("sha256:.{8}", "sha256:00000000", good))
    code, said = repo.make("env")
    assert code
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in said
    assert not (repo.root / ".venv" / ".ready").exists()


def test_the_sample_app_is_an_extra_that_stays_as_it_was_chosen(repo):
    """Also where the environment is made anew, because a requirement has changed."""

    def embedded(layer=""):
        return repo.python("import embedded; print(embedded.word)", layer)

    repo.write("requirements.txt", "first")  # as when the test environment was made, then over a run with the app's packages
    code, said = repo.make("env", "EXTRAS=")
    assert (code, MADE in said, embedded()) == (0, True, ""), said
    assert not (repo.root / ".venv" / "mark").exists()
    assert repo.make("env") == (0, "")
    assert repo.make(".venv-test/.ready")[0] == 0
    assert (embedded(), embedded("-test")) == ("", "embedded"), "tests need all"
    (repo.root / ".venv" / "mark").touch()
    repo.write("requirements.txt", "first", "second")
    code, said = repo.make("env")
    assert (code, MADE in said, embedded()) == (0, True, ""), said
    assert not (repo.root / ".venv" / "mark").exists()
    assert repo.python("import second; print(second.word)") == "second"
    code, said = repo.make("env", "EXTRAS=app")
    assert (code, MADE in said, embedded()) == (0, True, "embedded"), said
    assert "EXTRAS=lab: there is app, or nothing" in repo.make("env", "EXTRAS=lab")[1]


def test_a_python_that_is_gone_is_seen(repo):
    python = repo.root / ".venv" / "bin" / "python"
    assert python.resolve().name.startswith("python3."), "not python3, which moves on with the system"
    for name in (".venv/bin/python", ".venv/bin/python3"):
        (repo.root / name).unlink()
    python.symlink_to("/nowhere/python3.99")
    with repo.start("env") as process:
        assert process.stderr.readline().startswith(MADE)
        os.killpg(process.pid, 9)
        process.communicate()


def test_help_is_the_default_and_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    shown = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == set(phony) - {"again"}
    assert re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE) == [line.split()[0] for line in shown.splitlines()]


def test_another_python_has_folders_of_its_own():
    def folder(*given):
        command = ["make", "-n", "-C", str(ROOT), "env", *given]
        environ = {name: text for name, text in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKEOVERRIDES")}
        said = subprocess.run(
            [*command, "-W", "requirements.txt"], capture_output=True, text=True, check=True, env=environ
        ).stdout
        return re.search(r'environment run "(.*)"', said)[1]

    assert folder() == folder("PYTHON=python3") == ".venv"
    assert folder("PYTHON=python3.13") == ".venv-python3.13"
    assert folder("PYTHON=/opt/my own/bin/python3") == ".venv-_opt_my_own_bin_python3"
