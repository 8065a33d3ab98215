"""How different a user's vectors are.

Shapes: U users, K vectors a user, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError

USERS = 4096
"""Users taken at once, in float64."""


def intra_cosine(user_interests: NDArray[Any]) -> NDArray[np.float64]:
    """(U, K, d) → (U,) mean cosine over the pairs k < l of each user's vectors.

    1: all point the same way; 0: at right angles. A pair with a vector of zeros counts as 0. Raises
    UsageError for K = 1, which has no pairs.
    """
    n_users, n_vectors, _ = user_interests.shape
    if n_vectors < 2:
        raise UsageError(
            "users with one vector each have no pairs to compare",
            todo="take a model with two interests or more",
        )
    out = np.empty(n_users)
    for begin in range(0, n_users, USERS):
        wide = user_interests[begin : begin + USERS].astype(np.float64)
        length = np.linalg.norm(wide, axis=2, keepdims=True)
        unit = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
        # Σ over k ≠ l of cosines = |Σ_k unit_k|² − Σ_k |unit_k|²
        all_pairs = (unit.sum(axis=1) ** 2).sum(axis=1) - (unit**2).sum(axis=(1, 2))
        out[begin : begin + USERS] = all_pairs / (n_vectors * (n_vectors - 1))
    return out
