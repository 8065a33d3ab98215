"""DGCF (Wang et al. 2020): chunks of the vectors, each propagated over its own share of each edge.

The logits of an edge's K chunks start at 1. An iteration shares the edge among the chunks by their
softmax, A_k, sets e_k ← D_k^-1/2 A_k D_k^-1/2 e_k⁰ (D_k: row sums of A_k), and adds to the logits
<e_k[h]/‖·‖, tanh(e_k⁰[t]/‖·‖)>. The vectors to score with are the mean of layer 0 and the last
iteration's. The gradient goes through the routing.

Shapes: N = U + I nodes, M directed edges, d dimensions in K chunks of w.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.models.base import Batch, Setup
from mrl4rec.models.factors import halves
from mrl4rec.models.graph import Nodes, OwnGraph
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import noise_torch as noise

TINY = 1e-12


@dataclass(frozen=True)
class Dgcf(OwnGraph):
    """BPR on the pooled vectors, and the correlation of neighbouring chunks on some nodes."""

    model: str = "dgcf"
    factors: int = value(4, "chunks of a vector; they divide dim", low=1)
    iterations: int = value(2, "rounds of routing", low=1)
    cor: float = value(
        0.01,
        "weight of the chunks' distance correlation; 0: none",
        low=0,
        tune=Span(1e-3, 1e-1, log=True),
    )

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        if isinstance(self.dim, int) and self.dim % self.factors:
            raise UsageError(
                f"{owner}.dim is {self.dim}, which {self.factors} factors do not divide",
                where=f"--set {owner}.factors",
                todo="take a number of factors that divides dim",
            )

    def start(self, setup: Setup) -> DGCF:
        """The tables, drawn from the seed."""
        return DGCF(setup, self)

    def loss(self, model: DGCF, batch: Batch) -> Tensor:
        """The loss of the whole batch."""
        pooled = torch.cat(model.pooled())
        loss = self.ranking(model, pooled, batch)
        if self.cor == 0:
            return loss
        return loss + self.cor * correlation(pooled[model.sampled(batch)], self.factors)


class DGCF(Nodes):
    """The tables, propagated once by the routing above."""

    def __init__(self, setup: Setup, method: Dgcf) -> None:
        super().__init__(setup, method.negatives)
        self.chunks, self.iterations = method.factors, method.iterations
        self.sample = max(2, max(len(self.users), len(self.items)) // setup.steps)
        """Users, and items, that the correlation reads in a step: all of them in an epoch."""

    def pooled(self) -> tuple[Tensor, Tensor]:
        """The pooled (U, d) and (I, d) vectors."""
        nodes = torch.cat([self.users, self.items])
        return halves((nodes + self._routed(nodes)) / 2, len(self.users))

    def sampled(self, batch: Batch) -> Tensor:
        """The nodes of this step's sample."""
        n_users, n_items = len(self.users), len(self.items)
        found = []
        for side, (first, size) in enumerate(((0, n_users), (n_users, n_items))):
            at = noise.word(batch.place.seed, batch.place.step, noise.SUBSET, side)
            found.append(noise.subset(at, size, self.sample, self.users.device) + first)
        return torch.cat(found)

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
        return functional.normalize(self._parts(nodes), dim=2).flatten(1)


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


VARIANTS = (
    Dgcf("DGCF"),
    Dgcf("DGCF-own", batch=2000, l2=1e-3),
)
"""Plain with MRL4Rec's settings, ``-own`` with its paper's."""
