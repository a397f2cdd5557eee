"""Make the virtual environments: `.venv` for runs; on top of it `.venv-test` for tests and `.venv-lab` for Jupyter.

    python3 -m alerting.environment run|test|lab [FOLDER [EXTRAS]]      python3 -m alerting.environment lock [--upgrade]

EXTRAS: app (the packages of the sample app and of .parquet files), or "" for none. Without this argument an environment keeps
its extras, and a new one gets all of them. The test environment always has all of them.

This module runs before any package is installed, so it uses the standard library only. An old Python must be able to parse it
and print that it is too old. The test and lab environments see the packages of `.venv` and add their own. So all three have the
same pinned versions, and a run does not load Jupyter's packages.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
VERSION = "{}.{}".format(*sys.version_info)
EXTRAS = ("app",)  # each has a requirements-NAME.txt
LAYOUT = "1"  # increase it to rebuild every environment although no requirement changed
STAMP = ".ready"  # written last: a folder without it is incomplete
SOURCE_ONLY = "pandahouse"  # the only package that is published as source only ...
OLD_NAMES = """
import configparser
configparser.SafeConfigParser = configparser.RawConfigParser
configparser.RawConfigParser.readfp = configparser.RawConfigParser.read_file
"""  # ... and whose build script uses names that Python 3.12 removed
NOT_COMPILED = r"site-packages/.*/tests?/"  # never imported; compiling them would double the time


class SetUpError(Exception):
    """The environment cannot be made. The text says why, and what to do."""


def main(arguments: "list[str]") -> int:
    """Make an environment, or renew the pinned versions. `arguments`: see the module. Return the exit code."""
    try:
        _check_python()
        kind, *rest = arguments or ["run"]
        if kind == "lock":
            lock(rest)
        elif kind in ("run", "test", "lab"):
            set_up(kind, rest[0] if rest else ".venv", rest[1].split() if len(rest) > 1 else None)
        else:
            raise SetUpError(f"{kind}: there are run, test, lab and lock")
    except SetUpError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next call starts anew\n")
        return 130
    return 0


def _check_python() -> None:
    if sys.version_info < OLDEST:
        found = f"{sys.version.split()[0]} ({sys.executable})"
        raise SetUpError(f"Python 3.11 or newer is needed, this is {found}. To take another one: make PYTHON=python3.12 ...")
    for module in ("venv", "ensurepip"):
        if not find_spec(module):
            raise SetUpError(f"this Python has no {module}. On Debian and Ubuntu: apt-get install python3-venv")


def set_up(kind: str, name: str, extras: "list[str] | None" = None) -> None:
    """Make the run's environment `name` and, for test and lab, `name`-test or `name`-lab above it. Complete folders stay.

    `extras`: the extras of the run's environment; None: those that it has, or all if it is new. Raises SetUpError.
    """
    unknown = sorted(set(extras or ()) - set(EXTRAS))
    if unknown:
        raise SetUpError(f"EXTRAS={' '.join(unknown)}: there is {', '.join(EXTRAS)}, or nothing")
    with _one_at_a_time():
        run = ROOT / name
        if extras is None:  # only the stamp file says which extras an environment has; an incomplete one gets all
            words = (run / STAMP).read_text().split() if (run / STAMP).is_file() else []
            extras = words[3].split(",") if len(words) >= 4 else list(EXTRAS)
        chosen = [extra for extra in EXTRAS if extra in extras]
        more = [f"requirements-{extra}.txt" for extra in chosen]
        _ensure(run, ["requirements.txt", *more], lambda: _make_run(run, more))
        if kind != "run":
            needed = [f"requirements-{extra}.txt" for extra in EXTRAS if kind == "test" or extra in chosen]
            layer, files = ROOT / f"{name}-{kind}", [*needed, f"requirements-{kind}.txt"]
            _ensure(layer, ["requirements.txt", *files], lambda: _make_layer(layer, run, files), f"above {','.join(chosen)}")


@contextmanager
def _one_at_a_time() -> "Iterator[None]":
    """Hold a system lock on the repo's folder inside the block. Wait if another set-up holds it. It ends with the process."""
    handle = os.open(str(ROOT), os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("another set-up is going on; waiting for it\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _ensure(folder: Path, files: "list[str]", make: "Callable[[], None]", base: str = "") -> None:
    """Make the folder, unless its stamp file shows that these requirements are installed for this Python.

    `base`: what else it depends on. A layer does not install what the run's environment had, which may have less now.
    """
    digest = hashlib.sha256(base.encode())
    for file in files:
        digest.update((ROOT / file).read_bytes())
    extras = ",".join(extra for extra in EXTRAS if f"requirements-{extra}.txt" in files) or "none"
    stamp, content = folder / STAMP, f"{LAYOUT} {digest.hexdigest()} {VERSION} {extras}\n"
    if (folder / "bin" / "python").exists() and stamp.is_file() and stamp.read_text() == content:
        with suppress(PermissionError):  # this user may run the environment but not write to it
            stamp.touch()  # make compares times of files
        return
    sys.stderr.write(f"setting up {folder.name} with Python {VERSION}: once, about a minute\n")
    if folder.exists():
        shutil.rmtree(str(folder))
    make()
    stamp.write_text(content)


def _make_run(folder: Path, extras: "list[str]") -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    _create(folder, [base, "-m", "venv"], ROOT)
    with tempfile.TemporaryDirectory() as tools:
        _pip(folder, "--no-compile", "--target", tools, "-r", str(ROOT / "requirements-build.txt"))
        Path(tools, "sitecustomize.py").write_text(OLD_NAMES)
        build = ["--no-build-isolation", "--use-pep517", "--no-binary", SOURCE_ONLY]
        _pip(folder, "--no-compile", *build, "-r", str(ROOT / "requirements.txt"), path=tools)
    for file in extras:
        _pip(folder, "--no-compile", "-r", str(ROOT / file))
    _compile(folder, _site(folder), ROOT / "alerting")


def _make_layer(folder: Path, run: Path, files: "list[str]") -> None:
    # The run's packages are on the path also for pip, which then does not install them again
    _create(folder, [str(run / "bin" / "python"), "-m", "venv", "--without-pip"], ROOT, _site(run))
    for file in files:
        _pip(folder, "--no-compile", "-r", str(ROOT / file))
    _compile(folder, _site(folder))


def _site(folder: Path) -> Path:
    return folder / "lib" / f"python{VERSION}" / "site-packages"


def _create(folder: Path, command: "list[str]", *added: Path) -> None:
    """Create an environment with the folders `added` on its import path. Relative paths stay valid when the repo is moved."""
    base, *options = command
    _call([os.path.realpath(base), *options, str(folder)])  # realpath is python3.11, for example; python3 may change
    site = _site(folder)
    lines = [os.path.relpath(str(path), str(site)) for path in added]
    (site / "alerting.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pip(folder: Path, *arguments: str, path: str = "") -> None:
    """Install the pinned versions of a requirements file and check their hashes. Only wheels, except as `arguments` say."""
    fixed = ["install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"]
    unset = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    environ = {name: text for name, text in os.environ.items() if name not in unset}
    environ.update(PIP_USER="0", **({"PYTHONPATH": path} if path else {}))
    _call([str(folder / "bin" / "python"), "-m", "pip", *fixed, "--only-binary", ":all:", *arguments], environ)


def _compile(folder: Path, *compiled: Path) -> None:
    """Compile all packages to .pyc files. Without them a run takes twice as long, and cron's user may lack the right to write."""
    command = [str(folder / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED, *map(str, compiled)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # some packages have files that are not valid Python 3


def _call(command: "list[str]", environ: "dict[str, str] | None" = None) -> None:
    done = subprocess.run(command, env=environ, cwd=str(ROOT), stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        step = " ".join(command[1:4])
        raise SetUpError(f"set-up stopped at `{step}` (exit code {done.returncode}, see above). Nothing half made is used.")


def lock(options: "list[str]") -> None:
    """Renew requirements*.txt from requirements*.in with uv, for every supported Python, with the hash of each released file.

    A pinned version stays if it still satisfies requirements*.in; with --upgrade the newest version is taken. Raises SetUpError.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=os.path.dirname(sys.executable))
    if not uv:
        raise SetUpError("uv is needed to renew the pins: pip install uv, or your system's package")
    fixed = ["--universal", "--generate-hashes", "--python-version", "{}.{}".format(*OLDEST)]
    fixed += ["--no-emit-index-url", "--no-annotate"]
    for name in ("requirements-build", "requirements", "requirements-app", "requirements-test", "requirements-lab"):
        files = [name + ".in", "--output-file", name + ".txt", "--custom-compile-command", "make lock"]
        _call([uv, "pip", "compile", "--quiet", *fixed, *options, *files])
        text = (ROOT / (name + ".txt")).read_text()
        if re.search(r"://|file:| @ ", text):
            raise SetUpError(f"{name}.txt names a place: only names, versions and hashes belong there")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
