"""XSimGCL (Yu et al. 2023): LightGCN with noise in every layer, one layer held against the mean.

Each layer is Â times the one before plus sign(x) ⊙ ε · n/‖n‖, n ~ U(0,1)^d, in training only; the
vectors to score with are the mean of layers 1 … H, layer 0 left out.

Shapes: N = U + I nodes, d dimensions, H layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.models.base import Batch, Setup
from mrl4rec.models.factors import halves, layers_of
from mrl4rec.models.graph import Graph, Nodes, batch_nodes, info_nce
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import noise_torch as noise


@dataclass(frozen=True)
class XSimGcl(Graph):
    """BPR on the mean of the noisy layers, and that mean held against one of them."""

    model: str = "lightgcn-2"
    lam: float = value(
        0.2, "weight of the contrast; 0: none", low=0, tune=Span(1e-2, 1.0, log=True)
    )
    eps: float = value(0.2, "length of the noise added to each vector, a layer", low=0)
    tau: float = value(
        0.15, "temperature of the contrast; > 0", low=1e-3, tune=Span(5e-2, 1.0, log=True)
    )
    contrast_layer: int = value(1, "the layer held against the mean, from 1", low=1)

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        layers = layers_of(self.model)
        if not 1 <= self.contrast_layer <= layers:
            raise UsageError(
                f"{owner}.contrast_layer is {self.contrast_layer}, its model {self.model} has "
                f"{layers} layers",
                todo="a layer of the model, e.g. 1",
            )

    def start(self, setup: Setup) -> XSimGCL:
        """The tables, drawn from the seed."""
        return XSimGCL(setup, self)

    def loss(self, model: XSimGCL, batch: Batch) -> Tensor:
        """The loss of the whole batch."""
        views = model.views((batch.place.seed, batch.place.step))
        pooled = torch.stack(views).mean(0)
        loss = self.ranking(model, pooled, batch)
        layer = views[self.contrast_layer - 1]
        apart = pooled.new_zeros(())
        for nodes in batch_nodes(model, batch):
            apart = apart + info_nce(pooled[nodes], layer[nodes], self.tau)
        return loss + self.lam * apart


class XSimGCL(Nodes):
    """The tables, propagated with noise where a step is given."""

    def __init__(self, setup: Setup, method: XSimGcl) -> None:
        super().__init__(setup, method.negatives)
        self.layers, self.eps = layers_of(method.model), method.eps

    def pooled(self) -> tuple[Tensor, Tensor]:
        """The (U, d) and (I, d) vectors to score with, without noise."""
        return halves(torch.stack(self.views(None)).mean(0), len(self.users))

    def views(self, step: tuple[int, int | Tensor] | None) -> list[Tensor]:
        """The (N, d) layers 1 … H; ``step``: (seed, step) of the noise, None for none."""
        nodes = torch.cat([self.users, self.items])
        found = []
        for layer in range(self.layers):
            nodes = self.edges.sums(self.normal, nodes)
            if step is not None:
                nodes = nodes + self._noise(nodes, step, layer)
            found.append(nodes)
        return found

    def _noise(self, nodes_Nd: Tensor, step: tuple[int, int | Tensor], layer: int) -> Tensor:
        word = noise.word(*step, noise.PERTURB, layer)
        rows = torch.arange(len(nodes_Nd), device=nodes_Nd.device)
        drawn = noise.uniforms(word, rows, nodes_Nd.shape[1]).to(nodes_Nd.dtype)
        return nodes_Nd.detach().sign() * functional.normalize(drawn) * self.eps


VARIANTS = (XSimGcl("XSimGCL"),)
