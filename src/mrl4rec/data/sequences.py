"""Each user's items in order, and which of them are history and which are targets.

Shapes: U users (rows), E events, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.tables.splits import EVERY_FOLD

with lazy.imports():
    import pyarrow as pa
    import pyarrow.compute as pc


@dataclass(frozen=True, eq=False)
class Histories:
    """Items by user, oldest first. An item may be there several times, and a row may be empty."""

    indptr: NDArray[np.int64]
    """(U + 1,): user ``u`` has ``items[indptr[u]:indptr[u + 1]]``."""
    items: NDArray[np.int32]
    """(E,)."""
    n_items: int

    @property
    def n_rows(self) -> int:
        """Number of users, U."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) events of each user."""
        return np.diff(self.indptr)

    def row(self, user: int) -> NDArray[np.int32]:
        """The items of one user."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def newest(self, length: int) -> Histories:
        """The last ``length`` items of each user."""
        lengths = np.minimum(self.lengths, length)
        return self._picked(self.indptr[1:] - lengths, lengths)

    def of(self, users_B: NDArray[np.integer]) -> Histories:
        """The rows of these users, in their order."""
        return self._picked(self.indptr[:-1][users_B], self.lengths[users_B])

    def _picked(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Histories:
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return Histories(indptr, self.items[places], self.n_items)

    def windows(self, users_B: NDArray[np.integer], length: int) -> NDArray[np.int64]:
        """(B, length) the newest items of these users, oldest first, after places of ``n_items``
        where there are fewer.
        """
        ends, starts = self.indptr[1:][users_B], self.indptr[:-1][users_B]
        places = ends[:, None] + np.arange(-length, 0)
        there = places >= starts[:, None]
        out = np.full(places.shape, self.n_items, np.int64)
        out[there] = self.items[places[there]]
        return out

    def alone(self, users_B: NDArray[np.integer]) -> Histories:
        """The same rows, of which only these have items."""
        lengths = np.zeros_like(self.lengths)
        lengths[users_B] = self.lengths[users_B]
        return self._picked(self.indptr[:-1], lengths)

    def within(self, n_items: int) -> Histories:
        """The same without the items from ``n_items`` on."""
        there = self.items < n_items
        indptr = np.concatenate([[0], np.cumsum(there)])[self.indptr].astype(np.int64)
        return Histories(indptr, self.items[there], n_items)

    def csr(self) -> Csr:
        """Each user's different items, ascending."""
        rows = np.repeat(np.arange(self.n_rows, dtype=np.int64), self.lengths)
        pairs = np.unique(rows * self.n_items + self.items)
        return csr(*np.divmod(pairs, self.n_items), self.n_rows, self.n_items)


def histories(rows: Sequence[Sequence[int]], n_items: int) -> Histories:
    """Plain lists of item numbers as ``Histories``. Raises Mrl4recError for an unknown item."""
    items = np.array([item for row in rows for item in row], dtype=np.int64)
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise Mrl4recError(f"a history has items outside 0 … {n_items - 1}")
    indptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Histories(indptr, items.astype(np.int32), n_items)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Every event of a split of sequences, by user and in order, with its fold."""

    events: Histories
    fold_E: NDArray[np.int8]
    """Place of each event's fold in ``EVERY_FOLD``. Along a user's events it never leads back from
    targets to what is trained on or read before them."""

    def in_folds(self, *folds: str) -> NDArray[np.bool_]:
        """(E,) whether an event is in one of these folds."""
        return np.isin(self.fold_E, [EVERY_FOLD.index(fold) for fold in folds])

    def only(self, *folds: str) -> Histories:
        """The events in these folds."""
        return self._kept(self.in_folds(*folds))

    def kept(self, *folds: str) -> Sequences:
        """The same without the events of other folds."""
        chosen = self.in_folds(*folds)
        return Sequences(self._kept(chosen), self.fold_E[chosen])

    def before(self, fold: str) -> Histories:
        """What the users with targets in ``fold`` had before the first of them; of others
        nothing.
        """
        target_E = self.in_folds(fold)
        seen = np.concatenate([[0], np.cumsum(target_E)])
        starts, ends = self.events.indptr[:-1], self.events.indptr[1:]
        judged = seen[ends] > seen[starts]
        is_before = np.repeat(judged, self.events.lengths)
        is_before &= seen[1:] == np.repeat(seen[starts], self.events.lengths)
        return self._kept(is_before)

    def targets(self, fold: str) -> Csr:
        """(U, I) the different items among the targets in ``fold``, repeats of the history too."""
        return self.only(fold).csr()

    @cached_property
    def _rows_E(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.events.n_rows, dtype=np.int64), self.events.lengths)

    def _kept(self, chosen_E: NDArray[np.bool_]) -> Histories:
        counts = np.bincount(self._rows_E[chosen_E], minlength=self.events.n_rows)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Histories(indptr, self.events.items[chosen_E], self.events.n_items)


def of_table(table: pa.Table, n_users: int, n_items: int, where: str) -> Sequences:
    """Sequences of rows sequence_id, position, item_idx and fold.

    Raises Mrl4recError that names ``where`` for an index outside its table, a position that is
    there twice or an unknown fold.
    """
    fold = pc.index_in(table["fold"], value_set=pa.array(EVERY_FOLD))
    users = table["sequence_id"].to_numpy().astype(np.int64)
    items = table["item_idx"].to_numpy()
    order = np.lexsort((table["position"].to_numpy(), users))
    users, items = users[order], items[order].astype(np.int32)
    outside = len(users) and (
        users[0] < 0 or users[-1] >= n_users or items.min() < 0 or items.max() >= n_items
    )
    positions = table["position"].to_numpy()[order].astype(np.int64)
    twice = bool(((np.diff(users) == 0) & (np.diff(positions) == 0)).any())
    if fold.null_count or outside or twice:
        raise Mrl4recError(
            "the events of the split do not fit its users and items",
            where=where,
            todo="run the split again",
        )
    indptr = np.zeros(n_users + 1, dtype=np.int64)
    np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
    folds = fold.to_numpy()[order].astype(np.int8)
    return Sequences(Histories(indptr, items, n_items), folds)
