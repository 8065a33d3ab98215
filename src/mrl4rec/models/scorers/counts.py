"""One score an item, the same for all users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.models.scorers.scorer import Floats, no_prefix


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
        no_prefix(self, width)
        return np.tile(self.counts.astype(np.float32), (len(users_B), 1))
