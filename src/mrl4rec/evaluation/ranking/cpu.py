"""Search on the CPU: compiled loops that hold no lock, on plain threads.

Shapes: B users, I items, N items in whole tiles, L users at once, W widths, K list length.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking.topk import Lists, Query, Searcher, Users, tie_order
from mrl4rec.kernels import topk as kernel
from mrl4rec.kernels import topk_sparse as sparse
from mrl4rec.models.scorers import CountModel, FactorModel, ItemItemModel, Scorer

MOST_LANES = 8
BLOCK_SCORES = 1 << 22
"""Scores asked of a foreign scorer at once, about 16 MB."""


def cpu_searcher(model: Scorer, query: Query, memory: int, n_threads: int) -> Searcher:
    """The search that fits the kind of model; ``memory`` in bytes."""
    if isinstance(model, FactorModel):
        return FactorSearcher(model.user_vectors, model.item_vectors, query, memory, n_threads)
    if isinstance(model, CountModel):  # one factor: everybody's is 1
        ones = np.ones((model.n_users, 1), dtype=np.float32)
        counts = model.counts.astype(np.float32).reshape(-1, 1)
        whole = Query(query.k, (1,), query.seen)
        return FactorSearcher(ones, counts, whole, memory, n_threads)
    if isinstance(model, ItemItemModel):
        return ItemItemSearcher(model, query, n_threads)
    return RowSearcher(model, query)


class Base:
    """What the searches share: the order of ties, scratch, and the spreading over threads."""

    def __init__(self, n_items: int, query: Query, n_threads: int, lanes: int) -> None:
        self.query = query
        self.n_threads = n_threads
        self.lanes = lanes
        self.ties = tie_order(n_items)
        self.n_padded = -(-n_items // kernel.TILE) * kernel.TILE
        self.n_groups = kernel.groups(n_items, query.k)
        self.bytes_per_user = len(query.widths) * query.k * 8
        self.bytes_fixed = n_threads * self.n_padded * (4 * lanes + 16)

    def scratch(self) -> tuple[Any, Any]:
        """One thread's working memory: for selecting, and rows of scores with their maxima."""
        keys = np.empty(self.n_padded, dtype=np.int64)
        scores = np.empty((self.lanes, self.n_padded), dtype=np.float32)
        maxima = np.empty((self.lanes, self.n_groups), dtype=np.float32)
        return keys, (scores, maxima)

    def empty(self, n_users: int) -> Lists:
        """Room for the lists of so many users."""
        shape = (n_users, len(self.query.widths), self.query.k)
        return Lists(np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.float32))

    def spread(self, users: Users, run: Callable[[Users, Any, Any, Lists], None]) -> Lists:
        """Call ``run(users, *scratch, lists)`` on pieces of the users, in threads."""
        out = self.empty(len(users))
        pieces = max(1, min(4 * self.n_threads, len(users) // self.lanes))
        step = -(-len(users) // pieces)
        step = -(-step // self.lanes) * self.lanes

        def piece(begin: int) -> None:
            part = slice(begin, begin + step)
            run(users[part], *self.scratch(), Lists(out.items_BWK[part], out.scores_BWK[part]))

        starts = range(0, len(users), step)
        if self.n_threads == 1 or len(starts) == 1:
            for begin in starts:
                piece(begin)
        else:
            with ThreadPoolExecutor(self.n_threads) as pool:
                list(pool.map(piece, starts))
        return out


class FactorSearcher(Base):
    """Inner products with tiled item vectors, all widths in one pass."""

    def __init__(
        self,
        user_vectors: NDArray[Any],
        item_vectors: NDArray[Any],
        query: Query,
        memory: int,
        n_threads: int,
    ) -> None:
        rows = memory // 2 // (n_threads * 4 * max(1, len(item_vectors)))
        lanes = int(np.clip(rows // kernel.LANES * kernel.LANES, kernel.LANES, MOST_LANES))
        super().__init__(len(item_vectors), query, n_threads, lanes)
        check_finite(user_vectors, item_vectors)
        self.users = np.ascontiguousarray(user_vectors, dtype=np.float32)
        self.tiles = kernel.pack(np.asarray(item_vectors, dtype=np.float32))
        self.widths = np.array(query.widths, dtype=np.int64)

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        return self.spread(users_B, self.run)

    def run(self, users: Users, keys: Any, rows: Any, lists: Lists, each: int = 1) -> None:
        """Fill the lists of these rows of the user vectors, ``each`` of them one user's."""
        seen = self.query.seen
        kernel.factors(
            self.users,
            self.tiles,
            self.widths,
            each,
            users,
            seen.indptr,
            seen.indices,
            self.ties,
            keys,
            rows,
            *lists,
        )


class ItemItemSearcher(Base):
    """Sums of the rows of an item-item matrix, dense or sparse."""

    def __init__(self, model: ItemItemModel, query: Query, n_threads: int) -> None:
        super().__init__(model.n_items, query, n_threads, lanes=1)
        self.history = model.history
        dense = isinstance(model.weights, np.ndarray)
        self.loop: Any = kernel.item_item if dense else sparse.item_item
        self.weights = (model.weights,) if dense else sparse_rows(model.weights)

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        seen, history = self.query.seen, self.history

        def run(users: Users, keys: Any, rows: Any, lists: Lists) -> None:
            self.loop(
                *self.weights,
                history.indptr,
                history.indices,
                users,
                seen.indptr,
                seen.indices,
                self.ties,
                keys,
                rows,
                *lists,
            )

        return self.spread(users_B, run)


class RowSearcher(Base):
    """Any scorer: whole rows of scores, asked for in blocks of a size that never changes."""

    def __init__(self, model: Scorer, query: Query) -> None:
        super().__init__(model.n_items, query, n_threads=1, lanes=1)
        self.model = model
        self.block = int(np.clip(BLOCK_SCORES // max(1, model.n_items), 1, 256))
        self.bytes_fixed += self.block * model.n_items * 8

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""
        out = self.empty(len(users_B))
        keys, rows = self.scratch()
        for begin in range(0, len(users_B), self.block):
            users = users_B[begin : begin + self.block]
            padded = np.resize(users, self.block)
            for w, width in enumerate(self.query.widths):
                given = np.asarray(self.model.scores(padded, width or None), dtype=np.float32)
                if np.isnan(given).any():
                    raise not_finite("the scores")
                part = slice(begin, begin + len(users))
                kernel.given(
                    given,
                    users,
                    self.query.seen.indptr,
                    self.query.seen.indices,
                    self.ties,
                    keys,
                    rows,
                    out.items_BWK[part],
                    out.scores_BWK[part],
                    w,
                )
        return out


def sparse_rows(weights: Any) -> tuple[NDArray[Any], ...]:
    """Where each row of a sparse matrix begins, its columns and its values.

    Raises Mrl4recError where a value is not finite.
    """
    rows = weights.tocsr()
    data = np.ascontiguousarray(rows.data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise not_finite("the weights")
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32), data


def check_finite(*vectors: NDArray[Any]) -> None:
    """Raise Mrl4recError where a vector, or an inner product of two, is not finite in float32."""
    largest = [float(np.abs(part).max(initial=0)) for part in vectors]
    if not all(np.isfinite(largest)):
        raise not_finite("the vectors")
    if np.prod(largest) * vectors[0].shape[-1] > np.finfo(np.float32).max / 4:
        raise not_finite("inner products of the vectors")


def not_finite(what: str) -> Mrl4recError:
    """The error for NaN or infinite values."""
    return Mrl4recError(
        f"{what} are not finite (NaN or infinite)",
        todo="the training diverged: lower the learning rate and train again",
    )
