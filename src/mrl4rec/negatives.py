"""Negatives: drawn uniformly among a user's unseen items, the hardest of several kept.

Matryoshka negative sampling (the paper's Algorithm 1) is the same sampler applied to each level's
slice with its own candidates: only the list of widths differs. Equations: METHODS.md 1.1.

Shapes: B examples, d dimensions, K negatives an example (1, or one a level).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from mrl4rec.hashing import SALT_DRAW, chain
from mrl4rec.interactions import Csr
from mrl4rec.kernels import draws, draws_torch

Levels = tuple[int, ...] | None

TRITON = "MRL4REC_TRITON"
"""Environment variable: 0 draws by tensor operations on a GPU, where no C compiler is there."""

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
    step: int | Tensor
    """Step since the start of training, over all epochs; a tensor () on the device where the step
    is not known to the host, as in a CUDA graph."""
    first: int
    """Place of this process's first example in the global batch."""

    def prefix(self) -> int:
        """The hash word that all draws of the step begin with."""
        return chain(self.seed, SALT_DRAW, int(self.step))

    def word(self) -> Tensor | int:
        """The same word, left on the device where the step is there."""
        if isinstance(self.step, Tensor):
            return draws_torch.step_word(self.seed, self.step)
        return self.prefix()


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
    def _indices(self) -> Tensor:
        return torch.from_numpy(self.seen.indices).to(self.device)

    @cached_property
    def _keys(self) -> Tensor:
        return draws_torch.seen_keys(self._indptr, self._indices, self.seen.n_columns)

    @cached_property
    def _widths(self) -> np.ndarray:
        return np.array(self.widths, dtype=np.int64)

    @cached_property
    def _widths_there(self) -> Tensor:
        return torch.from_numpy(self._widths).to(self.device)

    @cached_property
    def _sizes(self) -> dict[int, Tensor]:
        return {}

    def choose(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        """(B, K) negatives, int64: one fused loop on the CPU, one kernel on a GPU."""
        user_vectors, item_vectors = user_vectors.detach(), item_vectors.detach()
        if self.device.type == "cpu":
            return self._choose_fused(users_B, user_vectors, item_vectors, place)
        if self.device.type == "cuda" and has_triton():
            return self._choose_kernel(users_B, user_vectors, item_vectors, place)
        return self.choose_tensors(users_B, user_vectors, item_vectors, place)

    def choose_tensors(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        """The same choice as tensor operations, on any device."""
        candidates_BLn = draws_torch.drawn(
            users_B,
            self._indptr,
            self._keys,
            self.seen.n_columns,
            len(self.widths),
            self.candidates,
            place.word(),
            place.first,
        )
        return draws_torch.hardest(users_B, user_vectors, item_vectors, candidates_BLn, self.widths)

    def _choose_kernel(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
        from mrl4rec.kernels import draws_triton

        word = place.word()
        if isinstance(word, int):
            word = torch.full((), draws_torch.signed(word), device=self.device)
        if place.first not in self._sizes:  # once: a copy to the device is waited for
            sizes = torch.tensor([place.first, self.seen.n_columns])
            self._sizes[place.first] = sizes.to(self.device)
        return draws_triton.hardest(
            users_B,
            user_vectors,
            item_vectors,
            self._indptr,
            self._indices,
            self._widths_there,
            self.candidates,
            word,
            self._sizes[place.first],
        )

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


@cache
def has_triton() -> bool:
    """False in builds of torch that come without it, as for Windows, and where it is turned off."""
    return os.environ.get(TRITON, "1") != "0" and find_spec("triton") is not None


def open_users(seen: Csr) -> np.ndarray:
    """(U,) True where a user has an unseen item, so that a negative can be drawn."""
    return seen.degrees < seen.n_columns
