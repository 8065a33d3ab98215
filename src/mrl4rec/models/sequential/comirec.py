"""ComiRec (Cen et al. 2020): K vectors a user, the one nearest to the target trained.

DR: dynamic routing in which every place (counted from the newest item) and capsule has a matrix of
its own, from logits of 0. SA: K heads of self-attention, A = softmax_t(W2 tanh(W1 (e + p))), and
the vectors are A e: the places p say where to look, not what is seen.

Shapes: B examples, L places of a window, K vectors a user, I items, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.samplers import InBatch, Shared
from mrl4rec.models.sequential.base import RATE, Noise
from mrl4rec.models.sequential.interests import SHARED, SeveralInterests, Table
from mrl4rec.models.values import value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch

    from mrl4rec.models.sequential import capsules, interests, layers

WIDER = 4
"""The hidden layer of the attention has so many times the numbers of a vector."""


@dataclass(frozen=True)
class ComiRecDR(SeveralInterests):
    """Capsules of maps of their own."""

    model: str = "comirec-dr"
    lr: float = value(
        5e-3, "Adam's step size; > 0; its maps start as N(0, 1)", low=1e-12, tune=RATE
    )

    def net(self, weights: Weights, n_items: int, dim: int) -> Routing:
        """Item vectors and the maps."""
        return Routing(weights, n_items, dim, self.interests, self.length)


@dataclass(frozen=True)
class ComiRecSA(SeveralInterests):
    """Heads of self-attention."""

    model: str = "comirec-sa"
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=RATE)

    def net(self, weights: Weights, n_items: int, dim: int) -> SelfAttention:
        """Item vectors, places and the two layers."""
        return SelfAttention(weights, n_items, dim, self.interests, self.length)


class Routing(Table):
    """The net of DR."""

    def __init__(
        self, weights: Weights, n_items: int, dim: int, interests: int, length: int
    ) -> None:
        self.table = layers.table(weights, "items", n_items, dim)
        self.maps_LdKd = weights.normal("maps", (length, dim, interests, dim), 1.0)

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, K, d)."""
        items_BL = interests.newest_last(items_BL, len(self.table))
        values_BLd, there_BL = layers.embed(self.table, items_BL)
        (batch, length, dim), capsule_count = values_BLd.shape, self.maps_LdKd.shape[2]
        votes = torch.bmm(values_BLd.transpose(0, 1), self.maps_LdKd.flatten(2))
        votes_BKLd = votes.view(length, batch, capsule_count, dim).permute(1, 2, 0, 3).contiguous()
        logits_BKL = values_BLd.new_zeros(batch, capsule_count, length)
        return capsules.routed(votes_BKLd, logits_BKL, there_BL)


class SelfAttention(Table):
    """The net of SA."""

    def __init__(
        self, weights: Weights, n_items: int, dim: int, interests: int, length: int
    ) -> None:
        self.interests, self.table = interests, layers.table(weights, "items", n_items, dim)
        self.places = layers.table(weights, "places", length, dim)
        self.first = layers.Linear(weights, "first", dim, WIDER * dim, bias=False)
        self.second = layers.Linear(weights, "second", WIDER * dim, interests, bias=False)

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, K, d)."""
        return self.attend(items_BL)[0]

    def attend(self, items_BL: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, d) vectors, and (B, K, L) what of each item is in them; places newest last."""
        items_BL = interests.newest_last(items_BL, len(self.table))
        values_BLd, there_BL = layers.embed(self.table, items_BL)
        shares_BKL = interests.shares(
            values_BLd + self.places, there_BL, self.interests, self._logits
        )
        return shares_BKL @ values_BLd, shares_BKL

    def _logits(self, values_Td: Tensor) -> Tensor:
        """(T, K)."""
        return self.second(torch.tanh(self.first(values_Td)))


VARIANTS = (
    ComiRecDR("ComiRec-DR"),
    ComiRecSA("ComiRec-SA"),
    ComiRecSA("ComiRec-SA-uniform", negatives=Shared(SHARED)),
    ComiRecSA("ComiRec-SA-in-batch", negatives=InBatch()),
)
"""The original draws negatives by popularity; the other two of SA show what is due to that."""
