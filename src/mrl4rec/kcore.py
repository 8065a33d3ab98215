"""The k-core of a bipartite graph in memory, and the numbering of what is left.

Shapes: P pairs, U users, I items. A *place* is where a review stood: (source_no, record_no) in one
int64. Spark does the same for what does not fit (``jobs/filter_kcore.py``); both give the same.

A *round* drops every user with fewer than k pairs, then every item with fewer than k of the pairs
left; rounds that drop nothing are not counted, so a set that is a k-core already has 0 rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError
from mrl4rec.tables import INTERACTIONS, ITEMS, USERS

RECORD_BITS = 40
"""Bits of a place that hold record_no: 10¹² records a source, 8 million sources."""
NEVER = np.iinfo(np.int64).max
"""A place or time later than any; as a time it stands for null."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Distinct pairs by code: row n of ``user_ids`` is the id behind user code n; so for items."""

    users_P: NDArray[np.int32]
    items_P: NDArray[np.int32]
    places_P: Ints
    """Smallest place of the pair's rows."""
    times_P: Ints
    """Smallest time of the pair's rows, µs since 1970 UTC; ``NEVER`` where none has one."""
    user_ids: pa.StringArray
    item_ids: pa.StringArray

    def __len__(self) -> int:
        return len(self.users_P)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Pairs:
        """The pairs at these rows, with the same codes."""
        return Pairs(
            self.users_P[rows],
            self.items_P[rows],
            self.places_P[rows],
            self.times_P[rows],
            self.user_ids,
            self.item_ids,
        )


@dataclass(frozen=True)
class Core:
    """The three tables of a k-core, each sorted by its key."""

    users: pa.Table
    items: pa.Table
    interactions: pa.Table
    n_users: int
    """Users that have a pair; the table also holds those of earlier cores."""
    n_items: int


def distinct(pairs: Pairs) -> Pairs:
    """One row a (user, item), sorted by code, with the smallest place and time of its rows."""
    if not len(pairs):
        return pairs
    key_P = pairs.users_P.astype(np.int64) * max(len(pairs.item_ids), 1) + pairs.items_P
    order = np.argsort(key_P)
    key_P = key_P[order]
    starts = np.flatnonzero(np.r_[True, key_P[1:] != key_P[:-1]])
    first = order[starts]
    return Pairs(
        pairs.users_P[first],
        pairs.items_P[first],
        np.minimum.reduceat(pairs.places_P[order], starts),
        np.minimum.reduceat(pairs.times_P[order], starts),
        pairs.user_ids,
        pairs.item_ids,
    )


def peel(
    users_P: NDArray[np.int32], items_P: NDArray[np.int32], k: int
) -> tuple[NDArray[np.intp], int]:
    """The rows of the k-core, ascending, and the rounds it took.

    Pairs must be distinct. The k-core is the largest set of pairs in which every user and every
    item has at least k; it is unique, so the order of removal does not matter.
    """
    rows = np.arange(len(users_P))
    users, items, rounds = users_P, items_P, 0
    while len(rows):
        before = len(rows)
        for side in ("users", "items"):
            codes = users if side == "users" else items
            keep = np.bincount(codes)[codes] >= k
            if not keep.all():
                rows, users, items = rows[keep], users[keep], items[keep]
        if len(rows) == before:
            break
        rounds += 1
    return rows, rounds


def number(core: Pairs, base_users: pa.Table | None, base_items: pa.Table | None) -> Core:
    """Give dense numbers by first appearance and lay out the three tables.

    Ids in ``base_*`` (tables of an earlier core) keep their numbers; the others follow them, in
    the order of their smallest place among the core's rows.
    """
    users, user_idx = _append(USERS.schema, core.user_ids, core.users_P, core.places_P, base_users)
    items, item_idx = _append(ITEMS.schema, core.item_ids, core.items_P, core.places_P, base_items)
    return _layout(core, users, items, user_idx[core.users_P], item_idx[core.items_P])


def keep_numbers(core: Pairs, n_users: int, n_items: int) -> Core:
    """Lay out the tables where the ids are the numbers: rows 0…n-1, whether they have pairs or not.

    Raises Mrl4recError where an id is not the plain decimal form of a number.
    """
    user_idx = integers(core.user_ids, "user")
    item_idx = integers(core.item_ids, "item")
    users, items = (
        pa.Table.from_arrays(
            [pa.array(np.arange(n, dtype=np.int32)), pc.cast(pa.array(np.arange(n)), pa.string())],
            schema=schema,
        )
        for n, schema in ((n_users, USERS.schema), (n_items, ITEMS.schema))
    )
    return _layout(core, users, items, user_idx[core.users_P], item_idx[core.items_P])


def integers(ids: pa.StringArray, what: str) -> Ints:
    """The ids as numbers. Raises Mrl4recError naming the first that is not a plain int32."""
    plain = pc.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,9})$")
    if not pc.all(plain, min_count=0).as_py():
        raise not_plain(what, ids.filter(pc.invert(plain))[0].as_py())
    numbers = ids.cast(pa.int64()).to_numpy(zero_copy_only=False)
    check_largest(int(numbers.max(initial=-1)), len(ids), what)
    return numbers


def not_plain(what: str, bad: str) -> Mrl4recError:
    """The error for an id that is to be kept as a number and is none."""
    return Mrl4recError(f"{what} id {bad!r} is not a plain number, but the ids are to be kept")


def check_largest(largest: int, n_distinct: int, what: str) -> None:
    """Raise Mrl4recError where a table with a row for each number up to ``largest`` is absurd."""
    if largest >= np.iinfo(np.int32).max or largest > 1_000_000 + 100 * n_distinct:
        raise Mrl4recError(
            f"{what} number {largest:,} among only {n_distinct:,} distinct ones: such numbers "
            "cannot be rows of a table",
            todo="give the reviews in another form, so that ids are numbered by first appearance",
        )


def _append(
    schema: pa.Schema,
    ids: pa.StringArray,
    codes_P: NDArray[np.int32],
    places_P: Ints,
    base: pa.Table | None,
) -> tuple[pa.Table, NDArray[np.int32]]:
    """The id table with new ids appended, and for each code its number (-1: not in the core)."""
    first = np.full(len(ids), NEVER)
    np.minimum.at(first, codes_P, places_P)
    known = base if base is not None else schema.empty_table()
    old = np.full(len(ids), -1)
    if len(known):
        at = pc.index_in(ids, value_set=known.column(1).combine_chunks())
        row = at.fill_null(-1).to_numpy(zero_copy_only=False)
        numbers = known.column(0).to_numpy()
        old = np.where(row >= 0, numbers[row], -1)
    new = np.flatnonzero((first != NEVER) & (old < 0))
    new = new[np.argsort(first[new])]  # places are distinct: one record has one user and one item
    idx = old.astype(np.int32)
    idx[new] = np.arange(len(known), len(known) + len(new), dtype=np.int32)
    rows = pa.Table.from_arrays([pa.array(idx[new]), ids.take(pa.array(new))], schema=schema)
    return pa.concat_tables([known.select(schema.names).cast(schema), rows]), idx


def _layout(
    core: Pairs, users: pa.Table, items: pa.Table, user_P: Ints | NDArray[np.int32],
    item_P: Ints | NDArray[np.int32],
) -> Core:  # fmt: skip
    order = np.lexsort((item_P, user_P))
    times = core.times_P[order]
    columns = [
        pa.array(user_P[order].astype(np.int32)),
        pa.array(item_P[order].astype(np.int32)),
        pa.array(times, mask=times == NEVER).cast(pa.timestamp("us", tz="UTC")),
    ]
    interactions = pa.Table.from_arrays(columns, schema=INTERACTIONS.schema)
    n_users, n_items = len(np.unique(core.users_P)), len(np.unique(core.items_P))
    return Core(users, items, interactions, n_users, n_items)
