"""Lines ``user item item …``, the paper authors' form: read in pieces, however long a line is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

MAX_TOKEN = 20
"""Characters of a number that are kept; no id has so many. A user is written once for each of its
items, so a long one would make much of little."""
_BLANKS = [bytes([code]) for code in b" \t\n\r\x0b\x0c"]


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
