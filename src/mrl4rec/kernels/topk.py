"""Exact top-K by inner product, for every prefix width in one pass, on the CPU (numba).

Shapes: B users, I items, N items padded to whole tiles, d dimensions, W widths, K list length.

A score is a chain of fused multiply-adds in the order of the dimensions, one rounding each:
``s ← fma(u_k, v_k, s)`` for k = 0, 1, … It is therefore the same bits whatever the number of
users at once, the tiles, the threads or the widths asked for; the score at width l *is* the
running value after l dimensions, so all widths cost one pass.

Selection: the items fall into groups by position modulo G, and the K-th largest of the groups'
maxima is a lower bound of the K-th best score. Only groups that reach it are looked at; a little
more than K items do. NumPy's ``argpartition`` and ``torch.topk``, asked for the same order of ties,
take 8 to 10 times as long on rows of 8,000 scores; SciPy's product before it adds to an item-item
model's lists half their time where its weights are dense, and 3.5 times where they are sparse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

TILE = 256
"""Items of a tile: 64 dimensions of it fit the second-level cache, its scores the first."""
LANES = 2
"""Users whose scores are computed together: as many as the registers hold four numbers of."""
GROUPS_PER_PLACE = 12
"""More groups give a tighter bound and less to look at, but take longer to select among."""
NO_ITEM = np.int32(-1)
LOWEST, HIGHEST = np.finfo(np.float32).min, np.finfo(np.float32).max
BISECTIONS = 16
FEW = 192
"""So many keys are put in order by counting, more by sorting."""
MINUS_ZERO = np.int64(-(1 << 31))


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a·b + c`` with one rounding, whatever the optimiser makes of the loop around it."""
    signature = types.float32(types.float32, types.float32, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


def pack(item_vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Item vectors (I, d) as tiles (tiles, d, TILE), zeros after the last item."""
    n_items, dim = item_vectors.shape
    n_tiles = -(-n_items // TILE)
    padded = np.zeros((n_tiles * TILE, dim), dtype=np.float32)
    padded[:n_items] = item_vectors
    return np.ascontiguousarray(padded.reshape(n_tiles, TILE, dim).transpose(0, 2, 1))


def groups(n_items: int, k: int) -> int:
    """Number of groups G for lists of ``k``: a multiple of TILE, some groups for each place."""
    padded = -(-n_items // TILE) * TILE
    return min(padded, -(-GROUPS_PER_PLACE * k // TILE) * TILE)


@njit(cache=True, nogil=True, inline="always")
def _accumulate(
    scores: Any, first: int, start: int, tile: Any, users: Any, low: int, high: int
) -> None:
    """Add dimensions [low, high) of a tile to the scores of LANES users."""
    s0 = scores[first, start : start + TILE]
    s1 = scores[first + 1, start : start + TILE]
    d = low
    while d + 4 <= high:
        a0, a1, a2, a3 = _four(users[first], d)
        b0, b1, b2, b3 = _four(users[first + 1], d)
        v0, v1, v2, v3 = tile[d], tile[d + 1], tile[d + 2], tile[d + 3]
        for j in range(TILE):
            x0, x1, x2, x3 = v0[j], v1[j], v2[j], v3[j]
            s0[j] = fma(a3, x3, fma(a2, x2, fma(a1, x1, fma(a0, x0, s0[j]))))
            s1[j] = fma(b3, x3, fma(b2, x2, fma(b1, x1, fma(b0, x0, s1[j]))))
        d += 4
    while d < high:
        a0, b0 = users[first, d], users[first + 1, d]
        v0 = tile[d]
        for j in range(TILE):
            x0 = v0[j]
            s0[j] = fma(a0, x0, s0[j])
            s1[j] = fma(b0, x0, s1[j])
        d += 1


@njit(cache=True, nogil=True, inline="always")
def _four(row: Any, d: int) -> Any:
    return row[d], row[d + 1], row[d + 2], row[d + 3]


@njit(cache=True, nogil=True, inline="always")
def _raise(maxima_G: Any, group: int, row_N: Any, start: int) -> None:
    """Raise a tile's groups, from ``group`` on, to its scores, from ``start`` on."""
    most_T, new_T = maxima_G[group : group + TILE], row_N[start : start + TILE]
    for j in range(TILE):
        most_T[j] = new_T[j] if new_T[j] > most_T[j] else most_T[j]


@njit(cache=True, nogil=True)
def _kth_largest(values: Any, n: int, k: int) -> Any:
    """The k-th largest (k ≥ 1) of the first n values; they are reordered (Hoare's selection)."""
    low, high, place = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return values[place]


@njit(cache=True, nogil=True)
def _bound(maxima_G: Any, k: int) -> Any:
    """A finite score that at least ``k`` groups reach, near the k-th best of their maxima.

    By bisection, because counting has no branches to mispredict. The lowest finite number where
    fewer than k groups have an item that may be taken.
    """
    high, low, finite = LOWEST, HIGHEST, 0
    for j in range(len(maxima_G)):
        value = maxima_G[j]
        high = value if value > high else high
        low = value if low > value >= LOWEST else low
        finite += value >= LOWEST
    if finite < k:
        return LOWEST
    for _ in range(BISECTIONS):
        middle = np.float32(0.5) * low + np.float32(0.5) * high
        reached = 0
        for j in range(len(maxima_G)):
            reached += maxima_G[j] >= middle
        if reached >= k:
            low = middle
            if reached <= k + (k >> 4):
                break
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _key(bits: Any, low: int) -> Any:
    """A score's float32 bits as an integer that sorts like it, above ``low``; −0 counts as 0."""
    word = np.int64(bits)
    if word == MINUS_ZERO:
        word = np.int64(0)
    if word < 0:
        word ^= np.int64(0x7FFFFFFF)
    return (word << 32) + low


@njit(cache=True, nogil=True)
def _select(row_N: Any, maxima_G: Any, ties: Any, keys_N: Any, items_K: Any, scores_K: Any) -> None:
    """The best K of a row of scores, ties by rank; −inf is never taken, −1 fills up.

    ``maxima_G`` are the groups' maxima, ``ties`` (order_I, rank_I), ``keys_N`` is scratch.
    Numbers are selected and sorted as one integer: the score above the number of items that come
    later in the order of ties.
    """
    order_I, rank_I = ties
    n_items, n_groups, k = len(rank_I), len(maxima_G), len(items_K)
    least = _bound(maxima_G, k)
    bits_N = row_N.view(np.int32)
    found = 0
    for group in range(n_groups):
        if maxima_G[group] < least:
            continue
        for item in range(group, n_items, n_groups):
            if row_N[item] >= least:
                keys_N[found] = _key(bits_N[item], n_items - 1 - rank_I[item])
                found += 1
    if found > 4 * k + TILE:
        _kth_largest(keys_N, found, k)
        found = k
    if found > FEW:
        keys_N[:found].sort()
    items_K[:] = NO_ITEM
    scores_K[:] = -np.inf
    for index in range(found):
        place = _place(keys_N[:found], index)
        if place < k:
            item = order_I[n_items - 1 - (keys_N[index] & 0xFFFFFFFF)]
            items_K[place] = item
            scores_K[place] = row_N[item]


@njit(cache=True, nogil=True, inline="always")
def _place(keys: Any, index: int) -> int:
    """How many keys are larger: counted where they are few, else known from their order."""
    if len(keys) > FEW:
        return len(keys) - 1 - index
    larger = 0
    for j in range(len(keys)):
        larger += keys[j] > keys[index]
    return larger


@njit(cache=True, nogil=True)
def _clear(row_N: Any, n_items: int, seen: Any) -> None:
    """Zero a row of scores; −inf, which stays so whatever is added, at seen and absent items."""
    row_N[:n_items] = 0
    row_N[n_items:] = -np.inf
    for item in seen:
        row_N[item] = -np.inf


@njit(cache=True, nogil=True)
def factors(
    vectors_UD: Any,
    tiles: Any,
    widths_W: Any,
    each: int,
    users_B: Any,
    seen_indptr: Any,
    seen_indices: Any,
    ties: Any,
    keys_N: Any,
    rows: Any,
    items_BWK: Any,
    scores_BWK: Any,
) -> None:
    """Top-K of users by inner product with tiled item vectors (``pack``), at ascending widths.

    ``users_B`` are rows of ``vectors_UD``; row r has the seen items of user r // ``each``.
    ``ties`` is (order_I, rank_I); ``rows`` is (scores_LN, maxima_LG), scratch for L users at once,
    L a multiple of LANES. Writes ``items_BWK`` and ``scores_BWK``.
    """
    scores_LN, maxima_LG = rows
    lanes = scores_LN.shape[0]
    vectors_LD = np.zeros((lanes, vectors_UD.shape[1]), dtype=np.float32)
    for begin in range(0, len(users_B), lanes):
        n = min(lanes, len(users_B) - begin)
        for row in range(n):
            user = users_B[begin + row]
            vectors_LD[row] = vectors_UD[user]
            owner = user // each
            seen = seen_indices[seen_indptr[owner] : seen_indptr[owner + 1]]
            _clear(scores_LN[row], len(ties[1]), seen)
        low = 0
        for w in range(len(widths_W)):
            maxima_LG[:] = -np.inf
            group = 0
            for t in range(tiles.shape[0]):
                for first in range(0, n, LANES):
                    _accumulate(scores_LN, first, t * TILE, tiles[t], vectors_LD, low, widths_W[w])
                for row in range(n):
                    _raise(maxima_LG[row], group, scores_LN[row], t * TILE)
                group = group + TILE if group + TILE < maxima_LG.shape[1] else 0
            low = widths_W[w]
            for row in range(n):
                items_K, scores_K = items_BWK[begin + row, w], scores_BWK[begin + row, w]
                _select(scores_LN[row], maxima_LG[row], ties, keys_N, items_K, scores_K)


@njit(cache=True, nogil=True)
def _select_row(
    rows: Any, ties: Any, keys_N: Any, items_BWK: Any, scores_BWK: Any, place: int, w: int
) -> None:
    """Select from the first row of ``rows``, whose maxima are not known yet."""
    row_N, maxima_G = rows[0][0], rows[1][0]
    maxima_G[:] = -np.inf
    for start in range(0, len(row_N), TILE):
        _raise(maxima_G, start % len(maxima_G), row_N, start)
    _select(row_N, maxima_G, ties, keys_N, items_BWK[place, w], scores_BWK[place, w])


@njit(cache=True, nogil=True)
def item_item(
    weights_II: Any,
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
            weights_I = weights_II[item]
            sums_I = row_N[:n_items]
            for j in range(n_items):
                sums_I[j] += weights_I[j]
        _select_row(rows, ties, keys_N, items_BWK, scores_BWK, place, 0)


@njit(cache=True, nogil=True)
def given(
    scores_BI: Any,
    users_B: Any,
    seen_indptr: Any,
    seen_indices: Any,
    ties: Any,
    keys_N: Any,
    rows: Any,
    items_BWK: Any,
    scores_BWK: Any,
    w: int,
) -> None:
    """Top-K of rows of scores that somebody else computed, written at place ``w`` of the widths."""
    row_N, n_items = rows[0][0], len(ties[1])
    for place in range(len(users_B)):
        user = users_B[place]
        _clear(row_N, n_items, seen_indices[seen_indptr[user] : seen_indptr[user + 1]])
        row_N[:n_items] += scores_BI[place]
        _select_row(rows, ties, keys_N, items_BWK, scores_BWK, place, w)
