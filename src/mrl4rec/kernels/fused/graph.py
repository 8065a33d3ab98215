"""The other loops of a step on LightGCN: the product with the graph, gradients, Adam in all rows.

Each row of the graph takes part in each step through its neighbours, so rows are moved densely.
Rows are propagated, before, and gradients carried back, after, by the same product with the graph.

Shapes: N = U + I nodes, the users first, M directed edges by their heads, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.fused.loops import block
from mrl4rec.kernels.fused.memory import CHUNKS, Batch, Links, Recipe
from mrl4rec.kernels.fused.step import sum_item, sum_user
from mrl4rec.kernels.lazy_adam import PLAIN, Schedule, Tables, constants, update
from mrl4rec.kernels.vector import add_edges, dot


@njit(**PLAIN)
def _spread(
    part: int,
    bounds_P: NDArray[np.int64],
    indptr: NDArray[np.int64],
    tails_M: NDArray[np.int64],
    own_M: NDArray[np.int64],
    weights_M1: NDArray[Any],
    first_N: NDArray[Any],
    source_N: NDArray[Any],
    share: float,
    wanted_N: NDArray[np.bool_],
    out_ND: NDArray[Any],
) -> None:
    scale = out_ND.dtype.type(share)
    for row in range(bounds_P[part], bounds_P[part + 1]):
        if wanted_N[row]:
            for k in range(out_ND.shape[1]):
                out_ND[row, k] = first_N[row, k]
            begin, end = indptr[row], indptr[row + 1]
            add_edges(out_ND, row, weights_M1, own_M, source_N, tails_M, begin, end)
            for k in range(out_ND.shape[1]):
                out_ND[row, k] *= scale


@njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def spread(
    bounds_P: NDArray[np.int64],
    indptr: NDArray[np.int64],
    tails_M: NDArray[np.int64],
    own_M: NDArray[np.int64],
    weights_M1: NDArray[Any],
    first_N: NDArray[Any],
    source_N: NDArray[Any],
    share: float,
    wanted_N: NDArray[np.bool_],
    out_ND: NDArray[Any],
) -> None:
    """``out`` = ``share`` · (``first`` + graph · ``source``) in the wanted rows, d columns of each.

    ``bounds_P`` are ``edges.bounds``: as many parts as chunks.
    """
    for c in prange(CHUNKS):
        part, _ = block(c, CHUNKS)
        _spread(
            np.int64(part),
            bounds_P,
            indptr,
            tails_M,
            own_M,
            weights_M1,
            first_N,
            source_N,
            share,
            wanted_N,
            out_ND,
        )


@njit(**PLAIN)
def _gather(
    c: int,
    nodes: Tables,
    recipe: Recipe,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    sums_ND: NDArray[Any],
    counts_N: NDArray[Any],
    squares_N: NDArray[Any],
) -> None:
    n_users, dim = user_links.head_R.shape[0], sums_ND.shape[1]
    begin, end = block(c, sums_ND.shape[0])
    for row in range(begin, end):
        if row < n_users:
            count = sum_user(row, c, batch, user_links)
        else:
            count = sum_item(row - n_users, c, batch, item_links, recipe)
        if count == 0 and counts_N[row] == 0:
            continue  # it has been zero since the batch before
        counts_N[row] = count
        squares_N[row] = count * dot(nodes.rows, row, nodes.rows, row, dim)
        for k in range(dim):
            sums_ND[row, k] = batch.sums_CD[c, k]


@njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def gather(
    nodes: Tables,
    recipe: Recipe,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    sums_ND: NDArray[Any],
    counts_N: NDArray[Any],
    squares_N: NDArray[Any],
) -> None:
    """``sums_ND`` = what the examples give each scored row, ``counts_N`` the places of each node in
    the batch, ``squares_N`` as often its squared norm. All three hold those of the batch before.
    """
    for c in prange(CHUNKS):
        _gather(
            np.int64(c),
            nodes,
            recipe,
            batch,
            user_links,
            item_links,
            sums_ND,
            counts_N,
            squares_N,
        )


@njit(**PLAIN)
def _move(
    c: int,
    nodes: Tables,
    gradients_ND: NDArray[Any],
    counts_N: NDArray[Any],
    pull: float,
    now: int,
    schedule: Schedule,
) -> None:
    kind = nodes.rows.dtype.type
    wide = constants(now, schedule)
    alpha, rate = kind(wide[0]), kind(wide[1])
    begin, end = block(c, nodes.rows.shape[0])
    for row in range(begin, end):
        own = kind(pull * counts_N[row])
        update(nodes, row, gradients_ND, row, own, gradients_ND, row, now, alpha, rate)


@njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def move(
    nodes: Tables,
    gradients_ND: NDArray[Any],
    counts_N: NDArray[Any],
    pull: float,
    now: int,
    schedule: Schedule,
) -> None:
    """Take Adam's step ``now + 1`` in every row; its gradient is ``gradients_ND`` and, for each of
    its ``counts_N`` places in the batch, ``pull`` times its value.
    """
    for c in prange(CHUNKS):
        _move(np.int64(c), nodes, gradients_ND, counts_N, pull, now, schedule)
