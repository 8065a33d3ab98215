"""What the item-item families share: the pairs as a matrix, how often two items meet, memory.

U users, I items; X (U, I) has a 1 for each pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.models.base import Fitted
from mrl4rec.models.scorers import ItemItemModel

with lazy.imports():
    import psutil
    from scipy import sparse

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.kernels.csr import Csr
    from mrl4rec.models.scorers import Scorer

DENSE_FROM = 0.25
"""Share of entries from which a matrix is kept dense: a sparse entry takes twice the memory."""
ENTRY_BYTES = 40
"""Of an entry of XᵀX while weights are made of it: values, columns, rows, and a copy."""


@dataclass(frozen=True)
class ItemItem(Fitted):
    """A user's score of an item is the sum of that item's weights over the user's items."""

    folds_in: ClassVar[bool] = True

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """The weights as a model."""
        seen = data.csr(*folds)
        return ItemItemModel(self.weights(seen, device), seen)

    def weights(self, seen: Csr, device: str) -> Any:
        """(I, I) weights, row = item seen, column = item scored: dense, or CSR if smaller."""
        raise NotImplementedError


def matrix(seen: Csr, dtype: Any = np.float64) -> Any:
    """X as a scipy CSR matrix."""
    ones = np.ones(len(seen.indices), dtype=dtype)
    return sparse.csr_matrix((ones, seen.indices, seen.indptr), shape=(seen.n_rows, seen.n_columns))


def product(left: Any, right: Any, method: str) -> tuple[Any, NDArray[np.int32]]:
    """``left.T @ right`` of two matrices (U, I) with the places of X: CSR, and each entry's row.

    Columns rise within a row. Raises Mrl4recError where it would not fit into free memory.
    """
    check_memory(right, method)
    found = (left.T.tocsr() @ right).sorted_indices()
    rows = np.repeat(np.arange(found.shape[0], dtype=np.int32), np.diff(found.indptr))
    return found, rows


def check_memory(x_UI: Any, method: str) -> None:
    """Raise Mrl4recError where the pairs of items that meet would not fit into free memory."""
    n_items = x_UI.shape[1]
    entries = min(n_items**2, int((np.diff(x_UI.indptr).astype(np.int64) ** 2).sum()))
    needed, free = ENTRY_BYTES * entries, free_bytes()
    if needed > free:
        raise Mrl4recError(
            f"{method} on {n_items:,} items needs up to {needed / 2**30:.1f} GiB of memory for "
            f"the pairs of items that meet, {free / 2**30:.1f} are free",
            todo=f"leave {method} out of --methods, or raise --kcore to have fewer items",
        )


def lean(weights_II: Any) -> Any:
    """CSR weights in float32, without zeros, or dense where that is smaller or nearly so."""
    weights_II = weights_II.astype(np.float32)
    weights_II.eliminate_zeros()
    n_items = weights_II.shape[0]
    if weights_II.nnz >= DENSE_FROM * n_items**2:
        return np.ascontiguousarray(weights_II.toarray())
    return weights_II


def free_bytes() -> int:
    """Memory this process may still take: the machine's, or what its container's limit leaves."""
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        held = dict(line.split() for line in used.read_text().splitlines())  # file cache gives way
        free = min(free, int(text) - int(held.get("anon", 0)))
    return max(free, 0)
