"""MTMI: K user towers, one item tower, distances weighed by nearness. A RECONSTRUCTION.

The paper (Xiong and Yu, arXiv 2403.05122) was withdrawn and gives no equations; what is here was
worked out from its abstract, and figures of it are not those of the paper (docs/mtmi.md).

A tower is a block of attention pooling with parameters of its own:

    a_k = softmax_t(w_k · tanh(W_k (x_t + p_t))),   u_k = V_k Σ_t a_kt x_t

and an item is v = MLP(e). All of them lie on the unit sphere, at every level, with distances
d_k = ‖u_k − v‖. The distance of a user and an item weighs them by their inverses (IDW, Shepard
1968), w_k = d_k^−alpha / Σ_j d_j^−alpha and D = Σ_k w_k d_k: alpha 0 is the mean, alpha → ∞ the
smallest, by which items are ranked. The loss is a softmax over −D/tau (or a triplet's margin) and
beta times the mean over pairs of exp(−‖u_k − u_l‖²), which drives a user's vectors apart (URR).

Shapes: B examples, L places of a window, K towers, S negatives of a step, I items, d dimensions,
w ≤ d of a level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mrl4rec.core import lazy
from mrl4rec.models.samplers import Negatives, Shared
from mrl4rec.models.sequential.base import RATE, Noise
from mrl4rec.models.sequential.interests import SHARED, Level, SeveralInterests
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import distances_torch
    from mrl4rec.models.sequential import interests, layers, softmax

READOUTS = ("idw", "argmax")
RANKINGS = ("softmax", "triplet")
ITEM_TOWERS = ("mlp", "identity")


@dataclass(frozen=True)
class Mtmi(SeveralInterests):
    """A softmax over inverse-distance-weighted distances (a reconstruction)."""

    normalised: ClassVar[bool] = True
    caveat: ClassVar[str] = (
        "a reconstruction of a withdrawn paper that gives no equations (arXiv 2403.05122); its "
        "figures are not those of the paper."
    )

    model: str = "mtmi-reconstruction"
    negatives: Negatives = Shared(SHARED)
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=RATE)
    readout: str = value(
        "idw",
        "the distance in training: `idw`, weighed by its inverses, or `argmax`, that of the vector "
        "nearest to the target, for the negatives too",
    )
    alpha: float = value(
        2.0,
        "power of the inverse distances; 0: their mean; the larger, the nearer to the smallest",
        low=0,
        high=100,
        tune=Span(0.0, 8.0),
    )
    detach: int = value(0, "1: no gradient through the weights; 0: with it", low=0, high=1)
    beta: float = value(
        0.1,
        "weight of the term that drives a user's vectors apart; 0: none",
        low=0,
        tune=Span(1e-2, 1.0, log=True),
    )
    log_mean: int = value(
        0, "1: that term is the logarithm of the mean over pairs; 0: the mean", low=0, high=1
    )
    ranking: str = value(
        "softmax", "`softmax` over −D/tau, or `triplet`: the mean of [D − D_negative + margin]₊"
    )
    tau: float = value(0.1, "temperature of the softmax", low=0.01)
    margin: float = value(0.5, "margin of the triplet", low=0)
    item_tower: str = value("mlp", "`mlp`, one hidden layer of d with ReLU, or `identity`")
    own_tables: int = value(
        0, "1: each user tower has item vectors of its own; 0: all read those of the item tower",
        low=0,
        high=1,
    )  # fmt: skip

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "readout", self.readout, READOUTS)
        check_word(owner, "ranking", self.ranking, RANKINGS)
        check_word(owner, "item_tower", self.item_tower, ITEM_TOWERS)

    def net(self, weights: Weights, n_items: int, dim: int) -> Towers:
        """Item vectors, places and the towers."""
        return Towers(weights, n_items, dim, self)

    def level_loss(self, level: Level) -> Tensor:
        """(B,) ranking and URR, on the prefixes of this level put on the sphere again."""
        sphere = level._replace(
            users_BKw=functional.normalize(level.users_BKw, dim=2),
            own_Bw=functional.normalize(level.own_Bw, dim=1),
            others_Sw=functional.normalize(level.others_Sw, dim=1),
        )
        losses_B = self.ranking_loss(sphere, *self.distances(sphere))
        if self.beta and self.interests > 1:
            repel_B = repulsion(sphere.users_BKw)
            losses_B = losses_B + self.beta * (repel_B.log() if self.log_mean else repel_B)
        return losses_B

    def distances(self, level: Level) -> tuple[Tensor, Tensor]:
        """(B,) D to the targets, and (B, S) to the negatives."""
        users_BKw = level.users_BKw
        if self.readout == "argmax":
            users_BKw = interests.nearest(users_BKw, level.own_Bw)[:, None]
        own_BK1 = users_BKw @ level.own_Bw[:, :, None]
        return self.weighed(own_BK1)[:, 0], self.weighed(users_BKw @ level.others_Sw.T)

    def weighed(self, cosines_BKS: Tensor) -> Tensor:
        """(B, S) D."""
        if cosines_BKS.shape[1] == 1:
            return distances_torch.distance(cosines_BKS[:, 0])
        return distances_torch.weighed(cosines_BKS, self.alpha, bool(self.detach))

    def ranking_loss(self, level: Level, own_B: Tensor, others_BS: Tensor) -> Tensor:
        """(B,) of these distances."""
        if self.ranking == "softmax":
            return softmax.against(*level.corrected(-own_B / self.tau, -others_BS / self.tau))
        _, kept_BS = level.corrected(own_B, torch.zeros_like(others_BS))
        kept_BS = (kept_BS > -torch.inf).to(own_B.dtype)
        hinge_BS = (own_B[:, None] - others_BS + self.margin).relu()
        return (hinge_BS * kept_BS).sum(1) / kept_BS.sum(1).clamp(min=1)


def repulsion(users_BKd: Tensor) -> Tensor:
    """(B,) mean over the pairs of a user's vectors, on the sphere, of exp(−‖u_k − u_l‖²)."""
    return torch.exp(2 * interests.cosines(users_BKd) - 2).mean(1)


class Towers:
    """The net."""

    def __init__(self, weights: Weights, n_items: int, dim: int, method: Mtmi) -> None:
        towers = method.interests
        bound = math.sqrt(3 / dim)  # Xavier's of a (d, d) map
        self.towers, self.table = towers, layers.table(weights, "items", n_items, dim)
        self.own: Tensor | None = None
        if method.own_tables:
            self.own = layers.table(weights, "tower_items", n_items, towers * dim)
        self.places = layers.table(weights, "places", method.length, dim)
        self.hidden_Khd = weights.draw("tower_hidden", (towers, dim, dim), bound)
        self.query_Kh = weights.draw("tower_query", (towers, dim), math.sqrt(6 / (dim + 1)))
        self.out_Ked = weights.draw("tower_out", (towers, dim, dim), bound)
        self.layers: list[layers.Linear] = []
        if method.item_tower == "mlp":
            self.layers = [layers.Linear(weights, f"item.{n}", dim, dim) for n in (1, 2)]

    def rows(self, items_N: Tensor) -> Tensor:
        """(N, d) what the item tower makes of these items, not yet on the sphere."""
        return self._item_tower(functional.embedding(items_N, self.table))

    def items(self) -> Tensor:
        """(I, d) all of them, on the sphere."""
        return functional.normalize(self._item_tower(self.table), dim=1)

    def _item_tower(self, values_Nd: Tensor) -> Tensor:
        if not self.layers:
            return values_Nd
        first, second = self.layers
        return second(torch.relu(first(values_Nd)))

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, K, d) on the sphere."""
        items_BL = interests.newest_last(items_BL, len(self.table))
        pooled_BKd = self._pooled(items_BL) if self.own is None else self._pooled_own(items_BL)
        users_BKe = torch.einsum("bkd,ked->bke", pooled_BKd, self.out_Ked)
        return functional.normalize(users_BKe, dim=2)

    def _pooled(self, items_BL: Tensor) -> Tensor:
        """(B, K, d) each tower's mean of the same item vectors."""
        values_BLd, there_BL = layers.embed(self.table, items_BL)
        placed_BLd = values_BLd + self.places
        return interests.shares(placed_BLd, there_BL, self.towers, self._logits) @ values_BLd

    def _logits(self, values_Td: Tensor) -> Tensor:
        """(T, K)."""
        hidden = torch.tanh(functional.linear(values_Td, self.hidden_Khd.flatten(0, 1)))
        return functional.linear(hidden, torch.block_diag(*self.query_Kh))

    def _pooled_own(self, items_BL: Tensor) -> Tensor:
        """(B, K, d) each tower's mean of its own item vectors."""
        assert self.own is not None
        values, there_BL = layers.embed(self.own, items_BL)
        values_BLKd = values.unflatten(2, (self.towers, -1))
        placed = (values_BLKd + self.places[:, None]).flatten(2)
        shares_BKL = interests.shares(placed, there_BL, self.towers, self._logits_own)
        return torch.einsum("bkl,blkd->bkd", shares_BKL, values_BLKd)

    def _logits_own(self, values: Tensor) -> Tensor:
        """(T, K), each tower's of its own vectors."""
        values_TKd = values.unflatten(1, (self.towers, -1))
        hidden_TKh = torch.tanh(torch.einsum("tkd,khd->tkh", values_TKd, self.hidden_Khd))
        return (hidden_TKh * self.query_Kh).sum(2)


VARIANTS = (
    Mtmi("MTMI"),
    Mtmi("MTMI-K1", interests=1),
    Mtmi("MTMI-K1-wide", interests=1, dim=256),
    Mtmi("MTMI-K2", interests=2),
    Mtmi("MTMI-K8", interests=8),
    Mtmi("MTMI-alpha0", alpha=0.0),
    Mtmi("MTMI-beta0", beta=0.0),
    Mtmi("MTMI-argmax", readout="argmax"),
)
"""``-K1-wide`` has one vector of as many numbers as the four of ``MTMI``."""
