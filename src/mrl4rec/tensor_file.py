"""Safetensors files: written by the library, read by mapping, so that wide matrices cost nothing.

The format is eight bytes of header length (little endian), a JSON header with the type, shape and
byte range of each tensor, and the bytes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError

Tensors = dict[str, NDArray[Any]]

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1"}
MAPPED_BYTES = 64 << 20
"""Tensors from this size on are mapped instead of read."""


def write(path: Path, tensors: Tensors) -> None:
    """Write tensors as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, path)


def read(path: Path) -> Tensors:
    """Read every tensor of a file; large ones are mapped copy-on-write.

    Raises Mrl4recError where the file is not a whole safetensors file.
    """
    try:
        size = os.path.getsize(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= size - 8 else None
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is cut short")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    return {name: _tensor(path, entry, 8 + length, size) for name, entry in entries.items()}


def _tensor(path: Path, entry: dict[str, Any], start: int, size: int) -> NDArray[Any]:
    try:
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        first, last = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"a tensor is not described: {error!r}") from error
    count = int(np.prod(shape, dtype=np.int64))
    if last - first != count * dtype.itemsize or start + last > size:
        raise _broken(path, "a tensor does not lie inside the file")
    offset = start + first
    if last - first >= MAPPED_BYTES:
        # copy-on-write, because compiled loops tell read-only arrays from writable ones
        return np.asarray(np.memmap(path, dtype, mode="c", offset=offset, shape=shape))
    return np.fromfile(path, dtype, count=count, offset=offset).reshape(shape)


def _broken(path: Path, why: str) -> Mrl4recError:
    return Mrl4recError(
        f"the file is not a whole safetensors file: {why}",
        where=str(path),
        todo="delete the folder it is in and make it again",
    )
