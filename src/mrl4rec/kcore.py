"""The k-core of a bipartite graph in memory, and the numbering of what is left.

Shapes: P pairs, U users, I items. A *place* is where a review stood: (source_no, record_no) in one
int64. Spark does the same for what does not fit (``jobs/filter_kcore.py``); both give the same.

A *round* drops every user with fewer than k pairs, then every item with fewer than k of the pairs
left; rounds that drop nothing are not counted, so a set that is a k-core already has 0 rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError
from mrl4rec.kernels import pairs as loops
from mrl4rec.kernels.dictionary import Dictionary
from mrl4rec.tables import INTERACTIONS, ITEMS, USERS

RECORD_BITS = 40
"""Bits of a place that hold record_no: 10¹² records a source, 8 million sources."""
NEVER = np.iinfo(np.int64).max
"""A place or time later than any; as a time it stands for null."""

Codes = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Distinct pairs by code: row n of ``user_ids`` is the id behind user code n; so for items."""

    users_P: Codes
    items_P: Codes
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


class Encoder:
    """Reads batches of ``reviews`` into distinct pairs; what is held of a row is 24 bytes."""

    def __init__(self, source_numbers: Mapping[str, int]) -> None:
        """``source_numbers``: the number of each source by its digest."""
        self._numbers = source_numbers
        self._ids = {"user_id": Dictionary(), "item_id": Dictionary()}
        self._parts: list[tuple[Codes, Codes, Ints, Ints]] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in rows with user_id, item_id, source_sha256, record_no and reviewed_at.

        Raises Mrl4recError for a row without one of the first three, and for an unknown source.
        """
        for name in ("user_id", "item_id", "source_sha256"):
            lost = rows.column(name).null_count
            if lost:
                raise Mrl4recError(f"{lost} rows have no {name}", where="table reviews")
        with ThreadPoolExecutor(1) as beside:  # the loops hold no lock: both sides at once
            users = beside.submit(self._ids["user_id"].add, rows.column("user_id"))
            items = self._ids["item_id"].add(rows.column("item_id"))
            times = rows.column("reviewed_at").cast(pa.int64()).fill_null(NEVER).to_numpy()
            self._parts.append((users.result(), items, self._places(rows), times))

    def pairs(self) -> Pairs:
        """The distinct pairs of all rows so far; the encoder is empty then."""
        parts, self._parts = self._parts, []
        nothing = np.empty(0, np.int32), np.empty(0, np.int64)
        users, items, places, times = (
            np.concatenate([part[column] for part in parts] or [nothing[column // 2]])
            for column in range(4)
        )
        del parts
        ids = self._ids["user_id"].texts(), self._ids["item_id"].texts()
        return distinct(Pairs(users, items, places, times, *ids))

    def _places(self, rows: pa.RecordBatch) -> Ints:
        column = rows.column("source_sha256")
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        digests = column.dictionary.to_pylist()
        numbers = np.array([self._numbers.get(digest, -1) for digest in digests], dtype=np.int64)
        source = numbers[column.indices.to_numpy()]
        if (source < 0).any():
            raise unknown_source(digests[column.indices[int(np.argmin(source))].as_py()])
        return (source << RECORD_BITS) + rows.column("record_no").to_numpy()


def unknown_source(digest: str) -> Mrl4recError:
    """The error for reviews whose source is not listed."""
    return Mrl4recError(
        f"reviews hold rows of source {digest[:12]}…, which sources does not list",
        where="tables reviews and sources",
        todo="ingest again",
    )


def distinct(pairs: Pairs) -> Pairs:
    """One row a (user, item), sorted by code, with the smallest place and time of its rows."""
    columns = (pairs.users_P, pairs.items_P, pairs.places_P, pairs.times_P)
    users, items, places, times = loops.sort_pairs(*columns, len(pairs.user_ids))
    return Pairs(users, items, places, times, pairs.user_ids, pairs.item_ids)


def peel(users_P: Codes, items_P: Codes, k: int) -> tuple[Ints, int]:
    """The rows of the k-core, ascending, and the rounds it took.

    Pairs must be distinct. The k-core is the largest set of pairs in which every user and every
    item has at least k; it is unique, so the order of removal does not matter.
    """
    n_users, n_items = int(users_P.max(initial=-1)) + 1, int(items_P.max(initial=-1)) + 1
    # Another layout in memory would be compiled apart.
    users, items = np.ascontiguousarray(users_P), np.ascontiguousarray(items_P)
    return loops.peel(users, items, n_users, n_items, k)


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
    user_idx = _numbers(core.user_ids, "user").astype(np.int32)
    item_idx = _numbers(core.item_ids, "item").astype(np.int32)
    users, items = (
        pa.Table.from_arrays(
            [pa.array(np.arange(n, dtype=np.int32)), pc.cast(pa.array(np.arange(n)), pa.string())],
            schema=schema,
        )
        for n, schema in ((n_users, USERS.schema), (n_items, ITEMS.schema))
    )
    return _layout(core, users, items, user_idx[core.users_P], item_idx[core.items_P])


def integers(ids: pa.StringArray, what: str) -> Ints:
    """The ids as numbers, (n,). Raises Mrl4recError where they cannot be rows of a table."""
    numbers = _numbers(ids, what)
    check_largest(int(numbers.max(initial=-1)), len(ids), what)
    return numbers


def _numbers(ids: pa.StringArray, what: str) -> Ints:
    """The ids as numbers. Raises Mrl4recError naming the first that is not a plain one."""
    plain = pc.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,9})$")
    if not pc.all(plain, min_count=0).as_py():
        raise not_plain(what, ids.filter(pc.invert(plain))[0].as_py())
    return ids.cast(pa.int64()).to_numpy(zero_copy_only=False)


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
    schema: pa.Schema, ids: pa.StringArray, codes_P: Codes, places_P: Ints, base: pa.Table | None
) -> tuple[pa.Table, Codes]:
    """The id table with new ids appended, and for each code its number (-1: not in the core)."""
    first = loops.first_places(codes_P, places_P, len(ids), NEVER)
    known = base if base is not None else schema.empty_table()
    old = np.full(len(ids), -1)
    if len(known):
        at = pc.index_in(ids, value_set=known.column(1).combine_chunks().cast(ids.type))
        row = at.fill_null(-1).to_numpy(zero_copy_only=False)
        numbers = known.column(0).to_numpy()
        old = np.where(row >= 0, numbers[row], -1)
    new = np.flatnonzero((first != NEVER) & (old < 0))
    new = new[np.argsort(first[new])]  # places are distinct: one record has one user and one item
    idx = old.astype(np.int32)
    idx[new] = np.arange(len(known), len(known) + len(new), dtype=np.int32)
    texts = ids.take(pa.array(new)).cast(pa.string())
    rows = pa.Table.from_arrays([pa.array(idx[new]), texts], schema=schema)
    return pa.concat_tables([known.select(schema.names).cast(schema), rows]), idx


def _layout(core: Pairs, users: pa.Table, items: pa.Table, user_P: Codes, item_P: Codes) -> Core:
    columns = (user_P, item_P, core.places_P, core.times_P)
    user_idx, item_idx, _, times = loops.sort_pairs(*columns, len(users))
    arrays = [
        pa.array(user_idx),
        pa.array(item_idx),
        pa.array(times, mask=times == NEVER).cast(pa.timestamp("us", tz="UTC")),
    ]
    interactions = pa.Table.from_arrays(arrays, schema=INTERACTIONS.schema)
    return Core(users, items, interactions, _different(core.users_P), _different(core.items_P))


def _different(codes_P: Codes) -> int:
    """How many codes occur."""
    return int(np.count_nonzero(np.bincount(codes_P)))
