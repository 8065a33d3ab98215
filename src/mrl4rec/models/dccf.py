"""DCCF (Ren et al. 2023): neighbours, global intents, and two graphs weighed by what they find.

From x of a layer: g = Â x; r = softmax(x C) Cᵀ, C the intents of the user or item side; a and b are
the sums over neighbours of x, an edge weighing (1 + cos)/2 of its ends' g (for a) or r (for b),
divided by the node's total. The next layer is g + r + a + b + x, and the vectors to score with are
the SUM of layers 0 … H (docs/methods.md#graph-methods-and-macridvae).

Shapes: N = U + I nodes, M directed edges, d dimensions, T intents, H layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mrl4rec.hashing import xavier
from mrl4rec.interactions import Csr
from mrl4rec.models.contrast import info_nce
from mrl4rec.models.edges import Edges
from mrl4rec.models.factors import Factorisation

TINY = 1e-12


class Layer(NamedTuple):
    """What one layer finds, each (N, d)."""

    graph: Tensor
    intent: Tensor
    by_graph: Tensor
    by_intent: Tensor


class DCCF(Factorisation):
    """Factorisation propagated by the rules above."""

    normal: Tensor

    def __init__(
        self,
        seen: Csr,
        dim: int,
        layers: int,
        intents: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(seen.n_rows, seen.n_columns, dim, seed, dtype)
        self.layers = layers
        self.user_intents, self.item_intents = (
            nn.Parameter(torch.from_numpy(xavier(dim, intents, seed, table)).to(dtype))
            for table in (2, 3)
        )
        self.edges = Edges(seen)
        self.register_buffer("normal", self.edges.normal(dtype), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The pooled (U, d) and (I, d) vectors: the sum of layers 0 … H."""
        pooled, _ = self.layered()
        return pooled[: len(self.users)], pooled[len(self.users) :]

    def layered(self) -> tuple[Tensor, list[Layer]]:
        """The pooled (N, d) vectors, and what each layer found."""
        nodes = torch.cat([self.users, self.items])
        pooled, found = nodes, []
        for _ in range(self.layers):
            layer = self._layer(nodes)
            nodes = nodes + layer.graph + layer.intent + layer.by_graph + layer.by_intent
            pooled = pooled + nodes
            found.append(layer)
        return pooled, found

    def _layer(self, nodes: Tensor) -> Layer:
        graph = self.edges.sums(self.normal, nodes)
        sides = nodes.split([len(self.users), len(self.items)])
        centres = (self.user_intents, self.item_intents)
        intent = torch.cat(
            [torch.softmax(x @ c, dim=1) @ c.T for x, c in zip(sides, centres, strict=True)]
        )
        return Layer(graph, intent, self._weighed(graph, nodes), self._weighed(intent, nodes))

    def _weighed(self, view: Tensor, nodes: Tensor) -> Tensor:
        """Means over neighbours, weighed by how alike the view finds the two ends."""
        unit = normalize(view)
        weights_M1 = (1 + self.edges.dots(unit, unit)) / 2
        totals_N1 = self.edges.totals(weights_M1)
        return self.edges.sums(weights_M1, nodes) / (totals_N1 + TINY)


def contrast(layers: list[Layer], users_B: Tensor, items_B: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the graph's view against each other one, summed over layers, sides and views.

    ``items_B`` are nodes: items counted after the users. Each node of the batch counts once.
    """
    sides = (users_B.unique(), items_B.unique())
    terms = [
        info_nce(layer.graph[nodes], view[nodes], temperature)
        for layer in layers
        for nodes in sides
        for view in (layer.intent, layer.by_graph, layer.by_intent)
    ]
    return torch.stack(terms).sum()
