"""Top-K by the weights of a sparse item-item matrix (numba); the rest is ``kernels.topk``."""

from __future__ import annotations

from typing import Any

from numba import njit

from mrl4rec.kernels.topk import _clear, _select_row


@njit(cache=True, nogil=True)
def item_item(
    weights_indptr: Any,
    weights_indices: Any,
    weights_data: Any,
    history_indptr: Any,
    history_indices: Any,
    users_B: Any,
    seen_indptr: Any,
    seen_indices: Any,
    ties: Any,
    keys_N: Any,
    rows: Any,
    items_BWK: Any,
    scores_BWK: Any,
) -> None:
    """Top-K of users by the sum, item after item, of the weight rows of their history."""
    row_N, n_items = rows[0][0], len(ties[1])
    for place in range(len(users_B)):
        user = users_B[place]
        _clear(row_N, n_items, seen_indices[seen_indptr[user] : seen_indptr[user + 1]])
        for item in history_indices[history_indptr[user] : history_indptr[user + 1]]:
            for entry in range(weights_indptr[item], weights_indptr[item + 1]):
                row_N[weights_indices[entry]] += weights_data[entry]
        _select_row(rows, ties, keys_N, items_BWK, scores_BWK, place, 0)
