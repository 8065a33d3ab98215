"""The second loop of a step: each touched row sums what it is given and is moved by Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.fused.loops import add_negative, add_tails, block, prefetch_row
from mrl4rec.kernels.fused.memory import CHUNKS, NOBODY, UP_TO_DATE, Batch, Links, Recipe
from mrl4rec.kernels.lazy_adam import PLAIN, UNTOUCHED, Schedule, Tables, constants, fresh, update
from mrl4rec.kernels.vector import add_scaled, dot, prefetch

AHEAD = 4
"""Rows that are asked for before their turn: memory takes longer than a row's arithmetic."""


@njit(**PLAIN)
def measure(items: Tables, norms_I: NDArray[Any]) -> None:
    """The squared norms of all item rows, to the bits that ``step`` keeps."""
    dim = items.rows.shape[1] // 3
    for row in range(norms_I.shape[0]):
        norms_I[row] = dot(items.rows, row, items.rows, row, dim)


@njit(cache=True)
def link(rows_E: NDArray[np.int64], links: Links, before: int) -> int:
    """Chain the places of each row, in ascending order; the number of distinct rows.

    ``before`` is that number of the last batch, whose chains are undone first.
    """
    for place in range(before):
        links.head_R[links.rows_E[place]] = NOBODY
    touched = 0
    for place in range(rows_E.shape[0] - 1, -1, -1):
        row = rows_E[place]
        if links.head_R[row] == NOBODY:
            links.rows_E[touched] = row
            touched += 1
        links.next_E[place] = links.head_R[row]
        links.head_R[row] = place
    return touched


@njit(inline="always")
def sum_item(row: int, c: int, batch: Any, links: Any, recipe: Any) -> int:
    """The chunk's sum = all that the batch's examples give an item, in their order; how many."""
    stride = 1 + recipe.widths_L.shape[0]
    minus = batch.sums_CD.dtype.type(-1)
    for k in range(batch.sums_CD.shape[1]):
        batch.sums_CD[c, k] = 0
    count = 0
    place = links.head_R[row]
    while place != NOBODY:
        b, which = place // stride, place % stride
        place = links.next_E[place]
        prefetch(batch.users_BD, max(place, 0) // stride, batch.sums_CD.shape[1])
        if which == 0:
            add_tails(batch.sums_CD, c, minus, batch, b, batch.users_BD, b, recipe)
        else:
            add_negative(batch.sums_CD, c, which - 1, batch, b, batch.users_BD, b, recipe)
        count += 1
    return count


@njit(inline="always")
def sum_user(row: int, c: int, batch: Any, links: Any) -> int:
    """The same for a user."""
    one = batch.sums_CD.dtype.type(1)
    for k in range(batch.sums_CD.shape[1]):
        batch.sums_CD[c, k] = 0
    count = 0
    place = links.head_R[row]
    while place != NOBODY:
        add_scaled(batch.sums_CD, c, one, batch.pulls_BD, place, 0, batch.sums_CD.shape[1])
        count += 1
        place = links.next_E[place]
    return count


@njit(**PLAIN)
def _step(
    c: int,
    users: Tables,
    items: Tables,
    recipe: Recipe,
    now: int,
    schedule: Schedule,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    touched: tuple[int, int],
    swept: tuple[int, int],
) -> None:
    """Every ``CHUNKS``-th row from ``c`` on."""
    n_users, n_items = touched
    low, high = swept
    stride = 1 + recipe.widths_L.shape[0]
    dim = items.rows.shape[1] // 3
    kind = items.rows.dtype.type
    pull = recipe.l2 / batch.losses_B.shape[0]
    scratch = c * stride
    wide = constants(now, schedule)
    alpha, rate = kind(wide[0]), kind(wide[1])
    swept_rows = high - low
    begin, end = block(c, swept_rows + n_items)
    for r in range(begin, end):
        row = low + r if r < swept_rows else np.int64(item_links.rows_E[r - swept_rows])
        if r >= swept_rows and low <= row < high:
            continue  # it was swept
        if item_links.head_R[row] == NOBODY and items.at_R[row] == UNTOUCHED:
            continue  # nothing moves it
        if swept_rows <= r + AHEAD < end:
            prefetch_row(items, np.int64(item_links.rows_E[r + AHEAD - swept_rows]))
        count = sum_item(row, c, batch, item_links, recipe)
        if recipe.scored != UP_TO_DATE:
            fresh(batch.items_CD, scratch, items, row, dim, now, schedule)
        update(
            items,
            row,
            batch.sums_CD,
            c,
            kind(pull * count),
            batch.items_CD,
            scratch,
            now,
            alpha,
            rate,
        )
        if recipe.scored == UP_TO_DATE:
            batch.norms_I[row] = dot(items.rows, row, items.rows, row, dim)
    begin, end = block(c, n_users)
    for place in range(begin, end):
        if place + AHEAD < end:
            prefetch_row(users, np.int64(user_links.rows_E[place + AHEAD]))
        row = np.int64(user_links.rows_E[place])
        first = np.int64(user_links.head_R[row])  # its fresh values are there since the look
        count = sum_user(row, c, batch, user_links)
        update(
            users,
            row,
            batch.sums_CD,
            c,
            kind(pull * count),
            batch.users_BD,
            first,
            now,
            alpha,
            rate,
        )


@njit(parallel=True, nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def step(
    users: Tables,
    items: Tables,
    recipe: Recipe,
    now: int,
    schedule: Schedule,
    batch: Batch,
    user_links: Links,
    item_links: Links,
    touched: tuple[int, int],
    swept: tuple[int, int],
) -> None:
    """Take Adam's step ``now + 1`` in every touched row, and in the item rows of ``swept``.

    ``touched`` counts the distinct users and items of the links. A swept row that no example
    touches is moved by its momentum alone; with all rows swept, items are under dense Adam.
    """
    for c in prange(CHUNKS):
        _step(
            np.int64(c),
            users,
            items,
            recipe,
            now,
            schedule,
            batch,
            user_links,
            item_links,
            touched,
            swept,
        )
