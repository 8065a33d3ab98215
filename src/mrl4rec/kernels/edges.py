"""Loops over the edges of a graph on the CPU (numba): a number an edge, and sums over neighbours.

The two are each other's derivatives, so that a model that weighs edges by its own vectors needs
nothing else, and holds one number an edge and chunk where a tensor program holds whole vectors.
Edges lie row by row (CSR): those of node n, its head, are ``indptr[n] … indptr[n + 1] - 1``. Each
node's sum is made in their order by one thread: the same bits for any number of threads.

Shapes: N nodes, M directed edges, d dimensions in K equal chunks, P parts of about equal edges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mrl4rec.kernels.csr import Csr
from mrl4rec.kernels.vector import add_edges, add_scaled, dot

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

PARTS = 64
"""Pieces of work; every thread takes as many, next to each other."""


class Graph(NamedTuple):
    """A set of pairs as a graph of users, then items: two directed edges a pair, by their heads."""

    indptr: Ints
    heads_M: Ints
    tails_M: Ints

    @property
    def degrees(self) -> Ints:
        """(N,) edges of each node."""
        return np.diff(self.indptr)

    def normal(self, dtype: Any) -> Floats:
        """(M, 1) weights of D^-1/2 A D^-1/2."""
        roots_N = 1.0 / np.sqrt(np.maximum(self.degrees, 1.0))
        return (roots_N[self.heads_M] * roots_N[self.tails_M])[:, None].astype(dtype)


def graph(seen: Csr) -> Graph:
    """The graph of these pairs; tails ascend within a head."""
    users = np.repeat(np.arange(seen.n_rows), seen.degrees)
    items = seen.indices.astype(np.int64) + seen.n_rows
    heads, tails = np.concatenate([users, items]), np.concatenate([items, users])
    order = np.lexsort((tails, heads))
    degrees = np.bincount(heads, minlength=seen.n_rows + seen.n_columns)
    indptr = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
    return Graph(indptr, heads[order], tails[order])


@njit(parallel=True, cache=True)
def dots(
    bounds_P: Ints, indptr: Ints, tails_M: Ints, heads_Nw: Floats, rows_Nw: Floats, out_MK: Floats
) -> None:
    """out[e, k] = <heads[h, k], rows[t, k]> of each edge e = (h, t) and chunk k.

    Each chunk of a node is a row of its own: ``heads_Nw`` and ``rows_Nw`` are (N·K, d/K).
    """
    chunks, width = out_MK.shape[1], heads_Nw.shape[1]
    for part in prange(bounds_P.shape[0] - 1):
        for head in range(bounds_P[part], bounds_P[part + 1]):
            for edge in range(indptr[head], indptr[head + 1]):
                tail = tails_M[edge] * chunks
                for k in range(chunks):
                    out_MK[edge, k] = dot(heads_Nw, head * chunks + k, rows_Nw, tail + k, width)


@njit(parallel=True, cache=True)
def sums(
    bounds_P: Ints,
    indptr: Ints,
    tails_M: Ints,
    places_M: Ints,
    weights_MK: Floats,
    rows_Nw: Floats,
    out_Nw: Floats,
) -> None:
    """out[h, k] = Σ over edges e = (h, t) of weights[places[e], k] · rows[t, k], rows as above.

    ``out_Nw`` holds zeros.
    """
    chunks, width = weights_MK.shape[1], rows_Nw.shape[1]
    for part in prange(bounds_P.shape[0] - 1):
        for head in range(bounds_P[part], bounds_P[part + 1]):
            begin, end = indptr[head], indptr[head + 1]
            if chunks == 1:
                add_edges(out_Nw, head, weights_MK, places_M, rows_Nw, tails_M, begin, end)
                continue
            for edge in range(begin, end):
                tail, place = tails_M[edge] * chunks, places_M[edge]
                for k in range(chunks):
                    weight = weights_MK[place, k]
                    add_scaled(out_Nw, head * chunks + k, weight, rows_Nw, tail + k, 0, width)


def bounds(indptr: Ints) -> Ints:
    """(P + 1,) nodes at which parts of about equally many edges (and nodes) begin, and the end."""
    work = indptr + np.arange(len(indptr))  # a node without edges is work too
    wanted = np.linspace(0, work[-1], PARTS + 1)
    found = np.searchsorted(work, wanted).astype(np.int64)
    found[-1] = len(indptr) - 1
    return found
