"""One record a line: what Spark reads, made from gzip, JSON arrays and the authors' lists.

Line k of the result is record k of the source, so a record's place never depends on how Spark
cuts the file. All of it streams: memory is bounded by the longest record.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrl4rec.errors import Mrl4recError
from mrl4rec.formats.known import Format
from mrl4rec.formats.sources import SourceFile, blocks, is_gzip

log = logging.getLogger("mrl4rec")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAX_RECORD = 1 << 20
"""Bytes of the longest record that is parsed; a longer one is quarantined."""
MAX_LINE = 64 << 20
"""Bytes of the longest line that is read at all; a file with a longer one is no dump."""

_STRING = rb'"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"'
_INSIDE = re.compile(rb'(?:[^"{}\[\]]+|' + _STRING + rb")*")
"""Up to the next bracket, or to a quote that does not close (a raw newline ends no JSON string)."""
_SCALAR = re.compile(rb'(?:[^"{}\[\],\n]+|' + _STRING + rb")*")
_BETWEEN = re.compile(rb"[\s,]*")


def write_lines(source: SourceFile, form: Format, folder: Path) -> Path:
    """Put the source into ``folder`` as plain text, one record a line, named by its digest.

    A plain file of lines is linked, not copied. Raises Mrl4recError where a gzip file is damaged, a
    line is longer than 64 MiB, or the disk is full.
    """
    target = folder / f"{source.sha256}.txt"
    try:
        if form.container == "array":
            _write(target, (element + b"\n" for element in array_elements(blocks(source.path))))
        elif form.container == "author":
            _write(target, author_pairs(_checked(source.path)))
        elif is_gzip(source.path):
            _write(target, _checked(source.path))
        else:
            for _ in _checked(source.path):
                pass
            target.symlink_to(source.path.resolve())
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise Mrl4recError(
            f"{source.path} could not be unpacked: {error.strerror or error}",
            where=str(folder),
            todo="free some space there (the unpacked dump has to fit) and run it again"
            if full
            else None,
        ) from error
    return target


def write_all(sources: Sequence[tuple[SourceFile, Format]], folder: Path) -> list[Path]:
    """``write_lines`` for many files, side by side; the paths in the same order.

    One gzip file is one stream that cannot be split, so one core reads it, however many there are;
    reading and unpacking release the interpreter, so that many files take all cores. The first
    file that is refused, in the order given, is the one that is said.
    """
    zipped = [source for source, _ in sources if is_gzip(source.path)]
    if zipped:
        log.info(
            "unpacking %d gzip files, each one stream on one core, %d side by side",
            len(zipped), min(len(zipped), CORES),
        )  # fmt: skip
    with ThreadPoolExecutor(max_workers=CORES) as pool:
        started = [pool.submit(write_lines, source, form, folder) for source, form in sources]
        try:
            return [task.result() for task in started]
        finally:
            for task in started:
                task.cancel()  # those that wait; the ones that run are waited for


def _write(target: Path, chunks: Iterable[bytes]) -> None:
    with target.open("wb") as stream:
        stream.writelines(chunks)


def _checked(path: Path) -> Iterator[bytes]:
    """The content's blocks, as long as no line exceeds MAX_LINE (a block is far shorter)."""
    run = 0
    for block in blocks(path):
        first = block.find(b"\n")
        run = run + len(block) if first < 0 else len(block) - 1 - block.rfind(b"\n")
        if run > MAX_LINE:
            raise Mrl4recError(
                f"a line is longer than {MAX_LINE >> 20} MiB, so this is no dump of reviews",
                where=str(path),
                todo="give a file with one record a line, or one JSON array",
            )
        yield block


def author_pairs(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """``user item item …`` as lines ``user item``, in the order of the file.

    A user without items gives no line.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield _pairs(lines)
    yield _pairs([rest])


def _pairs(lines: Iterable[bytes]) -> bytes:
    out: list[bytes] = []
    for line in lines:
        user, *items = line.split() or [b""]
        out.extend(b"%s %s\n" % (user, item) for item in items)
    return b"".join(out)


def array_elements(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The elements of a JSON array as they are written, each on one line.

    One that is cut off, or broken so that its end cannot be told, is given as it stands: up to the
    next line that begins an object no deeper than it began itself, or to the end.
    """
    return _ArrayReader(chunks).elements()


class _ArrayReader:
    """A window over the array's text: it grows by blocks and drops what lies before ``_start``."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._text = b""
        self._start = 0
        """Where the current element begins in the window."""
        self._indent = 0
        """Bytes between the line's beginning and the current element."""

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
                yield _one_line(self._broken())
            else:
                yield _one_line(self._text[self._start : self._start + length])
                self._start += length

    def _fill(self) -> bool:
        block = next(self._chunks, b"")
        self._text = self._text[self._start :] + block
        self._start = 0
        return bool(block)

    def _next_start(self) -> bool:
        """Move over blanks and commas to the next element; False at the end of the file."""
        while True:
            begin = self._start
            match = _BETWEEN.match(self._text, begin)
            self._start = match.end() if match else begin
            newline = self._text.rfind(b"\n", begin, self._start)
            if newline >= 0:
                self._indent = self._start - newline - 1
            if self._start < len(self._text):
                return True
            if not self._fill():
                return False

    def _length(self) -> int | None:
        """Bytes of the element at ``_start``; None where it breaks off or is too long."""
        done, depth = 0, 0
        while done <= MAX_RECORD and len(self._text) - self._start <= 4 * MAX_RECORD:
            pattern = _INSIDE if depth else _SCALAR
            match = pattern.match(self._text, self._start + done)
            stop = match.end() if match else self._start + done
            byte = self._text[stop : stop + 1]
            done = stop - self._start
            if byte == b"" or (byte == b'"' and self._text.find(b"\n", stop) < 0):
                # The window ends between brackets or inside a string: look again with more.
                if self._fill():
                    continue
                return done if depth == 0 and byte == b"" else None
            if byte == b'"':
                return None
            if depth == 0 and byte in (b",", b"\n", b"]"):
                return done
            depth += 1 if byte in (b"{", b"[") else -1
            done += 1
            if depth <= 0:
                return done
        return None

    def _broken(self) -> bytes:
        """The broken element, up to where the next one seems to begin or to the end."""
        fresh = re.compile(rb"\n[ \t]{0,%d}(?:,[ \t]*)?\{" % self._indent)
        kept = b""
        while (match := fresh.search(self._text, self._start)) is None:
            # Keep what a quarantined record needs, and the tail in which the next may begin.
            tail = max(len(self._text) - 4096, self._start)
            kept = (kept + self._text[self._start : tail])[: MAX_RECORD + 1]
            self._start = tail
            if not self._fill():
                kept += self._text
                self._start = len(self._text)
                return kept[: MAX_RECORD + 1]
        kept += self._text[self._start : match.start()]
        self._start = match.start()
        return kept[: MAX_RECORD + 1]


def _one_line(element: bytes) -> bytes:
    # JSON knows no raw newline inside a string, so the value stays the same.
    return element.strip().replace(b"\r", b" ").replace(b"\n", b" ")
