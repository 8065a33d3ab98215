"""Loops over the edges of a graph on the CPU (numba): a number an edge, and sums over neighbours.

The two are each other's derivatives, so that a model that weighs edges by its own vectors needs
nothing else, and holds one number an edge and chunk where a tensor program holds whole vectors.
Edges lie row by row (CSR): those of node n, its head, are ``indptr[n] … indptr[n + 1] - 1``. Each
node's sum is made in their order by one thread: the same bits for any number of threads.

Shapes: N nodes, M directed edges, d dimensions in K equal chunks, P parts of about equal edges.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]

PARTS = 64
"""Pieces of work; every thread takes as many, next to each other."""


@njit(parallel=True, cache=True, fastmath={"reassoc", "contract"})
def dots(
    bounds_P: Ints, indptr: Ints, tails_M: Ints, heads_Nd: Floats, rows_Nd: Floats, out_MK: Floats
) -> None:
    """out[e, k] = <heads[h, chunk k], rows[t, chunk k]> of each edge e = (h, t)."""
    chunks = out_MK.shape[1]
    width = heads_Nd.shape[1] // chunks
    for part in prange(bounds_P.shape[0] - 1):
        for head in range(bounds_P[part], bounds_P[part + 1]):
            for edge in range(indptr[head], indptr[head + 1]):
                tail = tails_M[edge]
                for chunk in range(chunks):
                    first = chunk * width
                    total = heads_Nd[head, first] * rows_Nd[tail, first]
                    for j in range(first + 1, first + width):
                        total += heads_Nd[head, j] * rows_Nd[tail, j]
                    out_MK[edge, chunk] = total


@njit(parallel=True, cache=True, fastmath={"contract"})
def sums(
    bounds_P: Ints,
    indptr: Ints,
    tails_M: Ints,
    places_M: Ints,
    weights_MK: Floats,
    rows_Nd: Floats,
    out_Nd: Floats,
) -> None:
    """out[h, chunk k] = Σ over edges e = (h, t) of weights[places[e], k] · rows[t, chunk k]."""
    chunks = weights_MK.shape[1]
    width = rows_Nd.shape[1] // chunks
    for part in prange(bounds_P.shape[0] - 1):
        for head in range(bounds_P[part], bounds_P[part + 1]):
            out_Nd[head, :] = 0
            for edge in range(indptr[head], indptr[head + 1]):
                tail, place = tails_M[edge], places_M[edge]
                for chunk in range(chunks):
                    weight = weights_MK[place, chunk]
                    for j in range(chunk * width, (chunk + 1) * width):
                        out_Nd[head, j] += weight * rows_Nd[tail, j]


def bounds(indptr: Ints) -> Ints:
    """(P + 1,) nodes at which parts of about equally many edges (and nodes) begin, and the end."""
    work = indptr + np.arange(len(indptr))  # a node without edges is work too
    wanted = np.linspace(0, work[-1], PARTS + 1)
    found = np.searchsorted(work, wanted).astype(np.int64)
    found[-1] = len(indptr) - 1
    return found
