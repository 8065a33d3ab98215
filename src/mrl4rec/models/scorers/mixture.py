"""A vector for each concept of a user, and shares of the concepts for each item.

Shapes: U users, I items, K concepts, d dimensions, B users of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.models.scorers.scorer import Floats, no_prefix

MIXTURE_SCORES = 1 << 22
"""Scores of single concepts held at once, 16 MB."""


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
        no_prefix(self, width)
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
