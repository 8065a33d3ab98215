"""Item-item weights that are a formula of counts: ItemCF and RP3beta.

n_i pairs of item i, n_u of user u, c_ij users who have both. Row = item seen, column = item scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.closed_form.pairs import lean, matrix, product
from mrl4rec.interactions import Csr


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
    from scipy import sparse

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
