"""DGCF (Wang et al. 2020): chunks of the vectors, each propagated over its own share of each edge.

The logits of an edge's K chunks start at 1. An iteration shares the edge among the chunks by their
softmax, A_k, sets e_k ← D_k^-1/2 A_k D_k^-1/2 e_k⁰ (D_k: row sums of A_k), and adds to the logits
<e_k[h]/‖·‖, tanh(e_k⁰[t]/‖·‖)>. The vectors to score with are the mean of layer 0 and the last
iteration's. The gradient goes through the routing (docs/methods.md#graph-methods-and-macridvae).

Shapes: N = U + I nodes, M directed edges, d dimensions in K chunks of w.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mrl4rec.errors import UsageError
from mrl4rec.interactions import Csr
from mrl4rec.models.edges import Edges
from mrl4rec.models.factors import Factorisation

TINY = 1e-12


class DGCF(Factorisation):
    """Factorisation whose vectors are propagated once, by the routing above."""

    def __init__(
        self,
        seen: Csr,
        dim: int,
        chunks: int,
        iterations: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Raises UsageError where the chunks do not divide ``dim``."""
        if dim % chunks:
            raise UsageError(f"{dim} dimensions do not fall into {chunks} equal factors")
        super().__init__(seen.n_rows, seen.n_columns, dim, seed, dtype)
        self.chunks, self.iterations = chunks, iterations
        self.edges = Edges(seen)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The pooled (U, d) and (I, d) vectors."""
        nodes = torch.cat([self.users, self.items])
        pooled = (nodes + self._routed(nodes)) / 2
        return pooled[: len(self.users)], pooled[len(self.users) :]

    def _routed(self, nodes: Tensor) -> Tensor:
        goal = torch.tanh(self._unit(nodes))
        # all chunks are alike at first, and D^-1/2 A D^-1/2 does not know by how much
        logits = nodes.new_ones(len(self.edges.tails), self.chunks)
        found = nodes
        for iteration in range(self.iterations):
            found = self._propagate(torch.softmax(logits, dim=1), nodes)
            if iteration + 1 < self.iterations:
                logits = logits + self.edges.dots(self._unit(found), goal, self.chunks)
        return found

    def _propagate(self, shares_MK: Tensor, nodes: Tensor) -> Tensor:
        totals_NK = self.edges.totals(shares_MK)
        root_NK1 = torch.where(totals_NK > 0, totals_NK, 1).rsqrt()[:, :, None]
        scaled = (self._parts(nodes) * root_NK1).flatten(1)
        return (self._parts(self.edges.sums(shares_MK, scaled)) * root_NK1).flatten(1)

    def _parts(self, nodes: Tensor) -> Tensor:
        return nodes.view(len(nodes), self.chunks, -1)

    def _unit(self, nodes: Tensor) -> Tensor:
        return normalize(self._parts(nodes), dim=2).flatten(1)


def correlation(rows_Sd: Tensor, chunks: int) -> Tensor:
    """Distance correlations of neighbouring chunks, their sum over K(K + 1)/2."""
    centred = [_centred(part) for part in rows_Sd.chunk(chunks, 1)]
    total = rows_Sd.new_zeros(())
    for one, other in pairwise(centred):
        spread = _root((one * one).mean() * (other * other).mean())
        total = total + _root((one * other).mean()) / _root(spread + TINY)
    return total / (chunks * (chunks + 1) / 2)


def _centred(rows_Sw: Tensor) -> Tensor:
    """(S, S) Euclidean distances, less the means of row and column, plus that of all."""
    squares = rows_Sw.pow(2).sum(1)
    far = _root(squares[:, None] + squares[None] - 2 * rows_Sw @ rows_Sw.T)
    return far - far.mean(0) - far.mean(1, keepdim=True) + far.mean()


def _root(values: Tensor) -> Tensor:
    """√ of what is 0 or more but for rounding; its slope is finite at 0."""
    return torch.sqrt(values.clamp(min=0) + TINY)
