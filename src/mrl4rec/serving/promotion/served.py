"""A trained model as it serves the people of today, those it knows and those it does not.

Ids are append-only, so the users and items of a model are the first of the present ones. A user it
has no training pair of (or no history, if it scores by those) gets the popularity list of its own
training pairs; an item it has no training pair of ranks below every item it knows, in the order of
ties. A sequential model has the histories it is bound to: as loaded, those of its folder.

Both are said by two numbers in front of every vector (factors, interests) or two rows below the
matrix (item-item), so that the result is again a model of a kind that the compiled searches know.
What they add to the score of a known user and item is exactly 0: that score keeps its bits.

Shapes: U present users, I present items, K vectors a user, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking.topk import plain
from mrl4rec.kernels.csr import csr
from mrl4rec.models.histories import known_users
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import (
    CountModel,
    FactorModel,
    Floats,
    InterestModel,
    ItemItemModel,
    MixtureModel,
    Scorer,
)
from mrl4rec.models.scorers.interests import unit

with lazy.imports():
    from scipy import sparse

LEAD = 2
"""Numbers in front of a vector: popularity, and whether the item is unknown."""
BELOW = 4.0
"""An unknown item lies so many times the largest possible score below 0."""


class Served:
    """A ``Scorer`` over the present users and items.

    ``offered`` (I,) marks the items that may be recommended; the others count as unknown. None: all
    may. ``plain`` is the same model in a form that ranking knows by its type; it holds copies of
    the model's tensors, except where the model knows everybody and everything. Raises Mrl4recError
    where the model has more users or items than there are.
    """

    def __init__(
        self,
        loaded: Loaded,
        n_users: int,
        n_items: int,
        offered: NDArray[np.bool_] | None = None,
    ) -> None:
        model, seen = loaded.model, loaded.seen
        if model.n_users > n_users or model.n_items > n_items:
            raise Mrl4recError(
                f"the model has {model.n_users:,} users × {model.n_items:,} items, and there are "
                f"only {n_users:,} × {n_items:,}",
                where=f"model {loaded.card.stage_key[:12]}",
                todo="ids are never taken back: serve the model with the data it came from",
            )
        self.pairs_I = padded(np.bincount(seen.indices, minlength=seen.n_columns), n_items)
        """Training pairs of each item that is offered."""
        if offered is not None:
            self.pairs_I[~offered] = 0
        self.known_U = padded(known_users(model, seen), n_users)
        self.plain = self._plain(plain(model))

    @property
    def n_users(self) -> int:
        """Users there are."""
        return len(self.known_U)

    @property
    def n_items(self) -> int:
        """Items there are."""
        return len(self.pairs_I)

    @property
    def kind(self) -> str:
        """The kind of ``plain``."""
        return self.plain.kind

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The widths the model was trained to be cut to."""
        return self.plain.widths

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) scores, seen items not masked."""
        return self.plain.scores(users_B, width)

    def _plain(self, model: Scorer) -> Scorer:
        known_I = self.pairs_I > 0
        same = (model.n_users, model.n_items) == (self.n_users, self.n_items)
        if same and self.known_U.all() and known_I.all():
            return model
        if isinstance(model, CountModel):
            return CountModel(
                np.where(known_I, padded(model.counts, self.n_items), 0), self.n_users
            )
        if isinstance(model, FactorModel):
            return _factors(model, self.known_U, self.pairs_I)
        if isinstance(model, InterestModel):
            return _interests(model, self.known_U, self.pairs_I)
        if isinstance(model, ItemItemModel):
            return _item_item(model, self.known_U, self.pairs_I)
        if isinstance(model, MixtureModel):
            return LedRows(model, self.known_U, self.pairs_I)
        raise Mrl4recError(f"a model of type {type(model).__name__} cannot be served")


class LedFactors(FactorModel):
    """Vectors with ``LEAD`` numbers in front that every width keeps."""

    @property
    def dim(self) -> int:
        """Full width d, without the numbers in front."""
        return super().dim - LEAD

    def width(self, width: int | None) -> int:
        """A width as a number of dimensions of the vectors held; UsageError outside 1 … d."""
        return LEAD + super().width(width)


class LedInterests(InterestModel):
    """Several vectors a user with ``LEAD`` numbers in front that every width keeps."""

    @property
    def dim(self) -> int:
        """Full width d, without the numbers in front."""
        return super().dim - LEAD

    def width(self, width: int | None) -> int:
        """A width as a number of dimensions of the vectors held; UsageError outside 1 … d."""
        return LEAD + super().width(width)

    def cut(self, width: int | None) -> InterestModel:
        """The model of the first ``width`` numbers held, those in front among them."""
        users, items = self.user_interests[:, :, :width], self.item_vectors[:, :width]
        if self.normalised:
            users, items = (
                np.concatenate([side[..., :LEAD], unit(side[..., LEAD:])], axis=-1)
                for side in (users, items)
            )
        return InterestModel(users, items)

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) largest inner products of the first ``width`` dimensions."""
        return self.cut(self.width(width)).scores(users_B)


class LedRows:
    """Whole rows of a model's scores; popularity for strangers, unknown items below all others."""

    widths: tuple[int | None, ...] = (None,)

    def __init__(
        self, model: MixtureModel, known_U: NDArray[np.bool_], pairs_I: NDArray[Any]
    ) -> None:
        self.model, self.known_U = model, known_U
        self.pairs_I = pairs_I.astype(np.float32)
        self.n_users, self.n_items, self.kind = len(known_U), len(pairs_I), model.kind

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) scores, seen items not masked; ``width`` must be None."""
        known_B, known_I = self.known_U[users_B], self.pairs_I > 0
        out = np.tile(self.pairs_I, (len(users_B), 1))
        out[known_B, : self.model.n_items] = self.model.scores(users_B[known_B], width)
        out[:, ~known_I] = -_low(_largest(out), self.pairs_I)
        return out


def _factors(model: FactorModel, known_U: NDArray[np.bool_], pairs_I: NDArray[Any]) -> LedFactors:
    """The vectors, led."""
    vectors = _led(model.user_vectors[:, None], model.item_vectors, known_U, pairs_I)
    return LedFactors(vectors[0][:, 0], vectors[1], widths=model.widths)


def _interests(
    model: InterestModel, known_U: NDArray[np.bool_], pairs_I: NDArray[Any]
) -> LedInterests:
    """The vectors, led; all vectors of a user alike, so that the largest product is led too."""
    if model.pooling != "max":
        raise Mrl4recError("a model that sums over a user's vectors cannot be served")
    vectors = _led(model.user_interests, model.item_vectors, known_U, pairs_I)
    return LedInterests(*vectors, widths=model.widths, normalised=model.normalised)


def _led(
    users_UKd: Floats, items_Id: Floats, known_U: NDArray[np.bool_], pairs_I: NDArray[Any]
) -> tuple[Floats, Floats]:
    """score = popular_u · pairs_i − unknown_i · low + <u, i>, with vectors of 0 for the unknown."""
    n_users, interests, dim = users_UKd.shape
    users = np.zeros((len(known_U), interests, LEAD + dim), dtype=np.float32)
    items = np.zeros((len(pairs_I), LEAD + dim), dtype=np.float32)
    users[:n_users, :, LEAD:] = users_UKd
    items[: len(items_Id), LEAD:] = items_Id
    users[~known_U] = 0
    items[pairs_I == 0] = 0
    largest = _largest(users) * _largest(items) * dim
    users[:, :, 0], users[:, :, 1] = ~known_U[:, None], 1
    items[:, 0] = pairs_I
    items[pairs_I == 0, 1] = -_low(largest, pairs_I)
    return users, items


def _item_item(
    model: ItemItemModel, known_U: NDArray[np.bool_], pairs_I: NDArray[Any]
) -> ItemItemModel:
    """Two more rows: one in everybody's history, below 0 at unknown items; one of popularity."""
    n_items, known_I = len(pairs_I), pairs_I > 0
    users = np.repeat(np.arange(model.n_users), model.history.degrees)
    of_known = known_U[users]
    everybody, unknown = np.arange(len(known_U)), np.flatnonzero(~known_U)
    history = csr(
        np.concatenate([users[of_known], everybody, unknown]),
        np.concatenate(
            [
                model.history.indices[of_known],
                np.full(len(everybody), n_items),
                np.full(len(unknown), n_items + 1),
            ]
        ),
        len(known_U),
        n_items + LEAD,
    )
    largest = _largest(model.weights) * float(history.degrees.max(initial=1))
    rows = np.stack([np.where(known_I, 0, -_low(largest, pairs_I)), pairs_I]).astype(np.float32)
    return ItemItemModel(_below(model.weights, rows, known_I), history)


def _below(weights: Any, rows: Floats, known_I: NDArray[np.bool_]) -> Any:
    """``weights`` widened to the present items, unknown columns 0, with ``rows`` below."""
    n_items, n = len(known_I), weights.shape[0]
    if isinstance(weights, np.ndarray):
        out = np.zeros((n_items + len(rows), n_items), dtype=np.float32)
        out[:n, :n] = weights
        out[:n, ~known_I] = 0
        out[n_items:] = rows
        return out

    body = weights.tocsr().copy()
    body.resize((n_items, n_items))
    body = body @ sparse.diags(known_I.astype(np.float32))
    return sparse.vstack([body, sparse.csr_matrix(rows)], format="csr", dtype=np.float32)


def padded(values: NDArray[Any], n: int) -> NDArray[Any]:
    """(n,) the values and zeros after them."""
    out = np.zeros(n, dtype=values.dtype)
    out[: len(values)] = values
    return out


def _largest(values: Any) -> float:
    """The largest absolute value; no copy is made."""
    return max(float(values.max()), -float(values.min())) if values.shape[0] else 0.0


def _low(largest: float, pairs_I: NDArray[Any]) -> float:
    return BELOW * max(1.0, largest, float(pairs_I.max(initial=0)))
