"""The lists of a user's vectors merged into one (numba).

Shapes: B users, K vectors a user, W widths, P places of a vector's list, N places of the merged
list, I items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mrl4rec.kernels.topk import NO_ITEM


@njit(cache=True, nogil=True)
def merge(items_BKWP: Any, scores_BKWP: Any, rank_I: Any, items_BWN: Any, scores_BWN: Any) -> None:
    """Write each user's first N different items by score, ties by ``rank_I``; −1 fills up.

    Lists are in that order already and end at the first −1. An item that stands in several gets the
    largest of its scores, because that comes first.
    """
    n_users, n_vectors, n_widths, length = items_BKWP.shape
    heads_K = np.empty(n_vectors, dtype=np.int64)
    taken_I = np.full(len(rank_I), -1, dtype=np.int64)  # the last list that an item was put into
    for user in range(n_users):
        for w in range(n_widths):
            heads_K[:] = 0
            place = 0
            while place < items_BWN.shape[2]:
                best, best_item, best_score = -1, NO_ITEM, np.float32(-np.inf)
                for k in range(n_vectors):
                    if heads_K[k] == length:
                        continue
                    item = items_BKWP[user, k, w, heads_K[k]]
                    if item == NO_ITEM:
                        continue
                    score = scores_BKWP[user, k, w, heads_K[k]]
                    before = score == best_score and rank_I[item] < rank_I[best_item]
                    if best < 0 or score > best_score or before:
                        best, best_item, best_score = k, item, score
                if best < 0:
                    break
                heads_K[best] += 1
                if taken_I[best_item] != user * n_widths + w:
                    taken_I[best_item] = user * n_widths + w
                    items_BWN[user, w, place] = best_item
                    scores_BWN[user, w, place] = best_score
                    place += 1
            items_BWN[user, w, place:] = NO_ITEM
            scores_BWN[user, w, place:] = -np.inf
