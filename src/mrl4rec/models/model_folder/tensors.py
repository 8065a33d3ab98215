"""A model as named tensors and back, and whether the parts of a folder fit each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.tensor_file import Tensors
from mrl4rec.data.sequences import Histories
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import registry
from mrl4rec.models.model_folder.card import TODO, ModelCard
from mrl4rec.models.scorers import CountModel, FactorModel, ItemItemModel, MixtureModel, Scorer
from mrl4rec.models.sequential.base import Sequential
from mrl4rec.models.sequential.model import ITEM_VECTORS, SequenceModel

with lazy.imports():
    from scipy import sparse


class Ids(NamedTuple):
    """External ids by row."""

    user_ids: NDArray[np.object_]
    item_ids: NDArray[np.object_]


_FORMS = {
    "user_vectors": ("f", 2), "item_vectors": ("f", 2),
    "user_vectors_0": ("f", 2), "item_vectors_0": ("f", 2),
    "user_concepts": ("f", 3), "mixing": ("f", 2),
    "weights": ("f", 2), "weights.data": ("f", 1), "counts": ("fi", 1), "last": ("i", 1),
    **{f"{rows}{part}": ("i", 1) for rows in ("", "weights.", "history.")
       for part in ("indptr", "indices")},
}  # fmt: skip
"""Kinds of numbers and dimensions of each tensor."""
MIXTURE = ("user_concepts", "item_vectors", "mixing")
NET = "net."
"""What the names of a sequential model's weights begin with."""


def check_forms(tensors: Tensors, needed: Iterable[str], where: str) -> None:
    """Raise where a tensor is missing, or is none of the form that its name asks for."""
    problems = [f"tensor {name!r} is missing" for name in needed if name not in tensors]
    for name, tensor in tensors.items():
        kinds, dimensions = _FORMS.get(name, ("", 0))
        if name.startswith(NET) and tensor.dtype.kind == "f":
            continue  # the net that asks for it knows its shape
        if tensor.dtype.kind not in kinds or tensor.ndim != dimensions:
            problems.append(f"tensor {name!r} of {tensor.dtype} {tensor.shape} belongs to no model")
    if problems:
        raise Mrl4recError("; ".join(problems), where=where, todo=TODO)


def to_tensors(model: Scorer) -> Tensors:
    if isinstance(model, FactorModel):
        found = {
            name: getattr(model, name)
            for name in ("user_vectors", "item_vectors", "user_vectors_0", "item_vectors_0")
        }
        return {name: _float32(value) for name, value in found.items() if value is not None}
    if isinstance(model, MixtureModel):
        return {name: _float32(getattr(model, name)) for name in MIXTURE}
    if isinstance(model, SequenceModel):
        net = {f"{NET}{n}": _float32(a) for n, a in model.arrays.items() if n != ITEM_VECTORS}
        rows: Tensors = {
            "history.indptr": model.histories.indptr,
            "history.indices": model.histories.items,
        }
        return {ITEM_VECTORS: _float32(model.item_vectors), **net, **rows}
    if isinstance(model, CountModel):
        return {"counts": np.ascontiguousarray(model.counts)}
    if isinstance(model, ItemItemModel):
        history: Tensors = {
            "history.indptr": model.history.indptr,
            "history.indices": model.history.indices,
        }
        if model.last:
            history["last"] = np.array([model.last], dtype=np.int64)
        return _weights(model.weights) | history
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


def to_model(card: ModelCard, tensors: Tensors, n_users: int, where: str) -> Scorer:
    check_forms(tensors, (), where)
    try:
        if card.kind == "factors":
            return FactorModel(
                tensors["user_vectors"],
                tensors["item_vectors"],
                tensors.get("user_vectors_0"),
                tensors.get("item_vectors_0"),
                widths=card.widths,
            )
        if card.kind == "mixture":
            users, items, mixing = (tensors[name] for name in MIXTURE)
            return MixtureModel(users, items, mixing)
        if card.kind == "counts":
            return CountModel(tensors["counts"], n_users)
        if card.kind == SequenceModel.kind:
            return _sequential(card, tensors)
        if card.kind == "item_item":
            return _item_item(tensors, where)
    except KeyError as error:
        raise Mrl4recError(f"tensor {error} is missing", where=where, todo=TODO) from error
    raise Mrl4recError(f"unknown kind of model {card.kind!r}", where=where, todo=TODO)


def _sequential(card: ModelCard, tensors: Tensors) -> Scorer:
    arrays = {name.removeprefix(NET): t for name, t in tensors.items() if name.startswith(NET)}
    arrays[ITEM_VECTORS] = tensors[ITEM_VECTORS]
    rows, items = tensors["history.indptr"], tensors["history.indices"]
    histories = Histories(rows, items, len(arrays[ITEM_VECTORS]))
    method = registry.from_dict(card.method)
    assert isinstance(method, Sequential)
    return method.scorer(arrays, card.widths, histories)


def _item_item(tensors: Tensors, where: str) -> ItemItemModel:
    indptr, indices = tensors["history.indptr"], tensors["history.indices"]
    if "weights" in tensors:
        weights: Any = tensors["weights"]
    else:
        data, columns, rows = (tensors[f"weights.{part}"] for part in ("data", "indices", "indptr"))
        n = len(rows) - 1
        # SciPy's loops go where the indices say, inside the matrix or not.
        problem = Csr(rows, columns, n).problem()
        if len(data) != len(columns):
            problem = f"{len(data)} values for {len(columns)} indices"
        if problem:
            raise Mrl4recError(f"the item-item matrix: {problem}", where=where, todo=TODO)
        weights = sparse.csr_matrix((data, columns, rows), shape=(n, n))
    last = int(tensors["last"][0]) if "last" in tensors else 0
    return ItemItemModel(weights, Csr(indptr, indices, weights.shape[1]), last=last)


def check_fit(model: Scorer, ids: Ids, seen: Csr, consumed: Csr, where: str) -> None:
    """Raise where users, items and their pairs are not of one data set."""
    expected = (len(ids.user_ids), len(ids.item_ids))
    found = {
        "the model": (model.n_users, model.n_items),
        "the seen items": (seen.n_rows, seen.n_columns),
        "the consumed items": (consumed.n_rows, consumed.n_columns),
    }
    problems = [
        f"{what} has {users} users × {items} items, the ids {expected[0]} × {expected[1]}"
        for what, (users, items) in found.items()
        if (users, items) != expected
    ]
    if isinstance(model, FactorModel):
        problems += _factor_problems(model)
    if isinstance(model, MixtureModel):
        problems += _mixture_problems(model)
    if isinstance(model, ItemItemModel):
        if model.weights.shape[0] != model.weights.shape[1]:
            problems.append(f"the item-item matrix is not square: {model.weights.shape}")
        structure = model.history.problem()
        problems += [f"the history: {structure}"] if structure else []
    for name, pairs in {"seen": seen, "consumed": consumed}.items():
        structure = pairs.problem()
        problems += [f"the {name} items: {structure}"] if structure else []
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


def _mixture_problems(model: MixtureModel) -> list[str]:
    _, concepts, dim = model.user_concepts.shape
    wanted = {"item_vectors": (model.n_items, dim), "mixing": (model.n_items, concepts)}
    shapes = {name: getattr(model, name).shape for name in wanted}
    return [
        f"{name} of {shapes[name]} does not go with user_concepts of {model.user_concepts.shape}"
        for name in wanted
        if shapes[name] != wanted[name]
    ]


def check_finite(tensors: Tensors, where: str) -> None:
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
