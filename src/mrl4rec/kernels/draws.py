"""Draw candidates, reject seen items, keep the hardest: one parallel loop over the batch (numba).

A candidate is a pure function of its place: the word ``chain(seed, SALT_DRAW, step, example,
level, draw, retry)`` of ``mrl4rec.core.hashing``, mapped to an item by its upper 32 bits. A seen
item is drawn again with the next ``retry``; after ``MAX_RETRIES`` the word picks among the user's
unseen items by rank, so that the loop ends for a user who has seen nearly everything.

Shapes: B examples, U users, I items, d dimensions, L levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.core.hashing import GOLDEN, MIX_1, MIX_2

MAX_RETRIES = 16

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@njit(inline="always")
def _fold(word: Any, value: Any) -> Any:
    """One link of the chain: mix(word ^ value·GOLDEN)."""
    z = (word ^ (np.uint64(value) * _GOLDEN)) + _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(inline="always")
def _below(word: Any, n: Any) -> Any:
    """The word's upper 32 bits as an integer in [0, n)."""
    return np.int64(((word >> _S32) * np.uint64(n)) >> _S32)


@njit(inline="always")
def _unseen(word: Any, indices: Any, low: Any, high: Any, n_items: Any) -> Any:
    """An item outside ``indices[low:high]``, uniform, for the place ``word``."""
    for retry in range(MAX_RETRIES):
        item = _below(_fold(word, retry), n_items)
        left, right = low, high
        while left < right:
            middle = (left + right) >> 1
            if indices[middle] < item:
                left = middle + 1
            else:
                right = middle
        if left == high or indices[left] != item:
            return item
    rank = _below(_fold(word, MAX_RETRIES), n_items - (high - low))
    left, right = low, high
    while left < right:  # it follows all the seen ones with item − place ≤ rank
        middle = (left + right) >> 1
        if indices[middle] - (middle - low) <= rank:
            left = middle + 1
        else:
            right = middle
    return rank + (left - low)


@njit(parallel=True, cache=True, fastmath={"reassoc", "contract"})
def hardest(
    users_B: NDArray[np.int64],
    user_vectors: NDArray[np.floating],
    item_vectors: NDArray[np.floating],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    widths_L: NDArray[np.int64],
    candidates: int,
    prefix: np.uint64,
    first: int,
) -> NDArray[np.int64]:
    """(B, L) negatives: for each level the best-scored of its own ``candidates`` draws.

    ``prefix`` is ``chain(seed, SALT_DRAW, step)``; ``first`` the place of the first example in the
    global batch. Level l scores only the first ``widths_L[l]`` coordinates. Ties: the lower draw.
    """
    n_items = item_vectors.shape[0]
    negatives = np.empty((users_B.shape[0], widths_L.shape[0]), np.int64)
    for b in prange(users_B.shape[0]):
        user = users_B[b]
        low, high = indptr[user], indptr[user + 1]
        example = _fold(prefix, first + b)
        for level in range(widths_L.shape[0]):
            width = widths_L[level]
            place = _fold(example, level)
            chosen, best = np.int64(0), np.float32(0)
            for draw in range(candidates):
                item = _unseen(_fold(place, draw), indices, low, high, n_items)
                score = np.float32(0)
                if candidates > 1:
                    for k in range(width):
                        score += user_vectors[user, k] * item_vectors[item, k]
                if draw == 0 or score > best:
                    best = score
                    chosen = item
            negatives[b, level] = chosen
    return negatives


@njit(parallel=True, cache=True)
def drawn(
    users_B: NDArray[np.int64],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    n_items: int,
    levels: int,
    candidates: int,
    prefix: np.uint64,
    first: int,
) -> NDArray[np.int64]:
    """(B, levels, candidates): the draws that ``hardest`` chooses from."""
    out = np.empty((users_B.shape[0], levels, candidates), np.int64)
    for b in prange(users_B.shape[0]):
        low, high = indptr[users_B[b]], indptr[users_B[b] + 1]
        for level in range(levels):
            place = _fold(_fold(prefix, first + b), level)
            for draw in range(candidates):
                item = _unseen(_fold(place, draw), indices, low, high, n_items)
                out[b, level, draw] = item
    return out
