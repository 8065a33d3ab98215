"""Dense codes of texts, exact, on the CPU (numba).

A hash table with open addressing: an entry is 32 bits of a hash and a code. A code is taken only
where the bytes of its text are the same too, so a collision costs a step and never merges two
texts. Rows go through in blocks: what a block will read is first touched, all of it at once, so
that the waits for memory overlap; that is most of the time.

Shapes: N texts of a batch, S slots (a power of two), D distinct texts so far, their bytes one after
the other in an *arena*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from mrl4rec.hashing import GOLDEN, MIX_1, MIX_2

SLOTS = 1 << 12
BLOCK = 256
"""Texts whose places are touched together: they stay in the first-level cache."""
FREE = np.uint64(0)
CODE = np.uint64(0xFFFFFFFF)
"""The bits of an entry that hold its code + 1; the others hold the upper half of the hash."""
TIMES, WORD, LAST = np.uint64(MIX_1), np.uint64(GOLDEN), np.uint64(MIX_2)

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.integer]


class Dictionary:
    """The codes given so far; batches are added one after the other."""

    def __init__(self) -> None:
        self.n = 0
        """Distinct texts."""
        self._table_S = np.zeros(SLOTS, dtype=np.uint64)
        self._hashes_D = np.empty(0, dtype=np.uint64)
        self._starts_D = np.zeros(1, dtype=np.int64)
        self._arena = np.empty(1, dtype=np.uint8)

    def add(self, texts: pa.StringArray) -> NDArray[np.int32]:
        """The codes of a batch, (N,): 0 … n - 1, new texts the next ones. None may be null."""
        if not len(texts):
            return np.empty(0, dtype=np.int32)
        _, where, what = texts.buffers()
        width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
        offsets = np.frombuffer(where, width)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(what or b"", np.uint8)
        self._make_room(len(texts), int(offsets[-1]) - int(offsets[0]))
        codes = np.empty(len(texts), dtype=np.int32)
        self.n, _ = look_up(
            hash_texts(offsets, data), offsets, data, self._table_S, self._hashes_D,
            self._starts_D, self._arena, self.n, codes,
        )  # fmt: skip
        return codes

    def texts(self) -> pa.StringArray:
        """The distinct texts, (D,): row c is the text of code c; large strings above 2 GB."""
        starts = self._starts_D[: self.n + 1]
        small = int(starts[-1]) <= np.iinfo(np.int32).max
        offsets = starts.astype(np.int32 if small else np.int64)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._arena[: int(starts[-1])])]
        return pa.Array.from_buffers(pa.string() if small else pa.large_string(), self.n, buffers)

    def _make_room(self, n_texts: int, n_bytes: int) -> None:
        """Grow so that a batch of nothing but new texts fits, the table at most half full."""
        most, slots = self.n + n_texts, len(self._table_S)
        if most > len(self._hashes_D):
            self._hashes_D = _grown(self._hashes_D, 2 * most)
            self._starts_D = _grown(self._starts_D, 2 * most + 1)
        used = int(self._starts_D[self.n])
        if used + n_bytes >= len(self._arena):  # one more, for a look at the end
            self._arena = _grown(self._arena, 2 * (used + n_bytes) + 1)
        while 2 * most > slots:
            slots *= 2
        if slots > len(self._table_S):
            self._table_S = _table_of(self._hashes_D[: self.n], slots)


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    bigger = np.empty(size, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


@njit(cache=True, nogil=True)
def hash_texts(offsets: Places, data: Bytes) -> Words:
    """A 64-bit hash of each text, (N,): eight bytes at a time, its length mixed in."""
    out = np.empty(len(offsets) - 1, dtype=np.uint64)
    for n in range(len(out)):
        at, end = int(offsets[n]), int(offsets[n + 1])
        state = WORD * np.uint64(end - at + 1)
        while at < end:
            word = np.uint64(0)
            for byte in range(min(8, end - at)):
                word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            state = (state ^ word) * TIMES
            state ^= state >> np.uint64(29)
            at += 8
        state *= LAST
        out[n] = state ^ (state >> np.uint64(32))
    return out


@njit(cache=True, nogil=True)
def _entry(hash_: np.uint64, code: int) -> np.uint64:
    return (hash_ & ~CODE) | np.uint64(code + 1)


@njit(cache=True, nogil=True)
def _table_of(hashes_D: Words, slots: int) -> Words:
    """A table of so many slots with the codes of these hashes."""
    table_S = np.zeros(slots, dtype=np.uint64)
    mask = slots - 1
    for code in range(len(hashes_D)):
        slot = int(hashes_D[code]) & mask
        while table_S[slot] != FREE:
            slot = (slot + 1) & mask
        table_S[slot] = _entry(hashes_D[code], code)
    return table_S


@njit(cache=True, nogil=True)
def _same(offsets: Places, data: Bytes, row: int, starts_D: Places, arena: Bytes, c: int) -> bool:
    """Whether the text of a row is that of code ``c``."""
    start, of = int(offsets[row]), int(starts_D[c])
    length = int(offsets[row + 1]) - start
    if starts_D[c + 1] - of != length:
        return False
    different = np.uint8(0)
    for at in range(length):
        different |= arena[of + at] ^ data[start + at]
    return different == 0


@njit(cache=True, nogil=True)
def look_up(
    hashes: Words,
    offsets: Places,
    data: Bytes,
    table_S: Words,
    hashes_D: Words,
    starts_D: Places,
    arena: Bytes,
    n: int,
    out: NDArray[np.int32],
) -> tuple[int, np.uint64]:
    """Fill in the codes of a batch; the number of distinct texts then (and what was touched)."""
    mask = len(table_S) - 1
    touched = np.uint64(0)
    for first in range(0, len(hashes), BLOCK):
        last = min(first + BLOCK, len(hashes))
        for row in range(first, last):
            touched ^= table_S[int(hashes[row]) & mask]
        for row in range(first, last):  # the first entry with the same bits, most likely the one
            slot = int(hashes[row]) & mask
            while table_S[slot] != FREE and (table_S[slot] ^ hashes[row]) & ~CODE:
                slot = (slot + 1) & mask
            out[row] = int(table_S[slot] & CODE) - 1
        for row in range(first, last):
            touched ^= np.uint64(starts_D[out[row] + 1])
        for row in range(first, last):
            touched ^= np.uint64(arena[starts_D[max(out[row], 0)]])
        for row in range(first, last):
            if out[row] >= 0 and _same(offsets, data, row, starts_D, arena, out[row]):
                continue
            slot = int(hashes[row]) & mask
            while table_S[slot] != FREE:
                code = int(table_S[slot] & CODE) - 1
                alike = not (table_S[slot] ^ hashes[row]) & ~CODE
                if alike and _same(offsets, data, row, starts_D, arena, code):
                    break
                slot = (slot + 1) & mask
            if table_S[slot] == FREE:
                code = n
                n += 1
                table_S[slot], hashes_D[code] = _entry(hashes[row], code), hashes[row]
                start, length = int(offsets[row]), int(offsets[row + 1] - offsets[row])
                arena[starts_D[code] : starts_D[code] + length] = data[start : start + length]
                starts_D[code + 1] = starts_D[code] + length
            out[row] = code
    return n, touched
