"""What a step of XSimGCL, DGCF and DCCF minimises.

Equations: docs/methods.md#graph-methods-and-macridvae.

None is a sum over the examples: contrast and correlation look at the nodes of a whole batch, so
all of it lies in one process. Nodes are users, then items.

Shapes: B examples, U users, I items, d dimensions, K = 1 negative an example.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding

from mrl4rec.methods.graphs import Dccf, Dgcf, XSimGcl
from mrl4rec.models import noise
from mrl4rec.models.dccf import DCCF
from mrl4rec.models.dccf import contrast as views_apart
from mrl4rec.models.dgcf import DGCF, correlation
from mrl4rec.models.factors import Factorisation
from mrl4rec.models.xsimgcl import XSimGCL, contrast
from mrl4rec.negatives import Place, Sampler
from mrl4rec.objectives import bpr, squared_norms
from mrl4rec.training.request import Plan
from mrl4rec.training.step_loss import StepLoss
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

Rows = tuple[Tensor, Tensor, Tensor]
"""Something of the users, the positives and the negatives of a batch."""


class GraphLoss(StepLoss):
    """What the three share: one negative an example, BPR on pooled vectors, norms of layer 0."""

    recordable = False  # how many nodes of a batch differ

    def __init__(self, model: Factorisation, sampler: Sampler, l2: float) -> None:
        super().__init__()
        self.model, self.sampler, self.l2 = model, sampler, l2

    def vectors(self) -> dict[str, Tensor]:
        """The vectors to score with, and those of layer 0."""
        users, items = self.model()
        return {
            "user_vectors": users,
            "item_vectors": items,
            "user_vectors_0": self.model.users,
            "item_vectors_0": self.model.items,
        }

    def ranking(
        self, pooled_Nd: Tensor, users_B: Tensor, positives_B: Tensor, place: Place, batch: int
    ) -> Tensor:
        """Mean of sp(s_uj − s_ui) plus (l2/2)/B times the squared norms of layer-0 rows."""
        n_users = len(self.model.users)
        users, items = pooled_Nd[:n_users], pooled_Nd[n_users:]
        negatives_BK = self.sampler.choose(users_B, users, items, place, positives_B)
        places = (users_B, positives_B, negatives_BK)
        losses_B = bpr(*rows(places, users, items), ())
        norms = squared_norms(*rows(places, self.model.users, self.model.items))
        return (losses_B.sum() + self.l2 / 2 * norms) / batch


def rows(places: Rows, users: Tensor, items: Tensor) -> Rows:
    """The rows of users, positives and negatives."""
    users_B, positives_B, negatives_BK = places
    return (
        embedding(users_B, users),
        embedding(positives_B, items),
        embedding(negatives_BK, items),
    )


class XSimGCLLoss(GraphLoss):
    """BPR on the mean of the noisy layers, and that mean held against one of them."""

    model: XSimGCL

    def __init__(self, model: XSimGCL, sampler: Sampler, method: XSimGcl) -> None:
        super().__init__(model, sampler, method.l2)
        self.method = method

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """The loss of a batch."""
        views = self.model.views((place.seed, place.step))
        pooled = torch.stack(views).mean(0)
        loss = self.ranking(pooled, users_B, positives_B, place, batch)
        layer = views[self.method.contrast_layer - 1]
        items_B = positives_B + len(self.model.users)
        apart = contrast(pooled, layer, users_B, items_B, self.method.tau)
        return loss + self.method.lam * apart


class DGCFLoss(GraphLoss):
    """BPR on the pooled vectors, and the correlation of neighbouring chunks on some nodes."""

    model: DGCF

    def __init__(self, model: DGCF, sampler: Sampler, method: Dgcf, sample: int) -> None:
        """``sample``: users, and items, that the correlation looks at in a step."""
        super().__init__(model, sampler, method.l2)
        self.method, self.sample = method, sample

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """The loss of a batch."""
        pooled = torch.cat(self.model())
        loss = self.ranking(pooled, users_B, positives_B, place, batch)
        if self.method.cor == 0:
            return loss
        return loss + self.method.cor * correlation(pooled[self.nodes(place)], self.model.chunks)

    def nodes(self, place: Place) -> Tensor:
        """The nodes of this step's sample."""
        n_users, n_items = len(self.model.users), len(self.model.items)
        device, found = self.model.users.device, []
        for side, (first, size) in enumerate(((0, n_users), (n_users, n_items))):
            at = noise.word(place.seed, place.step, noise.SUBSET, side)
            found.append(noise.subset(at, size, self.sample, device) + first)
        return torch.cat(found)


class DCCFLoss(GraphLoss):
    """BPR on the sum of layers, norms of the intents, and contrast of views in each layer."""

    model: DCCF

    def __init__(self, model: DCCF, sampler: Sampler, method: Dccf) -> None:
        super().__init__(model, sampler, method.l2)
        self.method = method

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """The loss of a batch."""
        pooled, layers = self.model.layered()
        loss = self.ranking(pooled, users_B, positives_B, place, batch)
        intents = self.model.user_intents.pow(2).sum() + self.model.item_intents.pow(2).sum()
        items_B = positives_B + len(self.model.users)
        apart = views_apart(layers, users_B, items_B, self.method.tau)
        return loss + self.method.intent_l2 * intents + self.method.lam * apart


def build(task: Task, plan: Plan, device: torch.device, start: Start | None = None) -> StepLoss:
    """The loss of a plan; see ``step_loss.build``. A start gives layer 0; intents begin anew."""
    assert plan.seed is not None
    method, seen, seed = plan.factors, task.seen, plan.seed
    dtype = torch.float64 if plan.dtype == "float64" else torch.float32
    sampler = Sampler(seen, (plan.dim,), 1, device)
    model: Factorisation
    loss: StepLoss
    if isinstance(method, XSimGcl):
        model = XSimGCL(seen, plan.dim, method.layers, method.eps, seed, dtype)
        loss = XSimGCLLoss(model, sampler, method)
    elif isinstance(method, Dgcf):
        model = DGCF(seen, plan.dim, method.factors, method.iterations, seed, dtype)
        steps, _ = task.steps(method.batch)
        sample = max(2, max(seen.n_rows, seen.n_columns) // steps)
        loss = DGCFLoss(model, sampler, method, sample)
    else:
        assert isinstance(method, Dccf)
        model = DCCF(seen, plan.dim, method.depth, method.intents, seed, dtype)
        loss = DCCFLoss(model, sampler, method)
    if start is not None:
        start.put(model.users, model.items)
    return loss.to(device)
