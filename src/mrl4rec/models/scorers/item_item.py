"""Weights between items, summed over a user's history.

Shapes: U users, I items, B users of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers.scorer import Floats, no_prefix

if TYPE_CHECKING:
    from mrl4rec.data.sequences import Histories

with lazy.imports():
    from scipy import sparse


@dataclass(frozen=True, eq=False)
class ItemItemModel:
    """A user's score of an item: the sum of that item's weights over the user's history."""

    weights: Any
    """(I, I) float32, dense or a scipy CSR matrix: row = item seen, column = item scored."""
    history: Csr
    """(U, I) items each user's scores are built from."""
    widths: tuple[int | None, ...] = (None,)
    last: int = 0
    """Of a history in order so many of the newest items are read; 0: all."""
    kind: ClassVar[str] = "item_item"

    @property
    def n_users(self) -> int:
        """Users with a (possibly empty) history."""
        return self.history.n_rows

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return int(self.weights.shape[1])

    def read(self, histories: Histories) -> Csr:
        """The part of these histories that scores are built from."""
        return (histories.newest(self.last) if self.last else histories).csr()

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) sums of weight rows; there are no prefixes, so ``width`` must be None."""
        no_prefix(self, width)
        if not isinstance(self.weights, np.ndarray):
            return self._sparse(users_B)
        out = np.zeros((len(users_B), self.n_items), dtype=np.float32)
        for row, user in enumerate(users_B):
            seen = self.history.row(int(user))
            if len(seen):
                out[row] = self.weights[seen].sum(axis=0)
        return out

    def _sparse(self, users_B: NDArray[np.integer]) -> Floats:
        rows = [self.history.row(int(user)) for user in users_B]
        ends = np.cumsum([0, *map(len, rows)])
        seen = np.concatenate([*rows, np.empty(0, np.int32)])
        shape = (len(rows), self.history.n_columns)
        picked = sparse.csr_matrix((np.ones(len(seen), np.float32), seen, ends), shape=shape)
        out: Floats = np.asarray((picked @ self.weights).toarray(), dtype=np.float32)
        return out
