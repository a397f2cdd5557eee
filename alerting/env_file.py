"""Read `.env` (lines NAME=value or comments) and files with one secret. No error text has a value, which may be a secret."""

import re
from io import StringIO
from pathlib import Path

from alerting.model.errors import SettingsError

FORM = "write NAME=value, with quotes around a value that has spaces, quotes or #"
_OUR_LINE = re.compile(r"^\s*(?:export\s+)?ALERTING_\w*", re.ASCII | re.MULTILINE)


def read_env_file(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return name -> text of the settings in the file, and an error text for each invalid line. Without a file both are empty.

    A byte order mark is skipped. Raises SettingsError if the path is not a file or cannot be read as UTF-8 text.
    """
    try:
        if not path.is_file() and not path.is_char_device():
            if path.is_symlink() or path.exists():  # a folder, or a link to nowhere, which somebody put there
                raise SettingsError(f"{path} is not a file: replace it by a text file, or move it away")
            return {}, []
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): let this user read it, or move it away") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise SettingsError(f"{path} is not UTF-8 text (it looks like UTF-16): save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: not UTF-8 text: save the file as UTF-8") from None
    if not text.strip():
        return {}, []
    from dotenv.parser import parse_stream  # only when there is a file

    texts, faults = dict[str, str](), list[str]()
    for binding in parse_stream(StringIO(text)):
        written = binding.original.string
        line = binding.original.line + len(re.findall(r"\r\n|\n|\r", written[: len(written) - len(written.lstrip())]))
        if problem := _problem(binding.key, binding.value, binding.error, written.strip()):
            faults.append(f"{path.name}, line {line}: {problem}")
        elif binding.key:
            texts[binding.key] = binding.value or ""
    return texts, faults


def _problem(key: str | None, value: str | None, error: bool, written: str) -> str:
    """Return what is wrong with a line, or "". The text names the setting if the line begins with a name of ours."""
    found = _OUR_LINE.match(written)
    ours = found[0].split()[-1] if found else ""
    if error:
        return f"{ours or 'the line'} cannot be read (a ':' instead of '=', or a quote that is not closed?): {FORM}"
    if key is None:
        return ""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", key, re.ASCII):
        return f"{ours or 'the line'} does not begin with a name and '=': {FORM}"
    if value is None:
        return f"{key} has no '=': {FORM}"
    is_open = len(written.splitlines()) > 1 and _OUR_LINE.search(written)
    return f"the quote after {key}= is not closed on its line: {FORM}" if is_open else ""


def read_secret_files(texts: dict[str, str], secrets: set[str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings (name -> text) with each secret NAME read from the file that NAME_FILE names, and the error texts."""
    texts, faults = dict(texts), []
    for name in sorted(secrets):
        path = texts.pop(f"{name}_FILE", "")
        if path and texts.get(name):
            faults.append(f"{name} and {name}_FILE are both set: keep one")
        elif path:
            try:
                texts[name] = Path(path).expanduser().read_text(encoding="utf-8-sig").strip()
            except (OSError, UnicodeDecodeError, RuntimeError) as error:
                faults.append(f"{name}_FILE={path!r} cannot be read ({type(error).__name__}): give the path of a text file")
                continue
            if "\0" in texts[name]:
                faults.append(f"{name}_FILE={path!r} is not UTF-8 text: save it as UTF-8")
            elif not texts[name] and not name.endswith("PASSWORD"):  # an empty password is one
                faults.append(f"{name}_FILE={path!r} is empty: put the secret there, or leave the setting out")
    return texts, faults
