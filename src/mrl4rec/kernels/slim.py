"""SLIM's columns by coordinate descent on XᵀX (numba, no lock held).

Of column j the weights w ≥ 0 minimise ½‖x_j − Xw‖² + l1·Σw + ½·l2·‖w‖² with w_j = 0. One weight
alone is best at w_i = max(0, (s_i + n_i w_i − l1) / (n_i + l2)), where s = c_j − Cw, C = XᵀX and
n_i = C_ii. As C and w have no negative entry, s_i never exceeds c_ij: an item with c_ij ≤ l1 keeps
weight 0 in the solution, and only the items that meet j more often are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

CLOSE = 1e-6
"""A pass that moves no weight further ends a column."""


@njit(cache=True, nogil=True)
def solve(
    indptr: Any,
    indices: Any,
    counts: Any,
    diagonal_I: Any,
    out: Any,
    first: int,
    last: int,
    l1: float,
    l2: float,
    sweeps: int,
) -> int:
    """Solve columns first … last − 1; answers how many had not settled after ``sweeps`` passes.

    ``counts`` are the entries of C by rows; ``out``, as long and zero, gets at the places of row j
    the weights of column j.
    """
    slope_I = np.zeros(len(diagonal_I))
    unsettled = 0
    for j in range(first, last):
        slope_I[:] = 0
        for place in range(indptr[j], indptr[j + 1]):
            slope_I[indices[place]] = counts[place]
        furthest = 0.0
        for _ in range(sweeps):
            furthest = 0.0
            for place in range(indptr[j], indptr[j + 1]):
                i = indices[place]
                if i == j or counts[place] <= l1:
                    continue
                old, n_i = out[place], diagonal_I[i]
                new = max(0.0, (slope_I[i] + n_i * old - l1) / (n_i + l2))
                if new != old:
                    out[place] = new
                    furthest = max(furthest, abs(new - old))
                    for other in range(indptr[i], indptr[i + 1]):
                        slope_I[indices[other]] -= (new - old) * counts[other]
            if furthest <= CLOSE:
                break
        unsettled += furthest > CLOSE
    return unsettled
