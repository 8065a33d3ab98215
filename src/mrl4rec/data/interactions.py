"""A version of ``splits`` as arrays: pairs by fold, rows of seen items. Read by delta-rs, no JVM.

Shapes: P pairs, U users, I items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.data import sequences
from mrl4rec.data.sequences import Sequences
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.tables.sequences import SEQUENCE_SPLITS
from mrl4rec.tables.splits import EVERY_FOLD

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Interactions:
    """Every pair of a data set with its fold, and the external ids of users and items."""

    users_P: NDArray[np.int32]
    items_P: NDArray[np.int32]
    fold_P: NDArray[np.int8]
    """Place in ``EVERY_FOLD``: 0 train, 1 valid, 2 test, and those of histories."""
    reviewed_at_P: NDArray[np.datetime64] | None
    """datetime64[us] in UTC, NaT where a pair has no time; None when none has."""
    n_users: int
    n_items: int
    user_ids: NDArray[np.object_]
    """(U,) external ids, str."""
    item_ids: NDArray[np.object_]
    """(I,) external ids, str."""
    split_key: str
    """Stage key of the split; empty for pairs that came from no table."""
    sequences: Sequences | None = None
    """Every event in order, where the split is of sequences: a pair then has the fold of its
    first event."""

    def in_folds(self, *folds: str) -> NDArray[np.bool_]:
        """(P,) whether a pair is in one of these folds. Raises Mrl4recError for an unknown one."""
        return np.isin(self.fold_P, [_fold(name) for name in folds])

    def pairs(self, *folds: str) -> Pairs:
        """Users and items of the pairs in these folds, sorted by (user, item)."""
        chosen = self.in_folds(*folds)
        users, items = self.users_P[chosen], self.items_P[chosen]
        order = np.lexsort((items, users))
        return users[order], items[order]

    def only(self, *folds: str) -> Interactions:
        """The same users and items with the pairs of these folds."""
        chosen = self.in_folds(*folds)
        times = self.reviewed_at_P
        return replace(
            self,
            users_P=self.users_P[chosen],
            items_P=self.items_P[chosen],
            fold_P=self.fold_P[chosen],
            reviewed_at_P=None if times is None else times[chosen],
        )

    def csr(self, *folds: str) -> Csr:
        """The items of each user in these folds, (U, I)."""
        users, items = self.pairs(*folds)
        return csr(users, items, self.n_users, self.n_items)

    @cached_property
    def _digest(self) -> str:
        table = pa.table(
            {
                "user": pa.array(self.user_ids[self.users_P], pa.string()),
                "item": pa.array(self.item_ids[self.items_P], pa.string()),
                "fold": self.fold_P,
                "at": _microseconds(self.reviewed_at_P, len(self.users_P)),
            }
        ).sort_by([("user", "ascending"), ("item", "ascending")])
        text = pc.binary_join_element_wise(
            *(column.cast(pa.string()) for column in table.columns), "\x1f"
        )
        return hashlib.sha256("\n".join(text.to_pylist()).encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 of the rows (user id, item id, fold, time) sorted by external ids."""
        return self._digest


def from_pairs(
    train: Iterable[tuple[int, int]],
    valid: Iterable[tuple[int, int]],
    test: Iterable[tuple[int, int]],
    n_users: int,
    n_items: int,
) -> Interactions:
    """Interactions from plain (user, item) pairs; the external ids are ``u0 …`` and ``i0 …``."""
    folds = [np.array(list(pairs), dtype=np.int64).reshape(-1, 2) for pairs in (train, valid, test)]
    rows = np.concatenate(folds)
    fold = np.repeat(np.arange(3, dtype=np.int8), [len(pairs) for pairs in folds])
    _check_range(rows[:, 0], n_users, "user", "pairs")
    _check_range(rows[:, 1], n_items, "item", "pairs")
    return _build(
        rows[:, 0].astype(np.int32),
        rows[:, 1].astype(np.int32),
        fold,
        None,
        np.array([f"u{index}" for index in range(n_users)], dtype=object),
        np.array([f"i{index}" for index in range(n_items)], dtype=object),
        "",
        "pairs",
    )


def from_sequences(rows: Sequences) -> Interactions:
    """Sequences with their pairs: each has the fold of its first event; ids as ``from_pairs``."""
    events = rows.events
    users = np.repeat(np.arange(events.n_rows, dtype=np.int32), events.lengths)
    _, first = np.unique(users.astype(np.int64) * events.n_items + events.items, return_index=True)
    ids = [
        np.array([f"{side}{index}" for index in range(n)], dtype=object)
        for side, n in (("u", events.n_rows), ("i", events.n_items))
    ]
    pairs = (users[first], events.items[first], rows.fold_E[first])
    return replace(_build(*pairs, None, ids[0], ids[1], "", "sequences"), sequences=rows)


def load(settings: Settings, dataset: str, split: Commit) -> Interactions:
    """Read the tables a split names.

    Raises Mrl4recError where a table or version is missing, an index is not dense or points
    outside its table, a fold is unknown, or a pair occurs twice.
    """
    where = settings.storage.table_uri(dataset, "splits")
    columns = ["user_idx", "item_idx", "fold", "reviewed_at"]
    table = _read(settings, dataset, "splits", split.table_version("splits"), columns)
    user_ids = _ids(settings, dataset, "users", "user", split)
    item_ids = _ids(settings, dataset, "items", "item", split)
    found = of_table(table, user_ids, item_ids, split.key, where)
    if SEQUENCE_SPLITS.name not in split.outputs:
        return found
    name = SEQUENCE_SPLITS.name
    columns = ["sequence_id", "position", "item_idx", "fold"]
    events = _read(settings, dataset, name, split.table_version(name), columns)
    at = settings.storage.table_uri(dataset, name)
    return replace(found, sequences=sequences.of_table(events, found.n_users, found.n_items, at))


def of_table(
    table: pa.Table,
    user_ids: NDArray[np.object_],
    item_ids: NDArray[np.object_],
    split_key: str,
    where: str,
) -> Interactions:
    """Interactions of rows user_idx, item_idx, reviewed_at and fold, with the ids by index.

    Raises Mrl4recError that names ``where`` as ``load`` does.
    """
    users = _index(table["user_idx"], len(user_ids), "user", where)
    items = _index(table["item_idx"], len(item_ids), "item", where)
    fold = pc.index_in(table["fold"], value_set=pa.array(EVERY_FOLD))
    if fold.null_count:
        unknown = pc.unique(table["fold"].filter(pc.is_null(fold))).to_pylist()
        raise Mrl4recError(f"unknown folds {unknown}", where=where, todo="run the split again")
    times = table["reviewed_at"].cast(pa.timestamp("us"))
    reviewed_at = None if times.null_count == len(times) else times.to_numpy()
    return _build(
        users,
        items,
        fold.to_numpy().astype(np.int8),
        reviewed_at,
        user_ids,
        item_ids,
        split_key,
        where,
    )


def _build(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    fold: NDArray[np.int8],
    reviewed_at: NDArray[np.datetime64] | None,
    user_ids: NDArray[np.object_],
    item_ids: NDArray[np.object_],
    split_key: str,
    where: str,
) -> Interactions:
    """Interactions in (user, item) order, whatever the order of the table's files."""
    order = np.lexsort((items, users))
    users, items = users[order], items[order]
    twice = np.flatnonzero((np.diff(users) == 0) & (np.diff(items) == 0))
    if len(twice):
        first = twice[0]
        raise Mrl4recError(
            f"{len(twice)} pairs occur twice, first user {users[first]}, item {items[first]}",
            where=where,
            todo="run the k-core and the split again",
        )
    return Interactions(
        users,
        items,
        fold[order],
        None if reviewed_at is None else reviewed_at[order],
        len(user_ids),
        len(item_ids),
        user_ids,
        item_ids,
        split_key,
    )


def _read(
    settings: Settings, dataset: str, name: str, version: int, columns: list[str]
) -> pa.Table:
    uri = settings.storage.table_uri(dataset, name)
    try:
        delta = open_table(uri, version)
    except Exception as error:  # delta-rs has no one type for a version that is not there
        raise Mrl4recError(
            f"version {version} of the table cannot be opened: {error}",
            where=uri,
            todo=f"see `mrl4rec tables {name}`",
        ) from error
    if delta is None:
        raise Mrl4recError(
            "the table does not exist", where=uri, todo=f"run `mrl4rec split --dataset {dataset}`"
        )
    return read_table(delta, columns)


def _ids(
    settings: Settings, dataset: str, name: str, kind: str, split: Commit
) -> NDArray[np.object_]:
    """The external ids of one side, placed by their index."""
    columns = [f"{kind}_idx", f"{kind}_id"]
    table = _read(settings, dataset, name, split.table_version(name), columns)
    where = settings.storage.table_uri(dataset, name)
    index = _index(table[columns[0]], table.num_rows, kind, where)
    if len(np.unique(index)) != len(index):
        raise Mrl4recError(
            f"{kind}_idx is not dense: {len(index)} rows, {len(np.unique(index))} different values",
            where=where,
            todo="run the k-core again",
        )
    ids = np.empty(len(index), dtype=object)
    ids[index] = table[columns[1]].to_numpy(zero_copy_only=False)
    return ids


def _index(column: pa.ChunkedArray, n: int, kind: str, where: str) -> NDArray[np.int32]:
    if column.null_count:
        raise Mrl4recError(f"{column.null_count} null {kind}_idx", where=where)
    index = column.to_numpy()
    _check_range(index, n, kind, where)
    return index.astype(np.int32)


def _check_range(index: NDArray[Any], n: int, kind: str, where: str) -> None:
    bad = np.flatnonzero((index < 0) | (index >= n))
    if len(bad):
        raise Mrl4recError(
            f"{len(bad)} {kind}_idx lie outside 0 … {n - 1}, first {index[bad[0]]}",
            where=where,
            todo="the table and its ids are of different versions: run the k-core again",
        )


def _fold(name: str) -> int:
    if name not in EVERY_FOLD:
        raise Mrl4recError(f"unknown fold {name!r}", todo=f"one of {', '.join(EVERY_FOLD)}")
    return EVERY_FOLD.index(name)


def _microseconds(times: NDArray[np.datetime64] | None, n: int) -> pa.Array:
    if times is None:
        return pa.array(np.full(n, -1, dtype=np.int64))
    microseconds = times.astype("datetime64[us]").astype(np.int64)
    return pa.array(np.where(np.isnat(times), -1, microseconds))
