"""The vectors to serve, with ids, at a width one can afford: NumPy, Parquet or faiss files.

Whatever the format, a score is the inner product of a user's row and an item's row, and
``manifest.json`` says so. Nothing is pickled. Reading them back gives the lists that the model
itself gives at that width.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec.core import lazy, tensor_file
from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import model_folder
from mrl4rec.models.rotation import rotate as rotate_vectors
from mrl4rec.models.scorers import FactorModel

with lazy.imports():
    import faiss

Side = tuple[NDArray[np.object_], NDArray[np.float32]]
"""External ids and vectors, row by row."""

MANIFEST = "manifest.json"


def run(
    folder: Path,
    width: int | None,
    rotate: bool,
    format: str,
    out: Path,
    *,
    seen: bool = True,
) -> Path:
    """Write the vectors of a model folder to a new folder ``out`` and return it.

    ``width`` None is the full width; ``rotate`` turns the vectors so that a prefix loses as little
    as it can (``ranking.rotate``) before cutting. ``format`` is one of ``FORMATS``. ``seen`` adds
    the items each user has seen (``seen.safetensors``). Raises UsageError for an impossible width,
    an unknown format, a model without vectors, or a place that is taken.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}", todo=nearest(format, FORMATS))
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "the place to write to is taken", where=str(out), todo="name a new or empty folder"
        )
    loaded = model_folder.load(Path(folder))
    model = _with_vectors(loaded, str(folder))
    cut = model.width(width)
    users, items = model.user_vectors, model.item_vectors
    if rotate:
        users, items = rotate_vectors(users, items)
    sides = {
        "user": (loaded.ids.user_ids, np.ascontiguousarray(users[:, :cut])),
        "item": (loaded.ids.item_ids, np.ascontiguousarray(items[:, :cut])),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    try:
        files = FORMATS[format](temporary, sides)
        if seen:
            files["seen.safetensors"] = "indptr, indices: rows of items each user has seen"
            _write_seen(temporary / "seen.safetensors", loaded.seen)
        _write_manifest(temporary, loaded.card, model, cut, rotate, format, files)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _with_vectors(loaded: model_folder.Loaded, where: str) -> FactorModel:
    """The model, if it has vectors."""
    model, name = loaded.model, loaded.card.method_name
    if isinstance(model, FactorModel):
        return model
    what = {
        "item_item": "its scores come from an item-item matrix and a user's history",
        "mixture": "its users have a vector for each concept, and no one inner product scores",
        "counts": "it gives everybody the same list, by popularity",
    }[model.kind]
    raise UsageError(
        f"{name} has no vectors to export: {what}",
        where=where,
        todo="export a factor model (BPR, MRL-M …), or serve this folder whole: "
        "model_folder.load, or the pyfunc",
    )


def _write_npy(folder: Path, sides: dict[str, Side]) -> dict[str, str]:
    """users.npy, items.npy and their ids as fixed-width unicode (loads without pickle)."""
    for name, (ids, vectors) in sides.items():
        np.save(folder / f"{name}s.npy", vectors, allow_pickle=False)
        _write_npy_ids(folder, name, ids)
    return {
        f"{name}s{tail}.npy": text.format(name)
        for name in sides
        for tail, text in {"": "vectors, a row a {}", "_ids": "ids of the {}s, row by row"}.items()
    }


def _write_npy_ids(folder: Path, name: str, ids: NDArray[np.object_]) -> None:
    plain = ids.astype(np.str_)
    if not np.array_equal(plain.astype(object), ids):  # NumPy drops NULs at an id's end
        raise Mrl4recError(
            f"a {name} id ends in a NUL character, which NumPy text cannot hold",
            todo="export with --format parquet",
        )
    np.save(folder / f"{name}s_ids.npy", plain, allow_pickle=False)


def _write_parquet(folder: Path, sides: dict[str, Side]) -> dict[str, str]:
    """users.parquet and items.parquet: id, vector (a fixed-size list of float32)."""
    for name, (ids, vectors) in sides.items():
        flat = pa.array(vectors.reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        table = pa.table({f"{name}_id": pa.array(ids, pa.string()), "vector": column})
        pq.write_table(table, folder / f"{name}s.parquet")
    return {f"{name}s.parquet": f"{name}_id, vector: a row a {name}" for name in sides}


def _write_faiss(folder: Path, sides: dict[str, Side]) -> dict[str, str]:
    """items.faiss (exact inner product, row = item), users.npy, and the ids of both."""
    try:
        lazy.load(faiss)  # an extra
    except ImportError as error:
        raise UsageError(
            "faiss is not installed", todo="pip install 'mrl4rec[faiss]', or --format npy"
        ) from error
    items = sides["item"][1]
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    faiss.write_index(index, str(folder / "items.faiss"))
    np.save(folder / "users.npy", sides["user"][1], allow_pickle=False)
    for name, (ids, _) in sides.items():
        _write_npy_ids(folder, name, ids)
    return {
        "items.faiss": "IndexFlatIP over the items, row by row",
        "users.npy": "vectors, a row a user",
        "users_ids.npy": "ids of the users, row by row",
        "items_ids.npy": "ids of the items, row by row",
    }


FORMATS: dict[str, Callable[[Path, dict[str, Side]], dict[str, str]]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "faiss": _write_faiss,
}


def _write_seen(path: Path, seen: Csr) -> None:
    tensor_file.write(path, {"indptr": seen.indptr, "indices": seen.indices})


def _write_manifest(
    folder: Path,
    card: model_folder.ModelCard,
    model: FactorModel,
    width: int,
    rotated: bool,
    format: str,
    files: dict[str, str],
) -> None:
    body: dict[str, Any] = {
        "score": "inner product of a user's vector and an item's vector; higher is better",
        "stage_key": card.stage_key,
        "dataset": card.dataset,
        "method": card.method_name,
        "format": format,
        "width": width,
        "full_width": model.dim,
        "trained_widths": [level for level in model.widths if level is not None],
        "rotated": rotated,
        "users": model.n_users,
        "items": model.n_items,
        "dtype": "float32",
        "files": files,
        "ties": "equal scores have no order of their own here",
    }
    (folder / MANIFEST).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
