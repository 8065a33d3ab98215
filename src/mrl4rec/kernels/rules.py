"""Which of the drawn candidates becomes the negative: one parallel loop over the batch (numba).

Equations: docs/methods.md#negative-samplers. Scores are cut to the level's width;
ties go to the lower draw.

Shapes: B examples, U users, I items, d dimensions, L levels, n candidates.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.draws import _below, _fold, _unseen

HARDEST, AMONG_TOP, NEAREST = range(3)
"""The best scored; one of the ``top`` best, by a draw; the one scored nearest to a target."""
POLE = 1e-3
"""s_ui + alpha is taken to be at least this: beyond, the target of ``NEAREST`` has its pole."""


class Rule(NamedTuple):
    """How one of a level's candidates is taken."""

    kind: int
    top: int
    """``AMONG_TOP``: how many."""
    alpha: float
    beta: float
    power: float
    """``NEAREST``: the target is beta·(s_ui + alpha)^power, s_ui the positive's score."""


PLAIN = Rule(HARDEST, 1, 0.0, 0.0, 0.0)


@njit(inline="always")
def target(own: Any, rule: Any) -> float:
    """The score that ``NEAREST`` looks for, beside a positive scored ``own``."""
    return rule.beta * math.pow(max(float(own) + rule.alpha, POLE), rule.power)


@njit(inline="always")
def pick(scores_TN: Any, t: int, candidates: int, rule: Any, own: Any, place: Any) -> int:
    """The draw that the rule takes by the scores in row ``t``.

    ``place`` is the level's word: ``AMONG_TOP`` draws its rank after the candidates. The scores it
    has passed over are overwritten.
    """
    chosen = 0
    if rule.kind == NEAREST:
        wanted = target(own, rule)
        best = abs(float(scores_TN[t, 0]) - wanted)
        for draw in range(1, candidates):
            gap = abs(float(scores_TN[t, draw]) - wanted)
            better = gap < best
            best = gap if better else best
            chosen = draw if better else chosen
        return chosen
    rank = 0
    if rule.kind == AMONG_TOP:
        rank = _below(_fold(_fold(place, candidates), 0), min(rule.top, candidates))
    for round_ in range(rank + 1):
        if round_ > 0:
            scores_TN[t, chosen] = -np.inf
        chosen = 0
        for draw in range(1, candidates):
            chosen = draw if scores_TN[t, draw] > scores_TN[t, chosen] else chosen
    return chosen


@njit(parallel=True, cache=True, fastmath={"reassoc", "contract"})
def chosen(
    users_B: NDArray[np.int64],
    positives_B: NDArray[np.int64],
    user_vectors: NDArray[np.floating],
    item_vectors: NDArray[np.floating],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    widths_L: NDArray[np.int64],
    candidates: int,
    rule: Rule,
    prefix: np.uint64,
    first: int,
) -> NDArray[np.int64]:
    """(B, L) negatives: for each level the one of its own draws that the rule takes.

    Draws, ``prefix`` and ``first`` are those of ``draws.hardest``.
    """
    n_items = item_vectors.shape[0]
    negatives = np.empty((users_B.shape[0], widths_L.shape[0]), np.int64)
    for b in prange(users_B.shape[0]):
        user, positive = users_B[b], positives_B[b]
        low, high = indptr[user], indptr[user + 1]
        example = _fold(prefix, first + b)
        drawn = np.empty(candidates, np.int64)
        scores = np.empty((1, candidates), user_vectors.dtype)
        for level in range(widths_L.shape[0]):
            width = widths_L[level]
            place = _fold(example, level)
            own = user_vectors.dtype.type(0)
            for k in range(width):
                own += user_vectors[user, k] * item_vectors[positive, k]
            for draw in range(candidates):
                item = _unseen(_fold(place, draw), indices, low, high, n_items)
                score = user_vectors.dtype.type(0)
                for k in range(width):
                    score += user_vectors[user, k] * item_vectors[item, k]
                drawn[draw], scores[0, draw] = item, score
            negatives[b, level] = drawn[pick(scores, 0, candidates, rule, own, place)]
    return negatives


@njit(parallel=True, cache=True)
def seen_among(
    users_B: NDArray[np.int64],
    items_N: NDArray[np.int64],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    n_items: int,
) -> NDArray[np.bool_]:
    """(B, N) True where the user has seen the item.

    Each user's few seen items are looked up among the N, by a chain of an item's places there;
    looking up the N among those a user has seen would cost N searches a user.
    """
    first_I = np.full(n_items, -1, np.int32)
    next_N = np.empty(items_N.shape[0], np.int32)
    for n in range(items_N.shape[0]):
        next_N[n] = first_I[items_N[n]]
        first_I[items_N[n]] = n
    found = np.zeros((users_B.shape[0], items_N.shape[0]), np.bool_)
    for b in prange(users_B.shape[0]):
        for at in range(indptr[users_B[b]], indptr[users_B[b] + 1]):
            n = first_I[indices[at]]
            while n >= 0:
                found[b, n] = True
                n = next_N[n]
    return found
