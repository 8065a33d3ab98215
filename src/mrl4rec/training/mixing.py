"""Negatives that are made, layer by layer, from drawn items: MixGCF and DENS.

Equations: docs/methods.md#negative-samplers.

Each layer takes the candidate that suits it, so a negative may mix layers of different items. The
choice is made on scores without gradient; the vectors it takes carry gradient, and MixGCF's into
the positive too.

Shapes: B examples of this process, H layers with layer 0, d dimensions, n candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding

from mrl4rec.kernels.draws_torch import fold
from mrl4rec.kernels.rules_torch import example_words, unit
from mrl4rec.methods.samplers import Dens, MixGcf
from mrl4rec.models import Factorisation
from mrl4rec.negatives import Place, Sampler
from mrl4rec.objectives import bpr, squared_norms
from mrl4rec.objectives.gates import Gates, disentangling
from mrl4rec.training import samplers
from mrl4rec.training.pairwise import dtype_of, pooled, tables
from mrl4rec.training.request import Plan
from mrl4rec.training.step_loss import StepLoss
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start


class Mixing(StepLoss):
    """What the two have in common: vectors of every layer, candidates, the regulariser."""

    def __init__(self, model: Factorisation, sampler: Sampler, l2: float) -> None:
        super().__init__()
        self.model, self.sampler, self.l2 = model, sampler, l2

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the mean over the global ``batch``: the parts add up to it.

        The regulariser is (l2/2)/batch times the squared norms of the layer-0 vectors, the
        negative's as it was made.
        """
        users_UHd, items_IHd = self.model.hops()
        user_BHd, positive_BHd = rows(users_UHd, users_B), rows(items_IHd, positives_B)
        candidates_Bn = self.sampler.draw(users_B, place)[:, 0]
        losses_B, negative_Bd = self.losses(
            user_BHd.mean(1), positive_BHd, candidates_Bn, items_IHd, place
        )
        loss = losses_B.sum() / batch
        if self.l2 == 0:
            return loss
        norms = squared_norms(user_BHd[:, 0], positive_BHd[:, 0], negative_Bd)
        return loss + self.l2 / 2 / batch * norms

    def losses(
        self,
        user_Bd: Tensor,
        positive_BHd: Tensor,
        candidates_Bn: Tensor,
        items_IHd: Tensor,
        place: Place,
    ) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        raise NotImplementedError

    def vectors(self) -> dict[str, Tensor]:
        """The vectors to score with and, for a model with layers, those of layer 0."""
        return pooled(self.model)


class MixGcfLoss(Mixing):
    """MixGCF: a·e_i + (1 − a)·e_c in every layer, a from U(0, 1), the best-scored taken."""

    def losses(
        self,
        user_Bd: Tensor,
        positive_BHd: Tensor,
        candidates_Bn: Tensor,
        items_IHd: Tensor,
        place: Place,
    ) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        n, layers = candidates_Bn.shape[1], positive_BHd.shape[1]
        words_B = fold(example_words(place.word(), place.first, len(user_Bd), user_Bd.device), 0)
        after = torch.arange(n, n + layers, device=user_Bd.device)
        a_BH1 = unit(fold(fold(words_B[:, None], after), 0)).to(user_Bd.dtype)[:, :, None]
        with torch.no_grad():
            mixed_BnHd = a_BH1[:, None] * positive_BHd[:, None]
            mixed_BnHd = mixed_BnHd + (1 - a_BH1)[:, None] * rows(items_IHd, candidates_Bn)
            taken_BH = torch.einsum("bd,bnhd->bhn", user_Bd, mixed_BnHd).argmax(2)
        own_BHd = by_layer(items_IHd, candidates_Bn.gather(1, taken_BH))
        negative_BHd = a_BH1 * positive_BHd + (1 - a_BH1) * own_BHd
        gaps = (user_Bd, positive_BHd.mean(1), negative_BHd.mean(1)[:, None])
        return bpr(*gaps, (user_Bd.shape[1],)), negative_BHd[:, 0]


class DensLoss(Mixing):
    """DENS: the candidate whose irrelevant part scores best; early on, the whole candidate."""

    def __init__(self, model: Factorisation, sampler: Sampler, plan: Plan, steps: int) -> None:
        """``steps`` an epoch: the warm-up is counted in epochs."""
        method = plan.factors
        assert isinstance(method, Dens)
        assert plan.seed is not None
        super().__init__(model, sampler, method.l2)
        self.method, self.steps = method, steps
        self.gates = Gates(plan.dim, plan.seed, dtype_of(plan))

    def faded(self, place: Place) -> Tensor | float:
        """The share by which a candidate's own score is left out of the choice."""
        if self.method.warm_up == 0:
            return self.method.alpha
        epoch = place.step // self.steps
        if isinstance(epoch, Tensor):
            return (epoch / self.method.warm_up).clamp(max=1.0)
        return min(1.0, epoch / self.method.warm_up)

    def losses(
        self,
        user_Bd: Tensor,
        positive_BHd: Tensor,
        candidates_Bn: Tensor,
        items_IHd: Tensor,
        place: Place,
    ) -> tuple[Tensor, Tensor]:
        """(B,) losses, and the negatives' vectors (B, d) at layer 0."""
        relevant_BHd = self.gates.of_positive(user_Bd[:, None], positive_BHd)
        with torch.no_grad():
            candidate_BnHd = rows(items_IHd, candidates_Bn)
            parts_BnHd = self.gates.of_negative(relevant_BHd[:, None], candidate_BnHd)
            looked_at = (1.0 - self.faded(place)) * candidate_BnHd - parts_BnHd
            taken_BH = torch.einsum("bd,bnhd->bhn", user_Bd, looked_at).argmax(2)
        negative_BHd = by_layer(items_IHd, candidates_Bn.gather(1, taken_BH))
        alike_BHd = self.gates.of_negative(relevant_BHd, negative_BHd)
        positive_Bd, negative_Bd = positive_BHd.mean(1), negative_BHd.mean(1)
        relevant_Bd, alike_Bd = relevant_BHd.mean(1), alike_BHd.mean(1)
        losses_B = bpr(user_Bd, positive_Bd, negative_Bd[:, None], (user_Bd.shape[1],))
        apart_B = disentangling(
            user_Bd,
            (relevant_Bd, positive_Bd - relevant_Bd),
            (alike_Bd, negative_Bd - alike_Bd),
        )
        return losses_B + self.method.gamma / 4 * apart_B, negative_BHd[:, 0]


def rows(vectors_RHd: Tensor, rows_X: Tensor) -> Tensor:
    """(X…, H, d) rows of every layer; their gradient is summed in a fixed order."""
    found = embedding(rows_X, vectors_RHd.flatten(1))
    return found.unflatten(-1, vectors_RHd.shape[1:])


def by_layer(vectors_RHd: Tensor, rows_BH: Tensor) -> Tensor:
    """(B, H, d) in each layer the row that was taken for it."""
    layers = vectors_RHd.shape[1]
    places_BH = rows_BH * layers + torch.arange(layers, device=rows_BH.device)
    return embedding(places_BH, vectors_RHd.flatten(0, 1))


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan; see ``step_loss.build``."""
    method = plan.factors
    sampler = samplers.make(method, plan.levels, task.seen, device)
    model = tables(task, plan, start)
    loss: StepLoss
    if isinstance(method, MixGcf):
        loss = MixGcfLoss(model, sampler, method.l2)
    else:
        loss = DensLoss(model, sampler, plan, task.steps(method.batch)[0])
    return loss.to(device)
