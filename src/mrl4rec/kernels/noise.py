"""Uniform numbers that are a pure function of their place, in a loop on the CPU (numba)."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.draws import _fold as fold

SHIFT = 41
"""The upper 23 bits of a word and a half are exact in float32, and neither 0 nor 1."""
SCALE = 2.0**-23

_SHIFT, _SCALE, _HALF = np.uint64(SHIFT), np.float32(SCALE), np.float32(0.5)


@njit(parallel=True, cache=True)
def uniforms(word: np.uint64, rows_R: NDArray[np.int64], columns: int) -> NDArray[np.float32]:
    """(R, C) numbers in (0, 1): that of (row, column) is a hash of ``word``, row and column."""
    out = np.empty((rows_R.shape[0], columns), np.float32)
    for place in prange(rows_R.shape[0]):
        row = fold(word, rows_R[place])
        for column in range(columns):
            bits = fold(row, column) >> _SHIFT
            out[place, column] = (np.float32(bits) + _HALF) * _SCALE
    return out
