"""Samplers beside the one of a single uniform draw a level: several negatives, or by popularity.

Shapes: B examples, I items, L levels, n candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrl4rec.kernels import draws_torch, rules_torch
from mrl4rec.models.negatives.position import Place
from mrl4rec.models.negatives.sampler import Sampler

NOBODYS = -1
"""The example of draws that all examples of a step share."""


@dataclass(frozen=True, eq=False)
class BestSampler(Sampler):
    """The ``rule.top`` best-scored candidates of the only level are all negatives: K = M."""

    def choose(
        self,
        users_B: Tensor,
        user_vectors: Tensor,
        item_vectors: Tensor,
        place: Place,
        positives_B: Tensor | None = None,
    ) -> Tensor:
        """(B, M) negatives, the best first."""
        candidates_Bn = self.draw(users_B, place)[:, 0]
        users_Bd, items_Bnd = user_vectors.detach()[users_B], item_vectors.detach()[candidates_Bn]
        scores_Bn = torch.einsum("bd,bnd->bn", users_Bd, items_Bnd)
        return rules_torch.best(scores_Bn, candidates_Bn, self.rule.top)


@dataclass(frozen=True, eq=False)
class PopularSampler(Sampler):
    """Candidates drawn by popularity: item j with probability in proportion to degree_j^power.

    Of several a level the hardest is taken.
    """

    power: float = 1.0

    @cached_property
    def _ends(self) -> Tensor:
        degrees = np.bincount(self.seen.indices, minlength=self.seen.n_columns)
        return torch.from_numpy(ends_of_shares(degrees, self.power)).to(self.device)

    def choose(
        self,
        users_B: Tensor,
        user_vectors: Tensor,
        item_vectors: Tensor,
        place: Place,
        positives_B: Tensor | None = None,
    ) -> Tensor:
        """(B, L) negatives."""
        vectors = (user_vectors.detach(), item_vectors.detach())
        return self.choose_tensors(users_B, *vectors, place)

    def draw(self, users_B: Tensor, place: Place) -> Tensor:
        """(B, L, n) candidates."""
        return self.draw_tensors(users_B, place)


def ends_of_shares(counts_I: NDArray[Any], power: float) -> NDArray[np.int64]:
    """(I,) where each item's share of [0, 2³²) ends, in proportion to its count to this power."""
    weights = np.where(counts_I > 0, counts_I, 0.0) ** power * (counts_I > 0)
    ends = np.floor(weights.cumsum() / weights.sum() * 2.0**32).astype(np.int64)
    ends[np.flatnonzero(counts_I)[-1] :] = 1 << 32  # whatever rounding left over
    return ends


def shared(
    place: Place,
    candidates: int,
    n_items: int,
    device: torch.device,
    level: int = 0,
    ends_I: Tensor | None = None,
) -> Tensor:
    """(n,) draws that all examples of a step share, on every process the same.

    Uniform, or by the shares of ``ends_of_shares``. They may be items that a user has seen: the
    caller leaves those out, user by user.
    """
    word = place.word()
    nobody = torch.full((1,), NOBODYS, dtype=torch.int64, device=device)
    word = draws_torch.fold(draws_torch.signed(word) if isinstance(word, int) else word, nobody)
    word = draws_torch.fold(word, level)
    words_n = draws_torch.fold(word, torch.arange(candidates, device=device))
    return draws_torch.item(draws_torch.fold(words_n, 0), n_items, ends_I)
