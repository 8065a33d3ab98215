"""A stretch of a file → its clean records as Arrow columns, and the lines that are left.

What is clean, and why no clean line can break a rule: :mod:`mrl4rec.formats.json_scan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from mrl4rec.formats.bounds import MAX_RECORD
from mrl4rec.formats.json_scan import clean_object, count_lines, first_break, is_utf8
from mrl4rec.formats.known import Format
from mrl4rec.formats.xxhash import pair_hash

ROWS = pa.schema([
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("rating", pa.float64()),
    ("reviewed_at", pa.timestamp("us", tz="UTC")),
    ("line", pa.int64()),
    ("pair", pa.int64()),
    ("short", pa.bool_()),
])  # fmt: skip
"""Clean records. ``line`` counts from 0 in the stretch, ``pair`` is Spark's
``xxhash64(user_id, item_id)``, ``short`` marks item ids of one to nine digits."""
LEFT = pa.schema([("value", pa.large_binary()), ("line", pa.int64())])
"""Lines for the strict rules, as they are."""

_ROW = {
    "user": np.int64,
    "user_end": np.int64,
    "item": np.int64,
    "item_end": np.int64,
    "rating": np.float64,
    "micros": np.int64,
    "line": np.int64,
    "pair": np.int64,
    "short": np.bool_,
}
_AHEAD = 1 << 16
_LINES = 1 << 18
"""Lines that are looked at before their pieces are copied out of the text: a stretch of good
records has fewer, one of nothing but line breaks has millions."""
_NEWLINE = 10
_SHORT = 9


@dataclass(frozen=True)
class Limits:
    """What a clean record's rating and time lie between, both ends allowed; time in its unit."""

    low: float
    high: float
    first: float
    last: float


@dataclass(frozen=True)
class Scan:
    """What a stretch of a file holds."""

    rows: pa.Table
    left: pa.Table
    lines: int
    """All lines that begin in it."""
    blank: int
    """Lines of nothing but blanks."""


class Scanner:
    """Reads stretches of files of one form, one after another.

    It keeps its memory: to be given new pages for every stretch costs as much as to read it.
    """

    def __init__(self, form: Format, limits: Limits) -> None:
        names = [form.user, form.item, form.rating or "", form.time or ""]
        self._names = np.frombuffer("".join(names).encode(), np.uint8)
        self._ends = np.cumsum([len(name.encode()) for name in names])
        self._bounds = np.array([limits.low, limits.high, limits.first, limits.last])
        self._micros_a_unit = 1000 if form.time_unit == "ms" else 1_000_000
        self._text = np.empty(0, np.uint8)
        self._row: dict[str, NDArray[Any]] = {
            name: np.empty(0, kind) for name, kind in _ROW.items()
        }
        self._left = np.empty((0, 3), np.int64)

    def scan(self, path: Path, start: int, end: int) -> Scan:
        """Read the lines that begin in the bytes ``start`` … ``end`` of a file."""
        text = self._read(path, start, end)
        lines = int(count_lines(text))
        room = min(lines, _LINES)
        if room > len(self._left):
            self._row = {name: np.empty(room, kind) for name, kind in _ROW.items()}
            self._left = np.empty((room, 3), np.int64)
        rows, left = [], []
        at = number = 0
        while True:
            found, kept, at, number = _scan(
                text, at, number, self._names, self._ends, self._bounds, MAX_RECORD,
                self._micros_a_unit, *self._row.values(), self._left,
            )  # fmt: skip
            rows.append(_rows(text, {name: part[:found] for name, part in self._row.items()}))
            left.append(_left(text, self._left[:kept]))
            if at == len(text):
                break
        table, rest = pa.concat_tables(rows), pa.concat_tables(left)
        return Scan(table, rest, lines, lines - table.num_rows - rest.num_rows)

    def _read(self, path: Path, start: int, end: int) -> NDArray[np.uint8]:
        """The lines that begin in ``start`` … ``end``, the last one to its end, which is a line
        break in any case.
        """
        before = max(start - 1, 0)  # the byte there tells whether a line begins right at ``start``
        if end - before >= len(self._text):
            self._text = np.empty(end - before + 1, np.uint8)
        text = self._text
        with path.open("rb", buffering=0) as stream:
            stream.seek(before)
            size = _fill(stream, text[: end - before])
            first = 0
            if start:
                first = int(first_break(text[:size])) + 1
                if first == 0:
                    return text[:0]  # one line covers all of it, and began before
            if first == size:
                return text[:0]
            if text[size - 1] != _NEWLINE:
                rest = np.frombuffer(_line_rest(stream), np.uint8)
                return np.concatenate([text[first:size], rest])
        return text[first:size]


def _fill(stream: IO[bytes], text: NDArray[np.uint8]) -> int:
    """Read until ``text`` is full or the file ends; how many bytes there are."""
    size = 0
    while more := stream.readinto(text[size:]):  # type: ignore[attr-defined]  # raw files have it
        size += more
    return size


def _line_rest(stream: IO[bytes]) -> bytes:
    """From here to the end of the line; a line break is put where the file ends without one."""
    rest = []
    while more := stream.read(_AHEAD):
        before, ended, _ = more.partition(b"\n")
        rest.append(before)
        if ended:
            break
    return b"".join([*rest, b"\n"])


@njit(cache=True, nogil=True)
def _scan(
    text: Any, i: int, number: int, names: Any, ends: Any, bounds: Any, max_record: int,
    micros_a_unit: int, user: Any, user_end: Any, item: Any, item_end: Any, rating: Any,
    micros: Any, line: Any, pair: Any, short: Any, left: Any,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Fill the columns from line ``number``, at ``i``, on, as far as there is room.

    How many rows are clean, how many lines are left for the strict rules, and where it stopped.
    """
    found = np.zeros(6, np.int64)
    rows = kept = 0
    while i < len(text) and rows < len(user) and kept < len(left):
        begin = i
        while text[i] == 32 or text[i] == 9 or text[i] == 13:
            i += 1
        if text[i] == _NEWLINE:
            i += 1
            number += 1
            continue
        end = clean_object(text, i, names, ends, found) if text[i] == 123 else -1
        if end >= 0:
            while text[end] == 32 or text[end] == 9 or text[end] == 13:
                end += 1
            if text[end] != _NEWLINE:
                end = -1
        clean = end >= 0 and end - begin <= max_record
        stars, time = found[4] / 10.0, found[5]
        clean = clean and bounds[0] <= stars <= bounds[1] and bounds[2] <= time <= bounds[3]
        clean = clean and is_utf8(text, i, end)
        if clean:
            user[rows], user_end[rows] = found[0], found[1]
            item[rows], item_end[rows] = found[2], found[3]
            rating[rows], micros[rows], line[rows] = stars, time * micros_a_unit, number
            pair[rows] = pair_hash(text, found[0], found[1], found[2], found[3])
            short[rows] = _is_short(text, found[2], found[3])
            rows += 1
        else:
            if end < 0:
                end = i
                while text[end] != _NEWLINE:
                    end += 1
            left[kept, 0], left[kept, 1], left[kept, 2] = begin, end, number
            kept += 1
        i = end + 1
        number += 1
    return rows, kept, i, number


@njit(cache=True, nogil=True)
def _is_short(text: Any, start: int, end: int) -> bool:
    k = start
    while k < end and 48 <= text[k] <= 57:
        k += 1
    return k == end and end - start <= _SHORT


def _rows(text: Any, row: dict[str, Any]) -> pa.Table:
    micros = _copied(row["micros"]).cast(pa.timestamp("us", tz="UTC"))
    columns = [
        _strings(text, row["user"], row["user_end"]),
        _strings(text, row["item"], row["item_end"]),
        *(_copied(row["rating"]), micros),
        *(_copied(row[name]) for name in ("line", "pair", "short")),
    ]
    return pa.table(columns, schema=ROWS)


def _copied(values: NDArray[Any]) -> pa.Array:
    # Arrow would point at the memory that the next stretch overwrites.
    return pa.array(values.copy())


def _left(text: Any, left: Any) -> pa.Table:
    offsets = np.zeros(len(left) + 1, np.int64)
    np.cumsum(left[:, 1] - left[:, 0], out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(text, np.ascontiguousarray(left[:, 0]), offsets, data)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    values = pa.Array.from_buffers(pa.large_binary(), len(left), buffers)
    return pa.table([values, _copied(left[:, 2])], schema=LEFT)


def _strings(text: Any, start: Any, end: Any) -> pa.Array:
    """The pieces of ``text`` as an Arrow column of strings."""
    offsets = np.zeros(len(start) + 1, np.int32)
    np.cumsum(end - start, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(text, start, offsets, data)
    return pa.StringArray.from_buffers(len(start), pa.py_buffer(offsets), pa.py_buffer(data))


@njit(cache=True, nogil=True)
def _gather(text: Any, start: Any, offsets: Any, data: Any) -> None:
    for n in range(len(start)):
        low = offsets[n]
        for k in range(offsets[n + 1] - low):
            data[low + k] = text[start[n] + k]
