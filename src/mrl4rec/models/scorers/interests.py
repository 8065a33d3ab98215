"""Several vectors a user, one for each interest.

Shapes: U users, I items, K interests, d dimensions, w a width, B users of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.models.scorers.factors import FactorModel
from mrl4rec.models.scorers.scorer import Floats, dimensions

Pooling = Literal["max", "sum"]
POOLINGS = get_args(Pooling)
INTEREST_SCORES = 1 << 22
"""Scores of single interests held at once, 16 MB."""


@dataclass(frozen=True, eq=False)
class InterestModel:
    """The largest inner product of an item over a user's vectors, or the sum of them all.

    A user with fewer than K interests repeats one of them, which changes no maximum. No value may
    be NaN or infinite: ranking refuses such vectors. Raises UsageError for an unknown ``pooling``.
    """

    user_interests: Floats
    """(U, K, d)."""
    item_vectors: Floats
    """(I, d)."""
    widths: tuple[int | None, ...] = (None,)
    pooling: Pooling = "max"
    normalised: bool = False
    """Trained on the unit sphere at every width: prefixes of users and items are renormalised."""
    kind: ClassVar[str] = "interests"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UsageError(
                f"unknown pooling {self.pooling!r}", todo=nearest(str(self.pooling), POOLINGS)
            )

    @property
    def n_users(self) -> int:
        """Users it was trained on."""
        return int(self.user_interests.shape[0])

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return int(self.item_vectors.shape[0])

    @property
    def n_interests(self) -> int:
        """Vectors of a user, K."""
        return int(self.user_interests.shape[1])

    @property
    def dim(self) -> int:
        """Full width d."""
        return int(self.item_vectors.shape[1])

    def width(self, width: int | None) -> int:
        """A width as a number of dimensions; UsageError outside 1 … d."""
        return dimensions(width, self.dim, self.widths)

    def cut(self, width: int | None) -> InterestModel:
        """The model of the first ``width`` coordinates, whose plain inner products are its scores.

        A view where nothing is renormalised.
        """
        cut = self.width(width)
        users, items = self.user_interests[:, :, :cut], self.item_vectors[:, :cut]
        if self.normalised:
            users, items = unit(users), unit(items)
        return InterestModel(users, items, pooling=self.pooling)

    def summed(self) -> FactorModel:
        """The sum of each user's vectors: scores of ``pooling`` sum, not renormalised."""
        return FactorModel(self.user_interests.sum(axis=1), self.item_vectors, widths=self.widths)

    def flat(self) -> FactorModel:
        """Each vector as a user of its own: row u·K + k is interest k of user u."""
        vectors = self.user_interests.reshape(-1, self.user_interests.shape[2])
        return FactorModel(vectors, self.item_vectors, widths=self.widths)

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) pooled inner products of the first ``width`` coordinates."""
        cut = self.width(width)
        items_Iw = self.item_vectors[:, :cut]
        items_Iw = unit(items_Iw) if self.normalised else items_Iw
        out = np.empty((len(users_B), self.n_items), dtype=np.float32)
        step = max(1, INTEREST_SCORES // max(1, self.n_interests * self.n_items))
        for begin in range(0, len(users_B), step):
            users_bKw = self.user_interests[users_B[begin : begin + step], :, :cut]
            users_bKw = unit(users_bKw) if self.normalised else users_bKw
            part = out[begin : begin + step]
            if self.pooling == "sum":
                part[:] = users_bKw.sum(axis=1) @ items_Iw.T
            else:
                flat = users_bKw.reshape(-1, cut) @ items_Iw.T
                flat.reshape(len(part), self.n_interests, -1).max(axis=1, out=part)
        return out


def unit(vectors: NDArray[Any]) -> Floats:
    """Vectors (last axis) scaled to length 1; zeros stay zero, what is not finite becomes NaN."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length != 0)
