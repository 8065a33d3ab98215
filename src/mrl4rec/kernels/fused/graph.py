"""The second loop of a step on LightGCN: the gradient of every propagated row, and Adam in all.

Each row of the graph takes part in each step through its neighbours, so rows are moved densely.
The product with the graph, which lies between the two loops here, is ``mrl4rec.kernels.edges``.

Shapes: N = U + I nodes, the users first, d dimensions.
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
from mrl4rec.kernels.vector import dot


@njit(**PLAIN)
def _gather(
    c: int,
    nodes: Tables,
    recipe: Recipe,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    share: float,
    sums_ND: NDArray[Any],
    counts_N: NDArray[Any],
    squares_N: NDArray[Any],
) -> None:
    n_users, dim = user_links.head_R.shape[0], sums_ND.shape[1]
    scale = sums_ND.dtype.type(share)
    begin, end = block(c, sums_ND.shape[0])
    for row in range(begin, end):
        if row < n_users:
            count = sum_user(row, c, batch, user_links)
        else:
            count = sum_item(row - n_users, c, batch, item_links, recipe)
        counts_N[row] = count
        squares_N[row] = count * dot(nodes.rows, row, nodes.rows, row, dim)
        for k in range(dim):
            sums_ND[row, k] = batch.sums_CD[c, k] * scale


@njit(parallel=True, nogil=True, cache=True, error_model="numpy")
def gather(
    nodes: Tables,
    recipe: Recipe,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    share: float,
    sums_ND: NDArray[Any],
    counts_N: NDArray[Any],
    squares_N: NDArray[Any],
) -> None:
    """``sums_ND`` = ``share`` times what the examples give each scored row, ``counts_N`` the places
    of each node in the batch, ``squares_N`` as often its squared norm.
    """
    for c in prange(CHUNKS):
        _gather(
            np.int64(c),
            nodes,
            recipe,
            batch,
            user_links,
            item_links,
            share,
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
