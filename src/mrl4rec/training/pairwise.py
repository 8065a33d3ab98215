"""Vectors of users and items, trained on pairs against drawn negatives.

Equations: docs/methods.md#equations.

Shapes: B examples of this process, U users, I items, d dimensions, K negatives an example.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding

from mrl4rec.methods.losses import Uib
from mrl4rec.models import Factorisation, LightGCN
from mrl4rec.negatives import Place, Sampler
from mrl4rec.objectives import OBJECTIVES, Boundary, PairLoss, squared_norms
from mrl4rec.training import samplers
from mrl4rec.training.request import Plan
from mrl4rec.training.step_loss import StepLoss
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start


class Pairwise(StepLoss):
    """An objective over users, positives and the negatives of a sampler."""

    def __init__(self, model: Factorisation, sampler: Sampler, plan: Plan) -> None:
        super().__init__()
        self.model, self.sampler = model, sampler
        self.objective = objective(plan)
        self.levels = plan.levels or (plan.dim,)
        self.l2 = plan.factors.l2

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the mean over the global ``batch``: the parts add up to it.

        The regulariser is (l2/2)/batch times the squared norms of the layer-0 rows
        (docs/methods.md#losses).
        """
        users, items = self.model()
        negatives_BK = self.sampler.choose(users_B, users, items, place, positives_B)
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

    def vectors(self) -> dict[str, Tensor]:
        """The vectors to score with and, for a model with layers, those of layer 0."""
        return pooled(self.model)


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan; see ``step_loss.build``."""
    sampler = samplers.make(plan.factors, plan.levels, task.seen, device)
    return Pairwise(tables(task, plan, start), sampler, plan).to(device)


def objective(plan: Plan) -> PairLoss:
    """The loss over pairs that a plan names, with its parameters where it has some."""
    method = plan.factors
    if isinstance(method, Uib):
        assert plan.seed is not None
        return Boundary(plan.dim, method.a, method.form, plan.seed, dtype_of(plan))
    return OBJECTIVES[method.objective]


def pooled(model: Factorisation) -> dict[str, Tensor]:
    """The vectors of a model to score with and, where it has layers, those of layer 0."""
    users, items = model()
    found = {"user_vectors": users, "item_vectors": items}
    if users is not model.users:
        found |= {"user_vectors_0": model.users, "item_vectors_0": model.items}
    return found


def dtype_of(plan: Plan) -> torch.dtype:
    """The type of its parameters."""
    return torch.float64 if plan.dtype == "float64" else torch.float32


def tables(task: Task, plan: Plan, start: Start | None = None) -> Factorisation:
    """The model of a plan, its tables drawn from the seed but for the rows a start knows."""
    assert plan.seed is not None
    dtype = dtype_of(plan)
    layers = plan.factors.layers
    model: Factorisation
    if layers:
        model = LightGCN(task.seen, plan.dim, layers, plan.seed, dtype)
    else:
        shape = (task.seen.n_rows, task.seen.n_columns)
        model = Factorisation(*shape, plan.dim, plan.seed, dtype)
    if start is not None:
        start.put(model.users, model.items)
    return model
