"""XSimGCL (Yu et al. 2023): LightGCN with noise in every layer, one layer held against the mean.

Each layer is Â times the one before plus sign(x) ⊙ ε · n/‖n‖, n ~ U(0,1)^d, in training only; the
vectors to score with are the mean of layers 1 … H, layer 0 left out
(docs/methods.md#graph-methods-and-macridvae).

Shapes: N = U + I nodes, d dimensions, H layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mrl4rec.interactions import Csr
from mrl4rec.models import noise
from mrl4rec.models.contrast import info_nce
from mrl4rec.models.edges import Edges
from mrl4rec.models.factors import Factorisation


class XSimGCL(Factorisation):
    """Factorisation propagated over the graph of seen items, with noise where a word is given."""

    normal: Tensor

    def __init__(
        self,
        seen: Csr,
        dim: int,
        layers: int,
        eps: float,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(seen.n_rows, seen.n_columns, dim, seed, dtype)
        self.layers, self.eps = layers, eps
        self.edges = Edges(seen)
        self.register_buffer("normal", self.edges.normal(dtype), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The (U, d) and (I, d) vectors to score with, without noise."""
        return self.split(torch.stack(self.views(None)).mean(0))

    def views(self, step: tuple[int, int | Tensor] | None) -> list[Tensor]:
        """The (N, d) layers 1 … H; ``step``: (seed, step) of the noise, None for none."""
        nodes = torch.cat([self.users, self.items])
        found = []
        for layer in range(self.layers):
            nodes = self.edges.sums(self.normal, nodes)
            if step is not None:
                nodes = nodes + self._noise(nodes, noise.word(*step, noise.PERTURB, layer))
            found.append(nodes)
        return found

    def split(self, nodes_Nd: Tensor) -> tuple[Tensor, Tensor]:
        """Users and items."""
        return nodes_Nd[: len(self.users)], nodes_Nd[len(self.users) :]

    def _noise(self, nodes_Nd: Tensor, word: noise.Word) -> Tensor:
        rows = torch.arange(len(nodes_Nd), device=nodes_Nd.device)
        drawn = noise.uniforms(word, rows, nodes_Nd.shape[1]).to(nodes_Nd.dtype)
        return nodes_Nd.detach().sign() * normalize(drawn) * self.eps


def contrast(
    pooled_Nd: Tensor, layer_Nd: Tensor, users_B: Tensor, items_B: Tensor, temperature: float
) -> Tensor:
    """InfoNCE of the pooled vectors against one layer, over the batch's users plus its items.

    ``items_B`` are nodes: items counted after the users. Each node counts once.
    """
    total = pooled_Nd.new_zeros(())
    for nodes in (users_B.unique(), items_B.unique()):
        total = total + info_nce(pooled_Nd[nodes], layer_Nd[nodes], temperature)
    return total
