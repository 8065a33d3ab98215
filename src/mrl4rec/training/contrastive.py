"""Losses of cosines or inner products against many items at once: SSM, BSL, DirectAU.

Shapes: B examples of this process, U users, I items, d dimensions, N negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from mrl4rec.methods.losses import Bsl, Contrastive, DirectAu, Ssm
from mrl4rec.models import Factorisation
from mrl4rec.negatives import Place, Sampler, shared
from mrl4rec.objectives import (
    alignment,
    log_ratio,
    log_sums,
    logsumexp,
    sampled_softmax,
    uniformity,
)
from mrl4rec.training import samplers
from mrl4rec.training.pairwise import pooled, tables
from mrl4rec.training.request import Plan
from mrl4rec.training.step_loss import StepLoss
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start


class ContrastiveLoss(StepLoss):
    """Users and positives against the batch's other items, drawn ones, or one another."""

    def __init__(self, model: Factorisation, sampler: Sampler, method: Contrastive) -> None:
        super().__init__()
        self.model, self.sampler, self.method = model, sampler, method

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the mean over the global ``batch``; DirectAU: the loss of it.

        The regulariser is that of the other factor methods; negatives that all examples share
        count once a batch, and the batch's own items as positives only.
        """
        users, items = self.model()
        user_Bd, positive_Bd = embedding(users_B, users), embedding(positives_B, items)
        chosen = self._negatives(users_B, users, items, place)
        if self.method.similarity == "cosine":
            user_Bd, positive_Bd = normalize(user_Bd), normalize(positive_Bd)
        if isinstance(self.method, DirectAu):
            apart = uniformity(user_Bd) + uniformity(positive_Bd)
            loss = alignment(user_Bd, positive_Bd) + self.method.gamma / 2 * apart
        else:
            assert isinstance(self.method, Ssm | Bsl)
            other = positive_Bd if chosen is None else self._vectors(chosen, items)
            if other.dim() == 2:  # the same for all examples
                among = positives_B if chosen is None else chosen
                left_out_BN = self.sampler.seen_among(users_B, among)
                logs_B = log_sums(user_Bd, other, left_out_BN, self.method.tau)
            else:
                logs_B = logsumexp((user_Bd[:, None] * other).sum(2) / self.method.tau)
            own_B = (user_Bd * positive_Bd).sum(1)
            loss = self._softmax(own_B, logs_B).sum() / batch
        if self.method.l2 == 0:
            return loss
        return loss + self.method.l2 / 2 / batch * self._norms(users_B, positives_B, chosen, batch)

    def _negatives(
        self, users_B: Tensor, users: Tensor, items: Tensor, place: Place
    ) -> Tensor | None:
        """Items: (N,) for all examples, (B, N) for each its own; None: those of the batch."""
        kind = self.method.kind
        if kind in ("none", "in_batch"):
            return None
        if kind == "shared":
            return shared(place, self.method.candidates, len(items), users_B.device)
        return self.sampler.choose(users_B, users, items, place)

    def _vectors(self, chosen: Tensor, items: Tensor) -> Tensor:
        """(N, d) or (B, N, d) of the negatives."""
        vectors = embedding(chosen, items)
        return normalize(vectors, dim=-1) if self.method.similarity == "cosine" else vectors

    def _softmax(self, own_B: Tensor, logs_B: Tensor) -> Tensor:
        """(B,) losses."""
        if isinstance(self.method, Bsl):
            return log_ratio(own_B, logs_B, self.method.tau, self.method.ratio)
        assert isinstance(self.method, Ssm)
        return sampled_softmax(own_B, logs_B, self.method.tau)

    def _norms(
        self, users_B: Tensor, positives_B: Tensor, chosen: Tensor | None, batch: int
    ) -> Tensor:
        """Squared norms of the layer-0 rows of this process's examples."""
        total = embedding(users_B, self.model.users).pow(2).sum()
        total = total + embedding(positives_B, self.model.items).pow(2).sum()
        if chosen is None:
            return total
        share = len(users_B) / batch if chosen.dim() == 1 else 1.0
        return total + share * embedding(chosen, self.model.items).pow(2).sum()

    def vectors(self) -> dict[str, Tensor]:
        """The vectors to score with; of length 1 where the method scores by cosine."""
        found = pooled(self.model)
        if self.method.scoring == "inner":
            return found
        sides = {name: normalize(found[name]) for name in ("user_vectors", "item_vectors")}
        layer_0 = {"user_vectors_0": self.model.users, "item_vectors_0": self.model.items}
        return layer_0 | sides


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan; see ``step_loss.build``."""
    method = plan.factors
    assert isinstance(method, Contrastive)
    sampler = samplers.make(method, plan.levels, task.seen, device)
    return ContrastiveLoss(tables(task, plan, start), sampler, method).to(device)
