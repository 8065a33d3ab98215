"""Safetensors files: written by the library, read by mapping, so that wide matrices cost nothing.

The format is eight bytes of header length (little endian), a JSON header with the type, shape and
byte range of each tensor, and the bytes.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError

Tensors = dict[str, NDArray[Any]]

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1"}
MAPPED_BYTES = 64 << 20
"""Tensors from this size on are mapped instead of read."""
MOST_HEADER = 1 << 20
MOST_DIMENSIONS = 8


def write(path: Path, tensors: Tensors) -> None:
    """Write tensors as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, path)


def read(path: Path) -> Tensors:
    """Read every tensor of a file; large ones are mapped copy-on-write.

    What the header says is not trusted: it is at most 1 MiB long, and its tensors have to lie one
    after the other, in all of the file, as the format asks. So no more memory is taken than the
    file has bytes. Raises Mrl4recError where the file is not a whole safetensors file.
    """
    try:
        size = os.path.getsize(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, MOST_HEADER):
                raise ValueError(f"its header has {length} bytes")
            header = json.loads(file.read(length), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is no object")
    entries = [Entry.of(path, n, entry) for n, entry in header.items() if n != "__metadata__"]
    _check_order(path, entries, size - 8 - length)
    return {entry.name: _tensor(path, entry, 8 + length) for entry in entries}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header names a tensor twice")
    return found


@dataclass(frozen=True)
class Entry:
    """What a header says of a tensor, checked by itself."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    first: int
    """Byte of the data where it begins."""
    last: int
    """Byte after its end."""

    @classmethod
    def of(cls, path: Path, name: str, entry: Any) -> Entry:
        """Raises Mrl4recError where it is not described, or not as long as its shape says."""
        try:
            dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
            first, last = entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(path, f"a tensor is not described: {error!r}") from error
        numbers = (first, last, *shape)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise _broken(path, "a tensor's shape or place is no whole number")
        if len(shape) > MOST_DIMENSIONS or last - first != math.prod(shape) * dtype.itemsize:
            raise _broken(path, "a tensor is not as long as its shape")
        return cls(name, dtype, shape, first, last)


def _check_order(path: Path, entries: list[Entry], size: int) -> None:
    at = 0
    for entry in sorted(entries, key=lambda entry: (entry.first, entry.last)):
        if entry.first != at:
            raise _broken(path, "its tensors overlap, or there are gaps between them")
        at = entry.last
    if at != size:
        raise _broken(path, "its tensors do not fill the file")


def _tensor(path: Path, entry: Entry, start: int) -> NDArray[Any]:
    offset, size = start + entry.first, entry.last - entry.first
    if size >= MAPPED_BYTES:
        # copy-on-write, because compiled loops tell read-only arrays from writable ones
        mapped = np.memmap(path, entry.dtype, mode="c", offset=offset, shape=entry.shape)
        return np.asarray(mapped)
    if size == 0:
        return np.empty(entry.shape, entry.dtype)
    count = math.prod(entry.shape)
    return np.fromfile(path, entry.dtype, count=count, offset=offset).reshape(entry.shape)


def _broken(path: Path, why: str) -> Mrl4recError:
    return Mrl4recError(
        f"the file is not a whole safetensors file: {why}",
        where=str(path),
        todo="delete the folder it is in and make it again",
    )
