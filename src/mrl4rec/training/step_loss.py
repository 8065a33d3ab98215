"""What a step of the ``autograd`` engine minimises: for each method one trainable module.

Shapes: B examples of this process, U users, I items, d dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import torch
from torch import Tensor, nn

from mrl4rec.negatives import Place
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start


class StepLoss(nn.Module, ABC):
    """Vectors, draws and loss of a batch in one forward pass: what DDP wraps.

    Adam runs over all its parameters; checkpoints hold every one of them and nothing else, so
    whatever changes from step to step besides (draws, noise, a warm-up) is a function of the place
    of the batch in training. The module of the vectors is called ``model`` where there is one.
    """

    recordable: ClassVar[bool] = True
    """No shape hangs on a value, so that a CUDA graph can hold a step."""

    @abstractmethod
    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the loss of the global ``batch``: the parts add up to it.

        A loss that is no sum over examples is only asked for whole: its method says
        ``sums_over_examples = False``, and more than one process is refused.
        """

    @abstractmethod
    def vectors(self) -> dict[str, Tensor]:
        """What the model folder gets: ``user_vectors`` (U, d) and ``item_vectors`` (I, d) to score
        with and, where they are pooled, those of layer 0 (``user_vectors_0``, ``item_vectors_0``);
        or the arrays of a mixture (``scorers.MixtureModel``).
        """


ROOMS: Mapping[str, str] = {
    "pairwise": "mrl4rec.training.pairwise",
    "contrastive": "mrl4rec.training.contrastive",
    "mixing": "mrl4rec.training.mixing",
    "xsimgcl": "mrl4rec.training.graph_losses",
    "dgcf": "mrl4rec.training.graph_losses",
    "dccf": "mrl4rec.training.graph_losses",
    "macridvae": "mrl4rec.training.macridvae_loss",
}
"""Where each kind of training (``Factors.trained_as``) has its ``build(task, plan, device, start)``
that gives the StepLoss on that device."""


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan, its parameters drawn from the seed but for the rows a start knows."""
    room = import_module(ROOMS[plan.factors.trained_as])
    made: StepLoss = room.build(task, plan, device, start)
    return made
