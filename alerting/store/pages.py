"""Counts as rows of a table: so many buckets of all columns in one, each number in four bytes where that is exact. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from alerting.model import Span

PAGE = 96  # buckets of a page: a day of quarters of an hour

Page = dict[str, np.ndarray]  # column -> (PAGE,) float64, NaN where there is none


def split(frame: pd.DataFrame, span: Span) -> Iterator[tuple[int, Page]]:
    """The counts of a span by the number of their page; NaN where there are no rows. A page without rows is left out."""
    step = int(span.step.total_seconds())
    first, last = (int(at.timestamp()) // step for at in (span.start, span.until))
    at = frame.index.as_unit("s").asi8 // step
    mine = (at >= first) & (at < last)
    at, values, names = at[mine], frame.to_numpy(float)[mine], [str(name) for name in frame.columns]
    for page in np.unique(at // PAGE).tolist():
        rows = at // PAGE == page
        body = np.full((len(names), PAGE), np.nan)
        body[:, at[rows] - page * PAGE] = values[rows].T
        yield page, dict(zip(names, body, strict=True))


def over(old: Page, new: Page) -> Page:
    """Both: what the new one has of a bucket goes before."""
    merged = {name: np.where(np.isnan(new[name]), old[name], new[name]) for name in new if name in old}
    return {**old, **new, **merged}


def packed(page: Page) -> tuple[str, bytes]:
    """The columns' names, which of them have four bytes a number, and the numbers: those of four bytes first."""
    with np.errstate(over="ignore"):
        short = [np.array_equal(column.astype("<f4").astype("<f8"), column, equal_nan=True) for column in page.values()]
    columns = list(page.values())
    bodies = [np.array([c for c, s in zip(columns, short, strict=True) if s is half]) for half in (True, False)]
    written = json.dumps([list(page), "".join("84"[half] for half in short)])
    return written, bodies[0].astype("<f4").tobytes() + bodies[1].astype("<f8").tobytes()


def unpacked(written: str, body: bytes) -> Page:
    """What `packed` has made of it."""
    names, widths = _header(written)
    out = np.empty((len(names), PAGE))
    for place, numbers in _numbers(widths, body):
        out[place] = numbers
    return dict(zip(names, out, strict=True))


def joined(rows: list[tuple[int, str, bytes]], first: int, last: int, step: int) -> pd.DataFrame:
    """Buckets number first <= i < last of pages that are packed, those that any column has; float64, in the order of the newest
    page."""
    heads = {written: _header(written) for _, written, _ in reversed(rows)}
    places: dict[str, int] = {}
    for names, _ in heads.values():
        places |= {name: len(places) + i for i, name in enumerate(name for name in names if name not in places)}
    into = {written: np.array([places[name] for name in names], dtype=int) for written, (names, _) in heads.items()}
    out = np.full((len(places), max(0, last - first)), np.nan)
    for page, written, body in rows:
        begin, end = max(first, page * PAGE), min(last, (page + 1) * PAGE)
        for place, numbers in _numbers(heads[written][1], body):
            out[into[written][place], begin - first : end - first] = numbers[:, begin - page * PAGE : end - page * PAGE]
    there = ~np.isnan(out).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    return pd.DataFrame(out.T if there.all() else out[:, there].T, index[there], list(places), copy=False)


def _header(written: str) -> tuple[list[str], np.ndarray]:
    """The names, and the width of each column's numbers in bytes."""
    names, widths = json.loads(written)
    return names, np.array([int(width) for width in widths], dtype=int)


def _numbers(widths: np.ndarray, body: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of the columns, and their numbers: (columns, PAGE), for either width."""
    short, long = np.flatnonzero(widths == 4), np.flatnonzero(widths == 8)
    cut = len(short) * PAGE * 4
    yield short, np.frombuffer(body[:cut], "<f4").reshape(len(short), PAGE)
    yield long, np.frombuffer(body[cut:], "<f8").reshape(len(long), PAGE)
