"""`python -m alerting rollup create|backfill|status|drop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from alerting.model import SettingsError
from alerting.rollups.building import Builder
from alerting.rollups.recipes import COMBINED, EXACT, Recipe


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line."""

    action: str  # create | backfill | status | drop
    users: str = EXACT
    days: int = 90
    stale: bool = False


def run(wish: Wish, builder: Builder, recipes: Sequence[Recipe], left_out: Sequence[str]) -> int:
    """Do it for every query that can be rolled up; exit code 0. Raises SourceError, SettingsError."""
    if not recipes:
        raise SettingsError("; ".join(left_out) or "there is no query in alerting/sql")
    present = set(builder.there())
    older = sorted(present - {recipe.name for recipe in recipes})
    if wish.action == "create":
        for text in left_out:
            tell(text)
        for recipe in recipes:
            if wish.users == (COMBINED if recipe.inexact else EXACT) or not _estimated(recipe, recipes):
                builder.create(recipe)
    elif wish.action == "backfill":
        for recipe in recipes:
            if recipe.name in present:
                builder.backfill(recipe, wish.days)
    elif wish.action == "status":
        _status(builder, [recipe for recipe in recipes if recipe.name in present], older)
    else:
        _drop(builder, older if wish.stale else sorted(present), wish.stale)
    return 0


def _estimated(recipe: Recipe, recipes: Sequence[Recipe]) -> bool:
    """Whether there is a rollup of the same query with estimated users."""
    return any(other.query == recipe.query and other.inexact for other in recipes)


def tell(text: str) -> None:
    """Progress, as it happens."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _status(builder: Builder, chosen: Sequence[Recipe], older: list[str]) -> None:
    for recipe in chosen:
        tell(builder.status(recipe))
    for name in older:
        tell(f"{name}: of another text of its query, never read: `rollup drop --stale` takes it away")
    if not chosen and not older:
        tell("there are no rollups: `rollup create` makes them")


def _drop(builder: Builder, names: list[str], stale: bool) -> None:
    for name in names:
        builder.drop(name)
    if not stale:
        builder.drop_book()
