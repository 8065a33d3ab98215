"""Framing: the bytes of a file → blocks of records, numbered in the order of the file.

A file with a record a line is cut at line breaks. What spans lines (quoted line breaks, JSON values
over many lines) is framed in order, by ``csv`` and ``json``. Memory is bounded by ``BLOCK_BYTES``
and ``MAX_RECORD``, whatever the file holds.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats.bounds import MAX_RECORD, cut_long_lines, mark

if TYPE_CHECKING:
    from mrl4rec.formats.mapping import Mapping

BLOCK_BYTES = 24 << 20
MOST_LINES = 10_000
"""Lines that a record with quoted line breaks may span."""
DEEPEST = 1000
"""Blanks before a JSON value that are told apart."""
RESCANS = 64
"""Times its own size that a broken JSON file may be looked at."""


@dataclass(frozen=True)
class Block:
    """Consecutive records: raw text, one after the other."""

    first: int
    """Number of the first record in its file, from 0."""
    data: bytes
    ends: NDArray[np.int64]
    """Where each record ends in ``data``, its line break included."""


def frame(chunks: Iterable[bytes], mapping: Mapping, where: str | None = None) -> Iterator[Block]:
    """The records of a text file whose content comes in ``chunks`` of at most 1 MiB.

    Raises Mrl4recError where so much is broken that records cannot be told apart in fair time.
    """
    if mapping.syntax == "lists":
        from mrl4rec.formats.authors import author_pairs

        return line_blocks(author_pairs(chunks))
    if mapping.syntax == "json" and mapping.container != "lines":
        return line_blocks(_json_values(_JsonReader(chunks, where), mapping.records))
    blocks = line_blocks(cut_long_lines(chunks))
    return _csv_records(blocks, mapping) if mapping.quoted else blocks


def line_blocks(chunks: Iterable[bytes], first: int = 0) -> Iterator[Block]:
    """Blocks of whole lines; the last line need not end in a line break."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        end = chunk.rfind(b"\n") + 1 if size >= BLOCK_BYTES else 0
        if end:
            block = _lines(first, b"".join([*held, chunk[:end]]))
            yield block
            first += len(block.ends)
            held, size = [], len(chunk) - end
        held.append(chunk[end:])
    data = b"".join(held)
    if data:
        yield _lines(first, data if data.endswith(b"\n") else data + b"\n")


def _lines(first: int, data: bytes) -> Block:
    return Block(first, data, np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1)


def _csv_records(blocks: Iterable[Block], mapping: Mapping) -> Iterator[Block]:
    """Join the lines that a quoted line break cuts apart (RFC 4180, section 2.6).

    A quote that opens and does not close in a record as wide as the file's columns breaks its own
    line only.
    """
    first, rest = 0, b""
    for block in blocks:
        lines = _lines(first, rest + block.data) if rest else replace(block, first=first)
        made, rest = _joined(lines, mapping) if b'"' in lines.data else (lines, b"")
        if len(made.ends):
            yield made
            first += len(made.ends)
    if rest:
        yield _joined(_lines(first, rest), mapping, last=True)[0]


def _joined(lines: Block, mapping: Mapping, last: bool = False) -> tuple[Block, bytes]:
    """Records of the lines, and the lines that may go on in those that follow."""
    data, ends = lines.data, lines.ends
    quotes = np.searchsorted(ends, np.flatnonzero(np.frombuffer(data, np.uint8) == 34), "right")
    is_odd = np.bincount(quotes, minlength=len(ends)) % 2 == 1
    odd = np.flatnonzero(is_odd & (np.diff(ends, prepend=0) <= MAX_RECORD)).tolist()
    is_end = np.ones(len(ends), np.bool_)
    at = 0
    while at < len(odd):
        line = odd[at]
        end = odd[at + 1] if at + 1 < len(odd) else len(ends)
        begin = int(ends[line - 1]) if line else 0
        near = ends[end - 1] - begin <= MAX_RECORD and end - line <= MOST_LINES
        if near and end == len(ends) and not last:
            return Block(lines.first, data[:begin], ends[:line][is_end[:line]]), data[begin:]
        is_one = near and end < len(ends) and _is_whole(data[begin : ends[end]], mapping)
        if is_one:
            is_end[line:end] = False
        at += 2 if is_one else 1
    return replace(lines, ends=ends[is_end]), b""


def _is_whole(record: bytes, mapping: Mapping) -> bool:
    cells = csv_cells(record.decode("utf-8", "replace"), mapping.separator or ",")
    return cells is not None and len(cells) == len(mapping.columns)


def csv_cells(record: str, separator: str) -> list[str] | None:
    """The cells of one CSV record; None where its quotes do not fit.

    Blanks may stand around quotes.
    """
    csv.field_size_limit(MAX_RECORD)  # 128 KiB by default
    text = record.rstrip("\r\n")
    for spelled in (text, re.sub(rf'" +(?={re.escape(separator)}|$)', '"', text)):
        try:
            rows = list(csv.reader([spelled], delimiter=separator, strict=True,
                                   skipinitialspace=separator != " "))  # fmt: skip
        except csv.Error:
            continue
        return rows[0] if len(rows) == 1 else None
    return None


_BETWEEN = re.compile(r"[\s,\[\]]*")
_NO_OBJECT = re.compile(r"[^\n,\]{]*")
_COLON = re.compile(r"\s*:?\s*")
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.){0,80}")')


def _json_values(reader: _JsonReader, key: str | None) -> Iterator[bytes]:
    """The JSON values of a text, each on a line: one after the other, or elements of an array.

    With ``key`` those of the array that it names. A value that is broken so that its end cannot be
    told is given as it stands, up to what looks like the next one: a line that begins an object no
    deeper than it began, or an object with the first key of the last whole one (or its own).
    """
    if key is not None:
        reader.skip_to(key)
    while (value := reader.value()) is not None:
        # JSON knows no raw line break inside a string, so the value stays the same.
        yield value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


class _JsonReader:
    """A window over the text that grows by chunks and drops what was read."""

    def __init__(self, chunks: Iterable[bytes], where: str | None) -> None:
        self._where = where
        self._chunks = chain(chunks, [b""])
        self._rest = b""
        self._text = ""
        self._at = 0
        self._credit = 8 << 20
        self._one_array = False
        self._first_key = ""
        # Numbers are not converted: only the ends of values matter here.
        self._decoder = json.JSONDecoder(parse_int=len, parse_float=len)

    def skip_to(self, key: str) -> None:
        """Move behind the ``[`` of the array that the outermost object has under the key.

        Raises Mrl4recError where it is not in the first 4 MiB.
        """
        while len(self._text) < 4 * MAX_RECORD and self._fill():
            pass
        try:
            self._at = self._array_under(key)
        except (ValueError, RecursionError):
            raise Mrl4recError(
                f"no array is found under {key!r} in the JSON object around the records",
                where=self._where,
                todo="write the records one a line, or as one array",
            ) from None
        self._one_array = True

    def _array_under(self, key: str) -> int:
        at = self._text.index("{") + 1
        while True:
            name, at = self._decoder.raw_decode(self._text, _BETWEEN.match(self._text, at).end())  # type: ignore[union-attr]
            at = _COLON.match(self._text, at).end()  # type: ignore[union-attr]
            if name == key and self._text[at : at + 1] == "[":
                return at + 1
            at = self._decoder.raw_decode(self._text, at)[1]

    def value(self) -> bytes | None:
        """The next value as it is written, or what else stands there; None at the end."""
        if not self._begin():
            return None
        while True:
            end = self._end()
            # A value that ends with the window may go on behind it.
            if 0 < end < len(self._text) or len(self._text) - self._at > 4 * MAX_RECORD:
                break
            if not self._fill():
                break
        if not end:
            return self._broken()
        self._first_key = self._key_here() or self._first_key
        return _bounded(self._taken(end))

    def _begin(self) -> bool:
        """Move to where the next value begins; False where there is none."""
        while True:
            begin = self._at
            self._at = _BETWEEN.match(self._text, begin).end()  # type: ignore[union-attr]
            if self._one_array and "]" in self._text[begin : self._at]:
                return False
            if self._at < len(self._text):
                return True
            if not self._fill():
                return False

    def _key_here(self) -> str:
        match = _FIRST_KEY.match(self._text, self._at)
        return match[1] if match is not None else ""

    def _end(self) -> int:
        """Where the value here ends; 0 where it is broken, or not all of it is in the window."""
        if self._text[self._at] != "{":
            return _NO_OBJECT.match(self._text, self._at).end()  # type: ignore[union-attr]
        try:
            return self._decoder.raw_decode(self._text, self._at)[1]
        except json.JSONDecodeError as error:
            self._credit -= error.pos - self._at
        except RecursionError:
            self._credit -= min(len(self._text) - self._at, 1 << 17)
        if self._credit < 0:
            raise Mrl4recError(
                "the JSON is broken in so many places that its records cannot be told apart",
                where=self._where,
                todo="mend it, or give the records one a line",
            )
        return 0

    def _taken(self, end: int) -> bytes:
        value, self._at = self._text[self._at : end], end
        return value.encode("utf-8", "surrogateescape")

    def _broken(self) -> bytes:
        if self._at > 1 << 16:  # an error's message counts all lines before it
            self._forget()
        begin = self._text.rfind("\n", max(self._at - DEEPEST, 0), self._at) + 1
        fresh = re.compile(
            rf"\n[ \t]{{0,{min(self._at - begin, DEEPEST)}}}(?:,[ \t]*)?\{{"
            rf"|(?:(?<=\}})|,)[ \t]*,?[ \t]*\{{\s*{re.escape(self._first_key or self._key_here())}"
        )
        kept, size = b"", 0
        while (match := fresh.search(self._text, self._at + 1)) is None:
            part = self._taken(max(len(self._text) - 4096, self._at))
            kept, size = (kept + part)[: MAX_RECORD + 1], size + len(part)
            if not self._fill():
                break
        part = self._taken(match.start() if match else len(self._text))
        return _bounded((kept + part)[: MAX_RECORD + 1], size + len(part))

    def _forget(self) -> None:
        """Drop what was read, but for the blanks before a value, which tell how deep it is."""
        begin = max(self._at - DEEPEST, 0)
        keep = max(self._text.rfind("\n", begin, self._at), begin)
        self._text, self._at = self._text[keep:], self._at - keep

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        data = self._rest + chunk
        # Cut between characters: the last bytes may be half of one.
        whole = len(data) - _half_character(data) if chunk else len(data)
        self._rest = data[whole:]
        self._forget()
        self._text += data[:whole].decode("utf-8", "surrogateescape")
        self._credit += RESCANS * len(chunk)
        return True


def _bounded(value: bytes, size: int | None = None) -> bytes:
    """The value, cut as a line is where it is longer than a record may be."""
    size = size or len(value)
    return value if size <= MAX_RECORD else value[:MAX_RECORD] + mark(size)


def _half_character(data: bytes) -> int:
    """Bytes at the end that begin a UTF-8 character and do not end it."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
        if byte < 0x80:
            return 0
    return 0
