"""A mean-pooled two-tower model (Covington et al. 2016, YouTube DNN), the simplest of its kind.

The user's vector is W2 relu(W1 m + b1) + b2, m the mean of the vectors of the items that were read.

Shapes: B examples, L places of a window, I items, d dimensions, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch
from mrl4rec.models.sequential.base import RATE, Noise, Sequential, Training
from mrl4rec.models.values import value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch

    from mrl4rec.models.sequential import layers


@dataclass(frozen=True)
class TwoTower(Sequential):
    """The softmax of a target against shared negatives, by the user's only vector."""

    model: str = "twotower"
    objective: str = "softmax"
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=RATE)
    hidden: int = value(256, "numbers in the hidden layer", low=1)

    def net(self, weights: Weights, n_items: int, dim: int) -> Pooled:
        """Item vectors and the two layers."""
        return Pooled(weights, n_items, dim, self.hidden)

    def loss(self, model: Training, batch: Batch) -> Tensor:
        """This process's part of the mean over the step's examples."""
        items_BL, targets_B = model.windows(batch, self.length)
        users_Bd = model.net.encode(items_BL, Noise(batch.place))[:, 0]
        losses_B = self.softmax(model, users_Bd, targets_B, batch)
        return losses_B.sum() / batch.size + self.penalty(model, len(targets_B) / batch.size)


class Pooled:
    """The net."""

    def __init__(self, weights: Weights, n_items: int, dim: int, hidden: int) -> None:
        self.table = layers.table(weights, "items", n_items, dim)
        self.first = layers.Linear(weights, "first", dim, hidden)
        self.second = layers.Linear(weights, "second", hidden, dim)

    def items(self) -> Tensor:
        """(I, d) the table."""
        return self.table

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, 1, d)."""
        values_BLd, there_BL = layers.embed(self.table, items_BL)
        mean_Bd = values_BLd.sum(1) / there_BL.sum(1).clamp(min=1)[:, None]
        return self.second(torch.relu(self.first(mean_Bd)))[:, None]


VARIANTS = (TwoTower("YouTubeDNN"),)
