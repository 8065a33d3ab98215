"""One negative a level: of several uniform draws among a user's unseen items, by a rule.

Matryoshka negative sampling (arXiv 2406.07432, Algorithm 1) is the same sampler applied to each
level's slice with its own candidates: only the list of widths differs. Rules:
docs/methods.md#negative-samplers.

Shapes: B examples, d dimensions, K negatives an example (1, or one a level).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from mrl4rec.core import lazy
from mrl4rec.kernels import draws, draws_torch, rules, rules_torch
from mrl4rec.kernels.csr import Csr
from mrl4rec.kernels.rules import HARDEST, PLAIN, Rule
from mrl4rec.models.negatives.position import Place

with lazy.imports():
    from mrl4rec.kernels import draws_triton

TRITON = "MRL4REC_TRITON"
"""Environment variable: 0 draws by tensor operations on a GPU, where no C compiler is there."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """Chooses the negatives of a batch; no gradient flows through the choice.

    Every user of a batch must have an unseen item (see ``Csr.open_rows``).
    """

    seen: Csr
    widths: tuple[int, ...]
    candidates: int
    device: torch.device
    rule: Rule = PLAIN
    """Which candidate is taken; what is not the hardest needs the positives too."""

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
    def _ends(self) -> Tensor | None:
        """Where each item's share of the draws ends; None: all shares are equal."""
        return None

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
        self,
        users_B: Tensor,
        user_vectors: Tensor,
        item_vectors: Tensor,
        place: Place,
        positives_B: Tensor | None = None,
    ) -> Tensor:
        """(B, K) negatives, int64: one loop on the CPU; on a GPU one kernel for the hardest."""
        user_vectors, item_vectors = user_vectors.detach(), item_vectors.detach()
        if self.rule.kind != HARDEST:
            assert positives_B is not None
            return self._choose_by_rule(users_B, positives_B, user_vectors, item_vectors, place)
        if self.device.type == "cpu":
            return self._choose_fused(users_B, user_vectors, item_vectors, place)
        if self.device.type == "cuda" and has_triton():
            return self._choose_kernel(users_B, user_vectors, item_vectors, place)
        return self.choose_tensors(users_B, user_vectors, item_vectors, place)

    def choose_tensors(
        self,
        users_B: Tensor,
        user_vectors: Tensor,
        item_vectors: Tensor,
        place: Place,
        positives_B: Tensor | None = None,
    ) -> Tensor:
        """The hardest as tensor operations, on any device; it does not hang on the positives."""
        candidates_BLn = self.draw_tensors(users_B, place)
        return draws_torch.hardest(users_B, user_vectors, item_vectors, candidates_BLn, self.widths)

    def draw(self, users_B: Tensor, place: Place) -> Tensor:
        """(B, L, n) the candidates that ``choose`` chooses from."""
        if self.device.type != "cpu":
            return self.draw_tensors(users_B, place)
        drawn = draws.drawn(
            users_B.numpy(),
            self.seen.indptr,
            self.seen.indices,
            self.seen.n_columns,
            len(self.widths),
            self.candidates,
            np.uint64(place.prefix()),
            place.first,
        )
        return torch.from_numpy(drawn)

    def draw_tensors(self, users_B: Tensor, place: Place) -> Tensor:
        """The same draws as tensor operations, on any device."""
        return draws_torch.drawn(
            users_B,
            self._indptr,
            self._keys,
            self.seen.n_columns,
            len(self.widths),
            self.candidates,
            place.word(),
            place.first,
            self._ends,
        )

    def seen_among(self, users_B: Tensor, items_N: Tensor) -> Tensor:
        """(B, N) True where the user has seen the item."""
        if self.device.type != "cpu":
            return rules_torch.seen_among(users_B, items_N, self._keys, self.seen.n_columns)
        found = rules.seen_among(
            users_B.numpy(),
            items_N.numpy(),
            self.seen.indptr,
            self.seen.indices,
            self.seen.n_columns,
        )
        return torch.from_numpy(found)

    def _choose_by_rule(
        self,
        users_B: Tensor,
        positives_B: Tensor,
        user_vectors: Tensor,
        item_vectors: Tensor,
        place: Place,
    ) -> Tensor:
        if self.device.type != "cpu":
            candidates_BLn = self.draw_tensors(users_B, place)
            return rules_torch.chosen(
                users_B,
                positives_B,
                user_vectors,
                item_vectors,
                candidates_BLn,
                self.widths,
                self.rule,
                place.word(),
                place.first,
            )
        chosen = rules.chosen(
            users_B.numpy(),
            positives_B.numpy(),
            user_vectors.numpy(),
            item_vectors.numpy(),
            self.seen.indptr,
            self.seen.indices,
            self._widths,
            self.candidates,
            self.rule,
            np.uint64(place.prefix()),
            place.first,
        )
        return torch.from_numpy(chosen)

    def _choose_kernel(
        self, users_B: Tensor, user_vectors: Tensor, item_vectors: Tensor, place: Place
    ) -> Tensor:
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
