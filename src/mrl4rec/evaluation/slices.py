"""Slices of users by activity and of items by popularity: groups that no new model may fail.

Shapes: E users who are judged, I items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrl4rec.kernels.csr import Csr, csr

Bounds = tuple[tuple[str, int, int | None], ...]
"""Name, least, most (None: no limit)."""
ACTIVITY: Bounds = (
    ("new", 0, 0),
    ("1-4", 1, 4),
    ("5-9", 5, 9),
    ("10-19", 10, 19),
    ("20+", 20, None),
)
"""Users by their training pairs before the window."""
POPULARITY = ("head", "middle", "tail", "new")
"""Items by training pairs: thirds of all pairs, and items without any."""


def by_activity(
    history_E: NDArray[np.integer], bounds: Bounds = ACTIVITY
) -> dict[str, NDArray[np.bool_]]:
    """Name → (E,) who is in it, given everybody's training pairs. The slices share no user."""
    return {
        name: (history_E >= least) & (history_E <= (np.inf if most is None else most))
        for name, least, most in bounds
    }


def by_popularity(pairs_I: NDArray[np.integer]) -> NDArray[np.int8]:
    """(I,) the place in ``POPULARITY`` of each item, given its training pairs.

    From the most popular down, ``head`` holds the first third of all pairs, ``middle`` the second.
    Equally popular items stay together, where the third begins: an item belongs by the share of
    pairs that strictly more popular items hold.
    """
    counts, places, items = np.unique(pairs_I, return_inverse=True, return_counts=True)
    held = counts * items
    above = held[::-1].cumsum()[::-1] - held
    third = 3 * above // max(1, int(held.sum()))
    third[counts == 0] = POPULARITY.index("new")
    return third.astype(np.int8)[places]


def truth_by_popularity(seen: Csr, truth: Csr) -> list[Csr]:
    """The held-out items in each slice of ``POPULARITY``; ``seen`` has the training pairs."""
    slice_of = by_popularity(np.bincount(seen.indices, minlength=seen.n_columns))
    rows = np.repeat(np.arange(truth.n_rows), truth.degrees)
    parts = []
    for g in range(len(POPULARITY)):
        kept = slice_of[truth.indices] == g
        parts.append(csr(rows[kept], truth.indices[kept], truth.n_rows, truth.n_columns))
    return parts
