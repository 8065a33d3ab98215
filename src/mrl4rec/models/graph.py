"""Propagated nodes whose loss compares the nodes of a batch: what XSimGCL, DGCF and DCCF share.

Contrast and correlation are between all nodes of a batch, so all of it lies in one process. Nodes
are users, then items.

Shapes: B examples, N = U + I nodes, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch, Setup, Trained
from mrl4rec.models.factors import Vectors, halves, rows_of, squared_norms
from mrl4rec.models.pairwise import bpr
from mrl4rec.models.samplers import Negatives, Uniform
from mrl4rec.models.values import check_word

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import edges_torch


class Nodes(Vectors):
    """The two tables, and the graph of training pairs whose edges can be weighed."""

    def __init__(self, setup: Setup, negatives: Negatives) -> None:
        super().__init__(setup, negatives)
        self.edges = edges_torch.Edges(setup.seen, torch.device(setup.device))
        self.normal = self.edges.normal(setup.torch_dtype)
        """(M, 1) weights of the directed edges in D^-1/2 A D^-1/2."""


@dataclass(frozen=True)
class Graph(Trained):
    """BPR with one uniform negative on propagated vectors, and a term over a whole batch."""

    recordable: ClassVar[bool] = False  # how many nodes of a batch differ

    objective: str = "bpr"
    negatives: Negatives = Uniform()

    @property
    def sums_over_examples(self) -> bool:
        """Contrast and correlation are between the nodes of a batch."""
        return False

    def ranking(self, model: Nodes, pooled_Nd: Tensor, batch: Batch) -> Tensor:
        """Mean of sp(s_uj − s_ui) plus (l2/2)/B times the squared norms of layer-0 rows."""
        users, items = halves(pooled_Nd, len(model.users))
        negatives_BK = model.sampler.choose(
            batch.users_B, users, items, batch.place, batch.positives_B
        )
        places = (batch.users_B, batch.positives_B, negatives_BK)
        losses_B = bpr(*rows_of(places, users, items), ())
        norms = squared_norms(*rows_of(places, model.users, model.items))
        return (losses_B.sum() + self.l2 / 2 * norms) / batch.size

    def vectors(self, model: Nodes) -> dict[str, Tensor]:
        """The vectors to score with, and those of layer 0."""
        users, items = model.pooled()
        return {
            "user_vectors": users,
            "item_vectors": items,
            "user_vectors_0": model.users,
            "item_vectors_0": model.items,
        }


@dataclass(frozen=True)
class OwnGraph(Graph):
    """One whose propagation is its own: its model cannot be swapped."""

    def check(self, owner: str) -> None:
        """Raise UsageError where the model is not its own."""
        super().check(owner)
        check_word(owner, "model", self.model, (type(self).model,))


def batch_nodes(model: Nodes, batch: Batch) -> tuple[Tensor, Tensor]:
    """The different users, and the different items, among a batch's pairs, as nodes."""
    return batch.users_B.unique(), (batch.positives_B + len(model.users)).unique()


def info_nce(one_Nd: Tensor, other_Nd: Tensor, temperature: float) -> Tensor:
    """Mean over nodes n of −log(exp(c_nn/τ) / Σ_m exp(c_nm/τ)), c the cosine of the two views.

    The node's own pair is among those it is held against (van den Oord et al. 2018).
    """
    one, other = functional.normalize(one_Nd), functional.normalize(other_Nd)
    own_N = (one * other).sum(1) / temperature
    return (torch.logsumexp(one @ other.T / temperature, dim=1) - own_N).mean()
