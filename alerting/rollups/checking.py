"""Whether a table can have a rollup, and whether a rollup answers as its table does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pandas.testing import assert_frame_equal

from alerting.model import SourceError
from alerting.rollups.book import DAY, Page
from alerting.rollups.recipes import Recipe
from alerting.rollups.writing import Writer


def check_engine(writer: Writer, raw: str) -> None:
    """A view sees what is inserted into its own table on its own server, once, and nothing that goes. Raises SourceError."""
    database, table = raw.replace("`", "").rsplit(".", 1)
    asked = f"SELECT engine FROM system.tables WHERE database = '{database}' AND name = '{table}'"
    engine = next(iter(writer.ask(asked, "rollup_engine")["engine"].astype(str)), "")
    if not engine:
        raise SourceError(f"there is no table {database}.{table}: check ALERTING_FEED_TABLE and ALERTING_MESSAGE_TABLE")
    if engine != "MergeTree":
        raise SourceError(
            f"{database}.{table} is a {engine} table, and a rollup serves only MergeTree: rows of other shards or replicas "
            "would not be seen, or rows that are replaced be counted twice. It is read as it is"
        )


def same_answers(writer: Writer, raw: str, recipe: Recipe, page: Page) -> None:
    """Both for a day before the cut, or what is whole of it, and the same hour the day before. Raises SourceError."""
    end = datetime.fromtimestamp(page.cut or 0, UTC)
    start = max(datetime.fromtimestamp(page.first * DAY, UTC), end - timedelta(days=1, hours=1))
    theirs = writer.over({recipe.query.name: raw}).rows(recipe.query, start, end)
    mine = writer.over({recipe.query.name: recipe.name}).rows(recipe.served, start, end)
    exact = [column for column in theirs if column not in recipe.inexact]
    try:
        assert_frame_equal(*(f[exact].sort_values(exact).reset_index(drop=True) for f in (theirs, mine)), check_dtype=False)
    except AssertionError as error:
        told = " ".join(str(error).split())[:300]
        raise SourceError(f"{recipe.name} answers otherwise than the raw table, and is not read: {told}") from None
