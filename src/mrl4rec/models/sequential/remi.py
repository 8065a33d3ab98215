"""REMI (Xie et al. 2023): ComiRec-SA, its negatives weighed by hardness and its attention spread.

With x the inner products of the user's vector with the target (x_0) and n negatives (x_j):

    L = −log e^x_0 / (e^x_0 + n Σ_j e^((b + 1) x_j) / Σ_j e^(b x_j))

which is the sampled softmax where b = 0. The second term keeps an attention from resting on one
item: with A the shares of a user's items in its vectors, each row less its mean, and C = A Aᵀ/d,
it is ‖diag C‖².

Shapes: B examples, L places of a window, K vectors a user, S negatives of a step, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch
from mrl4rec.models.samplers import Negatives, Shared
from mrl4rec.models.sequential.base import Training
from mrl4rec.models.sequential.comirec import ComiRecSA
from mrl4rec.models.sequential.interests import SHARED, Level
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch

PUBLIC_BATCH = 128
"""The public code adds up the second term over a batch of so many users. Here it is the mean over
the examples times this number, so that its weight does not depend on the batch size."""


@dataclass(frozen=True)
class Remi(ComiRecSA):
    """Harder negatives count more, and no attention rests on one item."""

    model: str = "remi"
    negatives: Negatives = Shared(SHARED)
    b: float = value(
        1.0,
        "a negative weighs e^(b x), x its score; 0: the sampled softmax",
        low=0,
        tune=Span(0.1, 10.0, log=True),
    )
    routing: float = value(
        100.0,
        "weight of ‖diag C‖², summed over 128 users as in the public code; 0: none",
        low=0,
        tune=Span(1.0, 1000.0, log=True),
    )

    def loss(self, model: Training, batch: Batch) -> Tensor:
        """This process's part of the mean over the step's examples."""
        examples = self.examples_of(model, batch)
        users_BKd, shares_BKL = model.net.attend(examples.items_BL)
        losses_B = self.over_levels(model, users_BKd, examples, batch)
        rest_B = concentration(shares_BKL, examples.lengths_B, users_BKd.shape[2])
        return self.part(model, losses_B + self.routing * PUBLIC_BATCH * rest_B, batch)

    def level_loss(self, level: Level) -> Tensor:
        """(B,) the softmax with weighed negatives."""
        return weighed(*level.products(self.read(level)), self.b)


def weighed(own_B: Tensor, others_BS: Tensor, b: float) -> Tensor:
    """(B,) L of these logits; those of −∞ are no negatives."""
    there_BS = others_BS > -torch.inf
    count_B = there_BS.sum(1).clamp(min=1).to(own_B.dtype)
    scaled_BS = torch.where(there_BS, b * others_BS, -torch.inf)  # 0 · −∞ is no number
    hard_B = torch.logsumexp(scaled_BS + others_BS, 1) - torch.logsumexp(scaled_BS, 1)
    return torch.logaddexp(own_B, hard_B + count_B.log()) - own_B


def concentration(shares_BKL: Tensor, lengths_B: Tensor, dim: int) -> Tensor:
    """(B,) ‖diag C‖²; the mean of a row is over the places that are not empty."""
    # Σ (a − 1/n)² over n places, the shares adding up to 1
    squares_BK = shares_BKL.pow(2).sum(2) - 1 / lengths_B.clamp(min=1)[:, None]
    return (squares_BK / dim).pow(2).sum(1)


VARIANTS = (Remi("REMI"),)
