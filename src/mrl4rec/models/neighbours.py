"""Item-item weights that are a formula of counts: ItemCF and RP3beta.

n_i pairs of item i, n_u of user u, c_ij users who have both. Row = item seen, column = item scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.models.item_pairs import ItemItem, lean, matrix, product
from mrl4rec.models.values import Span, value

with lazy.imports():
    from scipy import sparse

if TYPE_CHECKING:
    from mrl4rec.kernels.csr import Csr


@dataclass(frozen=True)
class ItemCf(ItemItem):
    """Neighbours by cosine, damped: w_ij = c_ij / (√(n_i n_j) + h), zero diagonal."""

    model: str = "itemcf"
    shrink: float = value(
        20.0, "h, added to √(n_i n_j), in users; 0: plain cosine", low=0, tune=Span(0.0, 200.0)
    )

    def weights(self, seen: Csr, device: str) -> Any:
        """(I, I) weights."""
        return item_cf(seen, self.shrink)


@dataclass(frozen=True)
class Rp3Beta(ItemItem):
    """Walks item → user → item (Paudel 2017): steps to the power α, popularity to the power β."""

    model: str = "rp3beta"
    alpha: float = value(
        0.8, "α, power of both steps' probabilities; ≥ 0", low=0, tune=Span(0.2, 2.0)
    )
    beta: float = value(
        0.0,
        "β, power of popularity that a score is divided by; 0: none",
        low=0,
        tune=Span(0.0, 1.0),
    )

    def weights(self, seen: Csr, device: str) -> Any:
        """(I, I) weights."""
        return rp3beta(seen, self.alpha, self.beta)


def item_cf(seen: Csr, shrink: float) -> Any:
    """(I, I) c_ij / (√(n_i n_j) + shrink), zero diagonal. CSR, or dense where that is smaller."""
    x_UI = matrix(seen)
    counts_II, rows = product(x_UI, x_UI, "ItemCF")
    root_I = np.sqrt(counts_II.diagonal())
    columns = counts_II.indices
    counts_II.data /= root_I[rows] * root_I[columns] + shrink
    counts_II.data[rows == columns] = 0
    return lean(counts_II)


def rp3beta(seen: Csr, alpha: float, beta: float) -> Any:
    """(I, I) Σ_u (1/n_i)^α (1/n_u)^α / n_j^β over the users of both, zero diagonal.

    CSR, or dense where that is smaller.
    """
    x_UI = matrix(seen)
    popularity_I = np.bincount(seen.indices, minlength=seen.n_columns)
    step_U, step_I = _power(seen.degrees, -alpha), _power(popularity_I, -alpha)
    walks_II, rows = product(x_UI, sparse.diags(step_U) @ x_UI, "RP3beta")
    columns = walks_II.indices
    walks_II.data *= step_I[rows] * _power(popularity_I, -beta)[columns]
    walks_II.data[rows == columns] = 0
    return lean(walks_II)


def _power(counts: NDArray[np.integer], power: float) -> NDArray[np.float64]:
    """counts^power, 0 where nothing was counted."""
    out = np.zeros(len(counts))
    np.power(counts, power, out=out, where=counts > 0, dtype=np.float64)
    return out


VARIANTS = (ItemCf("ItemCF"), Rp3Beta("RP3beta"))
