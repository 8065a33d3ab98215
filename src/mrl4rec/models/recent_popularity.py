"""Popularity that forgets: what sells now, not what ever sold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mrl4rec.models.base import Fitted
from mrl4rec.models.scorers import CountModel
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.models.scorers import Scorer


@dataclass(frozen=True)
class RecentPopularity(Fitted):
    """Score of an item: Σ over its training pairs of 2^(−age/h), age counted from the newest."""

    consumes: ClassVar[str] = "timed pairs"
    folds_in: ClassVar[bool] = True

    model: str = "pop"
    half_life: float = value(
        180.0,
        "h, in days: a pair this old counts half; > 0",
        low=1e-6,
        tune=Span(7.0, 3650.0, log=True),
    )

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """Weigh and count the pairs of these folds; one without a time counts as the oldest."""
        chosen_P = data.in_folds(*folds)
        assert data.reviewed_at_P is not None, "refused before: it needs times"
        times_P = data.reviewed_at_P[chosen_P]
        known_P = ~np.isnat(times_P)
        times_P = np.where(known_P, times_P, times_P[known_P].min())
        days_P = (times_P.max() - times_P) / np.timedelta64(1, "D")
        counts_I = np.bincount(
            data.items_P[chosen_P], 2.0 ** (-days_P / self.half_life), data.n_items
        )
        return CountModel(counts_I.astype(np.float32), data.n_users)


VARIANTS = (RecentPopularity("RecentPop"),)
