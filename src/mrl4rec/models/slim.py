"""SLIM (Ning and Karypis 2011): each item as a sparse, non-negative sum of the others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mrl4rec.core import lazy
from mrl4rec.models.item_pairs import ItemItem, lean, matrix, product
from mrl4rec.models.threads import spread
from mrl4rec.models.values import Span, value

with lazy.imports():
    from scipy import sparse

    from mrl4rec.kernels import slim as kernel

if TYPE_CHECKING:
    from mrl4rec.kernels.csr import Csr

COLUMNS_AT_ONCE = 64
log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class Slim(ItemItem):
    """½‖x_j − Xw‖² + l1·Σw + ½·l2·‖w‖² for each item j, w ≥ 0, w_j = 0."""

    model: str = "slim"
    l1: float = value(
        0.5, "weight of Σw, in users; 0: none", low=0, tune=Span(1e-2, 20.0, log=True)
    )
    l2: float = value(
        200.0, "weight of ½‖w‖², in users; > 0", low=1e-9, tune=Span(1.0, 2000.0, log=True)
    )
    sweeps: int = value(100, "at most so many passes over a column's weights", low=1)

    def weights(self, seen: Csr, device: str) -> Any:
        """(I, I) weights."""
        return weights(seen, self.l1, self.l2, self.sweeps)


def weights(seen: Csr, l1: float, l2: float, sweeps: int) -> Any:
    """(I, I) weights, row = item seen, column = item scored. CSR, or dense where that is smaller.

    scikit-learn's ``ElasticNet(alpha, l1_ratio, positive=True, fit_intercept=False)`` divides the
    squares by the number of users: l1 = U · alpha · l1_ratio, l2 = U · alpha · (1 − l1_ratio).
    """
    x_UI = matrix(seen)
    counts_II, _ = product(x_UI, x_UI, "SLIM")
    out = np.zeros(counts_II.nnz)
    diagonal_I = counts_II.diagonal()
    parts = (counts_II.indptr, counts_II.indices, counts_II.data, diagonal_I, out)

    def solve(first: int, last: int) -> int:
        return int(kernel.solve(*parts, first, last, l1, l2, sweeps))

    unsettled = sum(spread(solve, seen.n_columns, COLUMNS_AT_ONCE))
    if unsettled:
        log.warning(
            "SLIM: %d of %d columns still moved after %d passes (--set SLIM.sweeps=…)",
            unsettled,
            seen.n_columns,
            sweeps,
        )
    by_column = sparse.csr_matrix((out, counts_II.indices, counts_II.indptr), shape=counts_II.shape)
    return lean(by_column.T.tocsr())


VARIANTS = (Slim("SLIM"),)
