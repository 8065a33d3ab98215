"""A trained model on disk: a folder, complete in itself, there whole or not at all.

::

    model.json           the card: what it is, how it was made, and the digest of every file
    model.safetensors    factors: user_vectors, item_vectors and, with layers, *_0
                         item_item: weights (dense) or weights.* (CSR), history.*
                         counts: counts
    users.parquet        user_id, in the order of the rows
    items.parquet        item_id
    seen.safetensors     indptr, indices: the items a user is not recommended again

No pickle anywhere. A folder is written beside its place, synced, and renamed into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec import tensor_file
from mrl4rec.errors import Mrl4recError
from mrl4rec.interactions import Csr
from mrl4rec.scorers import CountModel, FactorModel, ItemItemModel, Scorer
from mrl4rec.stage import canonical
from mrl4rec.tensor_file import Tensors

CARD, MODEL, SEEN, USERS, ITEMS = (
    "model.json",
    "model.safetensors",
    "seen.safetensors",
    "users.parquet",
    "items.parquet",
)
FORMAT = 1
TODO = "delete the folder and train again: `mrl4rec train` makes it anew from the committed split"


class Ids(NamedTuple):
    """External ids by row."""

    user_ids: NDArray[np.object_]
    item_ids: NDArray[np.object_]


class Loaded(NamedTuple):
    """What a model folder holds."""

    model: Scorer
    card: ModelCard
    ids: Ids
    seen: Csr


@dataclass(frozen=True)
class ModelCard:
    """What a model is and how it was made: JSON values only."""

    stage_key: str
    dataset: str
    method: dict[str, Any]
    """The method's own values, flat."""
    method_name: str
    levels: tuple[int, ...] | None = None
    """Nested widths it was trained with; None for a method without levels."""
    seed: int | None = None
    protocol: str = "clean"
    epoch: int | None = None
    """Epoch of the kept vectors, from 0; None for a closed form."""
    versions: dict[str, Any] = field(default_factory=dict)
    """Versions and stage keys of the tables it was trained on."""
    shapes: dict[str, list[int]] = field(default_factory=dict)
    """Shape of each tensor; filled in by ``save``."""
    kind: str = ""
    """``factors``, ``item_item`` or ``counts``; filled in by ``save``."""
    widths: tuple[int | None, ...] = (None,)
    """Widths it was trained to be cut to; filled in by ``save``."""
    engine: str | None = None
    device: str | None = None
    ranks: int = 1
    history: list[dict[str, Any]] = field(default_factory=list)
    """Learning curve: one entry an epoch, ``epoch``, ``loss``, ``valid_recall@10`` …"""
    trained_until: str | None = None
    """Newest interaction trained on, ISO 8601; None where there are no times."""
    created_with: dict[str, str] = field(default_factory=dict)
    """Versions of mrl4rec, torch and numpy."""


def save(
    folder: Path,
    model: Scorer,
    card: ModelCard,
    ids: tuple[Any, Any],
    seen: Csr,
) -> Path:
    """Write a model folder; afterwards it is complete, or the place is as it was.

    A sound model already there is left alone (its name is its stage key), a damaged one replaced.
    Raises Mrl4recError where the parts do not fit each other or a value is not finite.
    """
    folder = Path(folder)
    tensors = _tensors(model)
    card = _completed(card, model, tensors)
    ids = Ids(np.asarray(ids[0], dtype=object), np.asarray(ids[1], dtype=object))
    _check_fit(model, ids, seen, str(folder))
    _check_finite(tensors, str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name[:32]}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    try:
        tensor_file.write(temporary / MODEL, tensors)
        tensor_file.write(temporary / SEEN, {"indptr": seen.indptr, "indices": seen.indices})
        _write_ids(temporary / USERS, "user_id", ids.user_ids)
        _write_ids(temporary / ITEMS, "item_id", ids.item_ids)
        _write_card(temporary, card)
        for path in [*temporary.iterdir(), temporary]:
            _sync(path)
        _put(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load(folder: Path, *, verify: bool = True) -> Loaded:
    """Read a model folder.

    ``verify`` compares every file with the digest in the card; shapes, fit and (with ``verify``)
    finiteness are checked too. Wide item-item matrices are mapped, not read. Raises Mrl4recError
    naming the file that is missing, cut short or changed.
    """
    folder = Path(folder)
    card, files = _read_card(folder)
    _check_files(folder, files, verify)
    tensors = tensor_file.read(folder / MODEL)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if shapes != card.shapes:
        raise Mrl4recError(
            f"the tensors have other shapes than the card says: {shapes}, expected {card.shapes}",
            where=str(folder / MODEL),
            todo=TODO,
        )
    ids = Ids(_read_ids(folder / USERS), _read_ids(folder / ITEMS))
    rows = tensor_file.read(folder / SEEN)
    seen = Csr(rows["indptr"], rows["indices"], len(ids.item_ids))
    model = _model(card, tensors, len(ids.user_ids), str(folder))
    _check_fit(model, ids, seen, str(folder))
    if verify:
        _check_finite(tensors, str(folder))
    return Loaded(model, card, ids, seen)


def read_card(folder: Path) -> ModelCard:
    """The card alone, verified against its own digest; cheap."""
    return _read_card(Path(folder))[0]


def is_complete(folder: Path) -> bool:
    """True where a folder holds a card and every file it names at its full length."""
    try:
        _, files = _read_card(Path(folder))
        _check_files(Path(folder), files, verify=False)
    except Mrl4recError:
        return False
    return True


def digest(folder: Path) -> str:
    """SHA-256 over names, types, shapes and bytes of the model's tensors."""
    tensors = tensor_file.read(Path(folder) / MODEL)
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(canonical([name, tensor.dtype.str, list(tensor.shape)]).encode())
        total.update(np.ascontiguousarray(tensor).data)
    return total.hexdigest()


def _tensors(model: Scorer) -> Tensors:
    if isinstance(model, FactorModel):
        found = {
            name: getattr(model, name)
            for name in ("user_vectors", "item_vectors", "user_vectors_0", "item_vectors_0")
        }
        return {name: _float32(value) for name, value in found.items() if value is not None}
    if isinstance(model, CountModel):
        return {"counts": np.ascontiguousarray(model.counts)}
    if isinstance(model, ItemItemModel):
        history = {"history.indptr": model.history.indptr, "history.indices": model.history.indices}
        return {**_weights(model.weights), **history}
    raise Mrl4recError(f"a model of type {type(model).__name__} has no form on disk")


def _weights(weights: Any) -> Tensors:
    if isinstance(weights, np.ndarray):
        return {"weights": _float32(weights)}
    rows = weights.tocsr().sorted_indices()
    return {
        "weights.data": _float32(rows.data),
        "weights.indices": rows.indices.astype(np.int32),
        "weights.indptr": rows.indptr.astype(np.int64),
    }


def _float32(values: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)


def _model(card: ModelCard, tensors: Tensors, n_users: int, where: str) -> Scorer:
    try:
        if card.kind == "factors":
            return FactorModel(
                tensors["user_vectors"],
                tensors["item_vectors"],
                tensors.get("user_vectors_0"),
                tensors.get("item_vectors_0"),
                widths=card.widths,
            )
        if card.kind == "counts":
            return CountModel(tensors["counts"], n_users)
        if card.kind == "item_item":
            return _item_item(tensors)
    except KeyError as error:
        raise Mrl4recError(f"tensor {error} is missing", where=where, todo=TODO) from error
    raise Mrl4recError(f"unknown kind of model {card.kind!r}", where=where, todo=TODO)


def _item_item(tensors: Tensors) -> ItemItemModel:
    indptr, indices = tensors["history.indptr"], tensors["history.indices"]
    if "weights" in tensors:
        weights: Any = tensors["weights"]
    else:
        from scipy.sparse import csr_matrix

        n = len(tensors["weights.indptr"]) - 1
        parts = (tensors["weights.data"], tensors["weights.indices"], tensors["weights.indptr"])
        weights = csr_matrix(parts, shape=(n, n))
    return ItemItemModel(weights, Csr(indptr, indices, weights.shape[1]))


def _completed(card: ModelCard, model: Scorer, tensors: Tensors) -> ModelCard:
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    known = {entry.name: getattr(card, entry.name) for entry in fields(card)}
    return ModelCard(**{**known, "shapes": shapes, "kind": model.kind, "widths": model.widths})


def _check_fit(model: Scorer, ids: Ids, seen: Csr, where: str) -> None:
    """Raise where users, items and seen items are not of one data set."""
    expected = (len(ids.user_ids), len(ids.item_ids))
    found = {
        "the model": (model.n_users, model.n_items),
        "the seen items": (seen.n_rows, seen.n_columns),
    }
    problems = [
        f"{what} has {users} users × {items} items, the ids {expected[0]} × {expected[1]}"
        for what, (users, items) in found.items()
        if (users, items) != expected
    ]
    if isinstance(model, FactorModel):
        problems += _factor_problems(model)
    if isinstance(model, ItemItemModel):
        if model.weights.shape[0] != model.weights.shape[1]:
            problems.append(f"the item-item matrix is not square: {model.weights.shape}")
        structure = model.history.problem()
        problems += [f"the history: {structure}"] if structure else []
    structure = seen.problem()
    problems += [f"the seen items: {structure}"] if structure else []
    if problems:
        raise Mrl4recError("; ".join(problems), where=where, todo=TODO)


def _factor_problems(model: FactorModel) -> list[str]:
    shapes = (model.user_vectors.shape, model.item_vectors.shape)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        return [f"user and item vectors do not go together: {shapes[0]} and {shapes[1]}"]
    problems = []
    layers = (model.user_vectors_0, model.item_vectors_0)
    for name, shape, layer in zip(("user", "item"), shapes, layers, strict=True):
        if layer is not None and layer.shape[0] != shape[0]:
            problems.append(f"layer 0 has {layer.shape[0]} {name}s, the pooled vectors {shape[0]}")
    known = [width for width in model.widths if width is not None]
    if any(not 1 <= width <= model.dim for width in known) or known != sorted(set(known)):
        problems.append(f"widths {model.widths} do not fit vectors of {model.dim} dimensions")
    return problems


def _check_finite(tensors: Tensors, where: str) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            continue
        rows = max(1, (1 << 24) // max(1, tensor[:1].size))
        for start in range(0, len(tensor), rows):
            if not np.isfinite(tensor[start : start + rows]).all():
                raise Mrl4recError(
                    f"{name} holds values that are not finite (NaN or infinite)",
                    where=where,
                    todo="the training diverged: lower the learning rate and train again",
                )


def _write_ids(path: Path, name: str, ids: NDArray[np.object_]) -> None:
    pq.write_table(pa.table({name: pa.array(ids, pa.string())}), path)


def _read_ids(path: Path) -> NDArray[np.object_]:
    try:
        return pq.read_table(path).column(0).to_numpy()
    except (OSError, pa.ArrowException) as error:
        raise Mrl4recError(
            f"the ids cannot be read: {error}", where=str(path), todo=TODO
        ) from error


def _write_card(folder: Path, card: ModelCard) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
    }
    body = {"format": FORMAT, **asdict(card), "files": files}
    body["sha256"] = _card_digest(body)
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False, default=str)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _card_digest(body: dict[str, Any]) -> str:
    known = {name: value for name, value in body.items() if name != "sha256"}
    return hashlib.sha256(canonical(known).encode()).hexdigest()


def _read_card(folder: Path) -> tuple[ModelCard, dict[str, dict[str, Any]]]:
    path = folder / CARD
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Mrl4recError(
            "this is no model folder: model.json is missing",
            where=str(folder),
            todo="name a folder under <warehouse>/<dataset>/models, or train one",
        ) from error
    except (OSError, ValueError) as error:
        raise Mrl4recError(
            f"the card cannot be read: {error}", where=str(path), todo=TODO
        ) from error
    if not isinstance(body, dict) or body.get("sha256") != _card_digest(body):
        raise Mrl4recError(
            "the card is not what was written (its digest differs)", where=str(path), todo=TODO
        )
    if body["format"] != FORMAT:
        raise Mrl4recError(
            f"the folder has format {body['format']}, this version reads {FORMAT}",
            where=str(path),
            todo="load it with the version of mrl4rec that wrote it, or train again",
        )
    known = {entry.name for entry in fields(ModelCard)}
    values = {name: value for name, value in body.items() if name in known}
    values["levels"] = tuple(values["levels"]) if values["levels"] else None
    values["widths"] = tuple(values["widths"])
    return ModelCard(**values), body["files"]


def _check_files(folder: Path, files: dict[str, dict[str, Any]], verify: bool) -> None:
    for name in (MODEL, SEEN, USERS, ITEMS):
        path, known = folder / name, files.get(name)
        if known is None or not path.is_file():
            raise Mrl4recError(f"{name} is missing", where=str(folder), todo=TODO)
        size = path.stat().st_size
        if size != known["bytes"]:
            raise Mrl4recError(
                f"{name} has {size} bytes, {known['bytes']} were written",
                where=str(path),
                todo=TODO,
            )
        if verify and _sha256(path) != known["sha256"]:
            raise Mrl4recError(
                f"{name} is not what was written (its digest differs)", where=str(path), todo=TODO
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(temporary: Path, folder: Path) -> None:
    """Rename into place; a sound folder there wins, another is moved away first."""
    for _ in range(3):
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():
                raise
            if is_complete(folder) and _is_sound(folder):
                return
            broken = folder.parent / f".{folder.name[:32]}.{uuid.uuid4().hex[:8]}.broken"
            os.rename(folder, broken)
            shutil.rmtree(broken, ignore_errors=True)
        else:
            _sync(folder.parent)
            return
    raise Mrl4recError("the folder could not be put in place", where=str(folder))


def _is_sound(folder: Path) -> bool:
    try:
        load(folder)
    except Mrl4recError:
        return False
    return True
