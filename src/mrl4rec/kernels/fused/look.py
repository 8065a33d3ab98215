"""The first loop of a step: negatives, losses, slopes and the users' gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.draws import MAX_RETRIES, _below, _fold, _unseen
from mrl4rec.kernels.fused.loops import add_negative, add_tails, block, prefetch_row
from mrl4rec.kernels.fused.memory import (
    BCE,
    CHUNKS,
    FRESH,
    LAST_MARK,
    MRL,
    UP_TO_DATE,
    Batch,
    Recipe,
)
from mrl4rec.kernels.lazy_adam import PLAIN, Schedule, Tables, fresh
from mrl4rec.kernels.rules import HARDEST, NEAREST, pick
from mrl4rec.kernels.vector import ROWS, dot, dots, prefetch


@njit(inline="always")
def _draw(
    batch: Any, c: int, at: int, place: Any, candidates: int, low: int, high: int, indices: Any,
    n_items: int,
) -> None:  # fmt: skip
    """Row ``at`` of the drawn items: those of a place, as ``mrl4rec.kernels.draws`` draws them.

    ``marks_CM`` has the marks of the user's seen items. What hits a mark is looked up; or, where
    each item has a mark of its own, drawn again at once.
    """
    for draw in range(candidates):
        batch.drawn_CN[at, draw] = _below(_fold(_fold(place, draw), 0), n_items)
    own = n_items <= LAST_MARK + 1
    for draw in range(candidates):
        item, retry = np.int64(batch.drawn_CN[at, draw]), 0
        if batch.marks_CM[c, item & LAST_MARK]:
            word = _fold(place, draw)
            while own and retry < MAX_RETRIES and batch.marks_CM[c, item & LAST_MARK]:
                retry += 1
                item = _below(_fold(word, retry), n_items)
            if not own or retry == MAX_RETRIES:
                item = _unseen(word, indices, low, high, n_items)
            batch.drawn_CN[at, draw] = item


@njit(inline="always")
def _chosen(
    batch: Any, b: int, c: int, at: int, width: int, recipe: Any, items: Any, now: int,
    schedule: Any, place: Any,
) -> int:  # fmt: skip
    """Of the drawn items in row ``at`` the one that the rule takes; ties: the lower draw.

    ``place`` is the word of the example's level.
    """
    if recipe.candidates == 1:
        return int(batch.drawn_CN[at, 0])
    if recipe.scored == FRESH:
        for draw in range(recipe.candidates):
            item = np.int64(batch.drawn_CN[at, draw])
            fresh(batch.sums_CD, c, items, item, width, now, schedule)
            batch.scores_CN[at, draw] = dot(batch.users_BD, b, batch.sums_CD, c, width)
    else:
        for first in range(0, recipe.candidates, ROWS):
            dots(batch.scores_CN, at, batch.users_BD, b, items.rows, batch.drawn_CN, first, width)
    if recipe.kind != HARDEST:
        own = batch.scores_CN.dtype.type(0)
        if recipe.kind == NEAREST:
            positive = batch.items_E[b * (1 + recipe.widths_L.shape[0])]
            if recipe.scored == UP_TO_DATE:
                own = dot(batch.users_BD, b, items.rows, positive, width)
            else:
                fresh(batch.sums_CD, c, items, positive, width, now, schedule)
                own = dot(batch.users_BD, b, batch.sums_CD, c, width)
        taken = pick(batch.scores_CN, at, recipe.candidates, recipe, own, place)
        return int(batch.drawn_CN[at, taken])
    best = batch.scores_CN[at, 0]
    chosen = 0
    for draw in range(1, recipe.candidates):
        score = batch.scores_CN[at, draw]
        better = score > best  # two selections: a branch here is mispredicted every other time
        best = score if better else best
        chosen = draw if better else chosen
    return int(batch.drawn_CN[at, chosen])


@njit(inline="always")
def _apart(batch: Any, c: int, b: int, own: Any, n_batch: int) -> float:
    """BCE of the positive's score and the negative's, which stands for the chunk's gap."""
    loss, positive, negative = 0.0, -float(own), batch.gaps_CP[c, 0]
    small = math.exp(-abs(positive))
    loss += max(positive, 0.0) + math.log1p(small)
    batch.tails_BP[b, 0] = (1.0 if positive > 0 else small) / (1.0 + small) / n_batch
    small = math.exp(-abs(negative))
    loss += max(negative, 0.0) + math.log1p(small)
    batch.slopes_BP[b, 0] = (1.0 if negative > 0 else small) / (1.0 + small) / n_batch
    return loss


@njit(inline="always")
def _slopes(batch: Any, c: int, b: int, kind: int, n_batch: int) -> float:
    """An example's loss from the chunk's gaps; its slopes and their tails are written."""
    n = batch.slopes_BP.shape[1]
    loss, product = 0.0, 1.0
    if kind == MRL:
        for p in range(n):
            gap = batch.gaps_CP[c, p]
            small = math.exp(-abs(gap))
            loss += max(gap, 0.0) / n
            product *= 1.0 + small
            if p % 60 == 59 or p == n - 1:  # the product of so many stays below 2⁶⁰
                loss += math.log(product) / n
                product = 1.0
            share = 1.0 if gap > 0 else small
            batch.slopes_BP[b, p] = share / (1.0 + small) / n / n_batch
    else:
        top = 0.0
        for p in range(n):
            top = max(top, batch.gaps_CP[c, p])
        total = math.exp(-top)
        for p in range(n):
            batch.gaps_CP[c, p] = math.exp(batch.gaps_CP[c, p] - top)
            total += batch.gaps_CP[c, p]
        loss = top + math.log(total)
        for p in range(n):
            batch.slopes_BP[b, p] = batch.gaps_CP[c, p] / total / n_batch
    tail = 0.0
    for p in range(n - 1, -1, -1):
        tail += batch.slopes_BP[b, p]
        batch.tails_BP[b, p] = tail
    return loss


@njit(inline="always")
def _ask(items: Any, item: int, whole: int, as_stored: bool) -> None:
    """Ask for the part of an item's row that its gradient will read."""
    if not as_stored:
        prefetch(items.at_R, item, 1)
    prefetch(items.rows, item, whole)


@njit(**PLAIN)
def _look(
    c: int,
    users_B: NDArray[np.int64],
    positives_B: NDArray[np.int64],
    users: Tables,
    items: Tables,
    seen: tuple[NDArray[np.int64], NDArray[np.int32]],
    recipe: Recipe,
    prefix: np.uint64,
    now: int,
    schedule: Schedule,
    batch: Batch,
) -> None:
    """Every ``CHUNKS``-th example from ``c`` on."""
    indptr, indices = seen
    n_items, dim = items.rows.shape[0], batch.users_BD.shape[1]
    negatives, n_pairs = recipe.widths_L.shape[0], recipe.widths_P.shape[0]
    stride = 1 + negatives
    minus = items.rows.dtype.type(-1)
    as_stored = recipe.scored == UP_TO_DATE
    rows = items.rows if as_stored else batch.items_CD
    whole = dim if as_stored else 3 * dim  # of a row, what will be read
    late = 0 if as_stored else 1  # examples between scoring and gradients
    begin, end = block(c, users_B.shape[0])
    low, high, example = 0, 0, prefix
    # In turn an example is drawn, the one before it scored, and that one or the one before has its
    # gradients: meanwhile memory answers for what is read next.
    for ahead in range(begin, end + 1 + late):
        b, g = ahead - 1, ahead - 1 - late
        scoring = begin <= b < end
        if ahead < end:
            user = users_B[ahead]
            prefetch_row(users, user)
            low, high = indptr[user], indptr[user + 1]
            for place in range(low, high):
                batch.marks_CM[c, indices[place] & LAST_MARK] = 1
            example = _fold(prefix, ahead)
        if scoring:
            fresh(batch.users_BD, b, users, users_B[b], dim, now, schedule)
            batch.items_E[b * stride] = positives_B[b]
            _ask(items, positives_B[b], whole, as_stored)
        for level in range(negatives):
            width = recipe.widths_L[level]
            if ahead < end:
                at = (c * 2 + (ahead & 1)) * negatives + level
                word = _fold(example, level)
                _draw(batch, c, at, word, recipe.candidates, low, high, indices, n_items)
                for draw in range(recipe.candidates):
                    prefetch(items.rows, np.int64(batch.drawn_CN[at, draw]), width)
            if scoring:
                at = (c * 2 + (b & 1)) * negatives + level
                word = _fold(_fold(prefix, b), level)
                item = _chosen(batch, b, c, at, width, recipe, items, now, schedule, word)
                _ask(items, item, whole, as_stored)
                batch.items_E[b * stride + 1 + level] = item
        if ahead < end:
            for place in range(low, high):
                batch.marks_CM[c, indices[place] & LAST_MARK] = 0
        if g < begin:
            continue
        squares = dot(batch.users_BD, g, batch.users_BD, g, dim)
        for which in range(stride):
            item = batch.items_E[g * stride + which]
            if as_stored:
                batch.rows_CS[c, which] = item
                squares += batch.norms_I[item]
            else:
                row = c * stride + which
                batch.rows_CS[c, which] = row
                fresh(batch.items_CD, row, items, item, dim, now, schedule)
                squares += dot(batch.items_CD, row, batch.items_CD, row, dim)
        own = batch.rows_CS[c, 0]
        if recipe.loss == BCE:
            other = batch.rows_CS[c, 1]
            batch.gaps_CP[c, 0] = dot(batch.users_BD, g, rows, other, dim)
            own_score = dot(batch.users_BD, g, rows, own, dim)
            loss = _apart(batch, c, g, own_score, users_B.shape[0])
        else:
            for p in range(n_pairs):
                other, width = batch.rows_CS[c, 1 + min(p, negatives - 1)], recipe.widths_P[p]
                score = dot(batch.users_BD, g, rows, other, width)
                batch.gaps_CP[c, p] = score - dot(batch.users_BD, g, rows, own, width)
            loss = _slopes(batch, c, g, recipe.loss, users_B.shape[0])
        batch.losses_B[g] = (loss + recipe.l2 / 2 * squares) / users_B.shape[0]
        for k in range(dim):
            batch.pulls_BD[g, k] = 0
        add_tails(batch.pulls_BD, g, minus, batch, g, rows, own, recipe)
        for k in range(negatives):
            other = batch.rows_CS[c, 1 + k]
            add_negative(batch.pulls_BD, g, k, batch, g, rows, other, recipe)


@njit(parallel=True, nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def look(
    users_B: NDArray[np.int64],
    positives_B: NDArray[np.int64],
    users: Tables,
    items: Tables,
    seen: tuple[NDArray[np.int64], NDArray[np.int32]],
    recipe: Recipe,
    prefix: np.uint64,
    now: int,
    schedule: Schedule,
    batch: Batch,
) -> None:
    """Fill ``batch`` for these examples; the tables stay as they are.

    ``prefix`` is ``chain(seed, SALT_DRAW, step)``; ``now`` the steps taken so far.
    """
    for c in prange(CHUNKS):
        _look(
            np.int64(c),
            users_B,
            positives_B,
            users,
            items,
            seen,
            recipe,
            prefix,
            now,
            schedule,
            batch,
        )
