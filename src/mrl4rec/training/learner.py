"""The ``autograd`` engine: one step by torch's autograd and dense Adam, on one device or many.

Shapes: B examples of this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mrl4rec.models.negatives import Place
from mrl4rec.training import replay
from mrl4rec.training.checkpoint import Arrays
from mrl4rec.training.group import Group
from mrl4rec.training.order import Side
from mrl4rec.training.request import Plan
from mrl4rec.training.step import Step
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

MOMENTS = ("exp_avg", "exp_avg_sq")


class Learner:
    """A model being trained on one task."""

    def __init__(self, task: Task, plan: Plan, group: Group, start: Start | None = None) -> None:
        self.task, self.plan, self.group = task, plan, group
        method = plan.trained
        device = torch.device(group.device)
        self.parts = Step(task, plan, group.device, start)
        """The loss with its parameters; ``step`` is the same, wrapped for several ranks."""
        step: nn.Module = self.parts
        if group.world > 1:
            # tables from the seed and a start that each rank has read: nothing to send at first
            step = nn.parallel.DistributedDataParallel(
                step, init_sync=False, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.step = step
        ahead = replay.runs_ahead(group) and method.recordable
        self.optimiser = torch.optim.Adam(
            self.parts.parameters(), lr=method.lr, fused=True, capturable=ahead
        )
        self.stepper: replay.Stepper | None = None
        """Takes ``loss`` and ``update`` in one where the host need not see every loss."""
        if ahead:
            self.stepper = replay.stepper(self.loss, self.optimiser, device)

    def loss(self, users_B: Side, positives_B: Side, step: int | Tensor) -> Tensor:
        """This rank's part of the loss of one global batch, given whole to every rank.

        ``step`` may be a tensor () on the device.
        """
        batch = len(users_B)
        first, last = self.group.share(batch)
        assert self.plan.seed is not None
        place = Place(self.plan.seed, step, first)
        # A rank without a part takes an example for nothing: nets read no empty batch, and DDP
        # waits for the gradient of every parameter.
        some = slice(first, max(last, first + 1))
        mine = (torch.as_tensor(side[some]) for side in (users_B, positives_B))
        loss: Tensor = self.step(*mine, place, batch)
        return loss if first < last else 0 * loss

    def update(self, loss: Tensor) -> None:
        """One step of Adam. DDP averages over ranks, so the parts are scaled to add up."""
        self.optimiser.zero_grad(set_to_none=True)
        (loss * self.group.world).backward()
        self.optimiser.step()

    @torch.no_grad()
    def vectors(self) -> Arrays:
        """Copies of what the loss gives the model folder."""
        found = self.parts.vectors()
        return {name: tensor.cpu().numpy().copy() for name, tensor in found.items()}

    def state(self) -> Arrays:
        """Parameters and Adam's moments: with the number of steps, all the next one depends on."""
        found = {}
        for name, parameter in self.parts.named():
            found[f"model.{name}"] = parameter.detach().cpu().numpy()
            for moment in MOMENTS:
                if parameter in self.optimiser.state:
                    tensor = self.optimiser.state[parameter][moment]
                    found[f"adam.{name}.{moment}"] = tensor.cpu().numpy()
        return found

    def restore(self, state: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take up a saved state after ``steps`` steps; an empty one is the start."""
        if steps == 0:
            return
        moments: dict[int, dict[str, Tensor]] = {}
        for index, (name, parameter) in enumerate(self.parts.named()):
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(state[f"model.{name}"]))
            moments[index] = {
                moment: torch.from_numpy(np.copy(state[f"adam.{name}.{moment}"]))
                for moment in MOMENTS
            } | {"step": torch.tensor(float(steps))}
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        if self.stepper is not None:
            self.stepper.reset()
