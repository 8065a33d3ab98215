"""MixGCF and DENS: negatives that are made, layer by layer, from drawn items.

Each layer takes the candidate that suits it, so a negative may mix layers of different items. The
choice is made on scores without gradient; the vectors it takes carry gradient, and MixGCF's into
the positive too.

Shapes: B examples of this process, H layers with layer 0, d dimensions, n candidates; ``…`` any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.core.hashing import uniform
from mrl4rec.models.base import Batch, Setup
from mrl4rec.models.factors import Factors, Vectors, squared_norms
from mrl4rec.models.pairwise import bpr
from mrl4rec.models.samplers import Drawn, Negatives
from mrl4rec.models.values import Span, value

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import draws_torch, rules_torch

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.negatives import Place

GATES = {"positive": 2, "user": 3, "negative": 4, "relevant": 5}
"""DENS: number of each gate's weights among the tables that are drawn from a seed."""
BIASES = 4
"""Their biases are the tables that follow by so much."""


class Candidates(NamedTuple):
    """What a negative is made of."""

    user_Bd: Tensor
    positive_BHd: Tensor
    candidates_Bn: Tensor
    """Items."""
    items_IHd: Tensor


@dataclass(frozen=True)
class Mixing(Factors):
    """What the two have in common: vectors of every layer, candidates, the regulariser."""

    objective: str = "bpr"

    def loss(self, model: Vectors, batch: Batch) -> Tensor:
        """This process's part of the mean over the batch: the parts add up to it.

        The regulariser is (l2/2)/B times the squared norms of the layer-0 vectors, the negative's
        as it was made.
        """
        users_UHd, items_IHd = model.hops()
        user_BHd, positive_BHd = rows(users_UHd, batch.users_B), rows(items_IHd, batch.positives_B)
        candidates_Bn = model.sampler.draw(batch.users_B, batch.place)[:, 0]
        drawn = Candidates(user_BHd.mean(1), positive_BHd, candidates_Bn, items_IHd)
        losses_B, negative_Bd = self.mixed(model, drawn, batch.place)
        loss = losses_B.sum() / batch.size
        if self.l2 == 0:
            return loss
        norms = squared_norms(user_BHd[:, 0], positive_BHd[:, 0], negative_Bd)
        return loss + self.l2 / 2 / batch.size * norms

    def mixed(self, model: Vectors, drawn: Candidates, place: Place) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class MixGcfDraws(Drawn):
    """Candidates that MixGCF mixes with the positive."""

    kind: ClassVar[str] = "mixgcf"


@dataclass(frozen=True)
class MixGcf(Mixing):
    """a·e_i + (1 − a)·e_c in every layer, a from U(0, 1), the best-scored taken."""

    negatives: Negatives = MixGcfDraws(16)

    def mixed(self, model: Vectors, drawn: Candidates, place: Place) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        user_Bd, positive_BHd, candidates_Bn, items_IHd = drawn
        n, layers = candidates_Bn.shape[1], positive_BHd.shape[1]
        words_B = draws_torch.fold(
            rules_torch.example_words(place.word(), place.first, len(user_Bd), user_Bd.device), 0
        )
        after = torch.arange(n, n + layers, device=user_Bd.device)
        a_BH1 = rules_torch.unit(draws_torch.fold(draws_torch.fold(words_B[:, None], after), 0)).to(
            user_Bd.dtype
        )[:, :, None]
        with torch.no_grad():
            mixed_BnHd = a_BH1[:, None] * positive_BHd[:, None]
            mixed_BnHd = mixed_BnHd + (1 - a_BH1)[:, None] * rows(items_IHd, candidates_Bn)
            taken_BH = torch.einsum("bd,bnhd->bhn", user_Bd, mixed_BnHd).argmax(2)
        own_BHd = by_layer(items_IHd, candidates_Bn.gather(1, taken_BH))
        negative_BHd = a_BH1 * positive_BHd + (1 - a_BH1) * own_BHd
        losses_B = bpr(user_Bd, positive_BHd.mean(1), negative_BHd.mean(1)[:, None], model.levels)
        return losses_B, negative_BHd[:, 0]


@dataclass(frozen=True)
class DensDraws(Drawn):
    """Candidates of which DENS takes the one whose irrelevant part scores best."""

    kind: ClassVar[str] = "dens"


@dataclass(frozen=True)
class Dens(Mixing):
    """Relevant and irrelevant parts of items, told apart by gates that are trained too.

    r⁺ = e_i · σ(W_i e_i + W_u e_u) of a positive, r⁻ = e_j · σ(W_n e_j + W_p r⁺) of a negative;
    the rest of either is q.
    """

    negatives: Negatives = DensDraws(6)
    gamma: float = value(
        0.3,
        "weight of the loss that trains the gates",
        low=0,
        tune=Span(1e-2, 1.0, log=True),
    )
    warm_up: int = value(
        100,
        "epochs over which candidates' own scores fade from the choice; 0: alpha instead",
        low=0,
    )
    alpha: float = value(
        0.2, "share by which they are faded throughout; without warm-up", low=0, high=1
    )

    def start(self, setup: Setup) -> Vectors:
        """The vectors, and four linear maps d → d."""
        model = super().start(setup)
        bound, dim = 1 / math.sqrt(setup.dim), setup.dim
        for name, table in GATES.items():
            weight = uniform(dim, dim, bound, setup.seed, table)
            setup.parameter(f"gates.weights.{name}", weight)
        for name, table in GATES.items():
            bias = uniform(1, dim, bound, setup.seed, table + BIASES)[0]
            setup.parameter(f"gates.biases.{name}", bias)
        return model

    def mixed(self, model: Vectors, drawn: Candidates, place: Place) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        user_Bd, positive_BHd, candidates_Bn, items_IHd = drawn
        relevant_BHd = relevant_of_positive(model, user_Bd[:, None], positive_BHd)
        with torch.no_grad():
            candidate_BnHd = rows(items_IHd, candidates_Bn)
            parts_BnHd = relevant_of_negative(model, relevant_BHd[:, None], candidate_BnHd)
            scored = (1.0 - self.faded(place, model.steps)) * candidate_BnHd - parts_BnHd
            taken_BH = torch.einsum("bd,bnhd->bhn", user_Bd, scored).argmax(2)
        negative_BHd = by_layer(items_IHd, candidates_Bn.gather(1, taken_BH))
        alike_BHd = relevant_of_negative(model, relevant_BHd, negative_BHd)
        positive_Bd, negative_Bd = positive_BHd.mean(1), negative_BHd.mean(1)
        relevant_Bd, alike_Bd = relevant_BHd.mean(1), alike_BHd.mean(1)
        losses_B = bpr(user_Bd, positive_Bd, negative_Bd[:, None], model.levels)
        apart_B = disentangling(
            user_Bd,
            (relevant_Bd, positive_Bd - relevant_Bd),
            (alike_Bd, negative_Bd - alike_Bd),
        )
        return losses_B + self.gamma / 4 * apart_B, negative_BHd[:, 0]

    def faded(self, place: Place, steps: int) -> Tensor | float:
        """The share by which a candidate's own score is left out of the choice."""
        if self.warm_up == 0:
            return self.alpha
        epoch = place.step // steps
        if isinstance(epoch, int):
            return min(1.0, epoch / self.warm_up)
        return (epoch / self.warm_up).clamp(max=1.0)


def _gate(model: Vectors, name: str, vectors: Tensor) -> Tensor:
    weight = model.parameters[f"gates.weights.{name}"]
    return functional.linear(vectors, weight, model.parameters[f"gates.biases.{name}"])


def relevant_of_positive(model: Vectors, user: Tensor, positive: Tensor) -> Tensor:
    """(…, d) r⁺ of positives."""
    gate = _gate(model, "positive", positive) + _gate(model, "user", user)
    return positive * torch.sigmoid(gate)


def relevant_of_negative(model: Vectors, relevant: Tensor, negative: Tensor) -> Tensor:
    """(…, d) r⁻ of negatives, given the r⁺ of their positives."""
    gate = _gate(model, "negative", negative) + _gate(model, "relevant", relevant)
    return negative * torch.sigmoid(gate)


def disentangling(
    user_Bd: Tensor, positive_parts: tuple[Tensor, Tensor], negative_parts: tuple[Tensor, Tensor]
) -> Tensor:
    """(B,) what trains the gates, from (r, q) of both: relevant parts are to tell the two apart.

    sp(s(q⁺) − s(r⁺)) + sp(s(r⁻) − s(q⁻)) + sp(s(r⁻) − s(r⁺)) + sp(s(q⁺) − s(q⁻)), s(x) = <e_u, x>.
    """
    r_plus, q_plus = ((user_Bd * part).sum(1) for part in positive_parts)
    r_minus, q_minus = ((user_Bd * part).sum(1) for part in negative_parts)
    gaps = torch.stack([q_plus - r_plus, r_minus - q_minus, r_minus - r_plus, q_plus - q_minus])
    return functional.softplus(gaps).sum(0)


def rows(vectors_RHd: Tensor, rows_X: Tensor) -> Tensor:
    """(X…, H, d) rows of every layer; their gradient is summed in a fixed order."""
    found = functional.embedding(rows_X, vectors_RHd.flatten(1))
    return found.unflatten(-1, vectors_RHd.shape[1:])


def by_layer(vectors_RHd: Tensor, rows_BH: Tensor) -> Tensor:
    """(B, H, d) in each layer the row that was taken for it."""
    layers = vectors_RHd.shape[1]
    places_BH = rows_BH * layers + torch.arange(layers, device=rows_BH.device)
    return functional.embedding(places_BH, vectors_RHd.flatten(0, 1))


VARIANTS = (
    MixGcf("MixGCF"),
    Dens("DENS"),
    Dens("DENS-mrl4rec", negatives=DensDraws(16), gamma=0.5, warm_up=0),
)
