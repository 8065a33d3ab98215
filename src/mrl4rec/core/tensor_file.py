"""Safetensors files: written and read by the library, but wide matrices are mapped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError

with lazy.imports():
    import safetensors
    import safetensors.numpy

Tensors = dict[str, NDArray[Any]]

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1"}
MAPPED_BYTES = 64 << 20
"""Tensors from this size on are mapped; the library's NumPy reader would copy them."""


def write(path: Path, tensors: Tensors) -> None:
    """Write tensors as one safetensors file, with the mode that a new file has here."""
    path.touch()
    mode = path.stat().st_mode
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, path
    )
    path.chmod(mode)  # the library's own is of a temporary file: the owner's alone


def read(path: Path) -> Tensors:
    """Read every tensor of a file; large ones are mapped copy-on-write.

    Raises Mrl4recError where the file is not a whole safetensors file, or holds a type that is not
    in ``DTYPES``.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            return _tensors(path, file)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise Mrl4recError(
            f"the file is not a whole safetensors file: {error!r}",
            where=str(path),
            todo="delete the folder it is in and make it again",
        ) from error


def _tensors(path: Path, file: Any) -> Tensors:
    tensors, begin = {}, path.stat().st_size
    # The library has checked that the tensors fill the file one after the other up to its end.
    for name in reversed(file.offset_keys()):
        header = file.get_slice(name)
        dtype, shape = np.dtype(DTYPES[header.get_dtype()]), tuple(header.get_shape())
        size = math.prod(shape) * dtype.itemsize
        begin -= size
        if size < MAPPED_BYTES:
            tensors[name] = file.get_tensor(name)
        else:  # copy-on-write, because compiled loops tell read-only arrays from writable ones
            tensors[name] = np.asarray(np.memmap(path, dtype, "c", begin, shape))
    return tensors
