"""Top-N lists for users."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking.search import search
from mrl4rec.evaluation.ranking.topk import Query, columns
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import Scorer


def recommend(
    model: Scorer,
    users: NDArray[Any],
    seen: Csr,
    n: int,
    width: int | None = None,
    *,
    device: str = "cpu",
    memory_mb: int = 512,
    n_threads: int | None = None,
    per_list: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best ``n`` unseen items of each user, best first: items (B, n) and scores (B, n).

    Where a user has fewer than ``n`` unseen items the rest is −1 with score −inf. ``width`` None
    is the whole model. ``per_list`` merges lists of that length of a user's vectors, as
    ``union.union_lists`` describes. Raises UsageError for n < 1, unknown users or an impossible
    width.
    """
    users = np.asarray(users, dtype=np.int64).reshape(-1)
    if n < 1:
        raise UsageError(f"a list of {n} items was asked for", todo="ask for 1 or more")
    if len(users) and (users.min() < 0 or users.max() >= model.n_users):
        raise UsageError(f"users must lie within 0 … {model.n_users - 1}")
    cut = columns(model, [width])[width]
    query = Query(min(n, model.n_items), (cut,), seen, per_list)
    items = np.full((len(users), n), -1, dtype=np.int32)
    scores = np.full((len(users), n), -np.inf, dtype=np.float32)
    chunks = search(model, users, query, device=device, memory_mb=memory_mb, n_threads=n_threads)
    for begin, lists in chunks:
        part = slice(begin, begin + len(lists.items_BWK))
        items[part, : query.k] = lists.items_BWK[:, 0]
        scores[part, : query.k] = lists.scores_BWK[:, 0]
    return items, scores
