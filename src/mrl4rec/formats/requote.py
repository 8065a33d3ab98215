"""Python dict literals spelled as JSON, a block at a time, in place: no byte moves.

What cannot be spelled in its place is ``HIDDEN``: an escape, and a double quote between single
ones. A line that is no literal becomes no JSON.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrl4rec.formats.lines import Block

HIDDEN = 127
"""A character for what was there; a value that holds one has to be read from the literal."""
MOST_STRINGS = 10_000
"""Strings of a line that are followed."""
_SINGLE, _DOUBLE, _BREAK, _BACKSLASH = b"'\"\n\\"
_WORDS = {b": True": b": true", b": False": b": false", b": None": b": null"}
_HEX = {ord("x"): 2, ord("u"): 4}
"""Digits that an escape must have."""
Places = NDArray[np.int64]


def as_json(block: Block) -> bytes:
    """The data of the block, each literal that is spelled plainly as JSON."""
    out = np.frombuffer(block.data, np.uint8).copy()
    broken = _hide_escapes(out) if b"\\" in block.data else np.zeros(0, np.int64)
    marks = np.flatnonzero((out == _SINGLE) | (out == _DOUBLE) | (out == _BREAK))
    kind = out[marks]
    out[marks[kind == _DOUBLE]] = HIDDEN
    opened, closed, left = _strings(kind)
    out[marks[opened]] = out[marks[closed]] = _DOUBLE
    if b"{u'" in block.data or b'{u"' in block.data:
        prefix = marks[opened] - 1
        out[prefix[(out[prefix] == ord("u")) & _in(out[prefix - 1], b" {[(,:")]] = ord(" ")
    # Without its first character a line is no JSON.
    out[block.starts[np.searchsorted(block.ends, broken, side="right")]] = HIDDEN
    out[block.starts[left]] = HIDDEN
    data = out.tobytes()
    for word, spelled in _WORDS.items():
        data = data.replace(word, spelled)
    return data


def _strings(kind: NDArray[np.uint8]) -> tuple[Places, Places, Places]:
    """Which marks open a string and which close it, and the lines where one stays open.

    A string ends at the next quote of its kind. All lines are followed side by side, a string at a
    time.
    """
    following = np.full(len(kind), len(kind))
    for quote in (_SINGLE, _DOUBLE):
        alike = np.flatnonzero(kind == quote)
        following[alike[:-1]] = alike[1:]
    last = np.flatnonzero(kind == _BREAK)
    lines, at = np.arange(len(last)), np.concatenate([[0], last[:-1] + 1])
    opened, closed, left = ([np.zeros(0, np.int64)] for _ in range(3))
    for _ in range(MOST_STRINGS):
        more = at < last
        lines, at, last = lines[more], at[more], last[more]
        if not len(at):
            break
        end = following[at]
        whole = end < last
        left.append(lines[~whole])
        opened.append(at[whole])
        closed.append(end[whole])
        lines, at, last = lines[whole], end[whole] + 1, last[whole]
    return np.concatenate(opened), np.concatenate(closed), np.concatenate([*left, lines])


def _hide_escapes(out: NDArray[np.uint8]) -> Places:
    """Hide backslashes with what they escape; the places of those that Python may refuse."""
    slashes = np.flatnonzero(out == _BACKSLASH)
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) > 1)
    runs = np.repeat(slashes[begins], np.diff(begins, append=len(slashes)))
    heads = slashes[(slashes - runs) % 2 == 0]
    tails = heads + 1  # the last byte is a line break
    letters = out[tails]
    odd = _in(letters, b"UN\r\n")
    for letter, many in _HEX.items():
        named = np.flatnonzero(letters == letter)
        for n in range(1, many + 1):
            digit = out[np.minimum(tails[named] + n, len(out) - 1)]
            odd[named] |= ~_in(digit, b"0123456789abcdefABCDEF")
    out[heads] = HIDDEN
    out[tails[letters != _BREAK]] = HIDDEN
    return heads[odd]


def _in(values: NDArray[np.uint8], wanted: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(wanted)] = True
    return table[values]
