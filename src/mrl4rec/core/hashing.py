"""One integer mixing hash for every draw and tie: the same bits in Python, NumPy, numba and torch.

SplitMix64's finaliser (Steele, Lea, Flood 2014). A *chain* folds several integers into one word:
``chain(a, b, c) = mix(mix(mix(a) ^ b·GOLDEN) ^ c·GOLDEN)`` modulo 2⁶⁴, so that a draw is a pure
function of its place (seed, step, example, level, draw, retry) and needs no generator state.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
MASK = (1 << 64) - 1

# Salts keep the streams of different uses apart; a new use takes a new number.
SALT_DRAW, SALT_ORDER, SALT_TIE, SALT_INIT = range(1, 5)
SALT_NOISE, SALT_USERS = 20, 21


def mix(word: int) -> int:
    """SplitMix64's finaliser of one word, as a Python integer in [0, 2⁶⁴)."""
    z = (word + GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * MIX_1) & MASK
    z = ((z ^ (z >> 27)) * MIX_2) & MASK
    return z ^ (z >> 31)


def chain(first: int, *rest: int) -> int:
    """Fold integers into one 64-bit word; negative integers count modulo 2⁶⁴."""
    word = mix(first & MASK)
    for value in rest:
        word = mix(word ^ ((value & MASK) * GOLDEN & MASK))
    return word


def mix_array(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``mix`` of every element; uint64 arithmetic wraps around as it should."""
    z = words + np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_2)
    return z ^ (z >> np.uint64(31))


def chain_array(prefix: int, values: NDArray[np.integer]) -> NDArray[np.uint64]:
    """``chain(*prefix parts, value)`` for each value, given the word ``prefix = chain(*parts)``."""
    words = np.asarray(values).astype(np.int64).view(np.uint64)
    return mix_array(np.uint64(prefix) ^ (words * np.uint64(GOLDEN)))


def permutation(n: int, *place: int) -> NDArray[np.int64]:
    """A permutation of ``range(n)`` that is a pure function of ``place`` (ties by index)."""
    keys = chain_array(chain(*place), np.arange(n, dtype=np.int64))
    return np.argsort(keys, kind="stable")


def uniform(rows: int, dim: int, bound: float, seed: int, table: int) -> NDArray[np.float64]:
    """(rows, dim) values of U(±bound), a pure function of (seed, table, place)."""
    words = chain_array(chain(seed, SALT_INIT, table), np.arange(rows * dim, dtype=np.int64))
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((2.0 * unit - 1.0) * bound).reshape(rows, dim)


def xavier(rows: int, dim: int, seed: int, table: int) -> NDArray[np.float64]:
    """(rows, dim) values of U(±√(6/(rows + dim))), a pure function of (seed, table, place)."""
    return uniform(rows, dim, math.sqrt(6.0 / (rows + dim)), seed, table)
