"""LightGCN (He et al. 2020): vectors averaged over layers of neighbours (arXiv 2002.02126).

Layer h + 1 is D^-1/2 A D^-1/2 times layer h, A the bipartite graph without self loops; the vectors
to score with are the mean of layers 0 … H. U users, I items, d dimensions.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mrl4rec.interactions import Csr
from mrl4rec.models.factors import Factorisation


def adjacency(seen: Csr, dtype: torch.dtype) -> Tensor:
    """(U + I, U + I) symmetric D^-1/2 A D^-1/2, CSR; a node without edges has a zero row."""
    n_users, n_items = seen.n_rows, seen.n_columns
    ones = np.ones(len(seen.indices))
    graph = sparse.csr_matrix((ones, seen.indices, seen.indptr), shape=(n_users, n_items))
    degrees = np.concatenate([graph.sum(1).A1, graph.sum(0).A1])
    scale = sparse.diags(1.0 / np.sqrt(np.maximum(degrees, 1.0)))
    whole = (scale @ sparse.bmat([[None, graph], [graph.T, None]]) @ scale).tocsr()
    whole.sort_indices()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(whole.indptr.astype(np.int64)),
            torch.from_numpy(whole.indices.astype(np.int64)),
            torch.from_numpy(whole.data).to(dtype),
            size=whole.shape,
            check_invariants=True,
        )


class _Propagate(torch.autograd.Function):
    """graph @ nodes, where the graph is symmetric: its own transpose carries the gradient back."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, nodes: Tensor) -> Tensor:
        ctx.graph = graph
        return graph @ nodes

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, ctx.graph @ gradients[0]


class LightGCN(Factorisation):
    """Factorisation whose vectors are propagated over the graph of seen items."""

    graph: Tensor

    def __init__(
        self,
        seen: Csr,
        dim: int,
        layers: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(seen.n_rows, seen.n_columns, dim, seed, dtype)
        self.layers = layers
        self.register_buffer("graph", adjacency(seen, dtype), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The pooled (U, d) and (I, d) vectors: the mean of layers 0 … H."""
        nodes = torch.cat([self.users, self.items])
        total = nodes
        for _ in range(self.layers):
            nodes = _Propagate.apply(self.graph, nodes)
            total = total + nodes
        pooled = total / (self.layers + 1)
        return pooled[: len(self.users)], pooled[len(self.users) :]

    def hops(self) -> tuple[Tensor, Tensor]:
        """Vectors of every layer, (U, H + 1, d) and (I, H + 1, d)."""
        layers = [torch.cat([self.users, self.items])]
        for _ in range(self.layers):
            layers.append(_Propagate.apply(self.graph, layers[-1]))
        stacked = torch.stack(layers, dim=1)
        return stacked[: len(self.users)], stacked[len(self.users) :]
