"""A vector for each user and each item.

Shapes: U users, I items, d dimensions, B users of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.models.scorers.scorer import Floats, dimensions


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
        return dimensions(width, self.dim, self.widths)

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) inner products of the first ``width`` coordinates."""
        cut = self.width(width)
        return self.user_vectors[users_B, :cut] @ self.item_vectors[:, :cut].T
