"""Negatives: drawn uniformly among a user's unseen items, the hardest of several kept.

Matryoshka negative sampling (the paper's Algorithm 1) is the same sampler applied to each level's
slice with its own candidates: only the list of widths differs. Equations: METHODS.md 1.1.

Shapes: B examples, d dimensions, K negatives an example (1, or one a level).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mrl4rec.hashing import SALT_DRAW, chain
from mrl4rec.interactions import Csr
from mrl4rec.kernels import draws, draws_torch

Levels = tuple[int, ...] | None

WIDTHS: dict[str, Callable[[int, Levels], tuple[int, ...]]] = {
    "uniform": lambda dim, levels: (dim,),
    "dns": lambda dim, levels: (dim,),
    "per_level": lambda dim, levels: levels or (dim,),
}
"""At which widths each kind of negatives scores its candidates: one negative a width."""


@dataclass(frozen=True)
class Place:
    """Where in training a batch stands: all that its draws depend on."""

    seed: int
    step: int
    """Step since the start of training, over all epochs."""
    first: int
    """Place of this process's first example in the global batch."""

    def prefix(self) -> int:
        """The hash word that all draws of the step begin with."""
        return chain(self.seed, SALT_DRAW, self.step)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Chooses the negatives of a batch; no gradient flows through the choice.

    Every user of a batch must have an unseen item (see ``open_users``).
    """

    seen: Csr
    widths: tuple[int, ...]
    candidates: int
    device: torch.device

    @cached_property
    def _indptr(self) -> Tensor:
        return torch.from_numpy(self.seen.indptr).to(self.device)

    @cached_property
    def _keys(self) -> Tensor:
        indices = torch.from_numpy(self.seen.indices).to(self.device)
        return draws_torch.seen_keys(self._indptr, indices, self.seen.n_columns)

    @cached_property
    def _widths(self) -> np.ndarray:
        return np.array(self.widths, dtype=np.int64)

    def choose(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        """(B, K) negatives, int64: fused loop on the CPU, tensor operations elsewhere."""
        user_vectors, item_vectors = user_vectors.detach(), item_vectors.detach()
        if self.device.type == "cpu":
            return self._choose_fused(users_B, user_vectors, item_vectors, place)
        return self.choose_tensors(users_B, user_vectors, item_vectors, place)

    def choose_tensors(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        """The same choice as tensor operations."""
        candidates_BLn = draws_torch.drawn(
            users_B,
            self._indptr,
            self._keys,
            self.seen.n_columns,
            len(self.widths),
            self.candidates,
            place.prefix(),
            place.first,
        )
        return draws_torch.hardest(users_B, user_vectors, item_vectors, candidates_BLn, self.widths)

    def _choose_fused(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        chosen = draws.hardest(
            users_B.numpy(),
            user_vectors.numpy(),
            item_vectors.numpy(),
            self.seen.indptr,
            self.seen.indices,
            self._widths,
            self.candidates,
            np.uint64(place.prefix()),
            place.first,
        )
        return torch.from_numpy(chosen)


def open_users(seen: Csr) -> np.ndarray:
    """(U,) True where a user has an unseen item, so that a negative can be drawn."""
    return seen.degrees < seen.n_columns
