"""SLIM (Ning and Karypis 2011): each item as a sparse, non-negative sum of the others."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from mrl4rec.closed_form.pairs import lean, matrix, product
from mrl4rec.closed_form.threads import spread
from mrl4rec.interactions import Csr
from mrl4rec.kernels import slim as kernel

COLUMNS_AT_ONCE = 64
log = logging.getLogger("mrl4rec")


def weights(seen: Csr, l1: float, l2: float, sweeps: int) -> Any:
    """(I, I) weights, row = item seen, column = item scored. CSR, or dense where that is smaller.

    scikit-learn's ``ElasticNet(alpha, l1_ratio, positive=True, fit_intercept=False)`` divides the
    squares by the number of users: l1 = U · alpha · l1_ratio, l2 = U · alpha · (1 − l1_ratio).
    """
    from scipy import sparse

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
