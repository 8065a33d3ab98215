"""What a step of MacridVAE minimises: its examples are users, not pairs.

Equations: docs/methods.md#graph-methods-and-macridvae.

Shapes: B users of a batch, X their pairs, U users, I items, K concepts, d dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mrl4rec.interactions import Csr
from mrl4rec.methods.autoencoders import Macrid
from mrl4rec.models.macridvae import MacridVAE, Rows, draw, terms
from mrl4rec.negatives import Place
from mrl4rec.training.request import Plan
from mrl4rec.training.step_loss import StepLoss
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

AT_ONCE = 4096
"""Users whose vectors are made at once."""


class MacridVAELoss(StepLoss):
    """−Σ log p of a user's items + β times the divergence, the mean over users.

    And (l2/2)/B times the squared norms of all weights.
    """

    recordable = False  # how many items a batch of users has

    indptr: Tensor
    indices: Tensor

    def __init__(self, model: MacridVAE, seen: Csr, method: Macrid, rise: float) -> None:
        """``rise``: steps over which β grows from 0 to its value; 0: it is there at once."""
        super().__init__()
        self.model, self.method, self.rise = model, method, rise
        self.register_buffer("indptr", torch.from_numpy(seen.indptr), persistent=False)
        indices = torch.from_numpy(seen.indices.astype("int64"))
        self.register_buffer("indices", indices, persistent=False)

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the mean over a batch of users; ``positives_B`` is not read."""
        rows = self.rows(users_B)
        drawn = draw(self.model, rows, place.seed, place.step, self.method.drop)
        found = terms(self.model, rows, drawn, self.method.std)
        loss = found.surprise + self.beta(place.step) * found.divergence
        if self.method.l2:
            norms = torch.stack([part.pow(2).sum() for part in self.model.parameters()]).sum()
            loss = loss + self.method.l2 / 2 * norms * len(users_B) / batch
        return loss / batch

    def beta(self, step: int | Tensor) -> float | Tensor:
        """β at this step."""
        if self.rise == 0:
            return self.method.beta
        share = step / self.rise
        ramp = share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share)
        return self.method.beta * ramp

    def rows(self, users_B: Tensor) -> Rows:
        """The items these users have."""
        starts_B, counts_B = self.indptr[users_B], self.indptr[users_B + 1] - self.indptr[users_B]
        begins_B = counts_B.cumsum(0) - counts_B
        shift_X = (starts_B - begins_B).repeat_interleave(counts_B)
        places_X = torch.arange(len(shift_X), device=shift_X.device) + shift_X
        return Rows(users_B, begins_B, self.indices[places_X])

    def vectors(self) -> dict[str, Tensor]:
        """What a mixture scores with, of every user."""
        everybody = torch.arange(len(self.indptr) - 1, device=self.indptr.device)
        parts = [self.model.vectors(self.rows(some)) for some in everybody.split(AT_ONCE)]
        users = torch.cat([part["user_concepts"] for part in parts])
        return {**parts[0], "user_concepts": users}


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan; see ``step_loss.build``. There is no start from vectors of users."""
    assert plan.seed is not None
    assert start is None
    method = plan.factors
    assert isinstance(method, Macrid)
    dtype = torch.float64 if plan.dtype == "float64" else torch.float32
    model = MacridVAE(
        task.seen.n_columns, plan.dim, method.concepts, method.hidden, method.tau, plan.seed, dtype
    )
    steps, _ = task.steps(method.batch)
    return MacridVAELoss(model, task.seen, method, method.anneal * steps).to(device)
