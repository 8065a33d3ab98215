"""Clean JSON lines read by a compiled loop; every other line is left to the strict rules.

A line is *clean* when it is plain to see that no rule is broken: one JSON object, each wanted key
once, ids of visible ASCII, a rating like 4 or 4.5 and a time in whole numbers, both within bounds.
What is not clean is not wrong; it is read again where the rules are. So a doubt costs time only.

The loop moves over the text once. A raw line break ends no JSON token, so it never leaves its line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

MAX_DEPTH = 60
"""Objects within objects; Spark's parser goes to 1,000."""
MAX_NUMBER = 300
"""Characters of a number in a field that is not wanted; Spark's parser takes 1,000."""
MAX_KEY = 1000
"""Characters of a key; Spark's parser takes 50,000."""
MAX_ID = 256
USER, ITEM, RATING, TIME = range(4)
ALL_SEEN = 15
NOT_CLEAN = -1

_QUOTE, _SLASH, _COLON, _COMMA, _DOT, _MINUS = 34, 92, 58, 44, 46, 45
_OPEN, _CLOSE, _BRACKET, _BRACKET_END = 123, 125, 91, 93
_SPACE, _TAB, _RETURN, _NEWLINE, _ZERO = 32, 9, 13, 10, 48


@njit(cache=True, nogil=True)
def count_lines(text: Any) -> int:
    """Line breaks in ``text``."""
    found = 0
    for byte in text:
        found += byte == _NEWLINE
    return found


@njit(cache=True, nogil=True)
def first_break(text: Any) -> int:
    """The place of the first line break, or -1."""
    for i in range(len(text)):
        if text[i] == _NEWLINE:
            return i
    return -1


@njit(cache=True, nogil=True)
def _blank(text: Any, i: int) -> int:
    while text[i] == _SPACE or text[i] == _TAB:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _digits(text: Any, i: int) -> int:
    while _ZERO <= text[i] <= _ZERO + 9:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _escape(text: Any, i: int) -> int:
    """The place after the escape whose backslash is at ``i``."""
    c = text[i + 1]
    if c == 117:  # u, four hex digits
        for k in range(i + 2, i + 6):
            h = text[k]
            if not (_ZERO <= h <= 57 or 65 <= h <= 70 or 97 <= h <= 102):
                return NOT_CLEAN
        return i + 6
    # " \ / b f n r t
    known = c in (_QUOTE, _SLASH, 47, 98, 102, 110, 114, 116)
    return i + 2 if known else NOT_CLEAN


@njit(cache=True, nogil=True)
def _string(text: Any, i: int) -> int:
    """The place after the string whose first character is at ``i``."""
    while True:
        c = text[i]
        if c == _QUOTE:
            return i + 1
        if c < _SPACE:
            return NOT_CLEAN
        if c == _SLASH:
            i = _escape(text, i)
            if i < 0:
                return NOT_CLEAN
        else:
            i += 1


@njit(cache=True, nogil=True)
def _number(text: Any, i: int) -> int:
    """The place after the number that begins at ``i``, as JSON spells numbers."""
    start = i
    if text[i] == _MINUS:
        i += 1
    first = i
    i = _digits(text, i)
    if i == first or (text[first] == _ZERO and i > first + 1):
        return NOT_CLEAN
    if text[i] == _DOT:
        first = i + 1
        i = _digits(text, first)
        if i == first:
            return NOT_CLEAN
    if text[i] == 101 or text[i] == 69:
        i += 1
        if text[i] == 43 or text[i] == _MINUS:
            i += 1
        first = i
        i = _digits(text, first)
        if i == first:
            return NOT_CLEAN
    return i if i - start <= MAX_NUMBER else NOT_CLEAN


@njit(cache=True, nogil=True)
def _word(text: Any, i: int) -> int:
    """The place after true, false or null."""
    if text[i] == 116:
        good = text[i + 1] == 114 and text[i + 2] == 117 and text[i + 3] == 101
        return i + 4 if good else NOT_CLEAN
    if text[i] == 110:
        good = text[i + 1] == 117 and text[i + 2] == 108 and text[i + 3] == 108
        return i + 4 if good else NOT_CLEAN
    if text[i] == 102:
        good = (text[i + 1] == 97 and text[i + 2] == 108 and text[i + 3] == 115
                and text[i + 4] == 101)  # fmt: skip
        return i + 5 if good else NOT_CLEAN
    return NOT_CLEAN


@njit(cache=True, nogil=True)
def _scalar(text: Any, i: int) -> int:
    c = text[i]
    if c == _QUOTE:
        return _string(text, i + 1)
    if c == _MINUS or _ZERO <= c <= 57:
        return _number(text, i)
    return _word(text, i)


@njit(cache=True, nogil=True)
def _nested(text: Any, i: int) -> int:
    """The place after the object or array that opens at ``i``."""
    kinds = np.uint64(0)  # a bit a level, the innermost last: 1 in an object, 0 in an array
    depth = 0
    while True:
        # A value is due here.
        c = text[i]
        if c in (_OPEN, _BRACKET):
            depth += 1
            if depth > MAX_DEPTH:
                return NOT_CLEAN
            kinds = (kinds << np.uint64(1)) | np.uint64(c == _OPEN)
            i = _blank(text, i + 1)
            if text[i] == (_CLOSE if c == _OPEN else _BRACKET_END):
                i += 1
                depth -= 1
                kinds >>= np.uint64(1)
            elif c == _OPEN:
                i = _key(text, i)
                if i < 0:
                    return NOT_CLEAN
                continue
            else:
                continue
        else:
            i = _scalar(text, i)
            if i < 0:
                return NOT_CLEAN
        while depth:  # a value has ended
            i = _blank(text, i)
            inside = kinds & np.uint64(1)
            if text[i] == _COMMA:
                i = _blank(text, i + 1)
                break
            if text[i] != (_CLOSE if inside else _BRACKET_END):
                return NOT_CLEAN
            i += 1
            depth -= 1
            kinds >>= np.uint64(1)
        if depth == 0:
            return i
        if kinds & np.uint64(1):
            i = _key(text, i)
            if i < 0:
                return NOT_CLEAN


@njit(cache=True, nogil=True)
def _key(text: Any, i: int) -> int:
    """The place of the value after the key that begins at ``i``."""
    if text[i] != _QUOTE:
        return NOT_CLEAN
    start = i
    i = _string(text, i + 1)
    if i < 0 or i - start > MAX_KEY:
        return NOT_CLEAN
    i = _blank(text, i)
    return _blank(text, i + 1) if text[i] == _COLON else NOT_CLEAN


@njit(cache=True, nogil=True)
def _wanted(text: Any, start: int, end: int, names: Any, ends: Any) -> int:
    """Which of the wanted keys stands at ``start`` … ``end``, or NOT_CLEAN."""
    first = 0
    for which in range(4):
        last = ends[which]
        if last - first == end - start and names[first] == text[start]:
            k = 1
            while k < end - start and names[first + k] == text[start + k]:
                k += 1
            if k == end - start:
                return which
        first = last
    return NOT_CLEAN


@njit(cache=True, nogil=True)
def _id(text: Any, i: int) -> int:
    """The place of the quote after the id that begins at ``i``."""
    start = i
    while 32 < text[i] < 127 and text[i] != _QUOTE and text[i] != _SLASH:
        i += 1
    length = i - start
    if text[i] != _QUOTE or length == 0 or length > MAX_ID:
        return NOT_CLEAN
    if text[start] == _OPEN or text[start] == _BRACKET:
        return NOT_CLEAN
    a, b = text[start] | 32, text[start + 1] | 32
    if length == 3 and a == 110 and b == 97 and text[i - 1] | 32 == 110:  # nan
        return NOT_CLEAN
    if length == 4 and a == 110 and (b == 117 or b == 111):  # null, none, and what looks like it
        return NOT_CLEAN
    return i


@njit(cache=True, nogil=True)
def is_utf8(text: Any, i: int, end: int) -> bool:
    """Whether ``text[i:end]`` is UTF-8: no longer spelling than needed, no surrogate halves."""
    together = np.uint8(0)
    for k in range(i, end):  # without a branch: many bytes at a time
        together |= text[k]
    if together < 0x80:
        return True
    while i < end:
        c = text[i]
        i += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            low = 0xA0 if c == 0xE0 else low
            high = 0x9F if c == 0xED else high
        elif 0xF0 <= c <= 0xF4:
            more = 3
            low = 0x90 if c == 0xF0 else low
            high = 0x8F if c == 0xF4 else high
        else:
            return False
        for _ in range(more):
            if i >= end or not low <= text[i] <= high:
                return False
            low, high = 0x80, 0xBF
            i += 1
    return True


@njit(cache=True, nogil=True)
def clean_object(text: Any, i: int, names: Any, ends: Any, found: Any) -> int:
    """The place after the clean object that opens at ``i``.

    ``found`` gets user's start and end, item's start and end, rating × 10, and time.
    """
    seen = 0
    while True:
        i = _blank(text, i + 1)
        key = i + 1
        i = _key(text, i)
        if i < 0:
            return NOT_CLEAN
        end = key
        while text[end] != _QUOTE:
            if text[end] == _SLASH:
                return NOT_CLEAN  # a key may be spelled with escapes
            end += 1
        which = _wanted(text, key, end, names, ends)
        if which < 0:
            nested = text[i] == _OPEN or text[i] == _BRACKET
            i = _nested(text, i) if nested else _scalar(text, i)
        elif seen >> which & 1:
            return NOT_CLEAN  # twice
        elif which <= ITEM:
            start = i + 1
            if text[i] != _QUOTE:
                return NOT_CLEAN
            i = _id(text, start)
            found[2 * which], found[2 * which + 1] = start, i
            i = i + 1 if i >= 0 else i
        else:
            i = _whole(text, i, which, found)
        if i < 0:
            return NOT_CLEAN
        if which >= 0:
            seen |= 1 << which
        i = _blank(text, i)
        if text[i] == _CLOSE:
            return i + 1 if seen == ALL_SEEN else NOT_CLEAN
        if text[i] != _COMMA:
            return NOT_CLEAN


@njit(cache=True, nogil=True)
def _whole(text: Any, i: int, which: int, found: Any) -> int:
    """The place after a rating (one digit, or one before and one after the dot) or a time."""
    start = i
    value = 0
    while _ZERO <= text[i] <= 57 and i - start < 15:
        value = value * 10 + (text[i] - _ZERO)
        i += 1
    length = i - start
    if length == 0 or (text[start] == _ZERO and length > 1):
        return NOT_CLEAN
    if which == TIME:
        found[5] = value
        return i
    tenths = 0
    if text[i] == _DOT:
        if not _ZERO <= text[i + 1] <= 57:
            return NOT_CLEAN
        tenths = text[i + 1] - _ZERO
        i += 2
    found[4] = value * 10 + tenths
    return i
