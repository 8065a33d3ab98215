"""How two portraits differ: total variation distances, gains of shares, a ratio of paces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from mrl4rec.checks.drift.portrait import Portrait


@dataclass(frozen=True)
class Change:
    """A dump against the stretch before it. Distances are in [0, 1], gains in [-1, 1]."""

    ratings: float = 0.0
    """Total variation distance of the ratings: the share of rows that would have to change."""
    user_rows: float = 0.0
    """The same of the rows by how many their user has."""
    item_rows: float = 0.0
    new_users: float = 0.0
    """Gain of the share of rows of new users."""
    new_items: float = 0.0
    top_user: float = 0.0
    """Gain of the share of the most frequent user."""
    top_item: float = 0.0
    pace: float = 1.0
    """Rows a day over rows a day before; 1 where one of the two is not known."""


def compare(dump: Portrait, before: Portrait) -> Change:
    """How ``dump`` differs from ``before``; nothing differs where one of them has no row."""
    if not dump.rows or not before.rows:
        return Change()
    return Change(
        ratings=_distance(dump.ratings, before.ratings),
        user_rows=_distance_of_bins(dump.user_rows, before.user_rows),
        item_rows=_distance_of_bins(dump.item_rows, before.item_rows),
        new_users=dump.new_users - before.new_users,
        new_items=dump.new_items - before.new_items,
        top_user=dump.top_user - before.top_user,
        top_item=dump.top_item - before.top_item,
        pace=dump.pace / before.pace if dump.pace and before.pace else 1.0,
    )


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    names = one.keys() | other.keys()
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in names) / 2


def _distance_of_bins(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip_longest(one, other, fillvalue=0.0)) / 2
