"""Text in blocks of whole lines. Of a line longer than a record may be only its beginning is kept.

Memory is bounded by ``BLOCK_BYTES`` and ``MAX_RECORD``, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from mrl4rec.core import lazy

with lazy.imports():
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RECORD = 1 << 20
"""Bytes of the longest record that is parsed; a longer one is quarantined."""
BLOCK_BYTES = 24 << 20
MARK = b"\x00bytes: "
"""Stands after the first MAX_RECORD bytes of a line that is longer, and before its length."""
MAX_TOKEN = 20
"""Characters of a number that are kept; no id has so many. A user is written once for each of its
items, so a long one would make much of little."""
_BLANKS = [bytes([code]) for code in b" \t\n\r\x0b\x0c"]


@dataclass(frozen=True)
class Block:
    """Consecutive records: raw text, one after the other."""

    first: int
    """Number of the first record in its file, from 0."""
    data: bytes
    ends: NDArray[np.int64]
    """Where each record ends in ``data``, its line break included."""

    @classmethod
    def of_lines(cls, first: int, data: bytes) -> Block:
        """Each line is a record; the last ends in a line break."""
        return cls(first, data, np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each record begins in ``data``."""
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]

    def record(self, n: int) -> bytes:
        """The record at a place of the block, its line break included."""
        return self.data[int(self.ends[n - 1]) if n else 0 : int(self.ends[n])]


def line_blocks(chunks: Iterable[bytes], first: int = 0) -> Iterator[Block]:
    """Blocks of whole lines; the last line need not end in a line break."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        end = chunk.rfind(b"\n") + 1 if size >= BLOCK_BYTES else 0
        if end:
            block = Block.of_lines(first, b"".join([*held, chunk[:end]]))
            yield block
            first += len(block.ends)
            held, size = [], len(chunk) - end
        held.append(chunk[end:])
    data = b"".join(held)
    if data:
        yield Block.of_lines(first, data if data.endswith(b"\n") else data + b"\n")


def cut_long_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines, each cut as ``cut`` does, in pieces of any length.

    No line is held in memory. Chunks are of at most MAX_RECORD bytes, as ``text.chunks`` reads
    them: a longer one could hold a whole line that is too long.
    """
    size = 0  # of the line so far
    for chunk in chunks:
        first = chunk.find(b"\n")
        of_line = chunk if first < 0 else chunk[:first]
        kept = of_line[: max(MAX_RECORD - size, 0)]
        size += len(of_line)
        if first < 0:
            yield kept
            continue
        yield chunk if size <= MAX_RECORD else kept + _mark(size) + chunk[first:]
        size = len(chunk) - 1 - chunk.rfind(b"\n")
    if size > MAX_RECORD:
        yield _mark(size)


def cut(record: bytes, size: int) -> bytes:
    """A record of ``size`` bytes, of which ``record`` holds all or more than MAX_RECORD: if it is
    longer than that its first MAX_RECORD bytes, and a mark with its size.
    """
    return record if size <= MAX_RECORD else record[:MAX_RECORD] + _mark(size)


def full_size(record: bytes) -> int:
    """Bytes that the record had before it was cut, if it was.

    No record can feign the mark: one that is not longer is not cut, and of one that is the last
    mark is ours.
    """
    size = record.rpartition(MARK)[2] if len(record) > MAX_RECORD and MARK in record else b""
    return int(size) if size.isdigit() else len(record)


def _mark(size: int) -> bytes:
    return MARK + str(size).encode()


class Piece(NamedTuple):
    """A user with some of its items, in the order of the file."""

    line: int
    """From 1."""
    user: bytes
    items: list[bytes]


def author_pieces(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """The lines in pieces, at least one for each line that is not blank.

    A token longer than MAX_TOKEN is cut, and ends with ``…``. Memory is bounded by the longest
    chunk.
    """
    line, user, rest = 1, b"", b""
    for chunk in chain(chunks, [b"\n"]):
        text = rest + chunk
        end = max(map(text.rfind, _BLANKS)) + 1
        rest = text[end:][: MAX_TOKEN + 1]  # a token that goes on in the next chunk
        for number, piece in enumerate(text[:end].split(b"\n")):
            if number:
                line, user = line + 1, b""
            if tokens := [_short(token) for token in piece.split()]:
                first = not user
                user = user or tokens[0]
                yield Piece(line, user, tokens[1:] if first else tokens)


def author_pairs(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """``user item item …`` as lines ``user item``, in the order of the file.

    A user without items gives no line.
    """
    for piece in author_pieces(chunks):
        yield b"".join(b"%s %s\n" % (piece.user, item) for item in piece.items)


def _short(token: bytes) -> bytes:
    return token if len(token) <= MAX_TOKEN else token[:MAX_TOKEN] + "…".encode()
