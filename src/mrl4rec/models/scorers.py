"""What a trained model can do: score every item for some users.

Shapes: U users, I items, d dimensions, K concepts, B users of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.kernels.csr import Csr

with lazy.imports():
    from scipy import sparse

Floats = NDArray[np.float32]

MIXTURE_SCORES = 1 << 22
"""Scores of single concepts held at once, 16 MB."""


@runtime_checkable
class Scorer(Protocol):
    """A trained model, whatever made it."""

    @property
    def n_users(self) -> int:
        """Users it was trained on."""

    @property
    def n_items(self) -> int:
        """Items it can score."""

    @property
    def kind(self) -> str:
        """``factors``, ``mixture``, ``item_item`` or ``counts``."""

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The widths it was trained to be cut to, ascending; ``(None,)`` for one without."""

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) scores, seen items not masked; ``width`` None is the whole model."""


@dataclass(frozen=True, eq=False)
class FactorModel:
    """Inner products of user and item vectors; a prefix of both is a smaller model."""

    user_vectors: Floats
    """(U, d), pooled over layers where the model has layers."""
    item_vectors: Floats
    """(I, d)."""
    user_vectors_0: Floats | None = None
    """(U, d) before pooling; None for a model without layers."""
    item_vectors_0: Floats | None = None
    widths: tuple[int | None, ...] = (None,)
    kind: ClassVar[str] = "factors"

    @property
    def n_users(self) -> int:
        """Users it was trained on."""
        return int(self.user_vectors.shape[0])

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return int(self.item_vectors.shape[0])

    @property
    def dim(self) -> int:
        """Full width d."""
        return int(self.item_vectors.shape[1])

    def width(self, width: int | None) -> int:
        """A width as a number of dimensions; UsageError outside 1 … d."""
        if width is None:
            return self.dim
        if not 1 <= width <= self.dim:
            trained = ", ".join(str(level) for level in self.widths if level) or f"{self.dim} only"
            raise UsageError(
                f"width {width} is not possible: the vectors have {self.dim} dimensions",
                todo=f"choose 1 … {self.dim} (trained widths: {trained})",
            )
        return width

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) inner products of the first ``width`` coordinates."""
        cut = self.width(width)
        return self.user_vectors[users_B, :cut] @ self.item_vectors[:, :cut].T


@dataclass(frozen=True, eq=False)
class MixtureModel:
    """A user has a vector for each concept, and an item belongs to concepts in shares."""

    user_concepts: Floats
    """(U, K, d)."""
    item_vectors: Floats
    """(I, d)."""
    mixing: Floats
    """(I, K) each item's shares, which sum to 1."""
    widths: tuple[int | None, ...] = (None,)
    kind: ClassVar[str] = "mixture"

    @property
    def n_users(self) -> int:
        """Users it was trained on."""
        return int(self.user_concepts.shape[0])

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return int(self.item_vectors.shape[0])

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) log Σ_k mixing_ik exp(<user_k, item>); ``width`` must be None."""
        _no_prefix(self, width)
        out = np.empty((len(users_B), self.n_items), dtype=np.float32)
        with np.errstate(divide="ignore"):  # a share of 0 is a log of −inf, and adds nothing
            shift_KI = np.log(self.mixing.T)
        step = max(1, MIXTURE_SCORES // max(1, shift_KI.size))
        for begin in range(0, len(users_B), step):
            users = self.user_concepts[users_B[begin : begin + step]]
            flat = users.reshape(-1, users.shape[2]) @ self.item_vectors.T
            logits_bKI = flat.reshape(-1, *shift_KI.shape)
            logits_bKI += shift_KI
            best_bI = logits_bKI.max(axis=1)
            logits_bKI -= best_bI[:, None]
            sums_bI = np.exp(logits_bKI, out=logits_bKI).sum(axis=1)
            out[begin : begin + step] = np.log(sums_bI) + best_bI
        return out


@dataclass(frozen=True, eq=False)
class InterestModel:
    """Several vectors a user."""

    user_interests: Floats
    item_vectors: Floats
    widths: tuple[int | None, ...] = (None,)
    pooling: str = "max"
    normalised: bool = False
    kind: ClassVar[str] = "interests"

    @property
    def n_users(self) -> int:
        """Users."""
        return len(self.user_interests)

    @property
    def n_items(self) -> int:
        """Items."""
        return len(self.item_vectors)

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I)."""
        u, v = self.user_interests[users_B][..., :width], self.item_vectors[:, :width]
        return np.einsum("bkd,id->bki", u, v).max(1)


@dataclass(frozen=True, eq=False)
class ItemItemModel:
    """A user's score of an item: the sum of that item's weights over the user's history."""

    weights: Any
    """(I, I) float32, dense or a scipy CSR matrix: row = item seen, column = item scored."""
    history: Csr
    """(U, I) items each user's scores are built from."""
    widths: tuple[int | None, ...] = (None,)
    kind: ClassVar[str] = "item_item"

    @property
    def n_users(self) -> int:
        """Users with a (possibly empty) history."""
        return self.history.n_rows

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return int(self.weights.shape[1])

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) sums of weight rows; there are no prefixes, so ``width`` must be None."""
        _no_prefix(self, width)
        if not isinstance(self.weights, np.ndarray):
            return self._sparse(users_B)
        out = np.zeros((len(users_B), self.n_items), dtype=np.float32)
        for row, user in enumerate(users_B):
            seen = self.history.row(int(user))
            if len(seen):
                out[row] = self.weights[seen].sum(axis=0)
        return out

    def _sparse(self, users_B: NDArray[np.integer]) -> Floats:
        rows = [self.history.row(int(user)) for user in users_B]
        ends = np.cumsum([0, *map(len, rows)])
        seen = np.concatenate([*rows, np.empty(0, np.int32)])
        shape = (len(rows), self.history.n_columns)
        picked = sparse.csr_matrix((np.ones(len(seen), np.float32), seen, ends), shape=shape)
        out: Floats = np.asarray((picked @ self.weights).toarray(), dtype=np.float32)
        return out


@dataclass(frozen=True, eq=False)
class CountModel:
    """The same score for everybody: how often an item was taken."""

    counts: NDArray[Any]
    """(I,) counts."""
    n_users: int
    widths: tuple[int | None, ...] = (None,)
    kind: ClassVar[str] = "counts"

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return len(self.counts)

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I): the counts, once for each user."""
        _no_prefix(self, width)
        return np.tile(self.counts.astype(np.float32), (len(users_B), 1))


def from_arrays(arrays: Mapping[str, Any], widths: tuple[int | None, ...] = (None,)) -> Scorer:
    """The model whose arrays or tensors these are, by name: a mixture's or those of factors."""
    found: dict[str, Any] = {name: as_array(array) for name, array in arrays.items()}
    if "user_concepts" in found:
        return MixtureModel(**found)
    return FactorModel(**found, widths=widths)


def as_array(values: Any) -> NDArray[np.float32]:
    """A tensor on any device, or an array, as a float32 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _no_prefix(model: Scorer, width: int | None) -> None:
    if width is not None:
        raise UsageError(
            f"width {width} was asked of a model of kind {model.kind}, "
            "which has no prefixes to cut to",
            todo="leave the width out",
        )
