"""A bipartite graph whose edges can be weighed by vectors of its nodes, with derivatives.

Nodes are the users, then the items; each seen pair is two directed edges (head, tail), and a sum
goes from the tails to the head. On the CPU the loops of :mod:`mrl4rec.kernels.edges` do the work,
elsewhere tensor operations.

Shapes: N = U + I nodes, M = 2P directed edges, d dimensions in K equal chunks.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrl4rec.kernels import edges as kernel
from mrl4rec.kernels.csr import Csr


class Edges:
    """The directed edges of a set of pairs, on a device."""

    indptr: Tensor
    heads: Tensor
    tails: Tensor
    back: Tensor
    bounds: Tensor
    degrees: Tensor
    own: Tensor

    def __init__(self, seen: Csr, device: torch.device) -> None:
        graph = kernel.graph(seen)
        # sorted by (tail, head), edge i is the way back of the i-th by (head, tail)
        arrays = {
            "indptr": graph.indptr,
            "heads": graph.heads_M,
            "tails": graph.tails_M,
            "back": np.lexsort((graph.heads_M, graph.tails_M)),
            "own": np.arange(len(graph.tails_M)),
            "bounds": kernel.bounds(graph.indptr),
            "degrees": graph.degrees,
        }
        for name, array in arrays.items():
            setattr(self, name, torch.from_numpy(array.astype(np.int64)).to(device))

    def dots(self, heads_Nd: Tensor, rows_Nd: Tensor, chunks: int = 1) -> Tensor:
        """(M, K): of each edge the inner product of its head's and its tail's chunks."""
        found: Tensor = _Dots.apply(self, heads_Nd, rows_Nd, chunks)
        return found

    def sums(self, weights_MK: Tensor, rows_Nd: Tensor) -> Tensor:
        """(N, d): of each node the sum of its tails' rows, each chunk times the edge's weight."""
        found: Tensor = _Sums.apply(self, weights_MK, rows_Nd)
        return found

    def totals(self, weights_MK: Tensor) -> Tensor:
        """(N, K): of each node the sum of its edges' weights."""
        ones = weights_MK.new_ones(len(self.degrees), weights_MK.shape[1])
        return self.sums(weights_MK, ones)

    def normal(self, dtype: torch.dtype) -> Tensor:
        """(M, 1) weights of D^-1/2 A D^-1/2."""
        root = self.degrees.clamp(min=1).to(dtype).rsqrt()
        return (root[self.heads] * root[self.tails])[:, None]

    def plain_dots(self, heads_Nd: Tensor, rows_Nd: Tensor, chunks: int) -> Tensor:
        """``dots`` without its derivative."""
        if heads_Nd.device.type != "cpu":
            return self.tensor_dots(heads_Nd, rows_Nd, chunks)
        out = heads_Nd.new_empty(len(self.tails), chunks)
        kernel.dots(
            self.bounds.numpy(), self.indptr.numpy(), self.tails.numpy(),
            _chunks(heads_Nd, chunks), _chunks(rows_Nd, chunks), out.numpy(),
        )  # fmt: skip
        return out

    def plain_sums(self, weights_MK: Tensor, rows_Nd: Tensor, back: bool = False) -> Tensor:
        """``sums`` without its derivative; ``back``: each edge takes the weight of its way back."""
        if rows_Nd.device.type != "cpu":
            return self.tensor_sums(weights_MK, rows_Nd, back)
        out = torch.zeros_like(rows_Nd, memory_format=torch.contiguous_format)
        chunks = weights_MK.shape[1]
        places = self.back if back else self.own
        kernel.sums(
            self.bounds.numpy(), self.indptr.numpy(), self.tails.numpy(), places.numpy(),
            weights_MK.detach().contiguous().numpy(), _chunks(rows_Nd, chunks),
            _chunks(out, chunks),
        )  # fmt: skip
        return out

    def tensor_dots(self, heads_Nd: Tensor, rows_Nd: Tensor, chunks: int) -> Tensor:
        """``plain_dots`` as tensor operations, a chunk at a time."""
        pairs = zip(heads_Nd.chunk(chunks, 1), rows_Nd.chunk(chunks, 1), strict=True)
        found = [(head[self.heads] * row[self.tails]).sum(1) for head, row in pairs]
        return torch.stack(found, dim=1)

    def tensor_sums(self, weights_MK: Tensor, rows_Nd: Tensor, back: bool = False) -> Tensor:
        """``plain_sums`` as products with sparse matrices, one a chunk."""
        weights = weights_MK[self.back] if back else weights_MK
        size = (len(rows_Nd), len(rows_Nd))
        chunks = zip(weights.T, rows_Nd.chunk(weights.shape[1], 1), strict=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            found = [
                torch.sparse_csr_tensor(self.indptr, self.tails, values.contiguous(), size=size)
                @ rows.contiguous()
                for values, rows in chunks
            ]
        return torch.cat(found, dim=1)


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Edges, heads: Tensor, rows: Tensor, chunks: int) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(heads, rows)
        return edges.plain_dots(heads, rows, chunks)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (heads, rows), (slope,) = ctx.saved_tensors, gradients
        _, for_heads, for_rows, _ = ctx.needs_input_grad
        to_heads = ctx.edges.plain_sums(slope, rows) if for_heads else None
        to_rows = ctx.edges.plain_sums(slope, heads, back=True) if for_rows else None
        return None, to_heads, to_rows, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Edges, weights: Tensor, rows: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weights, rows)
        return edges.plain_sums(weights, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (weights, rows), (slope,) = ctx.saved_tensors, gradients
        _, for_weights, for_rows = ctx.needs_input_grad
        chunks = weights.shape[1]
        to_weights = ctx.edges.plain_dots(slope, rows, chunks) if for_weights else None
        to_rows = ctx.edges.plain_sums(weights, slope, back=True) if for_rows else None
        return None, to_weights, to_rows


def _chunks(rows_Nd: Tensor, chunks: int) -> Any:
    """(N·K, d/K), as the loops read it: each chunk of a node a row of its own."""
    return rows_Nd.detach().contiguous().view(len(rows_Nd) * chunks, -1).numpy()
