"""Pages of the history cache: the counts of 96 buckets, each number in four bytes where that is exact, else in eight."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from alerting.model.run import CachedSpan

PAGE_BUCKETS = 96  # a day of quarters of an hour

CountPage = dict[str, np.ndarray]  # column -> (PAGE_BUCKETS,) float64, NaN where there is no row


def _bucket_numbers(span: CachedSpan) -> tuple[int, int]:
    """The numbers of the first bucket of the span, and of the first behind it; bucket 0 starts at the epoch."""
    step = int(span.step.total_seconds())
    return int(span.start.timestamp()) // step, int(span.until.timestamp()) // step


def split_pages(frame: pd.DataFrame, span: CachedSpan) -> Iterator[tuple[int, CountPage]]:
    """Yield the number of each page of the span, and its counts: NaN where there are no rows, and outside of the span."""
    first, last = _bucket_numbers(span)
    bucket = frame.index.as_unit("s").asi8 // int(span.step.total_seconds())
    values, names = frame.to_numpy(float), [str(name) for name in frame.columns]
    for number in range(first // PAGE_BUCKETS, -(-last // PAGE_BUCKETS)):
        rows = (bucket // PAGE_BUCKETS == number) & (bucket >= first) & (bucket < last)
        page = np.full((len(names), PAGE_BUCKETS), np.nan)
        page[:, bucket[rows] - number * PAGE_BUCKETS] = values[rows].T
        yield number, dict(zip(names, page, strict=True))


def is_empty_page(page: CountPage) -> bool:
    """Return whether no column has a count."""
    return all(np.isnan(column).all() for column in page.values())


def overlay_page(old: CountPage, new: CountPage, number: int, span: CachedSpan) -> CountPage:
    """Return the old page with the buckets of the span from the new one, also where the new one has no rows."""
    replaced = slice(*(max(0, bucket - number * PAGE_BUCKETS) for bucket in _bucket_numbers(span)))
    page = {name: old[name].copy() if name in old else np.full(PAGE_BUCKETS, np.nan) for name in {**new, **old}}
    for name, column in page.items():
        column[replaced] = new[name][replaced] if name in new else np.nan
    return page


def pack_page(page: CountPage) -> tuple[str, bytes]:
    """Return a header (names of the columns, bytes per number of each) and the numbers: columns of four bytes first."""
    with np.errstate(over="ignore"):
        is_short = [np.array_equal(column.astype("<f4").astype("<f8"), column, equal_nan=True) for column in page.values()]
    short = np.array([column for column, four in zip(page.values(), is_short, strict=True) if four])
    long = np.array([column for column, four in zip(page.values(), is_short, strict=True) if not four])
    header = json.dumps([list(page), "".join("84"[four] for four in is_short)])
    return header, short.astype("<f4").tobytes() + long.astype("<f8").tobytes()


def unpack_page(header: str, body: bytes) -> CountPage:
    """Return the page of which `pack_page` made the header and the numbers."""
    names, widths = _parse_header(header)
    page = np.empty((len(names), PAGE_BUCKETS))
    for columns, numbers in _number_blocks(widths, body):
        page[columns] = numbers
    return dict(zip(names, page, strict=True))


def join_pages(rows: list[tuple[int, str, bytes]], first: int, last: int, step: int) -> pd.DataFrame:
    """Return the counts of the buckets with numbers first <= i < last that any column has.

    `rows`: number, header and numbers of packed pages. Columns are float64, in the order of the newest page. `step`: seconds.
    """
    # Pages may have different columns: find the place of each in the result.
    headers = {header: _parse_header(header) for _, header, _ in reversed(rows)}
    places: dict[str, int] = {}
    for names, _ in headers.values():
        places |= {name: len(places) + i for i, name in enumerate(name for name in names if name not in places)}
    column_places = {header: np.array([places[name] for name in names], dtype=int) for header, (names, _) in headers.items()}

    counts = np.full((len(places), max(0, last - first)), np.nan)
    for number, header, body in rows:
        origin = number * PAGE_BUCKETS
        begin, end = max(first, origin), min(last, origin + PAGE_BUCKETS)
        for columns, numbers in _number_blocks(headers[header][1], body):
            counts[column_places[header][columns], begin - first : end - first] = numbers[:, begin - origin : end - origin]

    has_rows = ~np.isnan(counts).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    values = counts.T if has_rows.all() else counts[:, has_rows].T
    return pd.DataFrame(values, index[has_rows], list(places), copy=False)


def _parse_header(header: str) -> tuple[list[str], np.ndarray]:
    """The names of the columns, and the bytes per number of each."""
    names, widths = json.loads(header)
    return names, np.array([int(width) for width in widths], dtype=int)


def _number_blocks(widths: np.ndarray, body: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the columns with numbers of four and of eight bytes, and their numbers: (columns, PAGE_BUCKETS)."""
    short, long = np.flatnonzero(widths == 4), np.flatnonzero(widths == 8)
    cut = len(short) * PAGE_BUCKETS * 4
    yield short, np.frombuffer(body[:cut], "<f4").reshape(len(short), PAGE_BUCKETS)
    yield long, np.frombuffer(body[cut:], "<f8").reshape(len(long), PAGE_BUCKETS)
