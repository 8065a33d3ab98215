"""Means of users drawn again with replacement: how else the same people could have turned out.

A draw takes E users out of E with replacement; how often each was taken are multinomial weights,
and a column's mean is their weighted mean. One set of weights serves all columns, so that whoever
is taken twice counts twice at every width and in every slice. Weights are counted for a few draws
at a time, so memory does not grow with their number. (Poisson weights would need no counting, but
then E itself varies, and drawing them takes longer than counting.)

Shapes: E users, C columns, B draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WEIGHTS = 1 << 18
"""Weights held at once: 2 MB, and as much for the draws they are counted from."""


def resampled_means(values_EC: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """(B, C) means over users of each draw; NaN in ``values_EC`` marks who is not in a column.

    A draw in which nobody of a column was taken gives NaN there. The same for the same seed.
    """
    n_users, n_columns = values_EC.shape
    there = ~np.isnan(values_EC)
    sums = np.concatenate([np.where(there, values_EC, 0.0), there.astype(float)], axis=1)
    rng = np.random.default_rng(seed)
    out = np.empty((draws, n_columns))
    step = max(1, min(draws, WEIGHTS // n_users))
    for begin in range(0, draws, step):
        n = min(step, draws - begin)
        total = _weights(rng, n, n_users) @ sums
        with np.errstate(invalid="ignore"):
            out[begin : begin + n] = total[:, :n_columns] / total[:, n_columns:]
    return out


def _weights(rng: np.random.Generator, n: int, n_users: int) -> NDArray[np.float64]:
    """(n, E) how often each user was taken in each of ``n`` draws."""
    taken = rng.integers(0, n_users, size=(n, n_users))
    taken += np.arange(n)[:, None] * n_users
    counted = np.bincount(taken.reshape(-1), minlength=n * n_users)
    return counted.reshape(n, n_users).astype(np.float64)
