"""The values of a user's metrics in one walk down the list (numba).

Their definitions and order: ``mrl4rec.evaluation.ranking.metrics``.

Shapes: B users, W widths, K places, C cut-offs, M metrics.
"""

from __future__ import annotations

from typing import Any

from numba import njit


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
def walk(
    items_BWK: Any,
    truth_B2: Any,
    truth_indices: Any,
    cutoffs_C: Any,
    gain_K: Any,
    ideal_K: Any,
    shown_WCI: Any,
    out_BWCM: Any,
) -> None:
    """Fill ``out_BWCM``, and mark in ``shown_WCI`` the items that stand up to each cut-off."""
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
