"""Ranking metrics of top-K lists, for each user and each cut-off in one walk down the list.

With T = the user's test items, hits counted among the first k places (docs/methods.md#metrics):
recall = hits/|T|; precision = hits/k; hr = 1 where there is a hit; mrr = 1/rank of the first hit;
ndcg = Σ 1/log2(rank + 1) over hits, divided by its value for min(k, |T|) hits on top;
map = Σ precision at the rank of each hit / min(k, |T|). Lists are short where nearly all is seen:
what is missing counts as misses.

Shapes: B users, W widths, K places, C cut-offs, M metrics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

PER_USER = ("recall", "ndcg", "hr", "mrr", "map", "precision")
METRICS = (*PER_USER, "coverage")
"""Coverage is no user's: the share of items that stand in anybody's list."""


def discounts(k: int) -> NDArray[np.float64]:
    """1/log2(rank + 1) for ranks 1 … k."""
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


def per_user(
    items_BWK: NDArray[np.int32],
    truth_B2: NDArray[np.int64],
    truth_indices: NDArray[np.int32],
    cutoffs_C: NDArray[np.int64],
    shown_WCI: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(B, W, C, M) values of ``PER_USER``.

    ``truth_B2`` has begin and end of each user's rows in ``truth_indices``; cut-offs ascend and may
    exceed K. Marks in ``shown_WCI`` every item that stands between one cut-off and the one before.
    """
    n_users, n_widths, _ = items_BWK.shape
    out = np.zeros((n_users, n_widths, len(cutoffs_C), len(PER_USER)))
    gain = discounts(int(cutoffs_C[-1]))
    ideal = np.cumsum(gain)
    _walk(items_BWK, truth_B2, truth_indices, cutoffs_C, gain, ideal, shown_WCI, out)
    return out


@njit(cache=True, nogil=True)
def _contains(ascending: Any, item: int) -> bool:
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == item


@njit(cache=True, nogil=True)
def _walk(
    items_BWK: Any,
    truth_B2: Any,
    truth_indices: Any,
    cutoffs_C: Any,
    gain_K: Any,
    ideal_K: Any,
    shown_WCI: Any,
    out_BWCM: Any,
) -> None:
    n_users, n_widths, length = items_BWK.shape
    for user in range(n_users):
        truth = truth_indices[truth_B2[user, 0] : truth_B2[user, 1]]
        for w in range(n_widths):
            hits, first, dcg, precisions, place = 0, 0, 0.0, 0.0, 0
            for c in range(len(cutoffs_C)):
                k = cutoffs_C[c]
                for _ in range(place, min(k, length)):
                    item = items_BWK[user, w, place]
                    if item >= 0:
                        shown_WCI[w, c, item] = True
                    if _contains(truth, item):
                        hits += 1
                        dcg += gain_K[place]
                        precisions += hits / (place + 1)
                        first = first if first else place + 1
                    place += 1
                best = min(k, len(truth))
                values = out_BWCM[user, w, c]
                values[0] = hits / len(truth)
                values[1] = dcg / ideal_K[best - 1]
                values[2] = 1.0 if hits else 0.0
                values[3] = 1.0 / first if hits else 0.0
                values[4] = precisions / best
                values[5] = hits / k
