"""Reading a table file into a frame of its cells: encoding, separator, header and compression are found."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from alerting.model.errors import SourceError
from alerting.sources.table_cells import MISSING, looks_like_time

TIDY = ("series", "ts", "value")  # the columns of a table that is read without a guess
SEPARATORS = ";\t|,"  # where two fit, the comma is a mark within numbers
HEAD = 1 << 16  # bytes that are looked at to find the form of the file


class TableForm(NamedTuple):
    """How the text of a file is laid out: encoding, separator, lines above the header, and the header's names."""

    encoding: str
    separator: str
    skipped: int
    names: list[str]


class TableCells(NamedTuple):
    """The cells of a file: texts and numbers as they were read. `has_semicolons`: they separate its columns."""

    frame: pd.DataFrame
    has_semicolons: bool
    notes: list[str]


def read_cells(path: Path) -> TableCells:
    """Return the cells of a .csv (or .tsv, also gzipped) or .parquet file. Raises SourceError, or what pandas raises."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        frame = frame.reset_index(drop=pd.api.types.is_integer_dtype(frame.index) and frame.index.name is None)
        return TableCells(frame.rename(columns=str), False, [])
    form = _form(path)
    options: dict[str, Any] = {"na_values": [""], "dtype": "str" if form.separator in ";\t" else None}
    if set(TIDY) <= set(form.names) and form.separator == ",":  # only `value` may be missing: a series called NA is a series
        options = {"na_values": {"value": MISSING}, "dtype": {"series": "str", "ts": "str"}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path, sep=form.separator, encoding=form.encoding, skiprows=form.skipped, keep_default_na=False,
            on_bad_lines="warn", low_memory=False, **options,
        )  # fmt: skip
    bad_lines = [line for warning in caught for line in re.findall(r"Skipping line.*", str(warning.message))]
    count = "1 line" if len(bad_lines) == 1 else f"{len(bad_lines)} lines"
    lines = f"{count} with too many cells left out (first: {bad_lines[0]})" if bad_lines else ""
    if len(bad_lines) > len(frame):
        raise SourceError(f"{path} cannot be read: {lines}")
    if not isinstance(frame.index, pd.RangeIndex):  # rows begin with a number that the header does not name
        frame = frame.reset_index(drop=True)
    frame.columns = [name.removeprefix("#").strip() for name in map(str, frame)]
    if form.separator in ";\t":
        frame = frame.apply(_whole_numbers)
    return TableCells(frame, form.separator == ";", [f"{path.name}: {lines}"] if lines else [])


def _whole_numbers(cells: pd.Series) -> pd.Series:
    """Return the texts as numbers where all are whole and none begins with a zero, as codes do."""
    return pd.to_numeric(cells) if cells.str.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", na=False).all() else cells


def _form(path: Path) -> TableForm:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head: bytes = file.read(HEAD)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        raise SourceError(f"{path} cannot be read: its text is not UTF-8; save it as 'CSV UTF-8'") from None
    lines = text.splitlines()[: -1 if len(head) == HEAD else None]
    filled = [n for n, line in enumerate(lines) if line.strip(" ,;\t\0") and not line.startswith(("#", "sep="))]
    if not filled:
        raise SourceError(f"{path} cannot be read: it is empty")

    separator, rows = _split([lines[n] for n in filled])
    usual = Counter(map(len, rows)).most_common(1)[0][0]
    titles = {n for n, row in enumerate(rows) if row[0].strip() and not any(cell.strip() for cell in row[1:])}
    at = next((n for n, row in enumerate(rows) if len(row) == usual - 1 > 1 or (len(row) == usual and n not in titles)), 0)
    line, names = filled[at], rows[at]
    if _is_data(names):  # the header may be a comment: `# time,value`
        line -= 1
        names = next(csv.reader([lines[line].lstrip("# ")], delimiter=separator)) if line >= 0 else []
        if len(names) != usual or _is_data(names):
            raise SourceError(f"{path} needs a first line with the names of its columns: it begins with {rows[at][:4]}")
    return TableForm(encoding, separator, line, [name.strip() for name in names])


def _split(lines: list[str]) -> tuple[str, list[list[str]]]:
    """Return the separator by which most lines have as many cells as the others, and the rows of cells."""

    def fit(separator: str) -> tuple[bool, float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        usual, count = Counter(widths).most_common(1)[0]
        return usual > 1, round(count / len(widths), 1), usual

    separator = max(SEPARATORS, key=fit)
    return separator, list(csv.reader(lines, delimiter=separator))


def _is_data(row: list[str]) -> bool:
    """Return whether the cells are those of a row rather than names."""
    return any(looks_like_time(cell) for cell in row) or all(re.fullmatch(r"[-+\d.,]+", cell.strip()) for cell in row)
