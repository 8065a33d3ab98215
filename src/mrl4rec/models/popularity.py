"""Popularity: an item's score is how many training pairs it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mrl4rec.models.base import Fitted
from mrl4rec.models.scorers import CountModel

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.models.scorers import Scorer


@dataclass(frozen=True)
class Popularity(Fitted):
    """Score of an item: the number of training pairs it has."""

    folds_in: ClassVar[bool] = True

    model: str = "pop"

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """Count the pairs of these folds."""
        _, items_P = data.pairs(*folds)
        counts_I = np.bincount(items_P, minlength=data.n_items).astype(np.int64)
        return CountModel(counts_I, data.n_users)


VARIANTS = (Popularity("Pop"),)
