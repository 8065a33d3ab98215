"""The forms of exported files. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.serving.export.contents import Contents, Side

with lazy.imports():
    import faiss

MEANING = {
    "vector": "vectors, a row for each of the {}",
    "concepts": "a vector for each concept, a row for each of the {}",
    "interests": "a vector for each interest, a row for each of the {}",
    "mixing": "shares of the concepts, a row for each of the {}",
    "weights": "weights, a row for each of the {}",
    "neighbours": "rows of the neighbours, largest weight first, −1 at the end",
    "count": "counts, one for each of the {}",
}
"""Of each array."""


def check(format: str, found: Contents) -> None:
    """Raise UsageError where there is no such format, or it cannot hold this model."""
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}", where="--format", todo=nearest(format, FORMATS)
        )
    if format != "faiss":
        return
    if any([*side.arrays] != ["vector"] for side in found.sides.values()):
        raise UsageError(
            f"a faiss index holds vectors, and this model has {found.words}",
            where="--format faiss",
            todo="take --format npy or parquet",
        )
    try:
        lazy.load(faiss)  # an extra
    except Mrl4recError as error:
        raise UsageError(
            error.what, where="--format faiss", todo=f"{error.todo}; or take --format npy"
        ) from error


def _write_npy(folder: Path, found: Contents) -> dict[str, str]:
    """An array a file, and the ids as fixed-width unicode (which loads without pickle)."""
    files = {}
    for name, side in found.sides.items():
        for array, values in side.arrays.items():
            file = f"{name}.npy" if array == "vector" else f"{name}_{array}.npy"
            np.save(folder / file, values, allow_pickle=False)
            files[file] = MEANING[array].format(name)
        files |= _write_npy_ids(folder, name, side.ids)
    return files


def _write_npy_ids(folder: Path, name: str, ids: NDArray[np.object_]) -> dict[str, str]:
    plain = ids.astype(np.str_)
    if not np.array_equal(plain.astype(object), ids):  # NumPy drops NULs at an id's end
        raise Mrl4recError(
            f"an id of the {name} ends in a NUL character, which NumPy text cannot hold",
            todo="export with --format parquet",
        )
    np.save(folder / f"{name}_ids.npy", plain, allow_pickle=False)
    return {f"{name}_ids.npy": f"ids of the {name}, row by row"}


def _write_parquet(folder: Path, found: Contents) -> dict[str, str]:
    """users.parquet and items.parquet: the id, and a column for each array."""
    files = {}
    for name, side in found.sides.items():
        columns = {f"{name[:-1]}_id": pa.array(side.ids, pa.string())}
        if "neighbours" in side.arrays:
            columns |= _lists(side)
        else:
            columns |= {array: _column(values) for array, values in side.arrays.items()}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        files[f"{name}.parquet"] = ", ".join(columns) + f": a row for each of the {name}"
    return files


def _column(values: NDArray[Any]) -> pa.Array:
    """A value a row; fixed-size lists of them, and lists of lists, where there are more."""
    column = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def _lists(side: Side) -> dict[str, pa.Array]:
    """The ids of each item's neighbours and their weights, as lists of their own length."""
    rows_IK = side.arrays["neighbours"]
    there = rows_IK >= 0
    ends = pa.array(np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32))
    ids = pa.array(side.ids, pa.string()).take(pa.array(rows_IK[there]))
    return {
        "neighbours": pa.ListArray.from_arrays(ends, ids),
        "weights": pa.ListArray.from_arrays(ends, pa.array(side.arrays["weights"][there])),
    }


def _write_faiss(folder: Path, found: Contents) -> dict[str, str]:
    """items.faiss (exact inner product, row = item), users.npy, and the ids of both."""
    items = found.items.arrays["vector"]
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    faiss.write_index(index, str(folder / "items.faiss"))
    np.save(folder / "users.npy", found.users.arrays["vector"], allow_pickle=False)
    files = {
        "items.faiss": "IndexFlatIP over the items, row by row",
        "users.npy": MEANING["vector"].format("users"),
    }
    for name, side in found.sides.items():
        files |= _write_npy_ids(folder, name, side.ids)
    return files


FORMATS: dict[str, Callable[[Path, Contents], dict[str, str]]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "faiss": _write_faiss,
}
"""What writes the files and answers their meaning by name."""
