"""Products with the normalised adjacency matrix of a bipartite graph, with their derivative.

U users, I items; nodes are the users, then the items.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrl4rec.kernels import edges
from mrl4rec.kernels.csr import Csr


def adjacency(seen: Csr, dtype: torch.dtype) -> Tensor:
    """(U + I, U + I) symmetric D^-1/2 A D^-1/2, CSR; a node without edges has a zero row."""
    made, size = edges.graph(seen), seen.n_rows + seen.n_columns
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(made.indptr),
            torch.from_numpy(made.tails_M),
            torch.from_numpy(made.normal(np.float64)[:, 0]).to(dtype),
            size=(size, size),
            check_invariants=True,
        )


def propagate(graph: Tensor, nodes: Tensor) -> Tensor:
    """graph @ nodes, where the graph is symmetric."""
    found: Tensor = _Propagate.apply(graph, nodes)
    return found


class _Propagate(torch.autograd.Function):
    """The symmetric graph is its own transpose, which carries the gradient back."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, nodes: Tensor) -> Tensor:
        ctx.graph = graph
        return graph @ nodes

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, ctx.graph @ gradients[0]
