"""The elements of a JSON array, each on one line: one broken element does not take the next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mrl4rec.errors import Mrl4recError
from mrl4rec.formats.bounds import MAX_RECORD, mark

# What a class of characters matched is never given back, so that a look takes time in its length
# alone. Groups are repeated plainly: a possessive group with a choice in it matches too little
# before Python 3.11.5.
_STRING = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*"'
_INSIDE = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*")
"""Up to the next bracket, or to a quote that does not close (a raw newline ends no JSON string)."""
_SCALAR = re.compile(rb'(?:[^"{}\[\],\n]++|' + _STRING + rb")*")
_BETWEEN = re.compile(rb"[\s,]*+")

LOOKS = 5_000_000
"""Looks at brackets that did not close, beyond one for each byte read; some seconds."""
BYTES_A_LOOK = 256


def array_elements(chunks: Iterable[bytes], path: Path | None = None) -> Iterator[bytes]:
    """The elements of a JSON array as they are written, each on one line.

    One that is cut off, or broken so that its end cannot be told, is given as it stands: up to the
    next line that begins an object no deeper than it began itself, or to the end. Of one that is
    longer than MAX_RECORD the beginning is given, marked with its length.

    Raises Mrl4recError, naming ``path``, where so much is broken that elements cannot be told apart
    in fair time.
    """
    return _ArrayReader(chunks, path).elements()


class _ArrayReader:
    """A window over the array's text: it grows by blocks and drops what lies before ``_start``."""

    def __init__(self, chunks: Iterable[bytes], path: Path | None) -> None:
        self._chunks, self._path = iter(chunks), path
        self._text = b""
        self._start = 0
        """Where the current element begins in the window."""
        self._indent = 0
        """Bytes between the line's beginning and the current element."""
        self._credit = LOOKS
        """Looks that may still be lost on elements that turn out broken."""

    def elements(self) -> Iterator[bytes]:
        self._fill()
        self._start = 3 if self._text.startswith(b"\xef\xbb\xbf") else 0
        while self._next_start():
            if self._text[self._start] in b"[]":  # the array itself
                self._start += 1
                self._indent = 0
                continue
            length = self._length()
            if length is None:
                yield self._broken()
            else:
                yield _one_line(self._text[self._start : self._start + length]).strip()
                self._start += length

    def _fill(self) -> bool:
        block = next(self._chunks, b"")
        if block:
            self._text = self._text[self._start :] + block
            self._start = 0
            self._credit += len(block)
        return bool(block)

    def _next_start(self) -> bool:
        """Move over blanks and commas to the next element; False at the end of the file."""
        on_new_line = False
        while True:
            begin = self._start
            match = _BETWEEN.match(self._text, begin)
            self._start = match.end() if match else begin
            newline = self._text.rfind(b"\n", begin, self._start)
            if newline >= 0:
                on_new_line = True
                self._indent = self._start - newline - 1
            elif on_new_line:
                self._indent += self._start - begin
            if self._start < len(self._text):
                return True
            if not self._fill():
                return False

    def _length(self) -> int | None:
        """Bytes of the element at ``_start``; None where it breaks off or is too long."""
        done, depth, looks = 0, 0, 0
        while done <= MAX_RECORD and len(self._text) - self._start <= 4 * MAX_RECORD:
            pattern = _INSIDE if depth else _SCALAR
            match = pattern.match(self._text, self._start + done)
            stop = match.end() if match else self._start + done
            byte = self._text[stop : stop + 1]
            done = stop - self._start
            looks += 1
            if byte == b"" or (byte == b'"' and self._text.find(b"\n", stop) < 0):
                # The window ends between brackets or inside a string: look again with more.
                if self._fill():
                    continue
                if depth == 0 and byte == b"":
                    return done
                break
            if byte == b'"':
                break
            if depth == 0 and byte in (b",", b"\n", b"]"):
                return done
            depth += 1 if byte in (b"{", b"[") else -1
            done += 1
            if depth <= 0:
                return done
        self._lose(looks + done // BYTES_A_LOOK)
        return None

    def _lose(self, looks: int) -> None:
        """Every broken element may be looked at to its 1 MiB, and the next begins a line later."""
        self._credit -= looks
        if self._credit < 0:
            raise Mrl4recError(
                "the array is broken in so many places that its records cannot be told apart",
                where=None if self._path is None else str(self._path),
                todo="mend it, or give the records one a line",
            )

    def _broken(self) -> bytes:
        """The broken element, up to where the next one seems to begin or to the end."""
        fresh = re.compile(rb"\n[ \t]{0,%d}+(?:,[ \t]*+)?\{" % min(self._indent, MAX_RECORD))
        kept, size = b"", 0
        while (match := fresh.search(self._text, self._start)) is None:
            # Keep what a quarantined record needs, and the tail in which the next may begin.
            tail = max(len(self._text) - 4096, self._start)
            kept = (kept + self._text[self._start : tail])[: MAX_RECORD + 1]
            size += tail - self._start
            self._start = tail
            if not self._fill():
                break
        end = match.start() if match else len(self._text)
        size += end - self._start
        kept = _one_line((kept + self._text[self._start : end])[:MAX_RECORD])
        self._start = end
        return kept + mark(size) if size > MAX_RECORD else kept.strip()


def _one_line(element: bytes) -> bytes:
    # JSON knows no raw newline inside a string, so the value stays the same.
    return element.replace(b"\r", b" ").replace(b"\n", b" ")
