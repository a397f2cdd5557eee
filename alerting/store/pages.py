"""Pages of the history cache: the counts of 96 buckets, each number in four bytes where that is exact, else in eight.

Bucket 0 starts at the epoch, and page 0 with it. A stored page is its number, a header (names of the columns, bytes per number
of each) and the numbers: (columns, PAGE_BUCKETS), those of four bytes first, NaN where there is no row.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from alerting.model.run import CachedSpan

PAGE_BUCKETS = 96  # a day of quarters of an hour

StoredPage = tuple[int, str, bytes]  # number, header, numbers


def page_numbers(span: CachedSpan) -> range:
    """Return the numbers of the pages that have buckets of the span."""
    seconds = int(span.step.total_seconds()) * PAGE_BUCKETS
    return range(int(span.start.timestamp()) // seconds, -(-int(span.until.timestamp()) // seconds))


def updated_page(stored: list[StoredPage], number: int, frame: pd.DataFrame, span: CachedSpan) -> tuple[str, bytes] | None:
    """Return header and numbers of a page in which the rows of `frame` replace all stored ones of the span.

    `stored`: the page as it is; an empty list if it is new. None: nothing is stored, and there is nothing to store.
    """
    step = int(span.step.total_seconds())
    first = number * PAGE_BUCKETS
    old = join_pages(stored, first, first + PAGE_BUCKETS, step)
    kept = old[(old.index < span.start) | (old.index >= span.until)]
    buckets = pd.DatetimeIndex(np.arange(first, first + PAGE_BUCKETS) * (step * 10**9), tz="UTC")
    new = frame.reindex(buckets[(buckets >= span.start) & (buckets < span.until)])
    page = pd.concat([new, kept]).reindex(buckets)
    values = page.to_numpy(float).T
    if not stored and np.isnan(values).all():
        return None

    with np.errstate(over="ignore"):
        short = values.astype("<f4")
    is_short = ((short == values) | np.isnan(values)).all(axis=1)
    header = json.dumps([[str(name) for name in page], "".join(np.where(is_short, "4", "8"))])
    return header, short[is_short].tobytes() + values[~is_short].astype("<f8").tobytes()


def join_pages(pages: list[StoredPage], first: int, last: int, step: int) -> pd.DataFrame:
    """Return the counts of the buckets with numbers first <= i < last that any column has.

    Columns are float64, in the order of the newest page. `step`: seconds.
    """
    # Pages may have different columns: find the place of each in the result.
    headers = {header: json.loads(header) for _, header, _ in reversed(pages)}
    names = list(dict.fromkeys(name for columns, _ in headers.values() for name in columns))
    places = {name: i for i, name in enumerate(names)}
    places_by_width = {
        header: [np.array([places[name] for name, w in zip(columns, widths, strict=True) if w == width], int) for width in "48"]
        for header, (columns, widths) in headers.items()
    }

    counts = np.full((len(names), max(0, last - first)), np.nan)
    for number, header, body in pages:
        origin = number * PAGE_BUCKETS
        begin, end = max(first, origin), min(last, origin + PAGE_BUCKETS)
        short, long = places_by_width[header]
        cut = len(short) * PAGE_BUCKETS * 4
        for columns, numbers in ((short, np.frombuffer(body[:cut], "<f4")), (long, np.frombuffer(body[cut:], "<f8"))):
            block = numbers.reshape(len(columns), PAGE_BUCKETS)[:, begin - origin : end - origin]
            counts[columns, begin - first : end - first] = block

    has_rows = ~np.isnan(counts).all(axis=0)
    index = pd.DatetimeIndex(np.arange(first, max(first, last)) * (step * 10**9), tz="UTC", name="bucket")
    values = counts.T if has_rows.all() else counts[:, has_rows].T
    return pd.DataFrame(values, index[has_rows], names, copy=False)
