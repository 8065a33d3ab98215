"""Top-N lists of a data set's users from one model, batch by batch, in bounded memory.

Shapes: U users, I items, P pairs, B users of a batch, W widths, K list length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.cut import WITH_VECTORS
from mrl4rec.evaluation.ranking import topk
from mrl4rec.evaluation.ranking.search import search
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import Loaded, ModelCard
from mrl4rec.serving.promotion.served import Served
from mrl4rec.tables.recommendations import RECOMMENDATIONS

BATCH_ROWS = 1 << 18
"""About so many rows of the table are in memory at once, some 20 MB of them."""


@dataclass(frozen=True)
class Shape:
    """What each user gets: lists of ``n`` items, at full width and at each of ``widths``."""

    n: int
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.n < 1 or any(width < 1 for width in self.widths):
            raise UsageError(f"lists of {self.n} items at widths {self.widths} were asked for",
                             todo="ask for 1 or more")  # fmt: skip

    def of(self, card: ModelCard) -> Shape:
        """The shape this model can give: widths below its own, ascending."""
        return replace(self, widths=tuple(sorted(w for w in set(self.widths) if w < dim(card))))

    def beyond(self, card: ModelCard) -> list[int]:
        """The widths this model cannot be cut to."""
        return sorted(width for width in set(self.widths) if width > dim(card))


def dim(card: ModelCard) -> int:
    """Dimensions of a model's vectors; 0 for one without."""
    return card.shapes["item_vectors"][1] if card.kind in WITH_VECTORS else 0


@dataclass(frozen=True)
class People:
    """Users, items and who has had what, at one version of a data set."""

    user_ids: pa.StringArray
    """(U,) by user_idx."""
    item_ids: pa.StringArray
    """(I,) by item_idx."""
    users_P: NDArray[np.int32]
    items_P: NDArray[np.int32]

    def with_stranger(self, user_id: str) -> People:
        """The same with one user more, who has had nothing."""
        return replace(self, user_ids=pa.concat_arrays([self.user_ids, pa.array([user_id])]))


class Lists:
    """One model's lists of the people there are.

    A user the model has no training pair of (or no history) gets what most people took. What a
    user has had, as its folder or the pairs of now have it, is left out. Items the model does not
    know come last, without a score. Raises UsageError where a width is impossible, Mrl4recError
    where the model has more users or items than there are.
    """

    def __init__(
        self,
        loaded: Loaded,
        people: People,
        shape: Shape,
        *,
        device: str = "cpu",
        memory_mb: int = 512,
        n_threads: int | None = None,
    ) -> None:
        self.people, self.shape = people, shape
        self.model_version = loaded.card.stage_key
        self.device, self.memory_mb, self.n_threads = device, memory_mb, n_threads
        n_users, n_items = len(people.user_ids), len(people.item_ids)
        self.served = Served(loaded, n_users, n_items)
        asked: list[int | None] = [*shape.widths, None]
        cut = topk.columns(self.served, asked)
        self.widths = sorted(asked, key=lambda width: cut[width])
        seen = union(loaded.consumed, people.users_P, people.items_P, n_users, n_items)
        self.query = topk.Query(
            min(shape.n, n_items), tuple(cut[width] for width in self.widths), seen
        )

    @property
    def n_popular(self) -> int:
        """How many users get the popularity list."""
        return int((~self.served.known_U).sum())

    def popular(self) -> list[tuple[str, int | None]]:
        """(item id, training pairs) of who has had nothing, best first; None: not known to it."""
        counts = self.served.pairs_I
        _, place = topk.tie_order(len(counts))
        best = np.lexsort((place, -counts))[: self.query.k]
        ids = self.people.item_ids.take(pa.array(best)).to_pylist()
        return [(item, int(n) or None) for item, n in zip(ids, counts[best], strict=True)]

    def batches(self, users: NDArray[np.integer]) -> Iterator[pa.RecordBatch]:
        """Rows of ``recommendations`` for these users (user_idx), in this order."""
        users_U: NDArray[np.int64] = np.asarray(users, dtype=np.int64)
        found = search(
            self.served,
            users_U,
            self.query,
            device=self.device,
            memory_mb=self.memory_mb,
            n_threads=self.n_threads,
            at_once=max(1, BATCH_ROWS // (len(self.widths) * self.query.k)),
        )
        for begin, lists in found:
            yield self._rows(users_U[begin : begin + len(lists.items_BWK)], lists)

    def _rows(self, users_B: NDArray[np.int64], lists: topk.Lists) -> pa.RecordBatch:
        items_BWK = lists.items_BWK
        there = items_BWK >= 0
        at_B, at_W, at_K = np.nonzero(there)
        items = items_BWK[there]
        popular = ~self.served.known_U[users_B]
        columns = {
            "user_id": self.people.user_ids.take(pa.array(users_B[at_B])),
            "rank": pa.array((at_K + 1).astype(np.int32)),
            "item_id": self.people.item_ids.take(pa.array(items)),
            "score": pa.array(lists.scores_BWK[there], mask=self.served.pairs_I[items] == 0),
            "model_version": _repeated([self.model_version], np.zeros(len(items), np.int32)),
            "width": pa.array(self.widths, pa.int32()).take(pa.array(at_W)),
            "by": _repeated(["model", "popularity"], popular[at_B].astype(np.int32)),
        }
        return pa.RecordBatch.from_pydict(columns, schema=RECOMMENDATIONS.schema)


def union(
    own: Csr, users_P: NDArray[Any], items_P: NDArray[Any], n_users: int, n_items: int
) -> Csr:
    """(U, I) what a model trained on and the pairs there are now, each once."""
    rows = np.repeat(np.arange(own.n_rows, dtype=np.int64), own.degrees)
    mine = rows * n_items + own.indices
    now = users_P.astype(np.int64) * n_items + items_P
    keys = np.union1d(mine, now) if len(now) else mine
    indptr = np.zeros(n_users + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys // n_items, minlength=n_users), out=indptr[1:])
    return Csr(indptr, (keys % n_items).astype(np.int32), n_items)


def in_order_of_ids(ids: pa.StringArray) -> NDArray[np.int64]:
    """Rows by ascending id (bytes): a reader finds one user's rows by the files' statistics."""
    order: NDArray[np.int64] = pc.sort_indices(ids).to_numpy().astype(np.int64)
    return order


def _repeated(words: Sequence[str], which: NDArray[np.int32]) -> pa.StringArray:
    return pa.array(words, pa.string()).take(pa.array(which))
