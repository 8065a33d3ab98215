"""What a server answers that has an index of item vectors: the union of a user's lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.evaluation.ranking.recommend import recommend
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import InterestModel


def union_lists(
    model: InterestModel,
    users: NDArray[Any],
    seen: Csr,
    n: int,
    per_list: int,
    width: int | None = None,
    *,
    memory_mb: int = 512,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """``per_list`` unseen neighbours of each of a user's vectors, sorted by score, the first ``n``.

    An item that several vectors find counts once, at the largest of its scores. Items (B, n) and
    scores (B, n) as ``recommend`` gives them, −1 where the lists hold fewer than ``n`` items.
    The first min(n, ``per_list``) places are those of the exact list, because an item of the exact
    top p is among the p nearest of the vector that scores it best, and no score in the union is
    above the exact one; the places after them may differ. Raises UsageError for ``per_list`` < 1,
    for a model with ``pooling`` sum (it has one list), and as ``recommend``.
    """
    return recommend(
        model, users, seen, n, width, memory_mb=memory_mb, n_threads=n_threads, per_list=per_list
    )
