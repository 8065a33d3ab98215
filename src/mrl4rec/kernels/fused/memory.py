"""What the loops of a step share: what is asked for, and the memory they work in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrl4rec.kernels.vector import ROWS

CHUNKS = 64
"""Parts of a parallel loop, interleaved so that they cost about the same."""
LAST_MARK = 2047
"""Marks of seen items go by the last bits of their numbers: they fit the first-level cache."""
NOBODY = np.int32(-1)
BPR, MRL, BCE = range(3)
"""One loss over all pairs; the mean of the pairs' losses; the only pair's two items on their own.
"""
UP_TO_DATE, FRESH, LAGGING = range(3)
"""How item rows are read: every row is brought up to date in every step; rows are brought up to
date while reading; candidates are scored from rows as stored, the rest as with ``FRESH``.
"""


class Recipe(NamedTuple):
    """What kind of step is taken."""

    loss: int
    """``BPR``, ``MRL`` or ``BCE``."""
    kind: int
    top: int
    alpha: float
    beta: float
    power: float
    """Which of the candidates is taken: the fields of a ``rules.Rule``. They lie flat, as numba's
    parallel loops take no tuple in a tuple."""
    widths_L: NDArray[np.int64]
    """Widths at which candidates are scored: one negative each."""
    widths_P: NDArray[np.int64]
    candidates: int
    l2: float
    scored: int
    """``UP_TO_DATE``, ``FRESH`` or ``LAGGING``."""


class Batch(NamedTuple):
    """Working memory of one step, written by ``look`` and read by ``step``."""

    users_BD: NDArray[Any]
    """The examples' user vectors, up to date."""
    pulls_BD: NDArray[Any]
    """Each example's gradient on its user, without the regulariser."""
    items_E: NDArray[np.int64]
    """Per example the positive, then its negatives."""
    slopes_BP: NDArray[Any]
    """∂loss/∂x_p of each pair, over the batch's size; BCE: by the negative's score."""
    tails_BP: NDArray[Any]
    """Σ_{q ≥ p} of the slopes: what one item that serves all pairs gets between two widths; BCE:
    the positive's own slope, turned about."""
    losses_B: NDArray[np.float64]
    """Each example's loss, regulariser included, over the batch's size."""
    norms_I: NDArray[Any]
    """Squared norms of the item rows, kept where all rows are up to date."""
    items_CD: NDArray[Any]
    sums_CD: NDArray[Any]
    """A chunk's scratch rows: 1 + L of items, and one for a sum."""
    rows_CS: NDArray[np.int64]
    """Where the example's item vectors stand: rows of the table, or of the scratch."""
    gaps_CP: NDArray[np.float64]
    drawn_CN: NDArray[np.int32]
    """(2 · C · L, n in whole ``ROWS``): candidates of two examples of a chunk, and their scores."""
    scores_CN: NDArray[Any]
    marks_CM: NDArray[np.uint8]
    """Which items a user has seen, by their last bits."""


class Links(NamedTuple):
    """Who touches a row in this batch: chains through ``next``, from ``head`` of each row."""

    head_R: NDArray[np.int32]
    next_E: NDArray[np.int32]
    rows_E: NDArray[np.int32]
    """The touched rows, in order of last appearance."""


def batch(n: int, n_items: int, dim: int, made: Recipe, dtype: Any) -> Batch:
    """Working memory for batches of ``n`` examples."""
    pairs, each = len(made.widths_P), 1 + len(made.widths_L)
    drawn = (2 * CHUNKS * len(made.widths_L), -(-made.candidates // ROWS) * ROWS)
    return Batch(
        users_BD=np.empty((n, dim), dtype),
        pulls_BD=np.empty((n, dim), dtype),
        items_E=np.empty(n * each, dtype=np.int64),
        slopes_BP=np.empty((n, pairs), dtype),
        tails_BP=np.empty((n, pairs), dtype),
        losses_B=np.empty(n),
        norms_I=np.empty(n_items, dtype),
        items_CD=np.empty((CHUNKS * each, dim), dtype),
        sums_CD=np.empty((CHUNKS, dim), dtype),
        rows_CS=np.empty((CHUNKS, each), dtype=np.int64),
        gaps_CP=np.empty((CHUNKS, pairs)),
        drawn_CN=np.zeros(drawn, dtype=np.int32),
        scores_CN=np.zeros(drawn, dtype),
        marks_CM=np.zeros((CHUNKS, LAST_MARK + 1), dtype=np.uint8),
    )


def links(rows: int, places: int) -> Links:
    """Chains over so many rows, for so many places."""
    head = np.full(rows, NOBODY, dtype=np.int32)
    return Links(head, np.empty(places, np.int32), np.empty(places, np.int32))
