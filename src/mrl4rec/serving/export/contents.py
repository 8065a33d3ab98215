"""What is exported of a model, by its kind: arrays of users and items, and how they score.

Shapes: U users, I items, d dimensions, K neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking.topk import plain
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.rotation import rotate, rotate_interests
from mrl4rec.models.scorers import (
    CountModel,
    FactorModel,
    InterestModel,
    ItemItemModel,
    MixtureModel,
)

AT_ONCE = 1 << 24
"""About so many weights are looked through at once, 64 MB of them."""


@dataclass(frozen=True)
class Side:
    """Users or items."""

    ids: NDArray[np.object_]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """By name, with a row for each id."""


@dataclass(frozen=True)
class Contents:
    """What is written of one model."""

    words: str
    """What it is, for people."""
    score: str
    """How a score is computed from it."""
    users: Side
    items: Side
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the manifest."""
    history: Csr | None = None
    """(U, I) items that a user's scores are summed over; None where they are not needed."""

    @property
    def sides(self) -> dict[str, Side]:
        """By name."""
        return {"users": self.users, "items": self.items}


@dataclass(frozen=True)
class Options:
    """What of a model is asked for."""

    width: int | None = None
    """First so many dimensions; None: all."""
    rotate: bool = False
    """By the exact SVD, before cutting."""
    neighbours: int | None = None
    """Lists of so many items for each item; None: every weight there is."""


def contents(loaded: Loaded, asked: Options) -> Contents:
    """What a model gives. Raises UsageError naming the option that it cannot fulfil."""
    model, name = plain(loaded.model), loaded.card.method_name
    if isinstance(model, FactorModel):
        _refuse(name, asked, ("neighbours",), "has vectors, and no weights between items")
        return _vectors(loaded, model, asked)
    if isinstance(model, InterestModel):
        _refuse(name, asked, ("neighbours",), "has vectors, and no weights between items")
        return _interests(loaded, model, asked)
    _refuse(name, asked, ("width", "rotate"), "has no vectors to cut or rotate")
    if isinstance(model, ItemItemModel):
        return _weights(loaded, model, asked.neighbours)
    _refuse(name, asked, ("neighbours",), "has no weights between items")
    users, items = loaded.ids
    if isinstance(model, MixtureModel):
        return Contents(
            "vectors of each concept",
            "log Σ_k items_mixing[i, k] · exp(inner product of users_concepts[u, k] and items[i])",
            Side(users, {"concepts": model.user_concepts}),
            Side(items, {"vector": model.item_vectors, "mixing": model.mixing}),
        )
    assert isinstance(model, CountModel)
    return Contents(
        "counts of the items",
        "the item's count, the same for every user",
        Side(users),
        Side(items, {"count": np.asarray(model.counts)}),
    )


def _refuse(name: str, asked: Options, options: tuple[str, ...], why: str) -> None:
    for option in options:
        given = getattr(asked, option)
        if given is not None and given is not False:
            raise UsageError(f"{name} {why}", where=f"--{option}", todo="leave the option out")


def _vectors(loaded: Loaded, model: FactorModel, asked: Options) -> Contents:
    cut = model.width(asked.width)
    users, items = model.user_vectors, model.item_vectors
    if asked.rotate:
        users, items = rotate(users, items)
    return Contents(
        f"vectors of {cut} dimensions" + (", rotated" if asked.rotate else ""),
        "inner product of a user's vector and an item's vector; higher is better",
        Side(loaded.ids.user_ids, {"vector": np.ascontiguousarray(users[:, :cut])}),
        Side(loaded.ids.item_ids, {"vector": np.ascontiguousarray(items[:, :cut])}),
        _widths(model, asked),
    )


def _interests(loaded: Loaded, model: InterestModel, asked: Options) -> Contents:
    plain = (rotate_interests(model) if asked.rotate else model).cut(asked.width)
    pooled = "the largest" if model.pooling == "max" else "the sum"
    return Contents(
        f"{model.n_interests} vectors a user, of {plain.dim} dimensions"
        + (", rotated" if asked.rotate else ""),
        f"{pooled}, over k, of the inner products of users_interests[u, k] and items[i]; higher is "
        "better",
        Side(loaded.ids.user_ids, {"interests": np.ascontiguousarray(plain.user_interests)}),
        Side(loaded.ids.item_ids, {"vector": np.ascontiguousarray(plain.item_vectors)}),
        _widths(model, asked),
    )


def _widths(model: FactorModel | InterestModel, asked: Options) -> dict[str, Any]:
    return {
        "width": model.width(asked.width),
        "full_width": model.dim,
        "trained_widths": [level for level in model.widths if level is not None],
        "rotated": asked.rotate,
    }


def _weights(loaded: Loaded, model: ItemItemModel, neighbours: int | None) -> Contents:
    users, items = loaded.ids
    sum_of = "the sum, over the items in the user's history, of"
    if neighbours is None and isinstance(model.weights, np.ndarray):
        return Contents(
            "the item-item matrix",
            f"{sum_of} items_weights[item in the history, item scored]; higher is better",
            Side(users),
            Side(items, {"weights": model.weights}),
            {"neighbours": None, "complete": True},
            model.history,
        )
    rows_IK, weights_IK, complete = nearest(model.weights, neighbours)
    size = rows_IK.shape[1]
    return Contents(
        f"lists of at most {size} neighbours of each item"
        + (", every weight there is" if complete else f", the {size} largest weights"),
        f"{sum_of} the scored item's weight in their lists, 0 where it is in none"
        + ("" if complete else "; approximate, since smaller weights are left out"),
        Side(users),
        Side(items, {"neighbours": rows_IK, "weights": weights_IK}),
        {"neighbours": size, "complete": complete},
        model.history,
    )


def nearest(weights: Any, most: int | None) -> tuple[NDArray[np.int32], NDArray[np.float32], bool]:
    """The items of each row's largest weights, their weights, and whether those are all.

    ``weights`` (I, I) is dense or sparse. Items (I, K) end in −1 and weights in 0 where a row has
    fewer than K that are not 0. ``most`` None: K is as large as the fullest row needs.
    """
    n_items = weights.shape[0]
    dense = isinstance(weights, np.ndarray)
    full = np.count_nonzero(weights, axis=1) if dense else np.diff(weights.tocsr().indptr)
    size = min(int(full.max(initial=0)), n_items if most is None else most)
    rows_IK = np.full((n_items, size), -1, dtype=np.int32)
    weights_IK = np.zeros((n_items, size), dtype=np.float32)
    step = max(1, AT_ONCE // max(1, n_items))
    for begin in range(0, n_items, step):
        part = weights[begin : begin + step]
        block = np.array(part if dense else part.toarray(), dtype=np.float32)
        there = block != 0
        block[~there] = -np.inf
        best = np.argsort(-block, axis=1, kind="stable")[:, :size]
        found = np.take_along_axis(there, best, axis=1)
        chosen = slice(begin, begin + len(block))
        rows_IK[chosen] = np.where(found, best, -1)
        weights_IK[chosen] = np.where(found, np.take_along_axis(block, best, axis=1), 0)
    return rows_IK, weights_IK, size >= int(full.max(initial=0))
