"""The ``autograd`` engine: one step by torch's autograd and dense Adam, on one device or many.

Shapes: B examples of this process, U users, I items, d dimensions, K negatives an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding

from mrl4rec.models import Factorisation, LightGCN
from mrl4rec.negatives import WIDTHS, Place, Sampler
from mrl4rec.objectives import OBJECTIVES, squared_norms
from mrl4rec.training import replay
from mrl4rec.training.group import Group
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

Arrays = dict[str, NDArray[Any]]

MOMENTS = ("exp_avg", "exp_avg_sq")


class StepLoss(nn.Module):
    """Vectors, negatives and loss of a batch in one forward pass: what DDP wraps."""

    def __init__(self, model: Factorisation, sampler: Sampler, plan: Plan) -> None:
        super().__init__()
        self.model, self.sampler = model, sampler
        self.objective = OBJECTIVES[plan.factors.objective]
        self.levels = plan.levels or (plan.dim,)
        self.l2 = plan.factors.l2

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the mean over the global ``batch``: the parts add up to it.

        The regulariser is (l2/2)/batch times the squared norms of the layer-0 rows, METHODS.md 1.1.
        """
        users, items = self.model()
        negatives_BK = self.sampler.choose(users_B, users, items, place)
        rows = [
            embedding(users_B, users),
            embedding(positives_B, items),
            embedding(negatives_BK, items),
        ]
        loss = self.objective(rows[0], rows[1], rows[2], self.levels).sum() / batch
        if self.l2 == 0:
            return loss
        if users is not self.model.users:
            rows = [
                embedding(users_B, self.model.users),
                embedding(positives_B, self.model.items),
                embedding(negatives_BK, self.model.items),
            ]
        return loss + self.l2 / 2 / batch * squared_norms(*rows)


class Learner:
    """A model being trained on one task."""

    def __init__(self, task: Task, plan: Plan, group: Group, start: Start | None = None) -> None:
        self.task, self.plan, self.group = task, plan, group
        method = plan.factors
        self.model = build(task, plan, start).to(group.device)
        widths = WIDTHS[method.negatives](plan.dim, plan.levels)
        sampler = Sampler(task.seen, widths, method.candidates, group.device)
        step: nn.Module = StepLoss(self.model, sampler, plan)
        if group.world > 1:
            # tables from the seed and a start that each rank has read: nothing to send at first
            step = nn.parallel.DistributedDataParallel(
                step, init_sync=False, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.step_loss = step
        ahead = replay.runs_ahead(group)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=method.lr, fused=True, capturable=ahead
        )
        self.stepper: replay.Stepper | None = None
        """Takes ``loss`` and ``update`` in one where the host need not see every loss."""
        if ahead:
            self.stepper = replay.stepper(self.loss, self.optimiser, group.device)

    def loss(self, users_B: Tensor, positives_B: Tensor, step: int | Tensor) -> Tensor:
        """This rank's part of the loss of one global batch, given whole to every rank.

        ``step`` may be a tensor () on the device.
        """
        batch = len(users_B)
        first, last = self.group.share(batch)
        assert self.plan.seed is not None
        place = Place(self.plan.seed, step, first)
        return self.step_loss(users_B[first:last], positives_B[first:last], place, batch)

    def update(self, loss: Tensor) -> None:
        """One step of Adam. DDP averages over ranks, so the parts are scaled to add up."""
        self.optimiser.zero_grad(set_to_none=True)
        self.group.waiting = "gradients" if self.group.world > 1 else ""
        (loss * self.group.world).backward()
        self.group.waiting = ""
        self.optimiser.step()

    @torch.no_grad()
    def vectors(self) -> Arrays:
        """Copies of the vectors to score with and, for a model with layers, those of layer 0."""
        users, items = self.model()
        found = {"user_vectors": users, "item_vectors": items}
        if users is not self.model.users:
            found |= {"user_vectors_0": self.model.users, "item_vectors_0": self.model.items}
        return {name: tensor.cpu().numpy().copy() for name, tensor in found.items()}

    def state(self) -> Arrays:
        """Tables and Adam's moments: with the number of steps, all that the next one depends on."""
        found = {}
        for name, parameter in self.model.named_parameters():
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
        for index, (name, parameter) in enumerate(self.model.named_parameters()):
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


def build(task: Task, plan: Plan, start: Start | None = None) -> Factorisation:
    """The model of a plan, its tables drawn from the seed but for the rows a start knows."""
    assert plan.seed is not None
    dtype = torch.float64 if plan.dtype == "float64" else torch.float32
    layers = plan.factors.layers
    model: Factorisation
    if layers:
        model = LightGCN(task.seen, plan.dim, layers, plan.seed, dtype)
    else:
        shape = (task.seen.n_rows, task.seen.n_columns)
        model = Factorisation(*shape, plan.dim, plan.seed, dtype)
    if start is not None:
        with torch.no_grad():
            for table, known in ((model.users, start.users), (model.items, start.items)):
                table[torch.from_numpy(known.rows_K)] = torch.from_numpy(known.vectors_KD).to(dtype)
    return model
