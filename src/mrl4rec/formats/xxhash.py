"""XXH64 as Spark's ``xxhash64`` computes it, so that both sides give a pair of ids one number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SEED = 42
"""Spark's."""

_P1, _P2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_P3, _P4 = np.uint64(0x165667B19E3779F9), np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


@njit(cache=True, nogil=True)
def _turn(x: Any, bits: int) -> Any:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def _bytes(text: Any, i: int, n: int) -> Any:
    """``n`` bytes as a number, the lowest first."""
    value = np.uint64(0)
    for k in range(n):
        value |= np.uint64(text[i + k]) << np.uint64(8 * k)
    return value


@njit(cache=True, nogil=True)
def _round(state: Any, word: Any) -> Any:
    return _turn(state + word * _P2, 31) * _P1


@njit(cache=True, nogil=True)
def xxhash64(text: Any, start: int, end: int, seed: Any) -> Any:
    """XXH64 of ``text[start:end]``."""
    i, length = start, end - start
    if length >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while end - i >= 32:
            a, b = _round(a, _bytes(text, i, 8)), _round(b, _bytes(text, i + 8, 8))
            c, d = _round(c, _bytes(text, i + 16, 8)), _round(d, _bytes(text, i + 24, 8))
            i += 32
        h = _turn(a, 1) + _turn(b, 7) + _turn(c, 12) + _turn(d, 18)
        for lane in (a, b, c, d):
            h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(length)
    while end - i >= 8:
        h = _turn(h ^ _round(np.uint64(0), _bytes(text, i, 8)), 27) * _P1 + _P4
        i += 8
    if end - i >= 4:
        h = _turn(h ^ (_bytes(text, i, 4) * _P1), 23) * _P2 + _P3
        i += 4
    while i < end:
        h = _turn(h ^ (np.uint64(text[i]) * _P5), 11) * _P1
        i += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@njit(cache=True, nogil=True)
def pair_hash(text: Any, user: int, user_end: int, item: int, item_end: int) -> Any:
    """What Spark's ``xxhash64(user, item)`` gives: the first's hash is the second's seed."""
    first = xxhash64(text, user, user_end, np.uint64(SEED))
    return np.int64(xxhash64(text, item, item_end, first))
